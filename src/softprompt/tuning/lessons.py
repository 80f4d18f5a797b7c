"""What a fit is taught and asked: examples as the network sees them, and what they should answer.

Knows renderings and targets, not models, batches or steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from softprompt.data.examples import Example, Target
from softprompt.data.metrics import hard
from softprompt.errors import DataError
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import gold
from softprompt.inference.questions import Question, questions
from softprompt.text.answers import FreeText, Poles
from softprompt.text.draft import Draft
from softprompt.text.rendering import Rendering

Part = Literal["loss", "auxiliary_loss"]
"""Which loss of a step a lesson counts in, as its record names it: the fit's own, or that of unlabelled rows."""

KEPT_TOKENS = 2_000_000
"""Rendered tokens that are kept, some 100 MB; what is beyond is rendered anew when drawn."""


@dataclass(frozen=True)
class Lesson:
    """One training example.

    Args:
        rendering: all its candidates for a softmax over labels; the gold one alone for token
            cross-entropy; what is hidden of an unlabelled one.
        wanted: the share of each label; empty for token cross-entropy.
        part: which loss of the step it counts in.
    """

    rendering: Rendering
    wanted: tuple[float, ...] = ()
    part: Part = "loss"


Make = Callable[[Example, Applied, Draft | None], Lesson]


class Lessons:
    """The lessons of a training set by position, rendered when first drawn; with demonstrations that are drawn
    at each step, rendered at each step.

    Args:
        examples: the training set.
        applied: template, answers and objective.
        kept_tokens: how many rendered tokens are kept in memory.
        make: an example's lesson from itself, `applied` and its draft; `lesson` by default.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        applied: Applied,
        kept_tokens: int = KEPT_TOKENS,
        make: Make | None = None,
    ):
        self.examples, self.applied, self._left = examples, applied, kept_tokens
        self.make: Make = make or lesson
        self._kept: dict[int, Lesson] = {}

    def draw(self, indices: Sequence[int], step: int = 0) -> list[Lesson]:
        """The lessons of some examples; those not rendered yet are tokenised in one batch.

        Args:
            step: which one draws them.
        Raises:
            DataError: one does not fit the template, or its target is none of its answers.
        """
        applied = self.applied.taught(step)
        fresh = [index for index in dict.fromkeys(indices) if index not in self._kept]
        drafts = applied.drafts(self.examples[index] for index in fresh)
        made = {
            index: self.make(self.examples[index], applied, draft)
            for index, draft in zip(fresh, drafts, strict=True)
        }
        for index, one in made.items():
            if not applied.redrawn and one.rendering.length <= self._left:
                self._left -= one.rendering.length
                self._kept[index] = one
        return [made[index] if index in made else self._kept[index] for index in indices]


class DevQuestions:
    """The questions of a dev split, made when first asked.

    Args:
        examples: the dev split.
        applied: template, answers and objective.
        kept_tokens: up to this length of them all they are kept in memory.
    """

    def __init__(
        self, examples: Sequence[Example], applied: Applied, kept_tokens: int = KEPT_TOKENS
    ):
        self.examples, self.applied, self._most = examples, applied, kept_tokens
        self._kept: list[Question] | None = None

    def ask(self) -> list[Question]:
        """All of them, in order.

        Raises:
            DataError: an example does not fit the template.
        """
        if self._kept is not None:
            return self._kept
        made = questions([self.applied], [(0, example) for example in self.examples])
        if sum(question.length for question in made) <= self._most:
            self._kept = made
        return made


def render_alike(one: Lessons | DevQuestions, other: Lessons | DevQuestions) -> bool:
    """Whether both hold the same examples, rendered the same way, whatever is learned from them."""
    mine, theirs = one.applied, other.applied
    same_way = mine.renderer == theirs.renderer and mine.objective == theirs.objective
    # Mappings are equal in any order, and the order of the labels is the order of the candidates.
    same_order = repr(mine.answers) == repr(theirs.answers)
    same_shots = mine.shots == theirs.shots
    return same_way and same_order and same_shots and list(one.examples) == list(other.examples)


def lesson(example: Example, applied: Applied, draft: Draft | None = None) -> Lesson:
    """Make a lesson of a labelled example.

    Args:
        draft: the example's own, where `applied.drafts` made it.
    Raises:
        DataError: no target, one that is none of the answers, or it does not fit the template.
    """
    if example.target is None:
        raise DataError(f"example {example.id} has no target, so nothing can be learned from it")
    if applied.objective.normalise == "vocabulary":
        return Lesson(applied.render_gold(example, gold_words(example, applied), draft))
    rendering = applied.render_lesson(example, draft)
    shares = target_shares(example.target, rendering.labels, applied)
    if shares is None:
        raise _no_answer(example, rendering.labels)
    if applied.objective.loss == "hinge" and max(shares) < 1.0:
        raise DataError(
            f"example {example.id}: its target is a distribution, and objective.loss: hinge needs the one "
            "right label; use loss: cross_entropy"
        )
    return Lesson(rendering, shares)


def target_shares(
    target: Target, labels: Sequence[str], applied: Applied
) -> tuple[float, ...] | None:
    """A target as probabilities over labels; None where it is none of them."""
    if isinstance(applied.answers, Poles) and isinstance(target, int | float):
        return applied.answers.mixture(float(target))
    given = target if isinstance(target, Mapping) else {str(gold(target, applied)): 1.0}
    if not set(given) <= set(labels):
        return None
    shares = dict.fromkeys(labels, 0.0) | {label: float(share) for label, share in given.items()}
    # A candidate that an example names twice is one answer; the first stands for it.
    first = {label: place for place, label in reversed(list(enumerate(labels)))}
    return tuple(shares[label] if first[label] == n else 0.0 for n, label in enumerate(labels))


def gold_words(example: Example, applied: Applied) -> tuple[str, ...]:
    """The words that the answer slots should hold for an example's target.

    Of a distribution it is the likeliest label, of several words for a label the first, of two
    poles the nearer one, in the very middle the upper.

    Raises:
        DataError: a target that is none of the answers.
    """
    answers = applied.answers
    target = hard(gold(example.target, applied))
    if isinstance(answers, FreeText):
        return (target[0] if isinstance(target, tuple) else str(target),)
    if isinstance(answers, Poles):
        low, high = answers.mixture(float(target))
        return (answers.words[int(high >= low)],)
    labels = answers.labels(example.candidates)
    for candidate in answers.candidates(example.candidates):
        if labels[candidate.label] == target:
            return candidate.words
    raise _no_answer(example, labels)


def _no_answer(example: Example, labels: Sequence[str]) -> DataError:
    target = example.target
    shown = ", ".join(target) if isinstance(target, Mapping) else target
    return DataError(
        f"example {example.id}: target '{shown}' is none of its possible answers: "
        f"{', '.join(labels)}"
    )


def text_length(example: Example) -> int:
    """A length to sort by, known without tokenising: UTF-8 bytes of all fields."""
    total = 0
    for value in example.fields.values():
        texts = (value,) if isinstance(value, str) else value
        total += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return total
