"""Lists of templates that someone else made: LM-BFF's released files, ours a line, or a search's own file.

Knows notations and lines; no tokenizer, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from softprompt.errors import DataError, TemplateError
from softprompt.recipes.search.candidates import Candidate, read_candidates
from softprompt.text.lm_bff import read_lm_bff_templates
from softprompt.text.template import parse

MARKS = ("*cls*", "*mask*", "*sep+*")
"""What only the released notation has."""


def read_templates(path: Path, fields: Sequence[str]) -> list[Candidate]:
    """Candidates of a file, in its order, each once.

    Args:
        path: `.jsonl`: a search's candidates; else templates, one a line, in LM-BFF's released notation
            (with dev scores or without) if any line has its marks, or in ours.
        fields: names of the task's texts, for the sentences 0 and 1 of the release.
    Raises:
        DataError: no such file, no templates, a line that is none; says which.
    """
    if path.suffix == ".jsonl":
        return read_candidates(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError("no such file", str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a readable UTF-8 file, found: {error}", str(path)) from None
    if any(mark in text for mark in MARKS):
        read = read_lm_bff_templates(path, fields=fields)
        found = [
            Candidate(str(template), None, {} if score is None else {"published": score})
            for template, score in read
        ]
    else:
        found = _ours(text, path)
    if not found:
        raise DataError("no templates, expected one a line", str(path))
    return list({one.key: one for one in reversed(found)}.values())[::-1]


def _ours(text: str, path: Path) -> list[Candidate]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        source = line.removesuffix("\r")
        if not source.strip():
            continue
        try:
            found.append(Candidate(str(parse(source))))
        except TemplateError as error:
            raise DataError(str(error), str(path), number) from None
    return found
