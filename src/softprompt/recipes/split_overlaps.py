"""Which rows the splits of a run's task share; looked for once, and kept while the data are the same.

Train, dev and test each with each; the test sets of other tasks with what was learned from and chosen on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from softprompt.data.overlap import Matches, Overlap, overlap
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_folder import write_text


def split_overlaps(data: RunData, home: Path) -> tuple[Overlap, ...]:
    """Compare the splits of a task.

    Args:
        data: the task, and which of its splits are test sets of others.
        home: folder that keeps what was found.
    Raises:
        RunError: it cannot be written.
    """
    task = data.task
    own = [name for name in ("train", "dev", "test") if name in task.split_names]
    pairs: list[tuple[str, str]] = [(a, b) for n, a in enumerate(own) for b in own[n + 1 :]]
    pairs += [(a, b) for b in data.shifted for a in own if a != "test"]
    hashes = {name: task.content_hash(name) for pair in pairs for name in pair}
    found: list[Overlap] = []
    for left, right in pairs:
        names = f"{left}|{right}|{hashes[left]}|{hashes[right]}"
        path = home / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.json"
        one = _read(path)
        if one is None:
            one = overlap(task.examples(left), task.examples(right), (left, right))
            write_text(path, json.dumps(asdict(one), ensure_ascii=False, indent=2) + "\n")
        found.append(one)
    return tuple(found)


def _read(path: Path) -> Overlap | None:
    """What was found before; None where nothing was, or by another version."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        equal, near = (_matches(record.pop(name)) for name in ("equal", "near"))
        return Overlap(**record, equal=equal, near=near)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _matches(record: Mapping[str, Any]) -> Matches:
    ids = tuple((left, right) for left, right in record["ids"])
    return Matches(record["left"], record["right"], ids)
