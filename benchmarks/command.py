"""What the measuring commands have in common: their options, and what they say while they measure."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cells import Cell, Cells
from benchmarks.recipes import Amount
from softprompt.errors import SoftpromptError

RESULTS = Path(__file__).parent / "results"


def command(document: str | None, seeds: int) -> argparse.ArgumentParser:
    """A parser with the common options.

    Args:
        document: the script's own, as its help.
        seeds: how many by default.
    """
    parser = argparse.ArgumentParser(
        description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", default=os.environ.get("SOFTPROMPT_DATA"), help="folder of the data sets"
    )
    parser.add_argument("--seeds", type=int, default=seeds, help=f"how many (default {seeds})")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument(
        "--table", action="store_true", help="write tables and figures, measure nothing"
    )
    sizes = parser.add_argument_group("how much is seen (the same for all methods)")
    for name, default in Amount().to_json().items():
        flag = f"--{name.replace('_', '-')}"
        sizes.add_argument(flag, dest=f"amount_{name}", type=int, default=default, metavar="N")
    return parser


def amount_of(arguments: argparse.Namespace) -> Amount:
    """How much is seen, as asked for."""
    return Amount(**{name: getattr(arguments, f"amount_{name}") for name in Amount().to_json()})


@contextmanager
def measuring(path: Path) -> Iterator[Cells]:
    """The cells of a file: each new one is said, and the file is tidied at the end.

    What a user should read as a sentence ends the script with it.
    """
    try:
        cells = Cells(path, _say)
        yield cells
        cells.tidy()
    except SoftpromptError as error:
        raise SystemExit(f"error: {error}") from None


def _say(cell: Cell) -> None:
    where = ", ".join(str(value) for value in cell.place.values())
    figures = [
        f"{name} {value:.3f}" for name, value in cell.record.items() if isinstance(value, float)
    ]
    print(f"{where}: {', '.join(figures)}", file=sys.stderr, flush=True)
