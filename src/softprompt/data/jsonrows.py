"""JSON becomes rows: one object a line, or one array of objects, read piece by piece.

Knows objects, not what their keys mean.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from softprompt.data.lines import (
    BOM,
    LINE_LIMIT,
    Report,
    not_utf8,
    open_bytes,
    raise_it,
    text_lines,
    too_long,
)
from softprompt.errors import DataError

CHUNK = 1 << 16
SPACE = " \t\r\n"
KINDS = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}


def json_lines(
    path: Path, limit: int = LINE_LIMIT, report: Report = raise_it
) -> Iterator[tuple[int, dict[str, Any]]]:
    """One object a line; blank lines are passed over.

    Args:
        path: the file, plain or compressed.
        limit: longest line in bytes.
        report: gets lines that are malformed or hold something other than an object.
    """
    for number, line in text_lines(path, limit, report):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            hint = ""
            if line.strip() in ("{", "["):
                hint = "; expected a whole object on each line, or a .json file that is one array"
            message = f"malformed JSON at column {error.colno}: {error.msg}{hint}"
            report(DataError(message, file=str(path), line=number))
        except (RecursionError, ValueError) as error:
            report(DataError(f"JSON that cannot be read: {error}", file=str(path), line=number))
        else:
            if isinstance(row, dict):
                yield number, row
            else:
                report(_not_an_object(row, str(path), number))


def is_array(path: Path) -> bool:
    """Whether the first character of the file, spaces aside, is `[`."""
    with open_bytes(path) as stream:
        while chunk := stream.read(CHUNK):
            text = chunk.removeprefix(BOM).lstrip()
            if text:
                return text.startswith(b"[")
    return False


def json_array(
    path: Path, limit: int = LINE_LIMIT, report: Report = raise_it
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file that is one array, each with the line on which it starts.

    Args:
        path: the file, plain or compressed.
        limit: longest element in bytes.
        report: gets elements that are not objects. Malformed JSON always ends the reading: after it
            there is no telling where the next element starts.
    Raises:
        DataError: malformed, cut short, too long, not UTF-8.
    """
    with open_bytes(path) as stream:
        window = _Window(path, stream, limit)
        window.expect("[")
        if window.peek() == "]":
            window.expect("]")
        else:
            while True:
                window.peek()  # passes over spaces, so that `line` is where the element starts
                line, row = window.line, window.value()
                if isinstance(row, dict):
                    yield line, row
                else:
                    report(_not_an_object(row, str(path), line))
                if window.expect(",]") == "]":
                    break
        if rest := window.peek():
            raise window.malformed(f"expected the end of the file after the array, got {rest!r}")


class _Window:
    """The part of the file that is being parsed, how far, and the line and column of that point."""

    def __init__(self, path: Path, stream: IO[bytes], limit: int):
        self.file, self.stream, self.limit = str(path), stream, limit
        self.text, self.at = "", 0
        self.line, self.column, self.offset = 1, 1, 0
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.parser = json.JSONDecoder()

    def fill(self, size: int = CHUNK) -> bool:
        """Read on, forgetting what has been parsed; False at the end of the file."""
        chunk = self.stream.read(size)
        try:
            more = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            kept_over = len(error.object) - len(chunk)
            seen = self.text.count("\n", self.at) + error.object[: error.start].count(b"\n")
            start = self.offset - kept_over
            raise not_utf8(error, start, self.file, self.line + seen) from None
        self.offset += len(chunk)
        self.text, self.at = self.text[self.at :] + more, 0
        return bool(chunk)

    def advance(self, end: int) -> None:
        """Move on to index `end` of the text."""
        breaks = self.text.count("\n", self.at, end)
        if breaks:
            self.line += breaks
            self.column = end - self.text.rfind("\n", self.at, end)
        else:
            self.column += end - self.at
        self.at = end

    def peek(self) -> str:
        """The next character that is not a space, or '' at the end of the file."""
        while True:
            end = self.at
            while end < len(self.text) and self.text[end] in SPACE:
                end += 1
            self.advance(end)
            if end < len(self.text) or not self.fill():
                return self.text[self.at : self.at + 1]

    def expect(self, allowed: str) -> str:
        found = self.peek()
        if not found or found not in allowed:
            wanted = " or ".join(repr(character) for character in allowed)
            raise self.malformed(f"expected {wanted}, got {found or 'the end of the file'!r}")
        self.advance(self.at + 1)
        return found

    def value(self) -> Any:
        """The next value, reading on for as long as it is incomplete."""
        while True:
            start, held = self.at, len(self.text) - self.at
            try:
                value, end = self.parser.raw_decode(self.text, self.at)
            except RecursionError as error:
                raise self.malformed(str(error)) from None
            except ValueError as error:
                # Incomplete and malformed look alike; doubling keeps the retries linear in total.
                if held > self.limit or not self.fill(max(CHUNK, held)):
                    raise self._explain(error, start, held > self.limit) from None
            else:
                if end - self.at > self.limit:
                    raise too_long("element", self.limit, self.file, self.line)
                self.advance(end)
                return value

    def _explain(self, error: ValueError, start: int, too_much: bool) -> DataError:
        """What is wrong with the value that began at `start` when it was parsed."""
        if not isinstance(error, json.JSONDecodeError):
            return self.malformed(str(error))
        place = self.at + error.pos - start  # `fill` may have moved the text since
        unfinished = error.msg.startswith("Unterminated") or place >= len(self.text) - 1
        if too_much and unfinished:
            return too_long("element", self.limit, self.file, self.line)
        self.advance(place)
        return self.malformed(error.msg)

    def malformed(self, message: str) -> DataError:
        where = f"malformed JSON at column {self.column}: {message}"
        return DataError(where, file=self.file, line=self.line)


def _not_an_object(row: Any, file: str, line: int) -> DataError:
    kind = KINDS.get(type(row), "a number")
    message = f'expected an object with the columns as keys ({{"text": …}}), got {kind}'
    return DataError(message, file=file, line=line)
