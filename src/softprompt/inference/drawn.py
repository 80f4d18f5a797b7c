"""Solved examples drawn anew for each look at a question: one for each answer, out of a pool.

LM-BFF (Gao, Fisch and Chen 2020, section 6): in training a question is shown other ones at each step, a
prediction averages over several draws, and which are drawn from may be the share of each answer's rows that is
nearest to the question. A question never demonstrates itself. Knows examples and words, not models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from softprompt.inference.demonstration_rows import (
    fields_from_json,
    fields_to_json,
    row_from_json,
    row_to_json,
)
from softprompt.inference.similarity import TFIDF, Similarity, similarity
from softprompt.settings import Settings
from softprompt.text.spell import Demonstration, Fields

KEPT = 8_192
"""Questions whose nearest rows are kept, up to some 100 MB for a pool of 1,000 rows."""

Question: TypeAlias = tuple[str, ...]
"""The texts of an example's fields: what it is known by."""


class DemonstrationSettings(Settings):
    """Solved examples behind each question, one for each answer, drawn anew at each look."""

    draws: int = Field(
        default=16,
        ge=1,
        description="draws that a prediction averages; LM-BFF 16 (4 for long pairs)",
    )
    nearest: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        default=None,
        description="draw from this share of each label's rows, those nearest to the question; LM-BFF 0.5",
    )
    encoder: str = Field(
        default=TFIDF,
        min_length=1,
        description="what nearest goes by: tfidf, or a sentence-transformers encoder (a folder, a name "
        "on the hub, an installed package)",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="tokens that are kept of each field of a demonstration; LM-BFF 50",
    )

    @model_validator(mode="after")
    def _encoder_is_used(self) -> Self:
        if self.encoder != TFIDF and self.nearest is None:
            raise ValueError(
                "encoder: it is what nearest goes by; give nearest: 0.5, or leave it out"
            )
        return self


@dataclass(frozen=True)
class PoolRow:
    """A row that may be drawn.

    Args:
        whole: its fields as they were; it is known, and found near, by these.
        shown: its fields as a question is shown them, and its answer.
    """

    whole: Fields
    shown: Demonstration


@dataclass(frozen=True)
class Pool:
    """The rows that are drawn from.

    Args:
        rows: in the order of the answers.
        reads: the fields that a question is known by, those of the template.
        nearest: which share of each answer's rows a question may be shown; None: all.
        encoder: by what they are near.
    """

    rows: tuple[PoolRow, ...]
    reads: tuple[str, ...]
    nearest: float | None = None
    encoder: str = TFIDF

    def question(self, fields: Fields) -> Question:
        """What an example is known by; a field that it lacks is named when it is rendered."""
        values = (fields.get(name, "") for name in self.reads)
        return tuple(v if isinstance(v, str) else ", ".join(v) for v in values)

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """What each row is known by."""
        return tuple(self.question(row.whole) for row in self.rows)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The places of each answer's rows, in the order of the answers."""
        found: dict[tuple[str, ...], list[int]] = {}
        for place, row in enumerate(self.rows):
            found.setdefault(row.shown.words, []).append(place)
        return tuple(map(tuple, found.values()))

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """What finds the nearest rows; None where all are drawn from.

        Raises:
            SettingsError: the encoder is not there.
        """
        if self.nearest is None:
            return None
        by = similarity(self.encoder, [" ".join(question) for question in self.questions])
        return Neighbours(by, self.groups, self.questions, self.nearest)

    def offered(self, question: Question) -> Iterable[Sequence[int]]:
        """The places of the rows that may be drawn for a question, of each answer."""
        if self.neighbours is not None:
            return self.neighbours.of(question)
        return [
            [place for place in group if self.questions[place] != question] for group in self.groups
        ]


