"""Which files and which strings of a data folder are evaluation texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softprompt.errors import DataError
from softprompt.pretraining.evaluation_texts import evaluation_sets, file_texts

A, B, C = (
    "a first text of some length",
    "a second text of some length",
    "a third text of some length",
)


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def texts_of(folder: Path, *without: str) -> dict[str, tuple[str, ...]]:
    return {found.name: found.texts for found in evaluation_sets(folder, without)}


def test_training_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, sst__train_dot_tsv=A, sst__unlabeled_dot_json="", sst__dev_dot_tsv=B)
    write(tmp_path, hotel__all_dot_csv=C, sst__label_names_dot_json="no JSON at all")
    assert texts_of(tmp_path) == {"hotel/all": (C,), "sst/dev": (B,)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dev.tsv", f"sentence\tlabel\n{A}\t1\n{B}\t0\n"),
        ("dev.csv", f'1,"{A}"\n0,x,"{B}"\n'),
        ("dev.jsonl", json.dumps({"text": A}) + "\n" + json.dumps({"deep": [{"text": B}]})),
        ("dev.json", json.dumps({"text": A}) + "\n" + json.dumps({"text": B})),
        ("dev.json", json.dumps({"0": {"a": A, "b": None}, "1": {"a": B}}, indent=1)),
        ("dev.json", json.dumps([{"text": A}, {"text": B}])),
        ("dev.txt", f"{A}||{B}\n"),
        ("dev.txt", f"1\t{A}\t{B}\n"),
    ],
)
def test_every_format_gives_every_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert texts_of(tmp_path) == {"dev": (A, B)}


def test_parquet_columns_are_read_too(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": [A, B], "label": [0, 1]}), tmp_path / "dev.parquet")
    assert texts_of(tmp_path) == {"dev": (A, B)}


def test_a_span_of_the_text_around_it_is_no_text_of_its_own(tmp_path: Path) -> None:
    answer = "the University of Cambridge"
    paragraph = {
        "context": f"He came from {answer} in 1820.",
        "qas": [{"question": A, "answers": [{"text": answer}], "free": {"answer": B}}],
    }
    write(tmp_path, squad_dot_json=json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    assert texts_of(tmp_path) == {"squad": (paragraph["context"], A, B)}


def test_sentences_of_one_row_are_both_texts_though_one_holds_the_other(tmp_path: Path) -> None:
    write(tmp_path, dev_dot_jsonl=json.dumps({"premise": f"{A} and more", "hypothesis": A}))
    assert texts_of(tmp_path) == {"dev": (f"{A} and more", A)}


def test_named_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, lama__facts_dot_txt=A, sst__dev_dot_txt=B, sst__test_dot_txt=C)
    assert list(texts_of(tmp_path, "lama", "sst/test.txt")) == ["sst/dev"]


def test_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, sst__dev_dot_txt=A)
    with pytest.raises(DataError, match="'lame' is to be left out but is not there"):
        texts_of(tmp_path, "lame")


def test_a_folder_without_evaluation_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, train_dot_txt=A)
    with pytest.raises(DataError, match="no evaluation file here"):
        texts_of(tmp_path)
    with pytest.raises(DataError, match="expected a folder"):
        texts_of(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("dev.jsonl", b'{"a": "b"}\n{"a": \n', 2),
        ("dev.json", b'{"a": "b"}\n{"a": "b"}\n["c"]\n', 3),
        ("dev.csv", b'1,fine\n1,"never closed\n', 2),
        ("dev.tsv", b"1\tfine\n2\t\xff\n", 2),
        ("dev.txt", b"fine\n\xff\n", 2),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(
    tmp_path: Path, name: str, content: bytes, line: int
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(file_texts(tmp_path / name))
    assert (caught.value.file, caught.value.line) == (str(tmp_path / name), line)


def test_real_evaluation_files_can_all_be_read(shared: Path) -> None:
    names = [found.name for found in evaluation_sets(shared / "data", ("lama", "lm_bff_published"))]
    assert {"sst2/dev", "superglue/BoolQ/val", "fewclue/tnews/test_public"} <= set(names)
    assert not [name for name in names if "train" in name or name.startswith("lama")]
