"""What LM adaptation does for prompt tuning on an encoder-decoder (Lester et al. 2021, section 3.2).

    python -m benchmarks.adaptation ablation --data FOLDER
    python -m benchmarks.adaptation curve --run RUN --data FOLDER

`ablation`: span corruption; the same with a sentinel before every answer; LM adaptation. `curve`:
prompt tuning on each model that a pretraining run kept (RUN/models/step-000100, …; a run of
`keep_models`). As in the paper, answers are generated greedily and selected by that; beside it
stand the share of illegal outputs and the accuracy when the labels are ranked.

Cells go to benchmarks/results/adaptation.jsonl as they are measured: interrupted, the same line goes
on. Tables and figure: adaptation-ablation.md, adaptation-curve.md, adaptation-curve.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.cells import Cells, Values, markdown, spread
from benchmarks.command import amount_of, command, measuring
from benchmarks.figures import Axes, Line, lines_with_bands, mean_over
from benchmarks.measuring import open_backbone, prompt_tuning, scene, zero_shot
from benchmarks.recipes import TESTS, Amount
from softprompt.errors import UsageError

SMALL_TESTS = ("sst2", *(name for name in TESTS if name.startswith("softprompt/")))

SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "span corruption": ("span", {}),
        "span corruption + sentinel": ("span", {"sentinel_answers": True}),
        "LM adaptation": ("lm", {}),
    }
)
"""Setting to which of the two backbones, and what its objective adds."""

FIGURES = {
    "greedy accuracy": "greedy_accuracy",
    "illegal outputs": "illegal",
    "rank accuracy": "rank_accuracy",
}


def measure_model(
    place: Values, name: str, arguments: Any, cells: Cells, objective: Values, *, bare: bool
) -> None:
    """Prompt tuning of a model on every test set; with `bare`, the template alone as well."""
    backbone = open_backbone(name)
    if backbone.family != "encoder_decoder":
        raise UsageError(f"{name}: expected an encoder-decoder, got a {backbone.family} model")
    amount: Amount = amount_of(arguments)
    for test in arguments.tests:
        here = scene(backbone, test, arguments.data, amount)
        here = here.with_objective(prediction="greedy", normalise="vocabulary", **objective)
        own = {**place, "test": test}
        if bare:
            cells.measure({**own, "method": "zero-shot"}, here.settings, partial(zero_shot, here))
        settings = {**here.settings, "optimiser": dict(here.recipe.prompt)}
        own = {**own, "method": "prompt tuning"}
        cells.measure_seeds(own, settings, range(arguments.seeds), partial(prompt_tuning, here))


def ablation_table(cells: Cells) -> str:
    """Both ways of answering, with and without learned rows, for each setting."""
    rows = []
    for test in TESTS:
        for method in ("zero-shot", "prompt tuning"):
            for setting in SETTINGS:
                place = {"study": "ablation", "setting": setting, "test": test, "method": method}
                found = [cells.figures(place, figure) for figure in FIGURES.values()]
                if all(found):
                    rows.append([test, method, setting, *map(spread, found)])
    return markdown(["test set", "method", "pretraining", *FIGURES], rows)


def curve_table(cells: Cells) -> str:
    """One row for each kept model and test set."""
    rows = []
    for step in curve_steps(cells):
        for test in TESTS:
            place = {"study": "curve", "step": step, "test": test}
            found = [cells.figures(place, figure) for figure in FIGURES.values()]
            if all(found):
                rows.append([str(step), test, *map(spread, found)])
    return markdown(["adaptation steps", "test set", *FIGURES], rows)


def curve_figure(cells: Cells) -> bytes:
    """Prompt tuning over adaptation steps, the mean of the test sets."""
    steps = curve_steps(cells)
    tests = [t for t in TESTS if cells.figures({"study": "curve", "test": t}, "rank_accuracy")]

    def line(name: str, figure: str) -> Line:
        groups = {
            step: mean_over(
                [cells.figures({"study": "curve", "step": step, "test": t}, figure) for t in tests]
            )
            for step in steps
        }
        return Line(name, {step: found for step, found in groups.items() if found})

    return lines_with_bands(
        [
            line("labels ranked", "rank_accuracy"),
            line("answers generated", "greedy_accuracy"),
            line("illegal outputs", "illegal"),
        ],
        Axes(
            x="steps of LM adaptation",
            y="per cent, mean of the test sets",
            title=f"Prompt tuning against LM adaptation ({len(tests)} test sets)",
        ),
    )


def curve_steps(cells: Cells) -> list[int]:
    """The adaptation steps of which anything was measured, ascending."""
    there = {c.place["step"] for c in cells if c.place["study"] == "curve"}
    return sorted(there)


def kept_models(run: Path) -> dict[int, Path]:
    """The models that a pretraining run kept, by step.

    Raises:
        UsageError: there are none.
    """
    found = {
        int(folder.name.removeprefix("step-")): folder
        for folder in sorted((run / "models").glob("step-*"))
        if (folder / "config.json").is_file()
    }
    if not found:
        raise UsageError(f"{run}: no models/step-…, expected a run with keep_models")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; write tables and figure."""
    parser = command(__doc__, seeds=3)
    parser.add_argument("study", choices=["ablation", "curve"])
    parser.add_argument("--tests", nargs="+", default=list(SMALL_TESTS), choices=list(TESTS))
    parser.add_argument("--span", default="tiny-t5@span", help="ablation: after span corruption")
    parser.add_argument("--lm", default="tiny-t5@lm", help="ablation: after LM adaptation")
    parser.add_argument("--run", type=Path, help="curve: the folder of the adaptation's run")
    arguments = parser.parse_args(argv)
    if arguments.study == "curve" and arguments.run is None and not arguments.table:
        parser.error("curve: --run is missing")
    with measuring(arguments.results / "adaptation.jsonl") as cells:
        if not arguments.table:
            (ablation if arguments.study == "ablation" else curve)(arguments, cells)
        table = ablation_table(cells) if arguments.study == "ablation" else curve_table(cells)
        place = arguments.results / f"adaptation-{arguments.study}.md"
        place.write_text(table, encoding="utf-8")
        if arguments.study == "curve" and curve_steps(cells):
            (arguments.results / "adaptation-curve.png").write_bytes(curve_figure(cells))
    print(table)


def ablation(arguments: Any, cells: Cells) -> None:
    """The three settings of the paper."""
    for setting, (which, objective) in SETTINGS.items():
        place = {"study": "ablation", "setting": setting}
        name = getattr(arguments, which)
        measure_model(place, name, arguments, cells, objective, bare=True)


def curve(arguments: Any, cells: Cells) -> None:
    """Every kept model."""
    for step, folder in kept_models(arguments.run).items():
        place = {"study": "curve", "step": step}
        measure_model(place, str(folder), arguments, cells, {}, bare=False)


if __name__ == "__main__":
    main()
