"""report.md: what was run, what came out, on what evidence, and what to be careful about.

A pure function from a finished run to Markdown.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from softprompt.analysis.baselines import Baseline
from softprompt.data.mixture import rows_behind
from softprompt.data.task import Task
from softprompt.recipes.choice import Choice, Tried
from softprompt.recipes.facts import run_facts
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.prepare import Bound, Prepared
from softprompt.text.checks import WordReport


def write_report(
    prepared: Prepared, tried: Sequence[Tried], choice: Choice, baseline: Baseline | None
) -> str:
    """The report of a run. Of a sweep: dev scores of all variants, and the rest of the chosen one.

    Args:
        prepared: what was run.
        tried: the variants and what came of them; one of an ordinary run.
        choice: which one was chosen.
        baseline: the majority class, or None.
    Returns:
        Markdown, ending in a newline.
    """
    best = tried[choice.index]
    runs = best.outcomes
    parts = [
        f"# {prepared.task.name} on {prepared.backbone.name}",
        _facts(prepared, best.bound),
        _sweep(prepared, tried, choice),
        "## Scores",
        _scores(runs, baseline, prepared.task),
        _selection(best, prepared.task.metrics[0]),
        "## Label words",
        _words(best.bound.words),
        "## Watch out",
        _alarms(prepared, tried, runs),
        "![training loss and dev metric over steps](plots/training.png)",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def selection(prepared: Prepared, tried: Sequence[Tried]) -> str:
    """How a sweep's prompt was chosen, as its record says: `dev: the best of 6 variants × 10 steps`."""
    looks = max(outcome.looks for one in tried for outcome in one.outcomes)
    last = all(one.bound.settings.training.keep == "last" for one in tried)
    steps = 1 if last else max(1, looks)
    return f"dev: the best of {len(tried)} variants × {steps} step{'s' * (steps > 1)}"


def variant_rows(
    tried: Sequence[Tried], choice: Choice, metric: str
) -> list[tuple[str, str, str, str]]:
    """Variant, dev mean ± sd, kept steps, parameters; the best one first."""
    rows: list[tuple[str, str, str, str]] = []
    for place in choice.order:
        one = tried[place]
        values = one.values("dev", metric)
        score = mean_and_spread(values) if values else "failed"
        steps = ", ".join("–" if o.failure else str(o.step) for o in one.outcomes)
        rows.append((one.bound.variant.name, score, steps, f"{one.n_learned:,}"))
    return rows


def how_chosen(tried: Sequence[Tried], choice: Choice, metric: str) -> str:
    """One sentence: by what, of how many, and how a tie was settled."""
    seeds = len(tried[0].outcomes)
    mean = f"mean dev {metric} over {seeds} seeds" if seeds > 1 else f"dev {metric}"
    text = f"the best of {len(tried)} variants by {mean}"
    if choice.tied > 1:
        text += f"; {choice.tied} are tied, and {choice.settled} decided"
    return text


def mean_and_spread(values: Sequence[float]) -> str:
    """`0.812`, or `0.812 ± 0.013` (sample standard deviation) of several seeds."""
    mean = statistics.mean(values)
    return f"{mean:.3f}" if len(values) < 2 else f"{mean:.3f} ± {statistics.stdev(values):.3f}"


def score_rows(
    runs: Sequence[Outcome], baseline: Baseline | None, task: Task
) -> list[tuple[str, str, int, str, str]]:
    """Split, metric, n, mean ± sd over seeds, majority class."""
    rows: list[tuple[str, str, int, str, str]] = []
    for split in runs[0].n:
        for metric in runs[0].metrics[split]:
            n = rows_behind(task, split, metric)
            values = [run.metrics[split][metric] for run in runs]
            known = baseline.metrics.get(split, {}) if baseline is not None else {}
            beside = f"{known[metric]:.3f}" if metric in known else "–"
            rows.append((split, metric, n, mean_and_spread(values), beside))
    return rows


