"""A table of word scores on disk: kept when the pass over the rows is done, read when a search goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from softprompt.recipes.run_folder import write_text, writing
from softprompt.recipes.search.words.ranking import Floats
from softprompt.recipes.search.words.table import Sums, Table

WORDS, SUMS, TABLE = "words.json", "sums.npy", "log_p.npy"

Lists = Mapping[str, Sequence[str]]
"""The words that a user lists for each label."""


def save_table(folder: Path, table: Table, lists: Lists | None = None) -> None:
    """Write the arrays, and the words last: a folder without them holds no table.

    Args:
        lists: what it was made for; None: the words of the vocabulary.
    Raises:
        RunError: the disk refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WORDS).unlink(missing_ok=True)
        np.save(folder / SUMS, np.stack([table.sums.log_p, table.sums.logit]))
        if table.log_p is not None:
            np.save(folder / TABLE, table.log_p)
    record = {"words": list(table.words), "whole": table.log_p is not None, "lists": lists}
    write_text(folder / WORDS, json.dumps(record, ensure_ascii=False) + "\n")


def load_table(folder: Path) -> Table | None:
    """What `save_table` left; None: nothing whole."""
    if not (folder / WORDS).is_file():
        return None
    record = json.loads((folder / WORDS).read_text(encoding="utf-8"))
    log_p, logit = np.load(folder / SUMS)
    whole: Floats | None = np.load(folder / TABLE, mmap_mode="r") if record["whole"] else None
    return Table(tuple(record["words"]), Sums(log_p, logit), whole)


def kept_lists(folder: Path) -> Lists | None:
    """What a user listed when the table there was made; None: nothing whole, or no list."""
    if not (folder / WORDS).is_file():
        return None
    lists: Lists | None = json.loads((folder / WORDS).read_text(encoding="utf-8")).get("lists")
    return lists


def made_for(folder: Path, lists: Lists | None) -> bool:
    """Whether the table there was made for these lists; an older one, which does not say, counts as such."""
    record = json.loads((folder / WORDS).read_text(encoding="utf-8"))
    return bool(record.get("lists", lists) == lists)
