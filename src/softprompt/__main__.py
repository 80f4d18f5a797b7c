"""`python -m softprompt` is the console script."""

from __future__ import annotations

from softprompt.cli.main import run

if __name__ == "__main__":
    run()
