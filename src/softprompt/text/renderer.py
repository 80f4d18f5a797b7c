"""A template, answers and a tokenizer bound together: examples in, queries for the network out.

This is what the rest of the toolkit uses; spelling, tokenising, cutting and laying out are pure
functions in `spell.py`, `render.py` and `layout.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from softprompt.errors import TemplateError
from softprompt.text.answers import Answers, FreeText
from softprompt.text.layout import Frame, Query, Words, lay_out, source_ids, special_count
from softprompt.text.render import (
    Context,
    TokenPiece,
    answer_ids,
    check_fits,
    shorten,
    token_count,
    tokenise,
)
from softprompt.text.spell import (
    Demonstration,
    Fields,
    Rows,
    Spelled,
    spell,
    without_demonstration,
)
from softprompt.text.template import Answer, DecoderStart, Literal, Soft, Template


@dataclass(frozen=True)
class RenderSettings:
    """How text becomes tokens.

    Args:
        limit: positions that fit, special tokens, rows and answer included; None: any number.
        separator: what `{sep}` is where the tokenizer has no pair boundary.
        per_piece: tokenise every piece of the template apart (PET's and LM-BFF's code).
        demonstration_separator: text after each demonstration.
    """

    limit: int | None = None
    separator: str = "\n"
    per_piece: bool = False
    demonstration_separator: str = " "


@dataclass(frozen=True)
class Rendering:
    """An example as the network will see it.

    Args:
        queries: rows for the network; together they read every candidate once.
        labels: the example's possible labels.
        label_of: the label of each candidate.
        cut: tokens that did not fit and were cut.
    """

    queries: tuple[Query, ...]
    labels: tuple[str, ...]
    label_of: tuple[int, ...]
    cut: int = 0

    @property
    def length(self) -> int:
        """Positions of all its queries."""
        return sum(query.length for query in self.queries)


@dataclass(frozen=True)
class Source:
    """What a generator starts from: main ids and segments, the decoder's beginning, tokens cut."""

    ids: tuple[int, ...]
    segments: tuple[int, ...]
    decoder: tuple[int, ...]
    cut: int = 0


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
    Raises:
        TemplateError: the template does not suit the family (no slot on a masked backbone, …).
    """

    template: Template
    answers: Answers
    frame: Frame
    n_rows: int = 0
    settings: RenderSettings = field(default_factory=RenderSettings)

    def __post_init__(self) -> None:
        self.template = _with_slot(self.template, self.frame.family)
        _check(self.template, self.answers, self.frame)
        self._known: dict[tuple[Context, str], tuple[int, ...]] = {}
        self._rows, self._front, self.total_rows = self._place_rows()

    def _place_rows(self) -> tuple[dict[int, Rows], Rows | None, int]:
        if self.n_rows == 0:
            return {}, None, 0
        if not self.template.has_soft:
            return {}, Rows(0, self.n_rows), self.n_rows
        groups = self.template.soft_groups(self.n_rows, lambda text: len(self.text_ids(text)))
        placed: dict[int, Rows] = {}
        total = 0
        for group in groups:
            assert group.offset is not None and group.length is not None
            for slot in group.slots:
                placed[slot] = Rows(group.offset, group.length)
            total = group.offset + group.length
        return placed, None, total

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a text that learned rows start from, tokenised as the beginning of a text."""
        return self.frame.tokenizer.encode(text, continues=False).ids

    def score(
        self,
        fields: Fields,
        candidates: tuple[str, ...] | None = None,
        demonstrations: Sequence[Demonstration] = (),
    ) -> Rendering:
        """The queries that score every candidate of an example.

        Args:
            fields: the example's fields.
            candidates: the example's own candidates, where the answers are its own.
            demonstrations: solved examples for `{demo}`.
        """
        labels = self.answers.labels(candidates)
        chosen = self.answers.candidates(candidates)
        words = [candidate.words for candidate in chosen]
        queries, cut = self._queries(fields, words, demonstrations, final=False)
        return Rendering(queries, labels, tuple(c.label for c in chosen), cut)

    def gold(
        self, fields: Fields, words: tuple[str, ...], demonstrations: Sequence[Demonstration] = ()
    ) -> Rendering:
        """The one query that scores one filling of the slots; a free text ends with its end token."""
        final = isinstance(self.answers, FreeText)
        queries, cut = self._queries(fields, [words], demonstrations, final=final)
        return Rendering(queries, (" ".join(words),), (0,), cut)

    def source(self, fields: Fields, demonstrations: Sequence[Demonstration] = ()) -> Source:
        """What a generator continues for this example."""
        reserve = self.answers.max_tokens if isinstance(self.answers, FreeText) else 0
        main, decoder, cut = self._pieces(fields, reserve, demonstrations)
        return Source(*source_ids(main, decoder, self.frame), cut)

    def candidate_ids(
        self, fields: Fields, candidates: tuple[str, ...] | None = None
    ) -> list[tuple[tuple[str, ...], Words]]:
        """Each candidate's words and how they are tokenised in this example's context."""
        spelled = self._spell(fields, ())
        contexts = self._contexts(spelled)
        words = [candidate.words for candidate in self.answers.candidates(candidates)]
        return [(word, self._ids(contexts, word)) for word in words]

    def _queries(
        self,
        fields: Fields,
        words: Sequence[tuple[str, ...]],
        demonstrations: Sequence[Demonstration],
        final: bool,
    ) -> tuple[tuple[Query, ...], int]:
        spelled = self._spell(fields, demonstrations)
        contexts = self._contexts(spelled)
        candidates = [self._ids(contexts, word) for word in words]
        longest = max((sum(len(w) for w in words) for words in candidates), default=0)
        main, decoder, cut = self._pieces(fields, longest, demonstrations)
        return lay_out(main, decoder, candidates, self.frame, final=final), cut

    def _spell(self, fields: Fields, demonstrations: Sequence[Demonstration]) -> Spelled:
        own = bool(self.frame.tokenizer.between) and self.frame.family == "masked"
        return spell(
            self.template,
            fields,
            rows=self._rows,
            front=self._front,
            separator=None if own else self.settings.separator,
            demonstrations=demonstrations,
            demonstration_separator=self.settings.demonstration_separator,
        )

    def _tokenise(
        self, spelled: Spelled
    ) -> tuple[tuple[TokenPiece, ...], tuple[TokenPiece, ...] | None]:
        tokenizer, per_piece = self.frame.tokenizer, self.settings.per_piece
        main = tokenise(spelled.main, tokenizer, per_piece=per_piece)
        if spelled.decoder is None:
            return main, None
        return main, tokenise(spelled.decoder, tokenizer, per_piece=per_piece)

    def _contexts(self, spelled: Spelled) -> list[Context]:
        main, decoder = self._tokenise(spelled)
        found = [piece for piece in (*main, *(decoder or ())) if isinstance(piece, Context)]
        return found or [Context(0, "", "", False)]

    def _ids(self, contexts: Sequence[Context], words: tuple[str, ...]) -> Words:
        return tuple(self._in(c, word) for c, word in zip(contexts, words, strict=True))

    def _in(self, context: Context, word: str) -> tuple[int, ...]:
        if (context, word) not in self._known:
            self._known[context, word] = answer_ids(self.frame.tokenizer, context, word)
        return self._known[context, word]

    def _pieces(
        self, fields: Fields, answer: int, demonstrations: Sequence[Demonstration]
    ) -> tuple[tuple[TokenPiece, ...], tuple[TokenPiece, ...] | None, int]:
        """Token pieces that fit: demonstrations go first (the last one first), then field ends."""
        spelled = self._spell(fields, demonstrations)
        main, decoder = self._tokenise(spelled)
        limit = self.settings.limit
        if limit is None:
            return main, decoder, 0
        in_decoder = self.frame.family == "encoder_decoder"
        fixed = special_count(main, self.frame) + (0 if in_decoder else answer)
        before = token_count(main)
        left = len(demonstrations)
        while fixed + token_count(main) > limit and left > 0:
            left -= 1
            spelled = without_demonstration(spelled, left)
            main, decoder = self._tokenise(spelled)
        excess = fixed + token_count(main) - limit
        if excess > 0:
            main, missing = shorten(main, excess)
            check_fits(missing, limit, str(self.template))
        return main, decoder, before - token_count(main)


