"""Prompt tuning beside its baselines on real data: the table of the README.

    python benchmarks/quality.py --data FOLDER --models FOLDER     (or: make table ARGS='…')

Rows: the template alone (zero-shot), the same with 20 learned rows, full tuning of the same backbone on
as many examples seen, a bag-of-words logistic regression fitted on as many rows, the majority class.
Means ± standard deviation over seeds. Dev comes out of train and selects the step that is kept; the
test set is seen once, at the end. Results go to benchmarks/results/quality-NAME.json; the Markdown
table is made of all that lie there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import softprompt as sp
from softprompt.analysis.baselines import bag_of_words, majority
from softprompt.inference.evaluate import evaluate
from softprompt.inference.objective import ObjectiveSettings
from softprompt.text.template import parse
from softprompt.tuning.jobs import Job, bind, training_settings
from softprompt.tuning.run import fit_many, versions

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One line of what is compared.

    Args:
        task: registry name.
        backbone: a folder below MODELS, or a shipped name.
        template: with its learned rows.
        steps, batch_size: how many examples are seen.
        optimiser: of prompt tuning; its defaults where none is given.
    """

    task: str
    backbone: str
    template: str
    steps: int = 100
    batch_size: int = 16
    optimiser: Mapping[str, Any] = field(default_factory=dict)


TINY = "softprompt/tiny-mlm"
FEW = {"name": "adamw", "learning_rate": 0.1, "schedule": "linear"}  # as in the quickstart
ROWS = {
    "sst2": Row("sst2", "minilm_mlm", "{soft:20}{text} It was {mask}.", 300, 32),
    "eprstmt": Row("eprstmt", TINY, "{soft:20}{text}。总体评价是{mask}的。", optimiser=FEW),
    "reviews-en": Row(
        "softprompt/reviews-en", TINY, "{soft:20}{text} It was {mask}.", optimiser=FEW
    ),
    "reviews-zh": Row(
        "softprompt/reviews-zh", TINY, "{soft:20}{text}总体评价是{mask}的。", optimiser=FEW
    ),
    "topics-en": Row(
        "softprompt/topics-en", TINY, "{soft:20}{text} This is about {mask}.", optimiser=FEW
    ),
    "topics-zh": Row(
        "softprompt/topics-zh", TINY, "{soft:20}这是一条关于{mask}的新闻：{text}", optimiser=FEW
    ),
}


def measure(row: Row, seeds: int, data: str | None, models: str | None) -> dict[str, Any]:
    """All methods on one task."""
    task = sp.load_task(row.task, folder=data)
    shipped = row.backbone.startswith("softprompt/")
    if not shipped and models is None:
        raise SystemExit(f"{row.backbone}: give --models, the folder that holds it")
    backbone = sp.load_backbone(row.backbone if shipped else Path(models or "") / row.backbone)
    seen = min(row.steps * row.batch_size, len(task.examples("train")))
    found: dict[str, Any] = {
        "task": row.task,
        "backbone": row.backbone,
        "template": row.template,
        "steps": row.steps,
        "batch_size": row.batch_size,
        "optimiser": dict(row.optimiser),
        "train": len(task.examples("train")),
        "dev": len(task.examples("dev")),
        "test": len(task.examples("test")),
        "parameters": backbone.n_parameters,
        "scores": {},
        "seconds": {},
    }

    def note(name: str, scores: list[float], began: float) -> None:
        found["scores"][name] = scores
        found["seconds"][name] = round(time.monotonic() - began, 1)
        print(f"{row.task}: {name}: {spread(scores)}", file=sys.stderr, flush=True)

    began = time.monotonic()
    bare = parse(row.template.replace("{soft:20}", ""))
    zero = bind(backbone, task, bare, None, ObjectiveSettings())
    scores = evaluate(backbone, zero, task.examples("test"), task.metrics, task.labels)
    note("zero-shot", [scores.metrics["accuracy"]], began)
    began = time.monotonic()
    note("prompt tuning", list(prompt_tuning(backbone, task, row, seeds)), began)
    began = time.monotonic()
    note("full tuning", list(full_tuning(backbone, task, row, seeds)), began)
    began = time.monotonic()
    samples = [task.subsample("train", seen, seed) for seed in range(seeds)]
    note("bag of words", [bag_of_words(sample).accuracy for sample in samples], began)
    note("majority", [majority(task).accuracy], began)
    return found


def prompt_tuning(backbone: Any, task: Any, row: Row, seeds: int) -> Iterator[float]:
    """Test accuracies of a prompt for each seed; all seeds share their batches."""
    method = sp.PromptTuning()
    training = training_settings(method, {**course(row), "optimiser": dict(row.optimiser)})
    jobs = [
        Job(task, method, seed, template=row.template, training=training) for seed in range(seeds)
    ]
    for run in fit_many(backbone, jobs):
        yield run.metrics["test"]["accuracy"]


def full_tuning(backbone: Any, task: Any, row: Row, seeds: int) -> Iterator[float]:
    """Test accuracies of the opened backbone, one seed after the other."""
    for seed in range(seeds):
        run = sp.fit(
            backbone,
            task,
            sp.FullTuning(),
            seed=seed,
            template=row.template,
            training=course(row),
        )
        yield run.metrics["test"]["accuracy"]


def course(row: Row) -> dict[str, int]:
    """The training settings that all learned methods share."""
    return {
        "steps": row.steps,
        "batch_size": row.batch_size,
        "evaluate_every": max(1, row.steps // 6),
    }


def spread(scores: list[float]) -> str:
    """Mean ± sample standard deviation, in per cent."""
    mean = 100 * statistics.mean(scores)
    if len(scores) < 2:
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {100 * statistics.stdev(scores):.1f}"


def table(results: Path) -> str:
    """Everything in a folder of results as one Markdown table."""
    names = ["zero-shot", "prompt tuning", "full tuning", "bag of words", "majority"]
    lines = [
        f"| test set | rows | backbone | {' | '.join(names)} |",
        f"|---|---|---|{'---|' * len(names)}",
    ]
    for name in ROWS:
        path = results / f"quality-{name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        cells = [spread(found["scores"][n]) for n in names]
        head = f"| {found['task']} | {found['test']} | {found['backbone']} |"
        lines.append(f"{head} {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what was asked for; write JSON and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(ROWS)}; all by default")
    parser.add_argument("--data", default=os.environ.get("SOFTPROMPT_DATA"))
    parser.add_argument("--models", default=os.environ.get("SOFTPROMPT_MODELS"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="instead of each row's own")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results: Path = arguments.results
    results.mkdir(exist_ok=True)
    for name in arguments.names or ROWS:
        row = ROWS[name]
        if arguments.steps is not None:
            row = replace(row, steps=arguments.steps)
        found = measure(row, arguments.seeds, arguments.data, arguments.models)
        found["machine"] = {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            **versions(),
        }
        text = json.dumps(found, indent=2, ensure_ascii=False)
        (results / f"quality-{name}.json").write_text(text + "\n", encoding="utf-8")
        (results / "quality.md").write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