class Neighbours:
    """The nearest rows of each answer; those of the last `KEPT` questions are kept.

    Args:
        by: how near a text is to each of the pool's.
        groups: the places of each answer's rows.
        questions: what each row is known by; a question is never its own neighbour.
        share: of each answer's rows, at least one.
    """

    def __init__(
        self,
        by: Similarity,
        groups: Sequence[Sequence[int]],
        questions: Sequence[Question],
        share: float,
    ):
        self._by, self._groups, self._questions, self._share = by, groups, questions, share
        self._kept: dict[Question, tuple[tuple[int, ...], ...]] = {}

    def prepare(self, questions: Iterable[Question]) -> None:
        """Look up many questions at once, each text one time."""
        fresh = [one for one in dict.fromkeys(questions) if one not in self._kept]
        for first in range(0, len(fresh), KEPT // 2):
            window = fresh[first : first + KEPT // 2]
            table = self._by.cosines([" ".join(question) for question in window])
            for question, cosines in zip(window, table, strict=True):
                self._kept[question] = self._nearest(question, cosines)
        for oldest in list(self._kept)[: max(0, len(self._kept) - KEPT)]:
            del self._kept[oldest]

    def of(self, question: Question) -> tuple[tuple[int, ...], ...]:
        """The places of the rows that are nearest to a question, the nearest first, of each answer."""
        if question not in self._kept:
            self.prepare([question])
        return self._kept[question]

    def _nearest(self, question: Question, cosines: Any) -> tuple[tuple[int, ...], ...]:
        found = []
        for group in self._groups:
            order = np.argsort(-cosines[list(group)], kind="stable").tolist()
            others = [group[n] for n in order if self._questions[group[n]] != question]
            found.append(tuple(others[: max(1, int(self._share * len(group) + 1e-9))]))
        return tuple(found)


@dataclass(frozen=True)
class DrawnShots:
    """One demonstration for each answer, in the order of the answers, by chance.

    Which ones follows from the seed, the number of the draw and the question alone: not from what else is asked,
    or was before. An answer whose only row is the question itself is left out.

    Args:
        pool: what is drawn from.
        n_draws: how many draws a prediction averages; they are numbered from 0, those of training from −1 down.
        seed: of them all.
        draw: the number of this one.
    """

    pool: Pool
    n_draws: int
    seed: int
    draw: int = 0

    @property
    def redrawn(self) -> bool:
        return True

    def at(self, draw: int) -> DrawnShots:
        return replace(self, draw=draw)

    def prepare(self, many: Iterable[Fields]) -> None:
        if self.pool.neighbours is not None:
            self.pool.neighbours.prepare(self.pool.question(fields) for fields in many)

    def shown_with(self, fields: Fields) -> tuple[Demonstration, ...]:
        question = self.pool.question(fields)
        return tuple(
            self.pool.rows[offered[self._chance(number, question) % len(offered)]].shown
            for number, offered in enumerate(self.pool.offered(question))
            if offered
        )

    def _chance(self, answer: int, question: Question) -> int:
        """A number below 2**64, the same in every process and version."""
        parts = (str(self.seed), str(self.draw), str(answer), *question)
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")

    def to_json(self) -> dict[str, Any]:
        return {
            "by": "drawn",
            "draws": self.n_draws,
            "seed": self.seed,
            "nearest": self.pool.nearest,
            "encoder": self.pool.encoder,
            "reads": list(self.pool.reads),
            "rows": [_to_json(row) for row in self.pool.rows],
        }


def drawn_from_json(values: Mapping[str, Any]) -> DrawnShots:
    """What `DrawnShots.to_json` gave.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is something else.
    """
    nearest = values["nearest"]
    rows = tuple(
        PoolRow(
            fields_from_json(row.get("whole", row["fields"])),
            row_from_json(row),
        )
        for row in values["rows"]
    )
    pool = Pool(
        rows,
        tuple(values["reads"]),
        None if nearest is None else float(nearest),
        str(values["encoder"]),
    )
    return DrawnShots(pool, int(values["draws"]), int(values["seed"]))


def _to_json(row: PoolRow) -> dict[str, Any]:
    """Of a row that was cut its fields before, too."""
    cut = row.whole != row.shown.fields
    return row_to_json(row.shown) | ({"whole": fields_to_json(row.whole)} if cut else {})
