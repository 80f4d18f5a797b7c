"""Lines become cells: comma-separated values by RFC 4180, tab-separated ones as GLUE has them.

Knows lines and cells, not what a cell means. A row is reported at the line where it starts.
Not Python's `csv` module: its cell limit is a global of the process, it drops the column of an
error, and it takes a lone carriage return for the end of a row.
"""

from __future__ import annotations

from collections.abc import Iterator

from softprompt.data.lines import LINE_LIMIT, Report, raise_it, too_long
from softprompt.errors import DataError

Lines = Iterator[tuple[int, str]]


def cut_rows(
    lines: Lines,
    delimiter: str,
    quoting: bool,
    file: str,
    limit: int = LINE_LIMIT,
    report: Report = raise_it,
) -> Iterator[tuple[int, list[str]]]:
    """Each row's first line number and its cells; blank lines are passed over.

    Args:
        lines: numbered lines with their line ends.
        delimiter: one character.
        quoting: a cell that begins with `"` ends at the next lone `"` and may hold delimiters, line
            ends and doubled quotes. A quote inside an unquoted cell is an ordinary character.
            Without quoting every quote is.
        file: for the messages.
        limit: longest row in bytes, however many lines it has.
        report: gets rows with a quote that is not closed or is followed by other text.
    """
    for number, line in lines:
        body = line.rstrip("\r\n")
        if not body:
            continue
        if not quoting or '"' not in body:
            yield number, body.split(delimiter)
            continue
        try:
            yield number, _cut_quoted(number, line, lines, delimiter, file, limit)
        except DataError as error:
            report(error)


def _cut_quoted(
    number: int, line: str, lines: Lines, delimiter: str, file: str, limit: int
) -> list[str]:
    """Cells of one row, reading on where a quoted cell goes over the end of its line."""
    cells: list[str] = []
    position, first, size = 0, number, 0
    while True:
        if line[position : position + 1] != '"':
            end = line.find(delimiter, position)
            if end < 0:
                return [*cells, line[position:].rstrip("\r\n")]
            cells.append(line[position:end])
            position = end + 1
            continue
        opened, pieces, position = (number, position + 1), [], position + 1
        while True:
            end = line.find('"', position)
            if end < 0:
                pieces.append(line[position:])
                size += len(line.encode())
                if size > limit:
                    raise _unclosed(opened, too_long("row", limit, file, first), file, first)
                try:
                    number, line = next(lines)
                except StopIteration:
                    raise _unclosed(opened, None, file, first) from None
                position = 0
            elif line[end + 1 : end + 2] == '"':
                pieces.append(line[position : end + 1])
                position = end + 2
            else:
                pieces.append(line[position:end])
                position = end + 1
                break
        cells.append("".join(pieces))
        rest = line[position:].rstrip("\r\n")
        if not rest:
            return cells
        if rest[0] != delimiter:
            raise DataError(
                f"column {position + 1} of line {number}: expected {delimiter!r} or the end of the "
                f"row after the closing quote, got {rest[:12]!r}; write a quote inside a "
                'cell twice (""), or set quoting=False if quotes are ordinary characters here',
                file=file,
                line=first,
            )
        position += 1


def _unclosed(
    opened: tuple[int, int], too_long: DataError | None, file: str, first: int
) -> DataError:
    line, column = opened
    until = "before the end of the file" if too_long is None else "within the limit of a row"
    return DataError(
        f"the quote opened at line {line}, column {column} is not closed {until}; close it, raise "
        "`line_limit`, or set quoting=False if quotes are ordinary characters here",
        file=file,
        line=first,
    )


def named_rows(
    rows: Iterator[tuple[int, list[str]]],
    header: bool | tuple[str, ...],
    file: str,
    report: Report = raise_it,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Give each cell the name of its column.

    Args:
        rows: from `cut_rows`.
        header: True: the first row holds the names. False: there are none, columns are called "1",
            "2", … Names: the file has no header and these are its columns.
        file: for the messages.
        report: gets rows with too many or too few cells.
    Raises:
        DataError: two columns share a name, or the file has no row at all.
    """
    first = next(rows, None)
    if first is None:
        raise DataError("the file holds no rows", file=file)
    number, cells = first
    if header is True:
        names = tuple(cell.strip() for cell in cells)
    else:
        names = header or tuple(str(n + 1) for n in range(len(cells)))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"column name(s) used twice: {', '.join(map(repr, twice))}"
        raise DataError(message, file=file, line=number if header is True else None)
    if header is not True:
        yield from _named(number, cells, names, file, report)
    for number, cells in rows:
        yield from _named(number, cells, names, file, report)


def _named(
    number: int, cells: list[str], names: tuple[str, ...], file: str, report: Report
) -> Iterator[tuple[int, dict[str, str]]]:
    if len(cells) == len(names):
        yield number, dict(zip(names, cells, strict=True))
        return
    report(
        DataError(
            f"expected {len(names)} columns ({', '.join(names)}), got {len(cells)}",
            file=file,
            line=number,
        )
    )
