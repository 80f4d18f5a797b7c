"""Examples made ready for their prompts: rendered once, asked as often as need be.

Knows renderings and sources, which legal answer was generated, no tensors: what an answer is worth is
decided in `predict.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.inference.applied import Applied
from softprompt.text.answers import FreeText
from softprompt.text.draft import Draft
from softprompt.text.query import Source
from softprompt.text.rendering import Rendering


@dataclass(frozen=True)
class Ranked:
    """Every candidate of the example is scored, the best one wins.

    Args:
        prompt: which of the prompts asks.
        example: what is asked about.
        renderings: its candidates; several, with the same labels, where its scores are averaged over draws of
            demonstrations.
    """

    prompt: int
    example: Example
    renderings: tuple[Rendering, ...]

    @property
    def length(self) -> int:
        """Positions that the network works through."""
        return sum(rendering.length for rendering in self.renderings)

    @property
    def rendering(self) -> Rendering:
        """The only one, or that of the first draw."""
        return self.renderings[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """The example's possible labels."""
        return self.rendering.labels

    @property
    def cut(self) -> int:
        """Tokens that did not fit, of the draw that lost most."""
        return max(rendering.cut for rendering in self.renderings)


@dataclass(frozen=True)
class Generated:
    """An answer is decoded greedily and compared with the legal ones.

    Args:
        prompt: which of the prompts asks.
        example: what is asked about.
        source: what the generator continues.
        legal: the ids that each candidate would have; empty for free text.
        most: tokens that an answer may add to the source.
    """

    prompt: int
    example: Example
    source: Source
    legal: tuple[tuple[int, ...], ...]
    most: int

    @property
    def length(self) -> int:
        """Positions that the network works through."""
        return len(self.source.ids) + len(self.source.decoder) + self.most

    def answered(self, ids: tuple[int, ...], backbone: Backbone) -> int | None:
        """Which legal answer was generated; None: none of them.

        A decoder says where its answer ends, so the whole text must agree. A causal model goes on with
        whatever follows: the longest answer that its output begins with is meant.

        Args:
            ids: what was generated.
            backbone: whose ids they are.
        """
        if backbone.family == "causal":
            begun = [n for n, legal in enumerate(self.legal) if ids[: len(legal)] == legal]
            return max(begun, key=lambda n: len(self.legal[n]), default=None)
        words = plain_text(ids, backbone).split()
        legal = [plain_text(answer, backbone).split() for answer in self.legal]
        return legal.index(words) if words in legal else None


def plain_text(ids: Sequence[int], backbone: Backbone) -> str:
    """The text of generated ids, special tokens and sentinels left out."""
    tokenizer = backbone.tokenizer
    return tokenizer.decode(tuple(i for i in ids if i not in tokenizer.special)).strip()


Question: TypeAlias = Ranked | Generated

TOGETHER = 512
"""Examples that are tokenised in one batch: enough for every core, and little to hold."""


def questions(applied: Sequence[Applied], items: Sequence[tuple[int, Example]]) -> list[Question]:
    """Make examples ready, each for one of several prompts.

    Args:
        applied: prompts on one backbone.
        items: which of them, and the example.
    Raises:
        DataError: an example that lacks a field, has no candidates, or does not fit.
    """
    made: list[Question] = []
    for first in range(0, len(items), TOGETHER):
        window = items[first : first + TOGETHER]
        drafts = {
            number: _drafts(applied[number], number, window) for number in {n for n, _ in window}
        }
        made += [_question(n, applied[n], example, next(drafts[n])) for n, example in window]
    return made


def _drafts(
    applied: Applied, number: int, window: Sequence[tuple[int, Example]]
) -> Iterator[tuple[Draft | None, ...]]:
    """The drafts of each example of one prompt, one for each of its draws."""
    examples = [example for n, example in window if n == number]
    return zip(*(one.drafts(examples) for one in applied.draws), strict=True)


def _question(
    number: int, applied: Applied, example: Example, drafts: tuple[Draft | None, ...]
) -> Question:
    draft = drafts[0]
    if applied.objective.prediction == "rank":
        drawn = zip(applied.draws, drafts, strict=True)
        return Ranked(number, example, tuple(one.render(example, each) for one, each in drawn))
    source = applied.source(example, draft)
    if source.masks:
        return Generated(number, example, source, (), 0)
    if isinstance(applied.answers, FreeText):
        most = applied.answers.max_tokens + (
            0 if source.closing is None else 2
        )  # sentinels around it
        return Generated(number, example, source, (), most)
    if applied.renderer.frame.family == "causal":
        legal = tuple(applied.candidate_ids(example, draft))
        return Generated(number, example, source, legal, max(len(ids) for ids in legal))
    legal = _decoder_answers(applied.render(example, draft), len(source.decoder))
    most = max(len(ids) for ids in legal) + 1  # so that a longer output shows as one
    return Generated(number, example, source, legal, most)


def _decoder_answers(rendering: Rendering, begun: int) -> tuple[tuple[int, ...], ...]:
    """What the decoder would write for each candidate after its first `begun` ids, end included."""
    found: dict[int, tuple[int, ...]] = {}
    for query in rendering.queries:
        for read in query.reads:
            row = (*(query.decoder or ()), read.tokens[-1])
            found[read.candidate] = row[begun:]
    return tuple(found[candidate] for candidate in sorted(found))
