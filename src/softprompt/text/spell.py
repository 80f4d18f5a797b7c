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
    Part,
    Sep,
    Soft,
    Start,
    Template,
)

Fields: TypeAlias = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True)
class Span:
    """A stretch of a run. `field` is None for the template's own text; only shortenable spans are
    ever cut."""

    text: str
    field: str | None = None
    shortenable: bool = False


@dataclass(frozen=True)
class Run:
    """Running text between two breaks: at least one span, none of them empty."""

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
    joint: Sequence[Part] = (Literal(" "),),
) -> Spelled:
    """Put an example's fields into a template.

    Args:
        template: a parsed template.
        fields: the example's fields.
        rows: index of each soft slot in `template.parts` to its rows; a slot without an entry is
            left out (methods without rows ignore soft slots).
        front: rows that go first, for a template that does not say where.
        separator: what `{sep}` is where the tokenizer has no pair boundary of its own; None: it has.
        demonstrations: solved examples for `{demo}`.
        joint: literals and `{sep}` that stand between demonstrations, and between them and a
            neighbour that has no white space there itself.
    Raises:
        TemplateError: a field that the example lacks or that is no text; demonstrations for a
            template without `{demo}`.
    """
    if demonstrations and not any(isinstance(part, Demo) for part in template.parts):
        raise TemplateError(f"expected {{demo}} in '{template}', where demonstrations can stand")
    parts = template.parts if demonstrations else _without_demo(template.parts)
    pieces: list[Piece] = [front] if front is not None else []
    decoder: list[Piece] | None = None
    current, slots = pieces, 0
    for index, part in enumerate(parts):
        match part:
            case Soft():
                if index in rows:
                    current.append(rows[index])
            case Answer():
                _add_slot(current, slots)
                slots += 1
            case Start():
                # A template that opens with {start} wants it first, also before rows in front.
                current.insert(len(current) if index else 0, StartTokens())
            case DecoderStart():
                decoder = current = []
            case Demo():
                for shown, whose in _joined(template, index, demonstrations, joint):
                    _add(current, template, shown, whose, separator, cut=False)
            case _:
                _add(current, template, part, fields, separator)
    return Spelled(tuple(pieces), None if decoder is None else tuple(decoder))


def _add(
    pieces: list[Piece],
    template: Template,
    part: Part,
    fields: Fields,
    separator: str | None,
    *,
    cut: bool = True,
) -> None:
    """Append a literal, a field or a boundary; `cut`: whether fields may be shortened."""
    match part:
        case Literal():
            _add_text(pieces, Span(part.text))
        case FieldRef():
            text = _value(template, part, fields)
            _add_text(pieces, Span(text, part.name, cut and not part.keep))
        case Sep():
            if separator is None:
                pieces.append(Boundary())
            else:
                _add_text(pieces, Span(separator))


def _add_text(pieces: list[Piece], span: Span) -> None:
    if not span.text:
        return
    if pieces and isinstance(pieces[-1], Run):
        pieces[-1] = Run((*pieces[-1].spans, span))
    else:
        pieces.append(Run((span,)))


def _add_slot(pieces: list[Piece], number: int) -> None:
    """Append a slot and hand it the spaces of the template that stand before it."""
    space = ""
    if pieces and isinstance(pieces[-1], Run):
        *before, last = pieces[-1].spans
        if last.field is None:
            text = last.text.rstrip(" ")
            space = last.text[len(text) :]
            kept = (*before, replace(last, text=text)) if text else tuple(before)
            pieces[-1:] = [Run(kept)] if kept else []
    pieces.append(Slot(number, space))


def _value(template: Template, part: FieldRef, fields: Fields) -> str:
    if part.name not in fields:
        raise TemplateError(
            f"expected a field '{part.name}', the example has: {', '.join(fields) or 'none'}",
            template.source,
            part.column,
        )
    value = fields[part.name]
    if isinstance(value, str):
        return part.apply(value)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TemplateError(
            f"expected a text or a list of texts in the field '{part.name}', found {value!r}",
            template.source,
            part.column,
        )
    return part.apply(", ".join(value))


# Demonstrations. The white space between {demo} and its neighbour is theirs: without any of them,
# or within one of them, it is not there.


def _joined(
    template: Template,
    at: int,
    demonstrations: Sequence[Demonstration],
    joint: Sequence[Part],
) -> Iterator[tuple[Part, Fields]]:
    """The parts of all demonstrations at part `at`, with the fields that each is spelled with."""
    for number, demonstration in enumerate(demonstrations):
        if number or touches(template.parts[:at][::-1], -1):
            yield from ((part, {}) for part in joint)
        yield from ((part, demonstration.fields) for part in _solved(template, demonstration))
    if touches(template.parts[at + 1 :], 0):
        yield from ((part, {}) for part in joint)


def _solved(template: Template, demonstration: Demonstration) -> Iterator[Part]:
    """The template without learned rows, the slots filled; a slot left out is at the end."""
    slots = max(1, len(template.answers))
    if len(demonstration.words) != slots:
        raise TemplateError(
            f"expected demonstrations with {slots} word(s), one for each answer slot of "
            f"'{template}', found {list(demonstration.words)}"
        )
    words = iter(demonstration.words)
    for part in _without_demo(template.parts):
        match part:
            case Answer():
                yield Literal(next(words))
            case DecoderStart():
                yield Literal(" ")
            case Literal() | FieldRef() | Sep():
                yield part
    if not template.answers:
        yield Literal(f" {next(words)}")


def _without_demo(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """As many parts, with nothing in the place of {demo} and no white space where it joined."""
    at = next((index for index, part in enumerate(parts) if isinstance(part, Demo)), None)
    if at is None:
        return parts
    changed = [*parts[:at], Literal(""), *parts[at + 1 :]]
    before = changed[at - 1] if at else None
    after = changed[at + 1] if at + 1 < len(parts) else None
    if isinstance(before, Literal):
        changed[at - 1] = Literal(before.text.rstrip())
    elif isinstance(after, Literal) and not touches(parts[:at][::-1], -1):
        changed[at + 1] = Literal(after.text.lstrip())
    return tuple(changed)


def touches(parts: Sequence[Part], end: int) -> bool:
    """Whether what is put before `parts` (`end` 0) or behind them (−1, and they are given backwards)
    meets text without white space of its own."""
    near = next((part for part in parts if not isinstance(part, Soft | Start)), None)
    if isinstance(near, Literal):
        return not near.text[end].isspace()
    return not isinstance(near, Sep | DecoderStart | None)
