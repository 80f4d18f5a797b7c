"""Prompt tuning and full tuning against the size of the backbone (Lester et al. 2021, figure 1).

    python -m benchmarks.sizes --models nano=FOLDER tiny=tiny-mlm small=FOLDER --data FOLDER

Each model is a folder, or the name of one that ships; all of them pretrained alike, but for their
size. Cells go to benchmarks/results/sizes.jsonl as they are measured: interrupted, the same line goes
on. Table and figure: sizes.md, sizes.png.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from benchmarks.cells import Cells, Values, markdown, spread
from benchmarks.command import amount_of, command, measuring
from benchmarks.figures import Axes, Line, lines_with_bands, mean_over
from benchmarks.measuring import Scene, full_tuning, open_backbone, prompt_tuning, scene
from benchmarks.recipes import TESTS, Amount, Recipe

SMALL_TESTS = ("sst2", "eprstmt", "softprompt/topics-en")

Learned = Callable[[Scene, Sequence[int]], Iterable[Values]]
METHODS: Mapping[str, tuple[Learned, Callable[[Recipe], Mapping[str, Any]]]] = MappingProxyType(
    {
        "prompt tuning": (prompt_tuning, lambda recipe: recipe.prompt),
        "full tuning": (full_tuning, lambda recipe: recipe.full),
    }
)
"""Method to its function and its optimiser."""


def measure(size: str, name: str, arguments: Any, cells: Cells) -> None:
    """Both methods on every test set."""
    backbone = open_backbone(name)
    amount: Amount = amount_of(arguments)
    for test in arguments.tests:
        here = scene(backbone, test, arguments.data, amount)
        for method, (function, optimiser) in METHODS.items():
            place = {"size": size, "test": test, "method": method}
            settings = {
                **here.settings,
                "optimiser": dict(optimiser(here.recipe)),
                "parameters": backbone.n_parameters,
            }
            cells.measure_seeds(place, settings, range(arguments.seeds), partial(function, here))


def sizes(cells: Cells) -> dict[str, int]:
    """The sizes of which anything was measured, with their parameters, ascending."""
    found = {cell.place["size"]: int(cell.settings["parameters"]) for cell in cells}
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def tests_of(cells: Cells) -> list[str]:
    """The test sets of which anything was measured, in the order of the tables."""
    return [test for test in TESTS if cells.figures({"test": test})]


def table(cells: Cells) -> str:
    """A row for each size and method."""
    tests = tests_of(cells)
    rows = []
    for size, parameters in sizes(cells).items():
        for method in METHODS:
            place = {"size": size, "method": method}
            found = [cells.figures({**place, "test": test}) for test in tests]
            row = [size, f"{parameters:,}", method, *map(spread, found)]
            rows.append([*row, spread(mean_over(found))])
    return markdown(["size", "parameters", "method", *tests, "mean"], rows)


def figure(cells: Cells) -> bytes:
    """Mean accuracy over parameters, one line for each method."""
    tests, there = tests_of(cells), sizes(cells)

    def line(method: str) -> Line:
        groups = {
            parameters: mean_over(
                [cells.figures({"size": size, "method": method, "test": t}) for t in tests]
            )
            for size, parameters in there.items()
        }
        return Line(method, {x: found for x, found in groups.items() if found})

    return lines_with_bands(
        [line("full tuning"), line("prompt tuning")],
        Axes(
            x="parameters of the backbone (logarithmic)",
            y=f"accuracy in per cent, mean of {len(tests)} test sets",
            title="Full tuning and prompt tuning against size",
            log=True,
            names={count: f"{size}\n{_short(count)}" for size, count in there.items()},
        ),
    )


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count / 1e3:.0f} K"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; write table and figure."""
    parser = command(__doc__, seeds=3)
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="SIZE=MODEL", help="such as nano=runs/nano/model"
    )
    parser.add_argument("--tests", nargs="+", default=list(SMALL_TESTS), choices=list(TESTS))
    arguments = parser.parse_args(argv)
    pairs = [model.partition("=") for model in arguments.models]
    if not all(size and name for size, _, name in pairs):
        parser.error("--models: expected SIZE=MODEL, such as nano=runs/nano/model")
    if not pairs and not arguments.table:
        parser.error("--models is missing")
    with measuring(arguments.results / "sizes.jsonl") as cells:
        for size, _, name in () if arguments.table else pairs:
            measure(size, name, arguments, cells)
        written = table(cells)
        (arguments.results / "sizes.md").write_text(written, encoding="utf-8")
        if len(cells):
            (arguments.results / "sizes.png").write_bytes(figure(cells))
    print(written)


if __name__ == "__main__":
    main()
