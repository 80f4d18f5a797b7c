"""report.md: what was run, what came out, on what evidence, and what to be careful about.

A pure function from a finished run to Markdown.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from softprompt.analysis.baselines import Baseline
from softprompt.recipes.prepare import Prepared, run_facts
from softprompt.tuning.run import Run


def write_report(prepared: Prepared, runs: Sequence[Run], baseline: Baseline | None) -> str:
    """The report of a run.

    Args:
        prepared: what was run.
        runs: one per seed.
        baseline: the majority class, or None.
    Returns:
        Markdown, ending in a newline.
    """
    parts = [
        f"# {prepared.task.name} on {prepared.backbone.name}",
        _facts(prepared),
        "## Scores",
        _scores(prepared, runs, baseline),
        _selection(prepared, runs),
        "## Label words",
        _words(prepared),
        "## Watch out",
        _alarms(prepared, runs),
        "![training loss and dev metric over steps](plots/training.png)",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def mean_and_spread(values: Sequence[float]) -> str:
    """`0.812`, or `0.812 ± 0.013` (sample standard deviation) of several seeds."""
    mean = statistics.mean(values)
    return f"{mean:.3f}" if len(values) < 2 else f"{mean:.3f} ± {statistics.stdev(values):.3f}"


def score_rows(
    prepared: Prepared, runs: Sequence[Run], baseline: Baseline | None
) -> list[tuple[str, str, int, str, str]]:
    """Split, metric, n, mean ± sd over seeds, majority class."""
    rows: list[tuple[str, str, int, str, str]] = []
    for split, evaluation in runs[0].evaluations.items():
        for metric in runs[0].metrics[split]:
            values = [run.metrics[split][metric] for run in runs]
            known = baseline.metrics.get(split, {}) if baseline is not None else {}
            beside = f"{known[metric]:.3f}" if metric in known else "–"
            rows.append((split, metric, evaluation.n, mean_and_spread(values), beside))
    return rows


def _facts(prepared: Prepared) -> str:
    facts = [
        (fact.name, f"`{fact.value}`") for fact in run_facts(prepared) if fact.name != "answer"
    ]
    seeds = ", ".join(map(str, prepared.settings.seeds))
    return _table(("", ""), [*facts, ("seeds", seeds)])


def _scores(prepared: Prepared, runs: Sequence[Run], baseline: Baseline | None) -> str:
    several = len(runs) > 1
    how = "mean ± sd" if several else "value"
    head = ["split", "metric", "n", f"{how} of {len(runs)} seed{'s' * several}", "majority class"]
    lines: list[list[Any]] = [list(row) for row in score_rows(prepared, runs, baseline)]
    if several:
        head += [f"seed {seed}" for seed in prepared.settings.seeds]
        for line in lines:
            line += [f"{run.metrics[line[0]][line[1]]:.3f}" for run in runs]
    return _table(head, lines)


def _selection(prepared: Prepared, runs: Sequence[Run]) -> str:
    kept = ", ".join(str(run.step) for run in runs)
    metric = prepared.task.metrics[0]
    if prepared.settings.training.keep == "best" and runs[0].history:
        looks = ", ".join(str(len(run.history)) for run in runs)
        return (
            f"Kept: step {kept}, the best of {looks} evaluations on dev by {metric}. The dev score is "
            "the highest of several and therefore flatters; the test set took no part in the choice."
        )
    return f"Kept: the last step ({kept}); nothing was selected."


def _words(prepared: Prepared) -> str:
    if not prepared.words:
        return "The answers are not label words."
    rows = [
        (w.label, w.word, " ".join(f"`{piece}`" for piece in w.pieces), "; ".join(w.warnings))
        for w in prepared.words
    ]
    return _table(("label", "word", "tokens in this template", "warnings"), rows)


def _alarms(prepared: Prepared, runs: Sequence[Run]) -> str:
    found = list(prepared.warnings)
    for seed, run in zip(prepared.settings.seeds, runs, strict=True):
        found += [f"seed {seed}: {alarm.message}" for alarm in run.alarms]
        for split, evaluation in run.evaluations.items():
            if evaluation.cut:
                found.append(
                    f"seed {seed}: {evaluation.cut} of {evaluation.n} {split} examples lost tokens"
                )
    return "\n".join(f"- {line}" for line in found) or "Nothing caught the eye."


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
