"""Rows out of files: every format gives the same rows, and every defect names its file and line."""

from __future__ import annotations

import gzip
import json
import lzma
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.delimited import cut_rows, named_rows
from softprompt.data.lines import LINE_LIMIT
from softprompt.data.readers import iter_rows
from softprompt.errors import DataError, UsageError

ROWS = [{"text": "good", "label": "1"}, {"text": "not good", "label": "0"}]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(path: Path, **options: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(line, dict(row)) for line, row in iter_rows(path, **options)]


def error(path: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        rows(path, **options)
    assert caught.value.file == str(path)
    return caught.value


@pytest.mark.parametrize(
    ("name", "content", "first_line"),
    [
        ("a.csv", "text,label\ngood,1\nnot good,0\n", 2),
        ("a.csv", '"text","label"\r\n"good","1"\r\n"not good","0"', 2),
        ("a.tsv", "text\tlabel\ngood\t1\nnot good\t0\n", 2),
        ("a.jsonl", "\n".join(map(json.dumps, ROWS)), 1),
        ("a.json", "\n".join(map(json.dumps, ROWS)) + "\n", 1),
        ("a.json", json.dumps(ROWS), 1),
        ("a.json", "\n " + json.dumps(ROWS, indent=1), 3),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_all_text_formats_give_the_same_rows(
    tmp_path: Path, name: str, content: str, first_line: int, mark: bytes
) -> None:
    data = mark + content.encode()
    found = rows(write(tmp_path / name, data))
    assert [row for _, row in found] == ROWS
    assert found[0][0] == first_line
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    (tmp_path / f"{name}.xz").write_bytes(lzma.compress(data))
    assert rows(tmp_path / f"{name}.gz") == found
    assert rows(tmp_path / f"{name}.xz") == found


def test_parquet_keeps_types_and_counts_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"text": ["a", None], "answers": [["x", "y"], []], "stars": [1, 2]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [
        (1, {"text": "a", "answers": ["x", "y"], "stars": 1}),
        (2, {"text": None, "answers": [], "stars": 2}),
    ]
    assert "Parquet" in str(error(write(tmp_path / "b.parquet", "text,label\n")))


def test_a_csv_row_is_counted_from_the_line_where_it_starts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"two\nlines, ""quoted""",1\n\nplain 5" disk,0\n')
    assert rows(path) == [
        (2, {"text": 'two\nlines, "quoted"', "label": "1"}),
        (5, {"text": 'plain 5" disk', "label": "0"}),
    ]


def test_tsv_takes_quotes_as_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"unclosed\t1\n')
    assert rows(path)[0][1]["text"] == '"unclosed'
    assert "line 2, column 1 is not closed" in str(error(path, quoting=True))


def test_columns_without_a_header_have_numbers_or_given_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "3,a title\n4,another\n")
    assert rows(path, header=False)[0] == (1, {"1": "3", "2": "a title"})
    assert rows(path, header=["label", "text"])[1] == (2, {"label": "4", "text": "another"})
    assert "expected 1 columns (label), got 2" in str(error(path, header=["label"]))


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_what_the_csv_module_writes_is_read_back(table: list[list[str]]) -> None:
    import csv
    import io

    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(table)
    lines = io.BytesIO(out.getvalue().encode()).readlines()
    numbered = iter([(n, line.decode()) for n, line in enumerate(lines, start=1)])
    assert [cells for _, cells in cut_rows(numbered, ",", True, "f")] == table


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("text,label\na,1\nb\n", 3, "expected 2 columns (text, label), got 1"),
        ("text,label\na,1,2\n", 2, "expected 2 columns (text, label), got 3"),
        ('text,label\na,1\n"b,0\nc,0\n', 3, "the quote opened at line 3, column 1 is not closed"),
        ('text,label\n"a\nb"c,1\n', 2, "column 3 of line 3: expected ',' or the end of the row"),
        ("text,text\na,1\n", 1, "used twice: 'text'"),
        ("text,label\n\xe9a\x00,1\n", 2, "a NUL byte"),
    ],
)
def test_a_malformed_csv_row_names_its_line(
    tmp_path: Path, content: str, line: int, message: str
) -> None:
    found = error(write(tmp_path / "a.csv", content))
    assert (found.line, message in str(found)) == (line, True), str(found)


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": }\n', 2, "malformed JSON at column 7"),
        ("a.jsonl", '{"a": 1}\n\n[1]\n', 3, "expected an object"),
        ("a.jsonl", '{\n"a": 1}\n', 1, "expected a whole object on each line"),
        ("a.json", '[{"a": 1},\n 7]', 2, "expected an object with the columns as keys"),
        ("a.json", '[{"a": 1},\n {"a": nope}]', 2, "malformed JSON at column 8"),
        ("a.json", '[{"a": 1}\n', 2, "expected ',' or ']', got 'the end of the file'"),
        ("a.json", '[{"a": 1}] {', 1, "expected the end of the file after the array"),
    ],
)
def test_malformed_json_names_line_and_column(
    tmp_path: Path, name: str, content: str, line: int, message: str
) -> None:
    found = error(write(tmp_path / name, content))
    assert (found.line, message in str(found)) == (line, True), str(found)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"])