def _with_slot(template: Template, family: str) -> Template:
    """A template that leaves its slot out gets it where the family answers."""
    if template.answers or family == "masked":
        return template
    decoder = any(isinstance(part, DecoderStart) for part in template.parts)
    if family == "causal" or decoder:
        return Template.from_parts((*template.parts, Literal(" "), Answer()))
    return template


def _check(template: Template, answers: Answers, frame: Frame) -> None:
    family, slots = frame.family, len(template.answers)
    decoder = next((i for i, p in enumerate(template.parts) if isinstance(p, DecoderStart)), None)
    if family == "masked" and slots == 0:
        raise TemplateError(
            f"no answer slot: expected {{mask}} in '{template}', because a masked backbone answers "
            "by filling it; for example '{text} It was {mask}.'"
        )
    if decoder is not None and family != "encoder_decoder":
        raise TemplateError(
            f"{{decoder}} in '{template}': only an encoder-decoder backbone has a decoder to start"
        )
    if decoder is not None:
        early = [p for p in template.parts[:decoder] if isinstance(p, Answer)]
        if early and len(early) < slots:
            raise TemplateError(
                f"answer slots before and after {{decoder}} in '{template}': expected one side"
            )
    if isinstance(answers, FreeText):
        if family == "masked":
            raise TemplateError(
                "a masked backbone fills slots and cannot write free text; give label words or "
                "candidates, or use an encoder-decoder or causal backbone"
            )
        last = template.parts[-1] if template.parts else None
        if family == "causal" and (slots != 1 or not isinstance(last, Answer)):
            raise TemplateError(
                f"free text needs {{mask}} once and at the end on a causal backbone, found "
                f"'{template}'"
            )
    if answers.kind == "words":
        for candidate in answers.candidates(None):
            if len(candidate.words) != max(1, slots):
                raise TemplateError(
                    f"{len(candidate.words)} word(s) {list(candidate.words)} for {max(1, slots)} "
                    f"answer slot(s) in '{template}'"
                )
    elif slots > 1:
        raise TemplateError(f"{slots} answer slots in '{template}' need label words, one for each")


def soft_texts(template: Template) -> list[str]:
    """The words that `{soft:'…'}` slots start from, in order of first appearance."""
    return [p.text for p in template.parts if isinstance(p, Soft) and p.text is not None]
