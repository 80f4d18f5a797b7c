"""What measures; run from the root of the repository, for example `python -m benchmarks.backbones`."""
