"""The pieces that a template is made of, and how they are written down.

Knows no tokenizer and no example. Every piece carries the 1-based `column` at which it stands in
the source; columns take no part in comparisons, so that templates that say the same are equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from softprompt.text.filters import FILTERS

SPECIAL = "{}|!#:'"  # what no name of a field, answer slot or group may hold
RESERVED = ("mask", "soft", "sep", "start", "decoder", "demo")


@dataclass(frozen=True)
class Literal:
    """Text that stands in every example, with single braces (`{{` in the source is `{` here)."""

    text: str
    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Filter:
    """One step of `{text|first_words:20}`; `argument` is None where none is written."""

    name: str
    argument: str | None = None


@dataclass(frozen=True)
class FieldRef:
    """A field of the example and its filters, applied left to right; `keep`: never truncated."""

    name: str
    filters: tuple[Filter, ...] = ()
    keep: bool = False
    column: int = field(default=1, compare=False)

    def apply(self, text: str) -> str:
        """The field's text as the template wants it."""
        for step in self.filters:
            text = FILTERS[step.name](text, step.argument)
        return text


@dataclass(frozen=True)
class Answer:
    """The answer slot. Several without a name are told apart by their order."""

    name: str | None = None
    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Soft:
    """Learned rows.

    `length` and `text` both None: the method's length, or, where the group stands further left,
    that group's rows again. Never both given.
    """

    length: int | None = None
    text: str | None = None
    group: str | None = None
    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Sep:
    """The tokenizer's own boundary between the texts of a pair."""

    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Start:
    """Where the tokenizer's start tokens go."""

    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class DecoderStart:
    """What follows starts the decoder."""

    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Demo:
    """Where demonstrations go."""

    column: int = field(default=1, compare=False)


Part: TypeAlias = Literal | FieldRef | Answer | Soft | Sep | Start | DecoderStart | Demo

# Slots that are a bare word and stand at most once, except {sep}.
PLAIN_SLOTS: dict[str, type[Sep | Start | DecoderStart | Demo]] = {
    "sep": Sep,
    "start": Start,
    "decoder": DecoderStart,
    "demo": Demo,
}
_PLAIN_NAMES = {kind: name for name, kind in PLAIN_SLOTS.items()}


def write(parts: Iterable[Part]) -> str:
    """The canonical source: reading it gives equal parts, if a template can hold them at all."""
    seen: set[str] = set()
    pieces = []
    for part in parts:
        pieces.append(_write_part(part, seen))
        if isinstance(part, Soft) and part.group is not None:
            seen.add(part.group)
    return "".join(pieces)


def _write_part(part: Part, seen: set[str]) -> str:
    if isinstance(part, Literal):
        return part.text.replace("{", "{{").replace("}", "}}")
    if isinstance(part, FieldRef):
        name = f"field:{part.name}" if part.name in RESERVED else part.name
        steps = "".join(f"|{_write_filter(step)}" for step in part.filters)
        return f"{{{name}{steps}{'!' if part.keep else ''}}}"
    if isinstance(part, Answer):
        return "{mask}" if part.name is None else f"{{mask:{part.name}}}"
    if isinstance(part, Soft):
        return _write_soft(part, again=part.group in seen)
    return f"{{{_PLAIN_NAMES[type(part)]}}}"


def _write_filter(step: Filter) -> str:
    if step.argument is None:
        return step.name
    bare = step.argument and step.argument == step.argument.strip()
    if bare and not any(mark in step.argument for mark in SPECIAL):
        return f"{step.name}:{step.argument}"
    return f"{step.name}:{quote(step.argument)}"


def _write_soft(part: Soft, *, again: bool) -> str:
    group = "" if part.group is None else f"#{part.group}"
    if part.length is not None:
        return f"{{soft:{part.length}{group}}}"
    if part.text is not None:
        return f"{{soft:{quote(part.text)}{group}}}"
    return f"{{{group}}}" if again else f"{{soft{group}}}"


def quote(text: str) -> str:
    """The text in single quotes, a quote in it doubled."""
    return "'" + text.replace("'", "''") + "'"
