"""Solved examples to show beside a question: the same for all, or those nearest to it; saved, and read again.

In-context learning (Brown et al. 2020); nearest ones after Liu et al. 2021 ("What Makes Good In-Context
Examples for GPT-3?"), here by the cosine of TF-IDF over character n-grams of 1 to 4 within words, which
needs no network and suits Chinese too. They come from train, evenly over the labels, and are saved with
the prompt. Those that are drawn anew at each look are in `drawn.py`. Knows examples and words, not models.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from softprompt.data.examples import Example
from softprompt.errors import PromptError
from softprompt.inference.demonstration_rows import row_from_json, row_to_json
from softprompt.inference.drawn import drawn_from_json
from softprompt.text.spell import Demonstration, Fields

POOL = 1_000
"""Rows at most that the nearest ones are looked for in; they are saved with the prompt."""


class Shots(Protocol):
    """Which demonstrations an example is shown."""

    @property
    def n_draws(self) -> int:
        """How many draws a prediction averages; 1 where nothing is drawn."""

    @property
    def redrawn(self) -> bool:
        """Whether training draws anew at each look at an example."""

    def at(self, draw: int) -> Shots:
        """Those of a draw, numbered from 0; the same ones where nothing is drawn."""

    def prepare(self, many: Iterable[Fields]) -> None:
        """Get ready for many examples at once, where that is faster; changes no choice."""

    def shown_with(self, fields: Fields) -> tuple[Demonstration, ...]:
        """Those of an example, the first being the last to go where not all fit."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `shots_from_json` reads it."""


class _Undrawn:
    """Nothing is left to chance."""

    n_draws = 1
    redrawn = False

    def at(self, draw: int) -> Self:
        return self

    def prepare(self, many: Iterable[Fields]) -> None:
        pass


@dataclass(frozen=True)
class FixedShots(_Undrawn):
    """The same demonstrations for every example.

    Args:
        shown: in their order.
    """

    shown: tuple[Demonstration, ...]

    def shown_with(self, fields: Fields) -> tuple[Demonstration, ...]:
        return self.shown

    def to_json(self) -> dict[str, Any]:
        return {"by": "random", "k": len(self.shown), "rows": [row_to_json(d) for d in self.shown]}


@dataclass(frozen=True)
class NearestShots(_Undrawn):
    """The k rows of a pool nearest to an example, evenly over the answers, the nearest first.

    A row with the example's very fields is passed over: it would be the answer itself.

    Args:
        pool: what is looked through.
        k: how many are shown.
    """

    pool: tuple[Demonstration, ...]
    k: int

    def shown_with(self, fields: Fields) -> tuple[Demonstration, ...]:
        text = _text(fields)
        vectoriser, rows = self._table
        cosines = np.asarray((rows @ vectoriser.transform([text]).T).todense()).ravel()
        order = np.argsort(-cosines, kind="stable").tolist()
        order = [place for place in order if _text(self.pool[place].fields) != text]
        answers = list(dict.fromkeys(d.words for d in self.pool))
        share = self.k // len(answers)
        of = {a: [p for p in order if self.pool[p].words == a][:share] for a in answers}
        chosen = {place for places in of.values() for place in places}
        rest = [place for place in order if place not in chosen]
        chosen |= set(rest[: self.k - len(chosen)])
        return tuple(self.pool[place] for place in order if place in chosen)

    @cached_property
    def _table(self) -> tuple[Any, Any]:
        """The vectoriser and the pool's rows, of length 1."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
        return vectoriser, vectoriser.fit_transform([_text(d.fields) for d in self.pool])

    def to_json(self) -> dict[str, Any]:
        return {"by": "similarity", "k": self.k, "rows": [row_to_json(d) for d in self.pool]}


def balanced(examples: Sequence[Example], k: int, seed: int) -> list[Example]:
    """k examples drawn evenly over their targets, in a random order; fewer where there are no more.

    Labels that get one more than others are drawn too. Targets that are no labels are one kind.
    """
    draw = random.Random(f"demonstrations {seed}")
    kinds: dict[Any, list[Example]] = {}
    for example in examples:
        label = example.target if isinstance(example.target, str) else None
        kinds.setdefault(label, []).append(example)
    piles = [draw.sample(pile, len(pile)) for pile in kinds.values()]
    draw.shuffle(piles)
    depth = max(map(len, piles), default=0)
    in_turn = [pile[n] for n in range(depth) for pile in piles if n < len(pile)]
    chosen = in_turn[:k]
    draw.shuffle(chosen)
    return chosen


def shots_from_json(values: Mapping[str, Any]) -> Shots:
    """Read what `to_json` gave.

    Raises:
        PromptError: it is something else.
    """
    try:
        if values["by"] == "drawn":
            return drawn_from_json(values)
        rows = tuple(row_from_json(row) for row in values["rows"])
        if values["by"] not in ("random", "similarity"):
            raise ValueError(f"by: {values['by']!r}")
        k = int(values["k"])
        made: Shots = FixedShots(rows) if values["by"] == "random" else NearestShots(rows, k)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PromptError(
            f"the prompt's demonstrations cannot be read ({error!r}); another version of softprompt "
            "may have written it"
        ) from None
    return made


def _text(fields: Fields) -> str:
    """All of an example's fields as one text."""
    return "\n".join(v if isinstance(v, str) else " ".join(v) for v in fields.values())
