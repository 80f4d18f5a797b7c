"""A run file for a user's own data: written with every guess explained and its alternatives named.

The text is YAML that `read_run` accepts as it stands; comments tell what to look at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from softprompt.recipes.guessing import Guess, guess
from softprompt.recipes.run_folder import write_text


def write_run_file(
    data: Path,
    out: Path,
    backbone: str,
    fields: Sequence[str] = (),
    target: str | None = None,
    others: Sequence[tuple[str, Path]] = (),
) -> Guess:
    """Guess from a data file and write a run file beside it.

    Args:
        data: the training file.
        out: the YAML file to write; its folder is what the paths in it are relative to.
        backbone: name or path.
        fields, target: columns that the user names.
        others: further files, ("dev", path) or ("test", path).
    Returns:
        What was guessed.
    Raises:
        UsageError: a file or column that is wrong.
    """
    found = guess(data, fields, target)
    write_text(out, run_file_text(found, data, out, backbone, others))
    return found


def run_file_text(
    found: Guess, data: Path, out: Path, backbone: str, others: Sequence[tuple[str, Path]] = ()
) -> str:
    """The commented YAML of a guess."""
    same = all(field == column for field, column in found.fields.items())
    lines = [
        f"# A run file for {data.name}: look through it, then: softprompt train {out.name}",
        "# Every key can also be given on the command line: softprompt train "
        f"{out.name} training.steps=500",
        "# All keys with their defaults: softprompt list settings",
        "",
        "# The pretrained model: softprompt/… ships in the package, else a folder or a name on the "
        "hub.",
        f"backbone: {_quoted(backbone)}",
        "",
        "task:",
        "  # csv, tsv, jsonl, json or parquet, UTF-8; paths are relative to this file.",
        f"  train: {_quoted(_relative(data, out))}",
        *(f"  {split}: {_quoted(_relative(path, out))}" for split, path in others),
        *_hints_for_missing(others),
        f"  # The columns are: {_one_line(', '.join(found.columns))}",
        "  # What the model reads; a template calls a field {by its name}.",
    ]
    if same:
        lines.append(f"  fields: [{', '.join(map(_quoted, found.fields))}]")
    else:
        lines.append("  fields:  # field name: column")
        lines += [f"    {_quoted(f)}: {_quoted(c)}" for f, c in found.fields.items()]
    lines += [
        "  # What is to be predicted. kind: label, text (free text) or number.",
        f"  target: {_quoted(found.target)}",
        "  kind: label",
        f"  # As counted in {found.rows:,} rows; 'raw value: name' gives a label another name.",
        "  labels:",
        *(f"    {_quoted(v)}: {_quoted(v)}  # {n:,} rows" for v, n in found.labels.items()),
        "  # The first one selects: accuracy, macro_f1 (better where labels are uneven), matthews, …",
        f"  metrics: [{'macro_f1, accuracy' if _uneven(found) else 'accuracy'}]",
        f"  language: {found.language}",
        "  # true passes over rows that cannot be read and counts them.",
        "  skip_bad_rows: false",
        "",
        "# Text around the fields; {mask} is where the model answers, {soft:20} places learned rows",
        "# (without it they stand in front). Try others: wording matters. A causal backbone answers",
        "# best at the end (It was {mask}), an encoder-decoder in its decoder: leave {mask} out there.",
        f"template: {_quoted(found.template)}",
        "",
        "# What may stand at {mask} for each label: one word, or a list [great, good]. Best are",
        "# common words of one token; how they are tokenised is shown before training.",
    ]
    if not found.sure:
        lines.append("# GUESSED, or placeholders: put words here that say what the labels mean.")
    lines += ["words:", *(f"  {_quoted(v)}: {_quoted(w)}" for v, w in found.words.items())]
    lines += [
        "",
        "# prompt_tuning learns rows; full_tuning moves all weights; prompt_design learns nothing.",
        "method:",
        "  name: prompt_tuning",
        "  length: 20       # learned rows",
        "  init: labels     # labels, vocabulary, text, prompt, uniform",
        "",
        "training:",
        f"  steps: {_steps(found.rows)}",
        "  batch_size: 16",
        "  evaluate_every: 25   # on dev; the best step is kept",
        "",
        "# One prompt per seed; several show how much is chance: [0, 1, 2]",
        "seeds: [0]",
    ]
    return "\n".join(lines) + "\n"


def _hints_for_missing(others: Sequence[tuple[str, Path]]) -> list[str]:
    given = {split for split, _ in others}
    hints = {
        "dev": "  # dev: dev.csv     # selects the step that is kept; else 10 % of train",
        "test": "  # test: test.csv   # seen once, at the end",
    }
    return [hint for split, hint in hints.items() if split not in given]


def _uneven(found: Guess) -> bool:
    return max(found.labels.values()) > 3 * min(found.labels.values())


def _steps(rows: int) -> int:
    """A first try that ends in minutes on a laptop."""
    return 200 if rows < 2_000 else 500


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path, out.parent)).as_posix()


def _quoted(text: str) -> str:
    """A YAML double-quoted text (JSON's strings are ones)."""
    return json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())
