"""What drawn demonstrations cost: a training step and a prediction without them, and with some draws.

    python -m benchmarks.demonstrations --models tiny-mlm

Each model is a folder, or the name of one that ships. Full tuning on sixteen rows a label of a set that ships,
batches of 8; demonstrations from all rows, at most 50 tokens of each. Steps and predictions take turns in one
process; times are of the processor, medians of some rounds.

Cells go to benchmarks/results/demonstrations.jsonl as they are measured: interrupted, the same line goes on.
Table: demonstrations.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cells import Cells, Values, markdown
from benchmarks.command import RESULTS, measuring
from benchmarks.gauges import timed
from benchmarks.measuring import open_backbone
from softprompt.backbones.backbone import Backbone
from softprompt.data.registry import load_task
from softprompt.inference.drawn import DemonstrationSettings
from softprompt.inference.predict import predict
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.fit import Fit
from softprompt.tuning.jobs import Job, make_fit, training_settings
from softprompt.tuning.loop import Loop

TASK, K_SHOT, BATCH, LIMIT = "softprompt/reviews-en", 16, 8, 50
DRAWS = (0, 1, 4, 16)
"""Draws that a prediction averages; 0: no demonstrations."""


def made_fit(backbone: Backbone, draws: int, steps: int) -> Fit:
    """A soft prompt of 20 rows on the frozen backbone, about to be trained."""
    task = load_task(TASK).few_shot(K_SHOT, seed=0)
    shown = DemonstrationSettings(draws=draws, limit=LIMIT) if draws else None
    method = PromptTuning(length=20)
    training = training_settings(method, {"steps": steps, "batch_size": BATCH, "keep": "last"})
    task = task.with_splits(dev=())
    return make_fit(backbone, Job(task, method, training=training, demonstrations=shown))


def compare(backbone: Backbone, rows: int, rounds: int) -> Values:
    """Seconds of a step and of a prediction, positions of a row, for each number of draws."""
    steps = 2 * (rounds + 1)
    fits = {draws: made_fit(backbone, draws, steps) for draws in DRAWS}
    loops = {draws: Loop(backbone, [fit]) for draws, fit in fits.items()}
    asked = [(0, row) for row in load_task(TASK).examples("test")[:rows]]

    def step(draws: int) -> None:
        fit = fits[draws]
        fit.update(loops[draws].backward({0: fit.draw()})[0])

    def ask(draws: int) -> None:
        predict(backbone, [fits[draws].applied], asked)

    parts: list[tuple[str, Callable[[], None]]] = []
    for draws in DRAWS:
        if draws < 2:  # steps do not depend on how many a prediction averages
            parts.append((f"step, {draws}", partial(step, draws)))
        parts.append((f"prediction, {draws}", partial(ask, draws)))
    seconds: dict[str, list[float]] = {name: [] for name, _ in parts}
    for number in range(rounds + 1):
        for name, part in parts:
            wall, processor = timed(part, backbone.device)
            if number:  # the first is to warm up
                seconds[name].append(processor if backbone.device.type == "cpu" else wall)
    found: dict[str, Any] = {name: statistics.median(times) for name, times in seconds.items()}
    for draws in DRAWS[:2]:
        lengths = [fits[draws].applied.render(row).length for _, row in asked]
        found[f"positions, {draws}"] = statistics.fmean(lengths)
    return {**found, "rows": rows}


def table(cells: Cells) -> str:
    """A row for each model and number of draws."""
    head = [
        "model",
        "draws",
        "positions of a row",
        "a step, ms",
        "times",
        "a prediction, ms",
        "times",
    ]
    rows = []
    for cell in sorted(cells, key=lambda cell: tuple(cell.place.values())):
        record = cell.record
        for draws in DRAWS:
            kind = min(draws, 1)
            step, asked = record[f"step, {kind}"], record[f"prediction, {draws}"]
            row = [str(cell.place["model"]), str(draws or "none")]
            row += [f"{record[f'positions, {kind}']:.0f}", f"{1000 * step:.0f}"]
            row += [f"{step / record['step, 0']:.1f}", f"{1000 * asked / record['rows']:.1f}"]
            row += [f"{asked / record['prediction, 0']:.1f}"]
            rows.append(row)
    return markdown(head, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=[], metavar="MODEL")
    parser.add_argument("--rows", type=int, default=20, help="of a prediction (default 20)")
    parser.add_argument("--rounds", type=int, default=5, help="timed, in turn (default 5)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="write the table, measure nothing")
    arguments = parser.parse_args(argv)
    if not arguments.models and not arguments.table:
        parser.error("--models is missing")
    with measuring(arguments.results / "demonstrations.jsonl") as cells:
        for name in () if arguments.table else arguments.models:
            backbone = open_backbone(name)
            settings = {"weights": backbone.identity.weights, "rounds": arguments.rounds}
            made = partial(compare, backbone, arguments.rows, arguments.rounds)
            cells.measure({"model": Path(name).name, "rows": arguments.rows}, settings, made)
        written = table(cells)
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / "demonstrations.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
