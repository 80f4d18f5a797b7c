"""How a template is read: `{text|lower} It was {mask}.` becomes parts, or an error with its column.

A parser written by hand, one character at a time; nothing is evaluated. Knows the grammar only:
what the parts mean together is `template.py`, whether the fields exist is for whoever has a task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from softprompt.errors import TemplateError
from softprompt.text.filters import FILTERS, suggest_filter
from softprompt.text.parts import (
    PLAIN_SLOTS,
    RESERVED,
    SPECIAL,
    Answer,
    FieldRef,
    Filter,
    Literal,
    Part,
    Soft,
    quote,
    write,
)

MAX_LENGTH = 100_000  # rows in one slot; more is a slip of the finger


def read(source: str) -> tuple[Part, ...]:
    """The parts of a template: never two Literals in a row, never an empty one.

    Raises:
        TemplateError: with the 1-based column, what was expected and what was found.
    """
    return tuple(_Reader(source).read())


class _Reader:
    """One pass over a source; `at` is the 0-based place of the next character."""

    END = "the end of the template"

    def __init__(self, source: str):
        self.source, self.at = source, 0
        self.opened = 0  # where the slot being read begins
        self.once: dict[str, int] = {}  # what may stand once -> its column
        self.groups: dict[str, Soft] = {}
        self.slots: dict[str, Callable[[int], Part]] = {"mask": self.mask, "soft": self.soft}

    def read(self) -> list[Part]:
        parts: list[Part] = []
        while self.at < len(self.source):
            opens = self.source[self.at] == "{" and self.source[self.at + 1 : self.at + 2] != "{"
            parts.append(self.slot() if opens else self.literal())
        return parts

    def literal(self) -> Literal:
        begin, pieces = self.at, []
        while self.at < len(self.source):
            mark = self.source[self.at]
            if mark not in "{}":
                self.at += 1
            elif self.source[self.at + 1 : self.at + 2] == mark:
                self.at += 2
            elif mark == "{":
                break
            else:
                self.fail("'}}' for a brace in the text, or '{' before it", found="a lone '}'")
            pieces.append(mark)
        return Literal("".join(pieces), begin + 1)

    def slot(self) -> Part:
        self.opened, column = self.at, self.at + 1
        self.at += 1
        name, where = self.name()
        if name in PLAIN_SLOTS:
            if name != "sep":
                self.only_once(f"{{{name}}}", column, column)
            part: Part = PLAIN_SLOTS[name](column)
        elif name in self.slots:
            part = self.slots[name](column)
        elif name:
            part = self.field(name, column)
        elif self.peek() == "#":
            part = self.again(column)
        else:
            self.fail(f"a field name, '#' or one of {', '.join(RESERVED)}", where)
        self.close(part)
        return part

    def field(self, name: str, column: int) -> FieldRef:
        if name == "field" and self.take(":"):
            name, where = self.name()
            if not name:
                self.fail("the name of a field, as in {field:mask}", where)
        filters = []
        while self.take("|"):
            filters.append(self.filter())
        return FieldRef(name, tuple(filters), self.take("!"), column)

    def filter(self) -> Filter:
        name, where = self.name()
        if name not in FILTERS:
            found = f"'{name}': {suggest_filter(name)}" if name else None
            self.fail("a filter", where, found)
        argument = None
        where = self.at + 1
        if self.take(":"):
            argument, where = self.quoted_or_name()
        if complaint := FILTERS[name].expected(argument):
            found = quote(argument) if argument else None
            self.fail(f"{complaint} for the filter '{name}'", where, found)
        return Filter(name, argument)

    def mask(self, column: int) -> Answer:
        if not self.take(":"):
            return Answer(None, column)
        name, where = self.name()
        if not name:
            self.fail("a name for the answer slot, as in {mask:a}", where)
        self.only_once(f"{{mask:{name}}}", column, where)
        return Answer(name, column)

    def soft(self, column: int) -> Soft:
        length = text = group = None
        if self.take(":"):
            quoted = self.next_mark() == "'"
            value, where = self.quoted_or_name()
            if quoted:
                text = value
                if not value.strip():
                    self.fail("words to start the rows from", where, quote(value))
            else:
                length = self.length(value, where)
        where = self.at + 1
        if self.take("#"):
            group, where = self.group_name()
        part = Soft(length, text, group, column)
        return part if group is None else self.define(group, part, where)

    def length(self, value: str, where: int) -> int:
        digits = value.isascii() and value.isdigit() and len(value) < 10
        if not digits or not 1 <= int(value) <= MAX_LENGTH:
            found = f"'{value}'" if value else None
            if value[:1].isalpha():
                found = f"'{value}'; a text is quoted: {{soft:{quote(value)}}}"
            self.fail(f"a number of rows from 1 to {MAX_LENGTH}, or a text in quotes", where, found)
        return int(value)

    def define(self, group: str, part: Soft, where: int) -> Soft:
        """`{soft:4#a}`: the first one defines; a later one must say the same, or nothing."""
        first = self.groups.setdefault(group, part)
        says_nothing = part.length is None and part.text is None
        if not says_nothing and (part.length, part.text) != (first.length, first.text):
            self.fail(
                f"{{#{group}}}, for the rows defined at column {first.column} as {write([first])}",
                where,
                f"another definition, {write([part])}",
            )
        return part

    def again(self, column: int) -> Soft:
        """`{#a}`"""
        self.take("#")
        group, where = self.group_name()
        if group not in self.groups:
            self.fail(
                f"rows defined further left, as in {{soft:4#{group}}}",
                where,
                f"'#{group}', not yet defined",
            )
        return Soft(None, None, group, column)

    def group_name(self) -> tuple[str, int]:
        name, where = self.name()
        if not name:
            self.fail("a name after '#', as in {soft:4#a}", where)
        return name, where

    def only_once(self, written: str, column: int, where: int) -> None:
        first = self.once.setdefault(written, column)
        if first != column:
            self.fail(f"{written} at most once", where, f"it again after column {first}")

    # The characters.

    def name(self) -> tuple[str, int]:
        """What stands up to the next special character, stripped, and the column it starts at."""
        begin = self.at
        while self.at < len(self.source) and self.source[self.at] not in SPECIAL:
            self.at += 1
        raw = self.source[begin : self.at]
        return raw.strip(), begin + 1 + len(raw) - len(raw.lstrip())

    def quoted_or_name(self) -> tuple[str, int]:
        if self.next_mark() != "'":
            return self.name()
        _, where = self.name()
        begin, pieces = self.at, []
        self.at += 1
        while True:
            end = self.source.find("'", self.at)
            if end < 0:
                self.fail("a quote ' to end this text ('' is a quote in it)", begin + 1, self.END)
            pieces.append(self.source[self.at : end])
            self.at = end + 1
            if self.source[self.at : self.at + 1] != "'":
                break
            pieces.append("'")
            self.at += 1
        self.skip_white()
        return "".join(pieces), where

    def next_mark(self) -> str:
        """The next character that is not white space; nothing is consumed."""
        return self.source[self.at :].lstrip()[:1]

    def skip_white(self) -> None:
        while self.source[self.at : self.at + 1].isspace():
            self.at += 1

    def peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def take(self, mark: str) -> bool:
        """Consume `mark` and the white space after it, if it stands here."""
        if self.peek() != mark:
            return False
        self.at += 1
        self.skip_white()
        return True

    def close(self, part: Part) -> None:
        if self.peek() == "}":
            self.at += 1
            return
        expected = "'}'"
        if isinstance(part, FieldRef):
            expected = f"'|', '!' or '}}' after '{part.name}'"
            if part.keep:
                expected = "'}' (the '!' stands last, after the filters)"
            elif part.name[:1] == '"':
                expected += " (a template of OpenPrompt is read with from_openprompt)"
        self.fail(expected)

    def fail(self, expected: str, column: int | None = None, found: str | None = None) -> NoReturn:
        """Raise, at `column` or where the reader stands; an unclosed slot is shown at its brace."""
        column = self.at + 1 if column is None else column
        if found is None and column > len(self.source):
            expected, found, column = "'}' to close this slot", self.END, self.opened + 1
        elif found is None:
            found = repr(self.source[column - 1])
        raise TemplateError(f"expected {expected}, found {found}", self.source, column)
