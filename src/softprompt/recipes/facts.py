"""The facts of a run, to show before it begins and in its report.

Knows what was prepared; nothing of scores or folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from softprompt.analysis.accounts import n_bytes
from softprompt.recipes.prepare import Bound, Prepared
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.watching import Fact
from softprompt.text.answers import Poles


def run_facts(prepared: Prepared, shown: Bound | None = None) -> list[Fact]:
    """What to show before training, or of one variant of a sweep."""
    b, task, s = prepared.backbone, prepared.task, prepared.settings
    every = [shown] if shown is not None else prepared.variants
    family = b.family.replace("_", "-")
    limit = f", {b.limit} positions" if b.limit else ""
    rows = ", ".join(f"{split} {len(task.examples(split)):,}" for split in task.split_names)
    facts = [
        Fact("backbone", f"{b.name} ({family}, {b.n_parameters:,} parameters{limit})"),
        Fact("device", f"{b.device}, {b.precision}"),
        Fact("task", f"{task.name}: {rows}"),
        *(Fact("", note) for note in prepared.notes),
    ]
    if s.sweep:
        n, seeds = len(prepared.variants), len(s.seeds)
        facts.append(
            Fact("sweep", f"{n} variants × {seeds} seed{'s' * (seeds > 1)} = {n * seeds:,} fits")
        )
        facts += [Fact("", f"{key}: {shortened(values)}") for key, values in s.sweep.items()]
    facts += _distinct("template", (one.template for one in every))
    reports = dict.fromkeys(word for one in every for word in one.words)
    facts += _some("answer", [f"{w.label} ← {w.word}  {' '.join(w.pieces)}" for w in reports])
    answers = every[0].applied.answers
    if isinstance(answers, Poles):
        facts.append(Fact("", f"a number from {answers.bounds[0]:g} to {answers.bounds[1]:g}"))
    facts += _distinct(
        "method",
        (f"{o.settings.method.name}, objective {o.applied.objective.normalise}" for o in every),
    )
    facts += _distinct("demonstrations", (_drawn(o.settings) for o in every if _drawn(o.settings)))
    facts += _distinct("learned", (f"{o.account}, {n_bytes(o.account.n_bytes)}" for o in every))
    cut = max((one.cut for one in every), key=lambda pair: pair[0])
    facts.append(Fact("cut", f"{cut[0]} of the first {cut[1]:,} training examples"))
    return facts


def _drawn(settings: RunSettings) -> str:
    """Which demonstrations are drawn, if any."""
    d = settings.demonstrations
    if d is None:
        return ""
    nearest = "" if d.nearest is None else f", out of the nearest {d.nearest:.0%} by {d.encoder}"
    limit = "" if d.limit is None else f", {d.limit} tokens of each text"
    return (
        f"one per label, drawn at each step; a prediction averages {d.draws} draws{nearest}{limit}"
    )


def shortened(values: Sequence[Any], most: int = 60) -> str:
    """A few values in one line."""
    shown = ", ".join(map(str, values))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _distinct(name: str, values: Iterable[str]) -> list[Fact]:
    return _some(name, list(dict.fromkeys(values)))


def _some(name: str, lines: Sequence[str], most: int = 20) -> list[Fact]:
    """The first lines of a fact that has several."""
    facts = [Fact(name, line) for line in lines[:most]]
    return facts + [Fact("", f"… {len(lines) - most} more")] * (len(lines) > most)
