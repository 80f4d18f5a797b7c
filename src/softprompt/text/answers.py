"""What may stand in the answer slots, and how it maps to the target.

A verbalizer (label ↔ one or several words), learned class vectors, the example's own candidates, free
text, or two poles of a number. Knows words; how they become tokens is `render.py`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from softprompt.errors import SettingsError, TemplateError

Slots: TypeAlias = int | Sequence[str | None]
"""The answer slots of a template: how many, or their names in order, None for one without."""


@dataclass(frozen=True)
class Candidate:
    """One way to fill the answer slots.

    Args:
        words: a word (or several) for each answer slot of the template, in its order.
        label: index of the label that this candidate speaks for.
    """

    words: tuple[str, ...]
    label: int


class Answers(Protocol):
    """The candidates of an example and the labels they speak for."""

    @property
    def kind(self) -> str:
        """`words`, `classes`, `candidates`, `text` or `poles`."""

    def labels(self, candidates: tuple[str, ...] | None) -> tuple[str, ...]:
        """The possible labels of an example with these candidates of its own."""

    def candidates(self, candidates: tuple[str, ...] | None) -> tuple[Candidate, ...]:
        """What is scored for an example with these candidates of its own."""

    def to_json(self) -> dict[str, Any]:
        """A description that `answers_from_json` reads back."""


@dataclass(frozen=True)
class Verbalizer:
    """Labels and their words; several words of a label share its score (mean of logits, PET's code).

    Args:
        words: label to alternatives; each alternative has a word for each answer slot.
    """

    words: Mapping[str, tuple[tuple[str, ...], ...]]
    kind: str = "words"

    @classmethod
    def read(cls, words: Mapping[str, Any], slots: Slots = 1) -> Verbalizer:
        """From a mapping as users write it: `{positive: great}`, `{positive: [great, good]}`, and
        for several slots `{positive: [[very, good], [so, fine]]}`, or, where the template names
        them, `{positive: {how: very, what: good}}`.

        Raises:
            TemplateError: a label without words, or an alternative that does not fill the slots.
        """
        if not words:
            raise TemplateError("answers without labels, expected label words for each label")
        names = (None,) * slots if isinstance(slots, int) else tuple(slots) or (None,)
        return cls({str(label): _alternatives(label, w, names) for label, w in words.items()})

    def labels(self, candidates: tuple[str, ...] | None) -> tuple[str, ...]:
        return tuple(self.words)

    def candidates(self, candidates: tuple[str, ...] | None) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(alternative, number)
            for number, alternatives in enumerate(self.words.values())
            for alternative in alternatives
        )

    def to_json(self) -> dict[str, Any]:
        words = {label: [list(row) for row in rows] for label, rows in self.words.items()}
        return {"kind": self.kind, "words": words}


def _alternatives(
    label: object, given: object, names: Sequence[str | None]
) -> tuple[tuple[str, ...], ...]:
    slots = len(names)
    several = given if isinstance(given, list | tuple) else [given]
    rows = tuple(_in_order(label, row, names) for row in several)
    if not rows:
        raise TemplateError(f"label '{label}' has no words, expected at least one")
    for row in rows:
        strange = [word for word in row if not isinstance(word, str)]
        if strange:
            raise TemplateError(
                f"label '{label}': expected words, found {strange[0]!r}; put it in quotes if that is "
                "the word"
            )
        if len(row) != slots or not all(word.strip() for word in row):
            written = f"[[{', '.join(f'word{n}' for n in range(1, slots + 1))}]]"
            raise TemplateError(
                f"label '{label}': {list(row)} does not fill the template's {slots} answer slot(s), "
                f"expected {slots} non-empty word(s)" + (f", as in {written}" if slots > 1 else "")
            )
    return rows


def _in_order(label: object, row: object, names: Sequence[str | None]) -> tuple[Any, ...]:
    """One alternative's words in the order of the slots."""
    if not isinstance(row, Mapping):
        return tuple(row) if isinstance(row, list | tuple) else (row,)
    if set(row) != set(names):
        slots = ", ".join("{mask}" if name is None else f"{{mask:{name}}}" for name in names)
        raise TemplateError(
            f"label '{label}': words are given for the slots {', '.join(map(str, row))}; the template "
            f"has {slots}"
        )
    return tuple(row[name] for name in names)


@dataclass(frozen=True)
class Classes(Verbalizer):
    """Labels that learned vectors read off the one answer slot, a vector for each (Hambardzumyan et al.
    2021, WARP, section 3).

    Args:
        words: of each label, what its vector may start from; the labels are in the vectors' order.
    """

    kind: str = "classes"

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"labels": list(self.words)}  # a mapping may lose its order


