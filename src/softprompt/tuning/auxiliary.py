"""The language-model loss beside a fit's own: which unlabelled rows meet a step, and what of them is hidden.

Schick & Schütze 2020 (arXiv 2001.07676), section 3.2: unlabelled rows go through the same template, and some
of their tokens are to be said again, so that a network learns a task without forgetting its language. The
answer slot, learned rows and special tokens are neither hidden nor asked for.
Which rows meet a step and what is hidden depends on seed and step alone. Knows ids, not losses or batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from softprompt.backbones.backbone import Backbone
from softprompt.data.corruption import Flags, Ids, Noise, mask_tokens, noise_spans, with_sentinels
from softprompt.data.examples import Example
from softprompt.data.sampling import permutation
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.prompts.addition import Addition
from softprompt.text.draft import Draft
from softprompt.text.query import Query, Read
from softprompt.text.rendering import Rendering
from softprompt.text.tokens import Family
from softprompt.tuning.lessons import Lesson, Lessons, render_alike
from softprompt.tuning.settings import AuxiliarySettings

ORDER, HIDING = 101, 102
"""What tells these sources of chance from others of the same seed."""


@dataclass(frozen=True)
class Tokens:
    """What hiding must know of a tokenizer.

    Args:
        ordinary: ids of text, `[n]`.
        is_text: which ids these are, `[V]`.
        mask: the mask token, of a masked backbone.
        sentinels: first to last; answer slots in the text stand on the first ones.
        start, end: what a decoder begins with, and ends with.
    """

    ordinary: Ids
    is_text: Flags
    mask: int = -1
    sentinels: tuple[int, ...] = ()
    start: tuple[int, ...] = ()
    end: tuple[int, ...] = ()

    def text(self, ids: Ids) -> Flags:
        """Which of the ids of a row are text: no special token, no learned row, no answer slot."""
        found: Flags = (ids >= 0) & self.is_text[ids.clip(min=0)]
        return found


class Auxiliary:
    """The unlabelled lessons of a fit by step.

    Args:
        examples: the unlabelled rows.
        applied: the fit's template and answers.
        settings: how much is hidden.
        rows: how many rows a step has.
        seed: the fit's.
        backbone: for its family and tokenizer.
    Raises:
        SettingsError: no rows, or a backbone that was not taught to fill in what is hidden.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        applied: Applied,
        settings: AuxiliarySettings,
        rows: int,
        seed: int,
        backbone: Backbone,
    ):
        if not examples:
            raise SettingsError("training.auxiliary: no unlabelled rows, expected at least one")
        self.settings, self.rows, self.seed = settings, rows, seed
        self.family: Family = backbone.family
        self.tokens = _tokens(backbone, applied)
        if applied.redrawn:  # a demonstration is drawn for a question that has an answer
            applied = replace(applied, shots=None)
        self._lessons = Lessons(examples, applied, make=whole)
        self._orders: dict[int, list[int]] = {}

    def render_with(self, other: Auxiliary) -> None:
        """Use another fit's renderings, where it renders the same rows alike."""
        if render_alike(self._lessons, other._lessons):
            self._lessons = other._lessons

    def draw(self, step: int) -> list[Lesson]:
        """The unlabelled lessons of a step; a row of which nothing is asked is left out.

        Every row is drawn once before one is drawn again.

        Raises:
            DataError: one does not fit the template.
            SettingsError: no text stands before the answer of a causal backbone.
        """
        drawn = self._lessons.draw(self.places(step))
        generator = np.random.default_rng([self.seed, HIDING, step])
        hidden = [self._hidden(lesson.rendering, generator) for lesson in drawn]
        if self.family == "causal" and not any(made.queries[0].reads for made in hidden):
            raise SettingsError(
                "training.auxiliary.weight: no text stands before the answer of these unlabelled rows, so a "
                "causal backbone has nothing to say; put {mask} behind the text, or leave it 0"
            )
        return [
            replace(lesson, rendering=rendering)
            for lesson, rendering in zip(drawn, hidden, strict=True)
            if rendering.queries[0].reads
        ]

    def places(self, step: int) -> list[int]:
        """Which rows meet a step: the next ones of a fresh order of all of them in each epoch."""
        n = len(self._lessons.examples)
        first = step * self.rows
        found = [divmod(place, n) for place in range(first, first + self.rows)]
        epochs = dict.fromkeys(epoch for epoch, _ in found)
        self._orders = {
            epoch: self._orders.get(epoch) or permutation(n, self.seed, epoch, ORDER)
            for epoch in epochs
        }
        return [self._orders[epoch][place] for epoch, place in found]

    def _hidden(self, rendering: Rendering, generator: np.random.Generator) -> Rendering:
        (query,) = rendering.queries
        ids = np.asarray(query.ids, dtype=np.int64)
        if self.family == "masked":
            made = _masked(query, ids, self.tokens, self.settings.rate, generator)
        elif self.family == "causal":
            made = _next_tokens(query, ids, self.tokens)
        else:
            made = _spans(query, ids, self.tokens, self.settings.rate, generator)
        return replace(rendering, queries=(made,))


def whole(example: Example, applied: Applied, draft: Draft | None = None) -> Lesson:
    """An unlabelled example with its empty answer slot, of which nothing is asked yet.

    Of a causal model it is what stands before the answer.

    Raises:
        DataError: it does not fit the template.
    """
    renderer = applied.renderer
    if renderer.frame.family == "masked" and not renderer.writes_in_masks:
        made = applied.render_lesson(example, draft)
        # Where answers have different lengths: the row with the most masks.
        longest = max(made.queries, key=lambda query: query.length)
        query, cut = replace(longest, reads=()), made.cut
    else:
        source = applied.source(example, draft)
        query, cut = Query(source.ids, source.segments, ()), source.cut
    return Lesson(Rendering((query,), ("",), (0,), cut), part="auxiliary_loss")


