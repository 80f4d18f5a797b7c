"""An example put into a template: runs of text, with breaks between them, not yet tokens.

A *break* is where running text ends: learned rows, an answer slot, a pair boundary. Between two
breaks everything is one string, so that it can be tokenised once, as running text.
Knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from softprompt.errors import TemplateError
from softprompt.text.template import (
    Answer,
    DecoderStart,
    Demo,
    FieldRef,
    Literal,
    Sep,
    Soft,
    Start,
    Template,
)

Fields: TypeAlias = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True)
class Span:
    """A stretch of a run. `field` is None for literal text; only `shortenable` spans are cut."""

    text: str
    field: str | None = None
    shortenable: bool = False
    demonstration: int | None = None


@dataclass(frozen=True)
class Run:
    """Running text between two breaks."""

    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        return "".join(span.text for span in self.spans)


@dataclass(frozen=True)
class Rows:
    """Learned rows `first` to `first + count` of the prompt matrix."""

    first: int
    count: int


@dataclass(frozen=True)
class Slot:
    """Answer slot `number`; `space` is the space before it, which belongs to the answer."""

    number: int
    space: str = ""


@dataclass(frozen=True)
class Boundary:
    """The tokenizer's own boundary between the texts of a pair."""


@dataclass(frozen=True)
class StartTokens:
    """Where the tokenizer's start tokens go."""


Break: TypeAlias = Rows | Slot | Boundary | StartTokens
Piece: TypeAlias = Run | Rows | Slot | Boundary | StartTokens


@dataclass(frozen=True)
class Demonstration:
    """A solved example to show: its fields, and its answer's words, one for each slot."""

    fields: Fields
    words: tuple[str, ...]


@dataclass(frozen=True)
class Spelled:
    """The pieces of the main sequence, and of the decoder's where the template has `{decoder}`."""

    main: tuple[Piece, ...]
    decoder: tuple[Piece, ...] | None


def spell(
    template: Template,
    fields: Fields,
    *,
    rows: Mapping[int, Rows],
    front: Rows | None = None,
    separator: str | None = None,
    demonstrations: Sequence[Demonstration] = (),
    demonstration_separator: str = " ",
) -> Spelled:
    """Put an example's fields into a template.

    Args:
        template: a parsed template.
        fields: the example's fields.
        rows: index of each soft slot in `template.parts` to its rows; a slot without an entry is
            left out (methods without rows ignore soft slots).
        front: rows that go before everything, for a template that does not say where.
        separator: what `{sep}` is where the tokenizer has no pair boundary of its own; None: it has.
        demonstrations: solved examples for `{demo}`.
        demonstration_separator: text after each demonstration.
    Raises:
        TemplateError: a field that the example lacks.
    """
    pieces: list[Piece] = [front] if front is not None else []
    decoder: list[Piece] | None = None
    current, slots = pieces, 0
    for index, part in enumerate(template.parts):
        if isinstance(part, Literal):
            _text(current, Span(part.text))
        elif isinstance(part, FieldRef):
            _text(current, Span(_value(template, part, fields), part.name, not part.keep))
        elif isinstance(part, Answer):
            _slot(current, slots)
            slots += 1
        elif isinstance(part, Soft):
            if index in rows:
                current.append(rows[index])
        elif isinstance(part, Sep):
            if separator is None:
                current.append(Boundary())
            else:
                _text(current, Span(separator))
        elif isinstance(part, Start):
            current.append(StartTokens())
        elif isinstance(part, DecoderStart):
            decoder = current = []
        elif isinstance(part, Demo):
            for number, shown in enumerate(demonstrations):
                for span in _demonstrate(template, shown, separator or "\n"):
                    _text(current, replace(span, demonstration=number))
                _text(current, Span(demonstration_separator, demonstration=number))
    return Spelled(tuple(pieces), None if decoder is None else tuple(decoder))


def without_demonstration(spelled: Spelled, number: int) -> Spelled:
    """The same pieces without one demonstration."""

    def lighter(pieces: tuple[Piece, ...]) -> Iterator[Piece]:
        for piece in pieces:
            if not isinstance(piece, Run):
                yield piece
                continue
            spans = tuple(s for s in piece.spans if s.demonstration != number)
            if spans:
                yield Run(spans)

    decoder = None if spelled.decoder is None else tuple(lighter(spelled.decoder))
    return Spelled(tuple(lighter(spelled.main)), decoder)


def _text(pieces: list[Piece], span: Span) -> None:
    if not span.text:
        return
    if pieces and isinstance(pieces[-1], Run):
        pieces[-1] = Run((*pieces[-1].spans, span))
    else:
        pieces.append(Run((span,)))


def _slot(pieces: list[Piece], number: int) -> None:
    """Append a slot and hand it the spaces that stand before it."""
    space = ""
    while pieces and isinstance(pieces[-1], Run):
        *before, last = pieces[-1].spans
        if last.field is not None:
            break
        stripped = last.text.rstrip(" ")
        space = last.text[len(stripped) :] + space
        kept = (*before, replace(last, text=stripped)) if stripped else tuple(before)
        if kept:
            pieces[-1] = Run(kept)
        else:
            pieces.pop()
        if stripped:
            break
    pieces.append(Slot(number, space))


def _value(template: Template, part: FieldRef, fields: Fields) -> str:
    if part.name not in fields:
        raise TemplateError(
            f"expected a field '{part.name}', the example has: {', '.join(fields) or 'none'}",
            template.source,
            part.column,
        )
    value = fields[part.name]
    return part.apply(value if isinstance(value, str) else ", ".join(value))


def _demonstrate(template: Template, shown: Demonstration, separator: str) -> Iterator[Span]:
    """A solved example as text: no learned rows, the slots filled."""
    slots = 0
    for part in template.parts:
        if isinstance(part, Literal):
            yield Span(part.text)
        elif isinstance(part, FieldRef):
            yield Span(_value(template, part, shown.fields), part.name)
        elif isinstance(part, Answer):
            yield Span(shown.words[slots])
            slots += 1
        elif isinstance(part, Sep):
            yield Span(separator)