@dataclass(frozen=True)
class OwnCandidates:
    """Each example brings its own possible answers (COPA's choices, ReCoRD's entities, ChID)."""

    kind: str = "candidates"

    def labels(self, candidates: tuple[str, ...] | None) -> tuple[str, ...]:
        if not candidates:
            raise TemplateError(
                "an example without candidates, expected the answers to choose from"
            )
        return candidates

    def candidates(self, candidates: tuple[str, ...] | None) -> tuple[Candidate, ...]:
        return tuple(Candidate((word,), i) for i, word in enumerate(self.labels(candidates)))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}


@dataclass(frozen=True)
class FreeText:
    """The answer is any text; it is generated, and trained on the gold text.

    Args:
        max_tokens: how long a generated answer may be.
    """

    max_tokens: int = 32
    kind: str = "text"

    def labels(self, candidates: tuple[str, ...] | None) -> tuple[str, ...]:
        return ()

    def candidates(self, candidates: tuple[str, ...] | None) -> tuple[Candidate, ...]:
        return ()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "max_tokens": self.max_tokens}


POLES = ("lower", "upper")
"""The ends of a number, as labels."""


@dataclass(frozen=True)
class Poles:
    """A number between two words: y = low + (high − low) · p(upper word) (LM-BFF, section 4.2).

    What is learned and printed as loss is the cross-entropy of p with `mixture`: the paper's KL divergence
    plus the mixture's own entropy, which has no gradient. (The released code passes probabilities to its KL
    where logarithms belong; that is not done here.)

    Args:
        words: the lower and the upper word.
        bounds: the numbers they stand for.
    Raises:
        TemplateError: bounds that are not in order.
    """

    words: tuple[str, str]
    bounds: tuple[float, float]
    kind: str = "poles"

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise TemplateError(
                f"bounds {low} and {high}: expected two numbers, the lower one first"
            )

    @classmethod
    def read(
        cls,
        words: Mapping[str, str | Sequence[str]] | None,
        bounds: tuple[float, float] | None,
        own: Iterable[str] = (),
    ) -> Poles:
        """Words as users give them.

        Args:
            words: one under `lower` and one under `upper`, or under the task's own names of its ends.
            own: these names, the lower end's first.
        Raises:
            SettingsError: no bounds, not two words, or names that do not say which is which.
        """
        given = {end: (w,) if isinstance(w, str) else tuple(w) for end, w in (words or {}).items()}
        if [len(of_end) for of_end in given.values()] != [1, 1] or bounds is None:
            raise SettingsError(
                "a number is predicted: it needs bounds, and two words, {lower: …, upper: …}"
            )
        ends = next((ends for ends in (POLES, tuple(own)) if set(ends) == set(given)), None)
        if ends is None:
            raise SettingsError(
                "words: expected those of the two ends of a number, {lower: …, upper: …}, found "
                + " and ".join(f"'{name}'" for name in given)
            )
        lower, upper = (given[end][0] for end in ends)
        return cls((lower, upper), bounds)

    def labels(self, candidates: tuple[str, ...] | None) -> tuple[str, ...]:
        return POLES

    def candidates(self, candidates: tuple[str, ...] | None) -> tuple[Candidate, ...]:
        return (Candidate((self.words[0],), 0), Candidate((self.words[1],), 1))

    def mixture(self, value: float) -> tuple[float, float]:
        """The target distribution over the poles; the value is clipped to the bounds."""
        low, high = self.bounds
        upper = min(1.0, max(0.0, (value - low) / (high - low)))
        return 1.0 - upper, upper

    def value(self, probabilities: Sequence[float]) -> float:
        """The number that a distribution over the poles stands for."""
        low, high = self.bounds
        return low + (high - low) * probabilities[1]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": list(self.words), "bounds": list(self.bounds)}


def answers_from_json(description: Mapping[str, Any]) -> Answers:
    """Read what `to_json` wrote.

    Raises:
        TemplateError: an unknown kind of answers, or a description that is not whole.
    """
    try:
        return _READERS[description["kind"]](description)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TemplateError(
            f"answers {dict(description)!r} cannot be read: expected a kind, one of "
            f"{', '.join(_READERS)}, and what to_json writes for it ({error!r})"
        ) from None


def _read_poles(description: Mapping[str, Any]) -> Poles:
    (low, high), (lower, upper) = description["bounds"], description["words"]
    return Poles((str(lower), str(upper)), (float(low), float(high)))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Answers]] = {
    "words": lambda d: Verbalizer(
        {str(k): tuple(tuple(map(str, row)) for row in rows) for k, rows in d["words"].items()}
    ),
    "classes": lambda d: Classes(
        {label: tuple(tuple(map(str, row)) for row in d["words"][label]) for label in d["labels"]}
    ),
    "candidates": lambda d: OwnCandidates(),
    "text": lambda d: FreeText(int(d["max_tokens"])),
    "poles": _read_poles,
}
