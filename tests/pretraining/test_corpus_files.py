"""Every format reads back the same documents, and what cannot be read is named, never lost."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from softprompt.errors import DataError
from softprompt.pretraining.documents import (
    ENDINGS,
    MESSAGES,
    Document,
    HubPlace,
    corpus_files,
    name_of,
    paragraphs,
    read_documents,
)

TEXT = "first paragraph\nsecond one\n\n\n  \nanother document\n"
DOCUMENTS = [("first paragraph", "second one"), ("another document",)]


def as_text(documents: Sequence[Document]) -> bytes:
    return "\n\n".join("\n".join(document) for document in documents).encode()


def as_json(documents: Sequence[Document], field: str = "text") -> bytes:
    lines = [
        json.dumps({field: "\n".join(d)}, ensure_ascii=i % 2 == 0) for i, d in enumerate(documents)
    ]
    return "\n".join(lines).encode()


def as_parquet(documents: Sequence[Document], path: Path, rows: int = 2) -> None:
    texts = ["\n".join(document) for document in documents]
    parquet.write_table(
        pyarrow.table({"id": range(len(texts)), "text": texts}), path, row_group_size=rows
    )


def written(documents: Sequence[Document], path: Path) -> Path:
    """The file at `path`, in the format of its ending."""
    if path.suffix == ".parquet":
        as_parquet(documents, path)
        return path
    pack: Mapping[str, Callable[[bytes], bytes]] = {".xz": lzma.compress, ".gz": gzip.compress}
    content = as_json(documents) if ".jsonl" in path.name else as_text(documents)
    path.write_bytes(pack.get(path.suffix, bytes)(content))
    return path


def read(path: Path, **options: Any) -> list[Document]:
    return list(read_documents(path, **options))


def read_with_messages(path: Path, **options: Any) -> tuple[list[Document], list[str]]:
    messages: list[str] = []
    return read(path, damaged="skip", report=messages.append, **options), messages


# NUL is refused in text files; what is no character cannot be written.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
lines = st.text(characters, min_size=1).map(lambda text: "".join(paragraphs([text]))).filter(bool)
documents = st.lists(st.lists(lines, min_size=1).map(tuple), min_size=1)


@pytest.mark.parametrize("ending", ENDINGS)
@given(wanted=documents)
def test_what_is_written_is_read_back(
    ending: str, wanted: list[Document], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    # A byte order mark at the very beginning of a file is no text.
    marked = wanted[0][0].startswith("\ufeff")
    if not marked:
        assert read(written(wanted, folder / f"any{ending}")) == wanted


def test_space_and_line_ends_of_any_kind_do_not_count(tmp_path: Path) -> None:
    for name, content in {
        "a.txt": TEXT,
        "b.txt": TEXT.replace("\n", "\r\n"),
        "c.txt": "\ufeff" + TEXT,
    }.items():
        (tmp_path / name).write_bytes(content.encode())
        assert read(tmp_path / name) == DOCUMENTS
    rows = [
        {"text": "first paragraph\r\n\r\n  second one\u2028"},
        {"text": ["another document"]},
        {"text": " "},
    ]
    (tmp_path / "d.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    assert read(tmp_path / "d.jsonl") == DOCUMENTS


def test_what_only_unicode_calls_a_line_end_stays_in_its_paragraph(tmp_path: Path) -> None:
    text = "No\x85 he said, \u2028and left."
    (tmp_path / "a.txt").write_text(f"{text}\rNext.", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": f"{text}\r\nNext."}))
    assert read(tmp_path / "a.txt") == read(tmp_path / "b.jsonl") == [(text, "Next.")]


def test_the_text_may_stand_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(as_json(DOCUMENTS, "content"))
    assert read(tmp_path / "a.jsonl", field="content") == DOCUMENTS
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: no field 'text'; there: 'content'"):
        read(tmp_path / "a.jsonl")


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    for name in ("c.txt.xz", "b.v2.jsonl.gz", "a.parquet"):
        written(DOCUMENTS, tmp_path / name)
    (tmp_path / "notes.md").write_text("no corpus")
    files = corpus_files(tmp_path)
    assert list(files) == ["a", "b.v2", "c"]
    assert [read(path) for path in files.values()] == [DOCUMENTS] * 3
    assert name_of(Path("x/en.jsonl.xz")) == "en"


def test_what_is_no_corpus_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder"):
        corpus_files(tmp_path / "none")
    with pytest.raises(DataError, match=r"no corpus here: expected files ending in \.txt, "):
        corpus_files(tmp_path)
    for name in ("cut.txt.gz", "cut.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"two files with one name, cut\.jsonl and cut\.txt\.gz"):
        corpus_files(tmp_path)
    for damaged in ("stop", "skip"):  # nothing is read yet, and skipping changes nothing
        with pytest.raises(DataError, match=r"none\.txt: no such file"):
            read_documents(tmp_path / "none.txt", damaged=damaged)
        with pytest.raises(DataError, match=r"a\.pdf: unknown ending, expected \.txt, "):
            read_documents(tmp_path / "a.pdf", damaged=damaged)


MANY: list[Document] = [(f"document {n}", "a line that is in all of them") for n in range(20_000)]


@pytest.mark.parametrize("name", ["cut.txt.xz", "cut.txt.gz", "cut.jsonl.xz"])
def test_of_a_truncated_archive_the_rest_is_left_out_on_request(tmp_path: Path, name: str) -> None:
    path = written(MANY, tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with pytest.raises(DataError, match=rf"{name}: .* damaged or cut short"):
        read(path)
    found, messages = read_with_messages(path)
    assert found == MANY[: len(found)]
    assert 0 < len(found) < len(MANY)
    assert len(messages) == 1
    assert name in messages[0]
    assert messages[0].endswith(
        f"the rest is left out, {len(found):,} documents were read before it"
    )


def test_of_text_that_is_not_utf8_the_rest_is_left_out_on_request(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(TEXT.encode() + "\nhalf a document\ncafé\n\nmore\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt, line 9: byte 0xE9 .* not UTF-8"):
        read(path)
    found, messages = read_with_messages(path)
    assert found == DOCUMENTS
    assert "line 9" in messages[0]
    assert "2 documents" in messages[0]


def test_a_broken_line_of_json_is_left_out_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = ['{"text": "one"}', '{"text": "two"}', '{"text": "thr', '{"text": "four"}']
    path.write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"a\.jsonl, line 3: malformed JSON at column 14"):
        read(path)
    found, messages = read_with_messages(path)
    assert found == [("one",), ("two",), ("four",)]
    assert len(messages) == 1
    assert "a.jsonl, line 3: malformed JSON" in messages[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"title": "a", "body": "b"}', "no field 'text'; there: 'title', 'body'"),
        ('{"text": null}', "expected a text or a list of texts, got null"),
        ('{"text": ["a", 3]}', r"expected a text or a list of texts, got \[\"a\", 3\]"),
        ('["a"]', "expected an object"),
        (r'{"text": "\ud83d"}', r"holds half a character \(U\+D83D alone\)"),
    ],
)
def test_a_line_without_a_text_says_what_is_there(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "whole"}}\n{line}\n')
    with pytest.raises(DataError, match=rf"a\.jsonl, line 2.*: {message}"):
        read(path)
    found, messages = read_with_messages(path)
    assert found == [("whole",)]
    assert len(messages) == 1


def test_many_bad_lines_are_counted_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "whole"}\n' + "{\n" * 1_000)
    found, messages = read_with_messages(path)
    assert found == [("whole",)]
    assert len(messages) == MESSAGES + 1
    assert messages[-1] == "990 more bad lines were left out, 1,000 in all"


def test_nothing_is_left_out_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{\n")
    with pytest.warns(UserWarning, match=r"a\.jsonl, line 1"):
        assert not read(path, damaged="skip")


def test_parquet_is_damaged_as_a_whole_or_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["one", None, "three"]}), path)
    with pytest.raises(DataError, match=r"a\.parquet, row 2.*: expected a text .*, got null"):
        read(path)
    assert read_with_messages(path)[0] == [("one",), ("three",)]
    with pytest.raises(DataError, match=r"a\.parquet: no field 'body'; there: 'text'"):
        read(path, field="body")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet after row 0"):
        read(path)


def test_a_place_on_the_hub_is_spelled_with_colons() -> None:
    assert HubPlace.parse("hub:allenai/c4:en:validation") == HubPlace(
        "allenai/c4", "en", "validation"
    )
    assert HubPlace.parse("hub:a/b:zh") == HubPlace("a/b", "zh", "train")
    assert HubPlace.parse("hub:a/b::test") == HubPlace("a/b", None, "test")
    for wrong in ("hub:", "hub:c4", "hub:a/b/c", "hub:/b", "hub:a/b:c:d:e"):
        with pytest.raises(DataError, match="expected hub:owner/name"):
            read_documents(wrong)


def test_a_data_set_of_the_hub_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load(name: str, config: str | None, *, split: str, streaming: bool) -> Any:
        asked.append((name, config, split, streaming))
        return datasets.IterableDataset.from_generator(
            lambda: (
                {"text": text} for text in ("first paragraph\nsecond one", None, "another document")
            )
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    messages: list[str] = []
    found = read_documents("hub:a/b:en", damaged="skip", report=messages.append)
    assert list(found) == DOCUMENTS
    assert asked == [("a/b", "en", "train", True)]
    assert "hub:a/b:en:train, row 2" in messages[0]


def test_a_hub_that_does_not_answer_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*names: Any, **options: Any) -> Any:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(datasets, "load_dataset", load)
    for damaged in ("stop", "skip"):
        with pytest.raises(DataError, match=r"hub:a/b::train: cannot .* \(no route to host\)"):
            list(read_documents("hub:a/b", damaged=damaged))
