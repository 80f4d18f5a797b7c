"""Small data files and run files for whole runs on tiny models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softprompt.settings import to_yaml

GOOD = (
    "the film was very good",
    "a great story",
    "funny and moving",
    "this book is fine",
    "great plot, good film",
    "very very good",
    "not one dull scene",
    "the old film is great",
    "a good long story",
    "so funny",
)
BAD = (
    "a dull plot",
    "the film was awful",
    "terrible and slow",
    "this book is bad",
    "not good, not funny",
    "so long, so slow",
    "a bad scene in a dull film",
    "an awful story",
    "the new one is terrible",
    "very dull",
)


def write_reviews(path: Path, times: int = 2) -> Path:
    """A csv of review and mood, 20 rows a time."""
    rows = [(text, "positive") for text in GOOD] + [(text, "negative") for text in BAD]
    lines = [f'"{text} {number}",{mood}' for number in range(times) for text, mood in rows]
    path.write_text("review,mood\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """One object a line."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def run_values(model: Path, /, **changes: Any) -> dict[str, Any]:
    """The values of a run file that lies beside reviews.csv; dotted keys change inner values."""
    values: dict[str, Any] = {
        "backbone": str(model),
        "task": {"train": "reviews.csv", "fields": ["review"], "target": "mood"},
        "template": "{review} It was {mask}.",
        "words": {"positive": "great", "negative": "terrible"},
        "method": {"name": "prompt_tuning", "length": 3},
        "training": {"steps": 6, "batch_size": 4, "evaluate_every": 3, "checkpoint_every": 2},
        "dev_size": 8,
        "out": "run",
    }
    for key, value in changes.items():
        *above, last = key.split("__")
        node = values
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return values


def write_run_yaml(folder: Path, model: Path, /, **changes: Any) -> Path:
    """reviews.csv and run.yaml in a folder; returns run.yaml."""
    if not (folder / "reviews.csv").exists():
        write_reviews(folder / "reviews.csv")
    path = folder / "run.yaml"
    path.write_text(to_yaml(run_values(model, **changes)), encoding="utf-8")
    return path
