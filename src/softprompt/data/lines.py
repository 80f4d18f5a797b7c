"""Bytes become checked lines of text: compression, UTF-8, line limits, and where each line stands.

Knows nothing of columns or rows. Memory holds one line at a time, so it does not grow with the
file. A problem with a single line goes to a `Report`, which may raise (the default) or take note
and go on.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from softprompt.errors import DataError

LINE_LIMIT = 1 << 20
"""Longest line in bytes (1 MiB) unless `line_limit` says otherwise."""

Report = Callable[[DataError], None]
"""What is done about a bad row: `raise_it`, or a function that takes note and returns."""

BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.GzipFile, ".xz": lzma.LZMAFile}
BROKEN_ARCHIVE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def raise_it(error: DataError) -> None:
    """The default report: a bad row stops the reading."""
    raise error


def check_file(path: Path) -> None:
    """Refuse what cannot be read at all, before anything is opened.

    Raises:
        DataError: no such file, a folder, or a file of zero bytes.
    """
    if not path.exists():
        raise DataError("there is no such file", file=str(path))
    if path.is_dir():
        raise DataError("expected a file, got a folder", file=str(path))
    if path.is_file() and path.stat().st_size == 0:  # a pipe has no size
        raise DataError("the file is empty (0 bytes); expected rows", file=str(path))


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open for reading bytes, unpacking `.gz` and `.xz` on the way.

    Raises:
        DataError: the file is missing, empty, unreadable, or its compression is damaged.
    """
    check_file(path)
    try:
        with OPENERS.get(path.suffix.lower(), lambda p: p.open("rb"))(path) as stream:
            yield stream
    except BROKEN_ARCHIVE as error:
        message = f"the {path.suffix} archive is damaged or cut short ({error}); pack it again"
        raise DataError(message, file=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error


def not_utf8(error: UnicodeDecodeError, offset: int, file: str, line: int) -> DataError:
    """The report for bytes that are not UTF-8.

    Args:
        error: as raised while decoding a line or a piece of the file.
        offset: where that line or piece begins, in bytes from the start of the (unpacked) file.
        file, line: where the bad byte stands.
    """
    byte = error.object[error.start]
    return DataError(
        f"byte 0x{byte:02X} at offset {offset + error.start} is not UTF-8, the only encoding read "
        "here; save the file as UTF-8 (`iconv -f latin1 -t utf-8`, or `-f gb18030` for Chinese)",
        file=file,
        line=line,
    )


def text_lines(
    path: Path, limit: int = LINE_LIMIT, report: Report = raise_it
) -> Iterator[tuple[int, str]]:
    """Each line with its number from 1, its line end kept, a byte order mark dropped.

    Args:
        path: a text file, plain or `.gz` or `.xz`.
        limit: longest line in bytes; a longer one is reported and passed over unread.
        report: gets lines that are too long, not UTF-8, or binary.
    Raises:
        DataError: the file as a whole cannot be read (see `open_bytes`), or is UTF-16.
    """
    file, number, offset = str(path), 0, 0
    with open_bytes(path) as stream:
        while raw := stream.readline(limit + 2):
            number, start, offset = number + 1, offset, offset + len(raw)
            if number == 1 and raw.startswith(UTF16_BOMS):
                raise DataError("the file is UTF-16; save it as UTF-8", file=file, line=1)
            if len(raw.rstrip(b"\r\n")) > limit:
                while raw and not raw.endswith(b"\n"):
                    raw = stream.readline(1 << 16)
                    offset += len(raw)
                report(too_long("line", limit, file, number))
                continue
            if number == 1 and raw.startswith(BOM):
                raw, start = raw[len(BOM) :], start + len(BOM)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                report(not_utf8(error, start, file, number))
                continue
            if "\0" in text:
                message = "a NUL byte: the file is binary or UTF-16; expected text in UTF-8"
                report(DataError(message, file=file, line=number))
                continue
            yield number, text


def too_long(what: str, limit: int, file: str, line: int) -> DataError:
    """The report for a line or row above the limit."""
    return DataError(
        f"the {what} is longer than {limit:,} bytes; check that rows end where they should, "
        "or raise the setting `line_limit`",
        file=file,
        line=line,
    )
