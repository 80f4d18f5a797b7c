"""The template language: `{soft:20}{premise} ? {mask}, {hypothesis|lower_first}` becomes parts.

What a template says as a whole: its fields, its answer slots, its learned rows as one matrix.
Knows no tokenizer, no task and no model; `parts.py` has the pieces, `grammar.py` reads them.

    {text}  {Review Text}  {text|lower_first|first_words:20}  {text!}  {field:mask}
    {mask}  {mask:a}
    {soft}  {soft:20}  {soft:'It was'}  {soft:4#a} … {#a}
    {sep}  {start}  {decoder}  {demo}  {{  }}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from softprompt.errors import TemplateError
from softprompt.text.grammar import MAX_LENGTH, read
from softprompt.text.parts import (
    RESERVED,
    SPECIAL,
    Answer,
    DecoderStart,
    Demo,
    FieldRef,
    Filter,
    Literal,
    Part,
    Sep,
    Soft,
    Start,
    quote,
    write,
)

__all__ = [
    "MAX_LENGTH",
    "RESERVED",
    "Answer",
    "DecoderStart",
    "Demo",
    "FieldRef",
    "Filter",
    "Literal",
    "Part",
    "Sep",
    "Soft",
    "SoftGroup",
    "Start",
    "Template",
    "parse",
]


@dataclass(frozen=True)
class SoftGroup:
    """Rows `offset` to `offset + length` of the prompt matrix `[P, E]`.

    `length` is None while nobody has tokenised `text`, and `offset` is None after such a group.
    `slots` are the indices in `Template.parts` at which these rows stand.
    """

    name: str | None
    offset: int | None
    length: int | None
    text: str | None = None
    slots: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Template:
    """A template that has been read. Two are equal if their parts are, however they were spaced.

    Args:
        source: as the user wrote it; columns count in it.
        parts: never two Literals in a row, never an empty one.
    """

    source: str = field(compare=False)
    parts: tuple[Part, ...]

    @classmethod
    def from_parts(cls, parts: Iterable[Part]) -> Template:
        """A template from parts made elsewhere: neighbouring literals are joined, all is checked.

        Raises:
            TemplateError: parts that no template can hold (a name with a brace, two {start}).
        """
        joined: list[Part] = []
        for part in parts:
            before = joined[-1] if joined else None
            if isinstance(part, Literal) and isinstance(before, Literal):
                joined[-1] = Literal(before.text + part.text)
            elif part != Literal(""):
                joined.append(part)
        template = parse(write(joined))
        if template.parts != tuple(joined):
            raise TemplateError(
                f"expected names without {SPECIAL} or outer spaces, found parts that would be "
                f"written {template} and read otherwise"
            )
        return template

    def __str__(self) -> str:
        return write(self.parts)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, each once, in order."""
        return tuple(dict.fromkeys(p.name for p in self.parts if isinstance(p, FieldRef)))

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answer slots in order."""
        return tuple(p for p in self.parts if isinstance(p, Answer))

    @property
    def slot_names(self) -> tuple[str | None, ...]:
        """The answer slots' names in order, None for one without."""
        return tuple(part.name for part in self.answers)

    @property
    def has_soft(self) -> bool:
        """Whether the template says itself where learned rows go."""
        return any(isinstance(p, Soft) for p in self.parts)

    @property
    def explicit_length(self) -> int | None:
        """Rows in all, if every group has a number; None: no soft slot, or some length is open."""
        lengths = [group.length for group in self.soft_groups(None)]
        known = [length for length in lengths if length is not None]
        return sum(known) if known and len(known) == len(lengths) else None

    def soft_groups(
        self, default_length: int | None, text_length: Callable[[str], int] | None = None
    ) -> tuple[SoftGroup, ...]:
        """All rows as one matrix `[P, E]`: groups in order of first appearance.

        A slot without `#name` is a group of its own, so `{soft}{text}{soft}` has twice
        `default_length` rows.

        Args:
            default_length: rows of each bare `{soft}`, the method's length; None: not known yet.
            text_length: tokens in the text of `{soft:'It was'}`; None: such lengths stay open.
        Raises:
            TemplateError: a text that has no tokens.
        """
        slots: dict[str | int, list[int]] = {}
        for index, part in enumerate(self.parts):
            if isinstance(part, Soft):
                slots.setdefault(index if part.group is None else part.group, []).append(index)
        groups: list[SoftGroup] = []
        offset: int | None = 0
        for indices in slots.values():
            first = self.parts[indices[0]]
            assert isinstance(first, Soft)
            length = default_length if first.text is None else None
            if first.length is not None:
                length = first.length
            elif first.text is not None and text_length is not None:
                length = text_length(first.text)
                if length < 1:
                    raise TemplateError(
                        f"expected words to start rows from, found {quote(first.text)}, "
                        "which has no tokens for this tokenizer",
                        self.source,
                        first.column,
                    )
            groups.append(SoftGroup(first.group, offset, length, first.text, tuple(indices)))
            offset = None if offset is None or length is None else offset + length
        return tuple(groups)


def parse(source: str) -> Template:
    """Read a template.

    Raises:
        TemplateError: with the 1-based column, what was expected and what was found.
    """
    return Template(source, read(source))
