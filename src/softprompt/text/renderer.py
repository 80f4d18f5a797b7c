"""A template, answers and a tokenizer bound together: examples in, queries for the network out.

This is what the rest of the toolkit uses; spelling, tokenising, cutting and laying out are pure
functions in `spell.py`, `render.py` and `layout.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

from softprompt.errors import TemplateError
from softprompt.text.answers import Answers, Classes, FreeText
from softprompt.text.binding import check_binding, place_rows, read_joint, with_slot
from softprompt.text.class_layout import check_rows_are_read, lay_out_classes
from softprompt.text.draft import Attempt, Draft
from softprompt.text.free_slot import SPARE, sizing_text, with_spare
from softprompt.text.known_words import KnownWords
from softprompt.text.layout import BARE_SLOT, Frame, Masks, continuation, lay_out
from softprompt.text.query import Query, Source, Words
from softprompt.text.render import (
    Context,
    TokenPiece,
    answer_ids,
    shorten,
    tokenise_many,
)
from softprompt.text.rendering import Rendering, RenderSettings
from softprompt.text.spell import Demonstration, Fields, Spelled, spell
from softprompt.text.template import Template


@dataclass
class Renderer:
    """Renders examples.

    Args:
        template: parsed.
        answers: what may stand in its slots.
        frame: the family's special tokens.
        n_rows: learned rows that the method brings for each bare `{soft}`, or in front; 0: none,
            and soft slots are left out.
        settings: limit, separator and so on.
        masks: how many stand in a masked model's slots.
    Raises:
        TemplateError: the template does not suit the family (no slot on a masked backbone, …).
    """

    template: Template
    answers: Answers
    frame: Frame
    n_rows: int = 0
    settings: RenderSettings = field(default_factory=RenderSettings)
    masks: Masks = "own"

    def __post_init__(self) -> None:
        self.template = with_slot(self.template, self.frame.family)
        check_binding(self.template, self.answers, self.frame)
        self._joint = read_joint(self.settings.demonstration_separator)
        self._rows, self._front, self.total_rows = place_rows(
            self.template, self.n_rows, lambda text: len(self.text_ids(text))
        )
        if self.total_rows and isinstance(self.answers, Classes):
            check_rows_are_read(self.template, self.frame)
        self._known = KnownWords(self.frame.tokenizer)

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a text that learned rows start from, tokenised as the beginning of a text."""
        return self.frame.tokenizer.encode(text, continues=False).ids

    def drafts(
        self, many: Iterable[Fields], shown: Iterable[Sequence[Demonstration]] | None = None
    ) -> list[Draft | None]:
        """Begin to render many examples: tokenise them in one batch.

        Args:
            many: each example's fields.
            shown: all its demonstrations, as `score`, `gold` and `source` are given them; none by default.
        Returns:
            What `score`, `gold` and `source` take as `draft`, to give exactly what they give
            without; None for an example that cannot be spelled: they say what is wrong with it.
        """
        spelled: list[Spelled | None] = []
        pairs = (
            zip(many, repeat(()), strict=False) if shown is None else zip(many, shown, strict=True)
        )
        for fields, demonstrations in pairs:
            try:
                spelled.append(self._spell(fields, demonstrations))
            except TemplateError:
                spelled.append(None)
        made = iter(self._drafted([one for one in spelled if one is not None]))
        return [None if one is None else next(made) for one in spelled]

    # --- what is asked of a network -------------------------------------------------------------

    def score(
        self,
        fields: Fields,
        candidates: tuple[str, ...] | None = None,
        demonstrations: Sequence[Demonstration] = (),
        draft: Draft | None = None,
    ) -> Rendering:
        """The queries that score every candidate of an example.

        Args:
            fields: the example's fields.
            candidates: the example's own candidates, where the answers are its own.
            demonstrations: solved examples for `{demo}`.
            draft: the example's own, where `drafts` made it.
        Raises:
            TemplateError: a missing field, a candidate without tokens, or what does not fit even
                with everything cut that may be.
        """
        chosen = self.answers.candidates(candidates)
        if not chosen:
            raise TemplateError("free text has no candidates to score: generate it instead")
        words = self._rivals(candidates)
        made = self._fit(fields, words, demonstrations, draft)
        labels = self.answers.labels(candidates)
        label_of = tuple(candidate.label for candidate in chosen)
        return Rendering(
            queries=self._queries(made.draft.main, made.draft.decoder, made.words),
            labels=labels,
            label_of=tuple(range(len(labels))) if self._is_classes else label_of,
            cut=made.cut,
            demonstrations=made.shown,
        )

    def gold(
        self,
        fields: Fields,
        words: tuple[str, ...],
        candidates: tuple[str, ...] | None = None,
        demonstrations: Sequence[Demonstration] = (),
        draft: Draft | None = None,
        spare: int = 0,
    ) -> Rendering:
        """The one query that scores one filling of the slots; a free text ends with its end token, in
        masks with padding.

        The example is cut as `score` and `source` cut it, so that its length says nothing of the
        answer.

        Args:
            words: the filling.
            spare: masks beyond its tokens, where `writes_in_masks`; the others as in `score`.
        """
        rivals = self._rivals(candidates)
        made = self._fit(fields, [words, *rivals], demonstrations, draft)
        main, decoder = made.draft.main, made.draft.decoder
        filling = self._padded(made.words[0], spare) if self.writes_in_masks else made.words[0]
        queries = lay_out(main, decoder, [filling], self.frame, final=self._is_free_text)
        return Rendering(queries, (" ".join(words),), (0,), made.cut, made.shown)

    def source(
        self,
        fields: Fields,
        candidates: tuple[str, ...] | None = None,
        demonstrations: Sequence[Demonstration] = (),
        draft: Draft | None = None,
    ) -> Source:
        """What a generator continues for this example, or the masks that it writes into.

        Raises:
            TemplateError: a masked backbone that ranks candidates, or does not know how many masks.
        """
        if self.writes_in_masks:
            made = self._fit(fields, [(sizing_text(self.template, fields),)], demonstrations, draft)
            room = self._padded(made.words[0], SPARE)
            (query,) = lay_out(made.draft.main, None, [room], self.frame)
            found = Source(query.ids, query.segments, (), masks=query.reads[0].positions)
            return replace(found, cut=made.cut, demonstrations=made.shown)
        if self.frame.family == "masked":
            raise TemplateError("a masked backbone ranks candidates and cannot generate them")
        made = self._fit(fields, self._rivals(candidates), demonstrations, draft)
        begun = continuation(made.draft.main, made.draft.decoder, self.frame)
        return replace(begun, cut=made.cut, demonstrations=made.shown)

    def candidate_ids(
        self,
        fields: Fields,
        candidates: tuple[str, ...] | None = None,
        demonstrations: Sequence[Demonstration] = (),
        draft: Draft | None = None,
    ) -> list[tuple[tuple[str, ...], Words]]:
        """Each candidate's words and how they are tokenised in this example's context."""
        words = [candidate.words for candidate in self.answers.candidates(candidates)]
        made = self._fit(fields, words, demonstrations, draft)
        return list(zip(words, made.words, strict=True))

    # --- making it fit --------------------------------------------------------------------------

    @property
    def writes_in_masks(self) -> bool:
        """Whether free text is written into masks (`free_slot.py`)."""
        return self.frame.family == "masked" and self._is_free_text

    def _padded(self, words: Words, spare: int) -> Words:
        pad, answers = self.frame.tokenizer.pad, self.answers
        assert pad is not None
        assert isinstance(answers, FreeText)
        return with_spare(words, spare, pad, answers.max_tokens)

    @property
    def _is_free_text(self) -> bool:
        return isinstance(self.answers, FreeText)

    @property
    def _is_classes(self) -> bool:
        return isinstance(self.answers, Classes)

    def _queries(
        self,
        main: tuple[TokenPiece, ...],
        decoder: tuple[TokenPiece, ...] | None,
        words: Sequence[Words],
    ) -> tuple[Query, ...]:
        """What is asked: where candidates have no words, each class at the one answer slot."""
        if self._is_classes:
            count = len(self.answers.labels(None))
            return (lay_out_classes(main, decoder, count, self.frame),)
        final = self._is_free_text
        return lay_out(main, decoder, words, self.frame, final=final, masks=self.masks)

    def _rivals(self, candidates: tuple[str, ...] | None) -> list[tuple[str, ...]]:
        """The words of all candidates, as far as they are known; class vectors have none."""
        if self._is_classes or (self.answers.kind == "candidates" and not candidates):
            return []
        return [candidate.words for candidate in self.answers.candidates(candidates)]

    def _fit(
        self,
        fields: Fields,
        words: Sequence[tuple[str, ...]],
        demonstrations: Sequence[Demonstration],
        draft: Draft | None,
    ) -> Attempt:
        """As much as fits with the longest of `words`: demonstrations go first (the last one
        first), then the ends of fields.

        Raises:
            TemplateError: it does not fit with every shortenable field cut to nothing.
        """

        def showing(count: int) -> Attempt:
            spelled = self._spell(fields, demonstrations[:count])
            return self._attempt(self._drafted([spelled])[0], words)

        shown = len(demonstrations)
        attempt = showing(shown) if draft is None else self._attempt(draft, words)
        before = attempt.tokens
        if attempt.fits:
            return replace(attempt, shown=shown)
        if shown:
            first_too_many = bisect_left(range(shown), True, key=lambda n: not showing(n).fits)
            shown = max(0, first_too_many - 1)
            attempt = showing(shown)
        while not attempt.fits:
            attempt = self._attempt(self._drafted([self._shortened(attempt)])[0], words)
        return replace(attempt, cut=max(1, before - attempt.tokens), shown=shown)

    def _shortened(self, attempt: Attempt) -> Spelled:
        over_main, over_decoder = attempt.over
        draft = attempt.draft
        main, decoder = draft.spelled.main, draft.spelled.decoder
        less_main = shorten(main, draft.main, over_main) if over_main else main
        less_decoder = decoder
        if over_decoder and decoder is not None:
            less_decoder = shorten(decoder, draft.decoder or (), over_decoder)
        if less_main is None or (less_decoder is None and decoder is not None):
            raise TemplateError(
                f"{max(attempt.over)} tokens too long for the limit of {self.settings.limit}, with "
                "every shortenable field cut to nothing; shorten the template, the prompt, the "
                f"answer or the `!` fields of '{self.template}'"
            )
        return Spelled(less_main, less_decoder)

    def _drafted(self, many: Sequence[Spelled]) -> list[Draft]:
        """Tokenise what was spelled, all of it together."""
        sequences = [one for s in many for one in (s.main, s.decoder) if one is not None]
        tokenizer, per_piece = self.frame.tokenizer, self.settings.per_piece
        made = iter(tokenise_many(sequences, tokenizer, per_piece=per_piece))
        return [Draft(s, next(made), None if s.decoder is None else next(made)) for s in many]

    def _attempt(self, draft: Draft, words: Sequence[tuple[str, ...]]) -> Attempt:
        main, decoder = draft.main, draft.decoder
        contexts = [p for p in (*main, *(decoder or ())) if isinstance(p, Context)] or [BARE_SLOT]
        ids = self._ids(contexts, words)
        return Attempt(draft, ids, self._over(main, decoder, ids))

    def _over(
        self,
        main: tuple[TokenPiece, ...],
        decoder: tuple[TokenPiece, ...] | None,
        words: tuple[Words, ...],
    ) -> tuple[int, int]:
        """Tokens too many, with the longest answer, in the main sequence and in the decoder's."""
        limit = self.settings.limit
        if limit is None:
            return 0, 0
        if isinstance(self.answers, FreeText):
            words = (*words, ((0,) * self.answers.max_tokens,))
        longest = max(words, key=lambda each: sum(map(len, each)), default=((),))
        together = words if self.masks == "longest" else [longest]
        (query,) = self._queries(main, decoder, together)
        over_main = max(0, len(query.ids) - limit)
        over_decoder = max(0, len(query.decoder or ()) - limit)
        if decoder is not None:
            return over_main, over_decoder
        rewritten = self.frame.reconstructs and bool(self.template.answers)
        return (max(over_main, over_decoder) if rewritten else over_main), 0

    def _spell(self, fields: Fields, demonstrations: Sequence[Demonstration]) -> Spelled:
        return spell(
            self.template,
            fields,
            rows=self._rows,
            front=self._front,
            separator=None if self.frame.has_pairs else self.settings.separator,
            demonstrations=demonstrations,
            joint=self._joint,
        )

    def _ids(
        self, contexts: Sequence[Context], words: Sequence[tuple[str, ...]]
    ) -> tuple[Words, ...]:
        """The ids of each candidate, slot by slot; those of one slot are tokenised together."""
        if any(len(each) != len(contexts) for each in words):
            raise ValueError(f"expected a word for each of {len(contexts)} slots")
        slots = [self._in(c, [each[slot] for each in words]) for slot, c in enumerate(contexts)]
        return tuple(zip(*slots, strict=True))

    def _in(self, context: Context, words: Sequence[str]) -> list[tuple[int, ...]]:
        if self._is_free_text:
            return answer_ids(self.frame.tokenizer, context, words)
        return self._known.ids(context, words)