def _facts(prepared: Prepared, best: Bound) -> str:
    facts = [
        (fact.name, f"`{fact.value}`")
        for fact in run_facts(prepared, best)
        if fact.name != "answer"
    ]
    seeds = ", ".join(map(str, prepared.settings.seeds))
    return _table(("", ""), [*facts, ("seeds", seeds)])


def _sweep(prepared: Prepared, tried: Sequence[Tried], choice: Choice) -> str:
    if not prepared.settings.sweep:
        return ""
    metric = prepared.task.metrics[0]
    spread = " (mean ± sd)" if len(prepared.settings.seeds) > 1 else ""
    rows = [list(row) for row in variant_rows(tried, choice, metric)]
    rows[0] = [f"**{rows[0][0]}**", *rows[0][1:]]
    best = tried[choice.index].bound.variant
    values = [(key, f"`{json.dumps(v, ensure_ascii=False)}`") for key, v in best.values.items()]
    steps = selection(prepared, tried).removeprefix("dev: the best of ")
    parts = [
        "## Sweep",
        _table(("variant", f"dev {metric}{spread}", "kept step", "parameters"), rows),
        f"Selection: dev, {steps}. Chosen: **{best.name}**, {how_chosen(tried, choice, metric)}. The "
        "highest of many dev scores flatters; the test set took no part in the choice, and its "
        "scores below are those of the chosen variant alone.",
        _table(("key", "chosen value"), values),
    ]
    return "\n\n".join([*parts, _numbered(prepared)]).rstrip()


def _numbered(prepared: Prepared) -> str:
    """What the numbers in names stand for, where values or names are too long to be written out."""
    lines: dict[str, None] = {}
    for one in prepared.variants:
        names, values = one.variant.name.split(","), one.variant.values
        shown = [
            v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values.values()
        ]
        if len(names) != len(values):
            names = [one.variant.name] * len(values)
        for name, key, value in zip(names, values, shown, strict=True):
            if name.partition("=")[2] != value:
                lines[f"- {name}: `{key}: {' '.join(value.split())}`"] = None
    return "\n".join(lines)


def _scores(runs: Sequence[Outcome], baseline: Baseline | None, task: Task) -> str:
    several = len(runs) > 1
    how = "mean ± sd" if several else "value"
    head = ["split", "metric", "n", f"{how} of {len(runs)} seed{'s' * several}", "majority class"]
    lines: list[list[Any]] = [list(row) for row in score_rows(runs, baseline, task)]
    if several:
        head += [f"seed {run.seed}" for run in runs]
        for line in lines:
            line += [f"{run.metrics[line[0]][line[1]]:.3f}" for run in runs]
    return _table(head, lines)


def _selection(best: Tried, metric: str) -> str:
    runs = best.outcomes
    kept = ", ".join(str(run.step) for run in runs)
    if best.bound.settings.training.keep == "best" and runs[0].looks:
        looks = ", ".join(str(run.looks) for run in runs)
        return (
            f"Kept: step {kept}, the best of {looks} evaluations on dev by {metric}. The dev score is "
            "the highest of several and therefore flatters; the test set took no part in the choice."
        )
    return f"Kept: the last step ({kept}); nothing was selected."


def _words(words: Sequence[WordReport]) -> str:
    if not words:
        return "The answers are not label words."
    rows = [
        (w.label, w.word, " ".join(f"`{p}`" for p in w.pieces), "; ".join(w.warnings))
        for w in words
    ]
    return _table(("label", "word", "tokens in this template", "warnings"), rows)


def _alarms(prepared: Prepared, tried: Sequence[Tried], runs: Sequence[Outcome]) -> str:
    found = list(prepared.warnings)
    for run in runs:
        found += [f"seed {run.seed}: {message}" for message in run.alarms]
        for split, cut in run.cut.items():
            if cut:
                found.append(
                    f"seed {run.seed}: {cut} of {run.n[split]} {split} examples lost tokens"
                )
    failures = [outcome.failure for one in tried for outcome in one.outcomes if outcome.failure]
    found += [" ".join(failure.split()) for failure in failures]
    return "\n".join(f"- {line}" for line in found) or "Nothing caught the eye."


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