def check_addition(addition: Addition, backbone: Backbone) -> None:
    """Refuse what is learned where the language-model loss does not reach it, or would change it.

    Raises:
        SettingsError: class vectors alone; what is added to the text up to its answer, where every token of
            the text is an answer.
    """
    frozen = not any(parameter.requires_grad for parameter in backbone.model.parameters())
    added = (addition.rows, addition.offset, *addition.attended.values())
    if frozen and addition.readout is not None and all(one is None for one in added):
        raise SettingsError(
            "training.auxiliary.weight: class vectors have no part in the language-model loss, and nothing "
            "else is learned; leave it 0"
        )
    if backbone.family == "causal" and addition.offset is not None:
        raise SettingsError(
            "training.auxiliary.weight: this method adds to the embeddings of what stands before an answer, "
            "and the language-model loss of a causal backbone asks for each of these tokens; leave it 0, or "
            "use another method"
        )


def _masked(
    query: Query, ids: Ids, tokens: Tokens, rate: float, generator: np.random.Generator
) -> Query:
    """Hide `rate` of the text: 80 % masks, 10 % other tokens, 10 % as they are (`mask_tokens`)."""
    inputs, predict = mask_tokens(
        ids[None],
        ~tokens.text(ids)[None],
        rate=rate,
        mask_id=tokens.mask,
        ordinary=tokens.ordinary,
        generator=generator,
    )
    places = np.flatnonzero(predict[0])
    return replace(query, ids=tuple(inputs[0].tolist()), reads=_reads(places, ids[places]))


def _next_tokens(query: Query, ids: Ids, tokens: Tokens) -> Query:
    """Ask for every token of the text, given what stands before it."""
    places = np.flatnonzero(tokens.text(ids))
    places = places[places > 0]  # the first position has nothing before it
    last = int(places[-1]) if len(places) else 0  # nobody asks what follows the last one
    return replace(
        query,
        ids=query.ids[:last],
        segments=query.segments[:last],
        reads=_reads(places - 1, ids[places]),
    )


def _spans(
    query: Query, ids: Ids, tokens: Tokens, rate: float, generator: np.random.Generator
) -> Query:
    """Span corruption of the text (Raffel et al. 2019, section 3.1.4): the decoder says what each sentinel
    stands for, in their order. Spans end at learned rows and at answer slots.

    A slot has a sentinel behind those of all spans, and naming the first one ends what the decoder says: what
    stands there is not known.
    """
    text = np.flatnonzero(tokens.text(ids))
    if len(text) < 2:  # a span leaves something to read
        return replace(query, reads=())
    hidden = np.zeros(len(ids), dtype=np.bool_)
    spans = noise_spans(len(text), Noise(rate=rate), generator)
    # They end with a span, in a short row always the template's last words: turned by chance, as T5's
    # `random_roll` does.
    hidden[text] = np.roll(spans, int(generator.integers(len(text))))
    slots = np.flatnonzero(np.isin(ids, tokens.sentinels))
    number = np.cumsum(hidden & ~np.concatenate([[False], hidden[:-1]]))  # of the span, from 1
    hidden &= number <= len(tokens.sentinels) - len(slots)  # what has no sentinel stays
    n_spans = int(number[hidden].max())
    after = tokens.sentinels[n_spans:][: len(slots)]
    ids[slots] = after
    pair = with_sentinels(ids, hidden, tokens.sentinels)
    said = [*tokens.start, *pair.targets.tolist(), *(after[:1] or tokens.end)]
    places = np.arange(len(tokens.start), len(said))
    return Query(
        ids=tuple(pair.inputs.tolist()),
        segments=query.segments[:1] * len(pair.inputs),  # T5 has one segment
        reads=_reads(places - 1, np.asarray(said, dtype=np.int64)[places]),
        decoder=tuple(said[:-1]),
    )


def _reads(places: Ids, tokens: Ids) -> tuple[Read, ...]:
    return (Read(0, tuple(places.tolist()), tuple(tokens.tolist())),) if len(places) else ()


def _tokens(backbone: Backbone, applied: Applied) -> Tokens:
    """What hiding must know of a backbone's tokenizer.

    Raises:
        SettingsError: an encoder-decoder without sentinels.
    """
    tokenizer, frame = backbone.tokenizer, applied.renderer.frame
    count = min(tokenizer.size, backbone.vocabulary)
    is_text = np.ones(max(tokenizer.size, backbone.vocabulary), dtype=np.bool_)
    is_text[count:] = False
    is_text[[number for number in tokenizer.special if number < len(is_text)]] = False
    found = Tokens(
        np.flatnonzero(is_text),
        is_text,
        mask=-1 if frame.tokenizer.mask is None else frame.tokenizer.mask,
    )
    if backbone.family != "encoder_decoder":
        return found
    taken = len(applied.renderer.template.answers)
    if len(tokenizer.sentinels) <= taken:
        raise SettingsError(
            f"training.auxiliary.weight: {backbone.identity.name} is an encoder-decoder without sentinels "
            "(<extra_id_0>, …) beside those of the answer, so spans of its text cannot be hidden as in T5's "
            "pretraining; leave it 0, or use a T5, a masked or a causal backbone"
        )
    end = () if tokenizer.end_of_text is None else (tokenizer.end_of_text,)
    return replace(
        found,
        sentinels=tokenizer.sentinels,
        start=frame.decoder_start,
        end=tokenizer.end or end,
    )
