"""Every way of using a frozen backbone on every test set, beside what is possible without one.

    python -m benchmarks.backbones --backbones tiny-mlm tiny-t5 tiny-lm --data FOLDER --seeds 5

Majority class and a bag of words (no backbone); a linear probe on frozen pooled features; the template
alone (zero-shot); 20 learned rows, on the backbone and on random weights of its shape; full tuning.
All see the same rows at the same length, and as many steps. Dev selects the step that is kept, test
is seen once. FOLDER holds sst2/, ag_news/ and fewclue/; the others ship.

Cells go to benchmarks/results/backbones.jsonl as they are measured: interrupted, the same line goes
on. The tables in backbones.md are made of all cells; `--table` makes them and measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks.cells import Cells, Values, markdown, spread
from benchmarks.command import amount_of, command, measuring
from benchmarks.measuring import (
    Scene,
    full_tuning,
    majority_class,
    open_backbone,
    probe,
    prompt_tuning,
    random_twin,
    scene,
    words_alone,
    zero_shot,
)
from benchmarks.recipes import TESTS, Amount
from softprompt.backbones.backbone import Backbone

ONCE: Mapping[str, Callable[[Scene], Values]] = MappingProxyType(
    {
        "majority": majority_class,
        "bag of words": words_alone,
        "linear probe": probe,
        "zero-shot": zero_shot,
    }
)
"""What no seed changes."""

RANDOM_SEEDS = 2
"""A comparison beside the others: two seeds show how much random weights carry."""

RANDOM, PROMPT, FULL = "prompt tuning, random weights", "prompt tuning", "full tuning"
COLUMNS = (*ONCE, RANDOM, PROMPT, FULL)
GENERATED = ("zero-shot", RANDOM, PROMPT, FULL)


def measure(
    name: str, tests: Sequence[str], seeds: int, data: str | None, amount: Amount, cells: Cells
) -> None:
    """Every cell of a backbone that is not there yet."""
    backbone = open_backbone(name)
    with random_twin(backbone) as twin:
        for test in tests:
            here = scene(backbone, test, data, amount)
            place = {"backbone": short_name(name), "test": test}
            measure_scene(place, here, range(seeds), twin, cells)


def short_name(name: str) -> str:
    """How the tables call a backbone: a folder by its last part, a shipped one without `softprompt/`."""
    return Path(name).name if Path(name).is_dir() else name.removeprefix("softprompt/")


def measure_scene(
    place: Values, here: Scene, seeds: Sequence[int], twin: Backbone, cells: Cells
) -> None:
    """Every cell of a backbone on one test set.

    Args:
        twin: random weights of the same shape.
    """
    for method, function in ONCE.items():
        cells.measure({**place, "method": method}, here.settings, partial(function, here))
    optimiser = {"optimiser": dict(here.recipe.prompt)}
    learned = ((PROMPT, here, seeds), (RANDOM, here.with_backbone(twin), seeds[:RANDOM_SEEDS]))
    for method, there, own_seeds in learned:
        own = {**place, "method": method}
        settings = {**there.settings, **optimiser}
        cells.measure_seeds(own, settings, own_seeds, partial(prompt_tuning, there))
    settings = {**here.settings, "optimiser": dict(here.recipe.full)}
    cells.measure_seeds({**place, "method": FULL}, settings, seeds, partial(full_tuning, here))


def tables(cells: Cells) -> str:
    """A table for each backbone; of an encoder-decoder a second one with both ways of answering."""
    names = list(dict.fromkeys(cell.place["backbone"] for cell in cells))
    parts = [accuracies(cells, name) for name in names]
    both = [_both_ways(cells, name) for name in names]
    return "\n".join(part for part in (*parts, *both) if part)


def accuracies(cells: Cells, name: str) -> str:
    rows = []
    for test in TESTS:
        here = {"backbone": name, "test": test}
        n = cells.figures(here, "n")
        if n:
            found = [spread(cells.figures({**here, "method": method})) for method in COLUMNS]
            rows.append([test, f"{n[0]:.0f}", *found])
    return f"### {name}\n\n" + markdown(["test set", "n", *COLUMNS], rows)


def _both_ways(cells: Cells, name: str) -> str:
    rows = []
    for test in TESTS:
        for method in GENERATED:
            here = {"backbone": name, "test": test, "method": method}
            figures = [
                cells.figures(here, figure)
                for figure in ("greedy_accuracy", "illegal", "rank_accuracy")
            ]
            if all(figures):
                rows.append([test, method, *map(spread, figures)])
    if not rows:
        return ""
    head = ["test set", "method", "greedy accuracy", "illegal outputs", "rank accuracy"]
    return f"### {name}: generated and ranked answers\n\n" + markdown(head, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; write the tables."""
    parser = command(__doc__, seeds=5)
    parser.add_argument("--backbones", nargs="+", default=["tiny-mlm", "tiny-t5", "tiny-lm"])
    parser.add_argument("--tests", nargs="+", default=list(TESTS), choices=list(TESTS))
    arguments = parser.parse_args(argv)
    with measuring(arguments.results / "backbones.jsonl") as cells:
        for name in () if arguments.table else arguments.backbones:
            amount = amount_of(arguments)
            measure(name, arguments.tests, arguments.seeds, arguments.data, amount, cells)
    written = tables(cells)
    (arguments.results / "backbones.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
