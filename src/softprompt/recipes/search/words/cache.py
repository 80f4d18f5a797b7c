"""A table of word scores on disk: kept when the pass over the rows is done, read when a search goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from softprompt.recipes.run_folder import write_text, writing
from softprompt.recipes.search.words.ranking import Floats
from softprompt.recipes.search.words.table import Sums, Table

WORDS, SUMS, TABLE = "words.json", "sums.npy", "log_p.npy"


def save_table(folder: Path, table: Table) -> None:
    """Write the arrays, and the words last: a folder without them holds no table.

    Raises:
        RunError: the disk refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / SUMS, np.stack([table.sums.log_p, table.sums.logit]))
        if table.log_p is not None:
            np.save(folder / TABLE, table.log_p)
    record = {"words": list(table.words), "whole": table.log_p is not None}
    write_text(folder / WORDS, json.dumps(record, ensure_ascii=False) + "\n")


def load_table(folder: Path) -> Table | None:
    """What `save_table` left; None: nothing whole."""
    if not (folder / WORDS).is_file():
        return None
    record = json.loads((folder / WORDS).read_text(encoding="utf-8"))
    log_p, logit = np.load(folder / SUMS)
    whole: Floats | None = np.load(folder / TABLE, mmap_mode="r") if record["whole"] else None
    return Table(tuple(record["words"]), Sums(log_p, logit), whole)