def test_missing_and_empty_files_say_so(tmp_path: Path, name: str) -> None:
    assert "no such file" in str(error(tmp_path / name))
    assert "the file is empty" in str(error(write(tmp_path / name, b"")))
    (tmp_path / "folder.csv").mkdir()
    assert "expected a file, got a folder" in str(error(tmp_path / "folder.csv"))


@pytest.mark.parametrize(
    ("name", "content", "line", "offset"),
    [
        ("a.csv", "text,label\ngut,1\nschön,0\n".encode("latin-1"), 3, 20),
        ("a.json", '[{"a": "gut"},\n{"a": "schön"}]'.encode("latin-1"), 2, 25),
    ],
)
def test_bytes_that_are_not_utf8_are_located(
    tmp_path: Path, name: str, content: bytes, line: int, offset: int
) -> None:
    assert content[offset] == 0xF6
    found = error(write(tmp_path / name, content))
    assert found.line == line
    assert f"byte 0xF6 at offset {offset} is not UTF-8" in str(found)
    assert "UTF-16" in str(error(write(tmp_path / "b.csv", "text\na\n".encode("utf-16"))))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_line_of_ten_megabytes_is_refused_without_holding_it(tmp_path: Path, name: str) -> None:
    start = {"a.csv": b"text\n", "a.jsonl": b'{"text": "', "a.json": b'[{"text": "'}[name]
    path = write(tmp_path / name, start + b"x" * 10_000_000)
    tracemalloc.start()
    found = error(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "longer than 1,048,576 bytes" in str(found)
    assert "line_limit" in str(found)
    assert found.line == (2 if name == "a.csv" else 1)
    assert peak < 8 * LINE_LIMIT  # the limit itself, a few times over while it is decoded


def test_the_line_limit_is_a_setting(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text\n" + "x" * 50 + "\n" + "y" * 51 + "\r\nz\n")
    assert error(path, line_limit=50).line == 3
    assert len(rows(path, line_limit=51)) == 3
    found: list[DataError] = []
    kept = rows(path, line_limit=50, report=found.append)
    assert [line for line, _ in kept] == [2, 4]
    assert len(found) == 1


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    row = json.dumps({"text": "x" * 90})
    count = 60_000
    content = {
        "a.csv": "text\n" + ("x" * 99 + "\n") * count,
        "a.jsonl": (row + "\n") * count,
        "a.json": "[" + ",\n".join([row] * count) + "]",
    }[name]
    path = write(tmp_path / name, content)
    del content
    tracemalloc.start()
    seen = sum(1 for _ in iter_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == count
    assert peak < 1_000_000  # the file has 6 MB; the reader's pieces have 64 kB


def test_a_report_takes_note_and_reading_goes_on(tmp_path: Path) -> None:
    content = b'{"a": 1}\nnot json\n{"a": "\xff"}\n[]\n{"a": 2}\n'
    found: list[DataError] = []
    kept = rows(write(tmp_path / "a.jsonl", content), report=found.append)
    assert [row["a"] for _, row in kept] == [1, 2]
    assert [e.line for e in found] == [2, 3, 4]


def test_a_damaged_archive_is_one_sentence(tmp_path: Path) -> None:
    whole = gzip.compress(b"text\n" + b"some text\n" * 10_000)
    assert "damaged or cut short" in str(error(write(tmp_path / "a.csv.gz", whole[:-30])))
    assert "damaged or cut short" in str(error(write(tmp_path / "b.csv.gz", b"text\na\n")))
    assert "damaged or cut short" in str(error(write(tmp_path / "c.csv.xz", b"text\na\n")))


def test_a_name_that_tells_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot tell the format by the name"):
        rows(write(tmp_path / "a.txt", "text\n"))
    assert rows(write(tmp_path / "a.txt", "text\na\n"), format=".csv") == [(2, {"text": "a"})]


def test_only_a_header_gives_no_rows() -> None:
    assert list(named_rows(iter([(1, ["text"])]), True, "f")) == []
