"""What measures the backbones: run as `python -m benchmarks.backbones` from the root of the repository."""
