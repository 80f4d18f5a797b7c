"""What a narrower backbone saves and costs: bf16 and 8 bits against f32, the prompt in f32 always.

    python -m benchmarks.quantised --models FOLDER tiny-mlm --data FOLDER

Each model is a folder, or the name of one that ships. On every test set: accuracy of the template
alone and of prompt tuning, same seeds and rows in every precision. Once a model: bytes of its weights,
what a training step adds to them at most, seconds of a step, taken in turn in one process.

Cells go to benchmarks/results/quantised.jsonl as they are measured: interrupted, the same line goes
on. Table: quantised.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import softprompt as sp
from benchmarks.cells import Cells, Values, markdown, spread
from benchmarks.command import amount_of, command, measuring
from benchmarks.gauges import Contender, Reading, read
from benchmarks.measuring import Scene, open_backbone, prompt_tuning, scene, training, zero_shot
from benchmarks.recipes import TESTS
from softprompt.backbones.backbone import Backbone
from softprompt.inference.objective import ObjectiveSettings
from softprompt.text.rendering import RenderSettings
from softprompt.tuning.jobs import Job, make_fit
from softprompt.tuning.loop import Loop

PRECISIONS = ("float32", "bfloat16", "int8")
"""The first one is what the others are held against."""

METHODS = ("zero-shot", "prompt tuning")


def weight_bytes(backbone: Backbone) -> int:
    """Memory of a backbone's weights and buffers, a shared one counted once."""
    model = backbone.model
    there = {t.data_ptr(): t.nbytes for t in (*model.parameters(), *model.buffers())}
    return sum(there.values())


def step_of(scene: Scene) -> Callable[[], object]:
    """A function that computes loss and gradient of the next batch of a prompt-tuning fit."""
    method = sp.PromptTuning(length=scene.amount.rows)
    job = Job(
        scene.task,
        method,
        0,
        template=scene.template,
        words=scene.words,
        objective=ObjectiveSettings(**scene.recipe.objective),
        training=training(scene, method),
        render=RenderSettings(limit=scene.amount.limit + scene.amount.rows),
    )
    fit = make_fit(scene.backbone, job)
    loop = Loop(scene.backbone, [fit])

    def step() -> None:
        loop.backward({0: fit.draw()})
        fit.drop_gradients()

    return step


def costs(scenes: Mapping[str, Scene], rounds: int) -> dict[str, Values]:
    """Memory and time of each precision, all measured in turn."""
    contenders = [Contender(name, step_of(here), 1) for name, here in scenes.items()]
    device = next(iter(scenes.values())).backbone.device
    readings = read(contenders, rounds, device)
    first = readings[0]
    return {
        reading.name: {
            "weight_bytes": weight_bytes(scenes[reading.name].backbone),
            "step_bytes": reading.peak_bytes,
            "step_seconds": reading.median,
            "step_ratio": _ratio(reading, first),
        }
        for reading in readings
    }


def _ratio(reading: Reading, first: Reading) -> float:
    """Time against the first contender's, the median over rounds: what shifts a round shifts both."""
    pairs = zip(reading.seconds, first.seconds, strict=True)
    return statistics.median(own / other for own, other in pairs)


def measure(name: str, arguments: Any, cells: Cells) -> None:
    """One model in every precision."""
    model = Path(name).name
    backbones = {precision: open_backbone(name, precision) for precision in PRECISIONS}
    amount = amount_of(arguments)
    for number, test in enumerate(arguments.tests):
        scenes = {p: scene(b, test, arguments.data, amount) for p, b in backbones.items()}
        if number == 0:
            _measure_costs(model, test, scenes, arguments.rounds, cells)
        for precision, here in scenes.items():
            place = {"model": model, "test": test, "precision": precision}
            own = {**place, "method": "zero-shot"}
            cells.measure(own, here.settings, partial(zero_shot, here))
            settings = {**here.settings, "optimiser": dict(here.recipe.prompt)}
            own = {**place, "method": "prompt tuning"}
            cells.measure_seeds(own, settings, range(arguments.seeds), partial(prompt_tuning, here))


def _measure_costs(
    model: str, test: str, scenes: Mapping[str, Scene], rounds: int, cells: Cells
) -> None:
    """The costs of all precisions together: alone, a time could not be held against another."""
    places = {p: {"model": model, "precision": p, "method": "cost"} for p in scenes}
    settings = {p: {**s.settings, "test": test, "rounds": rounds} for p, s in scenes.items()}
    if all(cells.record(places[p], settings[p]) is not None for p in scenes):
        return
    for precision, record in costs(scenes, rounds).items():
        cells.add(places[precision], settings[precision], record)


def table(cells: Cells) -> str:
    """A row for each model and precision."""
    tests = [test for test in TESTS if cells.figures({"test": test})]
    models = list(dict.fromkeys(cell.place["model"] for cell in cells))
    rows = []
    for model in sorted(models):
        for precision in PRECISIONS:
            place = {"model": model, "precision": precision}
            cost = cells.record({**place, "method": "cost"})
            row = [model, precision, *_costs_shown(cost)]
            for test in tests:
                row += [
                    spread(cells.figures({**place, "test": test, "method": m})) for m in METHODS
                ]
            rows.append(row)
    head = ["model", "precision", "weights, MB", "a step adds, MB", "seconds a step", "against f32"]
    return markdown([*head, *(f"{test}, {method}" for test in tests for method in METHODS)], rows)


def _costs_shown(cost: Values | None) -> list[str]:
    if cost is None:
        return ["–"] * 4
    sizes = [f"{cost[name] / 1e6:.1f}" for name in ("weight_bytes", "step_bytes")]
    return [*sizes, f"{cost['step_seconds']:.3f}", f"{cost['step_ratio']:.2f}×"]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; write the table."""
    parser = command(__doc__, seeds=3)
    parser.add_argument("--models", nargs="+", default=[], metavar="MODEL")
    parser.add_argument("--tests", nargs="+", default=["sst2"], choices=list(TESTS))
    parser.add_argument("--rounds", type=int, default=15, help="timed steps (default 15)")
    arguments = parser.parse_args(argv)
    if not arguments.models and not arguments.table:
        parser.error("--models is missing")
    with measuring(arguments.results / "quantised.jsonl") as cells:
        for name in () if arguments.table else arguments.models:
            measure(name, arguments, cells)
        written = table(cells)
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / "quantised.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
