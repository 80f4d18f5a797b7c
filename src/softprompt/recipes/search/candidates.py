"""Candidates of a search and the file that lists them, one a line, best first; a user may edit it.

A candidate is a template with its label words. Knows texts, not models or fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from softprompt.errors import DataError
from softprompt.recipes.run_folder import write_lines

CANDIDATES = "candidates.jsonl"
_KEYS = ("template", "words", "scores")


@dataclass(frozen=True)
class Candidate:
    """One way to ask a task's question.

    Args:
        template: its source; None: the run's, or the task's own.
        words: as in a run file; None: the run's, or the task's own.
        scores: what the search says of it, by name.
    """

    template: str | None = None
    words: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for two candidates that ask alike, whatever their scores."""
        asked = {"template": self.template, "words": self.words}
        return json.dumps(asked, sort_keys=True, ensure_ascii=False)

    @property
    def title(self) -> str:
        """In one line: the template, and the words of each label."""
        return "  ·  ".join(part for part in (self.template or "", self.spelling) if part)

    @property
    def spelling(self) -> str:
        """The words of each label."""
        return " / ".join(spelled(own) for own in (self.words or {}).values())

    def ordered(self, labels: Sequence[str]) -> Candidate:
        """The same with its words in the order of the labels."""
        return self if self.words is None else replace(self, words=in_order(self.words, labels))

    def to_json(self) -> dict[str, Any]:
        """As a line of the file has it."""
        words = None if self.words is None else dict(self.words)
        return {"template": self.template, "words": words, "scores": dict(self.scores)}


def titles(candidates: Sequence[Candidate]) -> list[str]:
    """A line for each: what they differ in, template or words, or both; of a single one both."""
    if len(candidates) < 2:
        return [one.title for one in candidates]
    if len({one.template for one in candidates}) < 2 and all(one.words for one in candidates):
        return [one.spelling for one in candidates]
    if len({one.spelling for one in candidates}) < 2 and all(one.template for one in candidates):
        return [str(one.template) for one in candidates]
    return [one.title for one in candidates]


def spelled(words: Any) -> str:
    """The words of a label, however deep they stand, in one line."""
    if isinstance(words, Mapping):
        words = list(words.values())
    return words if isinstance(words, str) else " ".join(map(spelled, words))


def in_order(words: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Words by label in the order of the labels; of labels that are none of them, behind."""
    return {label: words[label] for label in labels if label in words} | dict(words)


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """One candidate a line, in their order.

    Raises:
        RunError: the disk refuses.
    """
    write_lines(path, [one.to_json() for one in candidates])


def read_candidates(path: Path) -> list[Candidate]:
    """What `write_candidates` left, as it may have been edited; one that stands twice counts once.

    Raises:
        DataError: no such file, a line that is no candidate, or none at all; says which line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # U+2028 may stand in a line
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    found: dict[str, Candidate] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            one = _candidate(line, f"{path}, line {number}")
            found.setdefault(one.key, one)
    if not found:
        raise DataError(f'{path}: no candidates, expected lines of {{"template": …, "words": …}}')
    return list(found.values())


def _candidate(line: str, where: str) -> Candidate:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict) or not set(row) <= set(_KEYS):
        raise DataError(f"{where}: expected an object with {', '.join(_KEYS)}, found {line[:80]}")
    template, words, scores = (row.get(key) for key in _KEYS)
    if not isinstance(template, str | None) or not isinstance(words, dict | None):
        raise DataError(f"{where}: expected a text as template and {{label: word}} as words")
    for label, own in (words or {}).items():
        if not _is_text(own):
            raise DataError(
                f"{where}: words of '{label}': expected a word or a list of words (in quotes), found "
                f"{json.dumps(own, ensure_ascii=False)}"
            )
    if template is None and words is None:
        raise DataError(f"{where}: expected a template, or words, or both")
    return Candidate(template, words, scores if isinstance(scores, dict) else {})


def _is_text(words: Any) -> bool:
    """Whether the words of a label, however deep they stand, are texts, and there are any."""
    if isinstance(words, Mapping):
        words = list(words.values())
    if isinstance(words, list):
        return bool(words) and all(map(_is_text, words))
    return isinstance(words, str) and bool(words.strip())
