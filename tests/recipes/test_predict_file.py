from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from softprompt.backbones.loading import load_backbone
from softprompt.errors import DataError, RunError, SettingsError
from softprompt.inference.predictor import Predictor
from softprompt.prompts.prompt import Prompt
from softprompt.recipes import predict_file as module
from softprompt.recipes.predict_file import (
    Result,
    RowFile,
    json_line,
    output_file,
    predict_file,
    tsv_lines,
)
from softprompt.recipes.run_file import read_run
from softprompt.recipes.train import train
from tests.small_runs import BAD, GOOD, write_jsonl, write_run_yaml


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> Prompt:
    folder = tmp_path_factory.mktemp("run")
    return train(read_run(write_run_yaml(folder, bert))).runs[0].prompt


@pytest.fixture(scope="module")
def predictor(prompt: Prompt, bert: Path) -> Predictor:
    return Predictor(load_backbone(bert, device="cpu"), prompt)


def results(predictor: Predictor, prompt: Prompt, file: RowFile, **columns: str) -> list[Result]:
    return list(predict_file(predictor, prompt, file, columns))


def test_rows_keep_their_order_and_their_lines(
    here: Path, predictor: Predictor, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP", 3)
    texts = [*GOOD, *BAD]
    path = write_jsonl(here / "x.jsonl", [{"review": text} for text in texts])
    found = results(predictor, prompt, RowFile(path))
    assert [r.id for r in found] == [str(n) for n in range(1, len(texts) + 1)]
    alone = predictor.predict(texts)
    for one, other in zip(found, alone, strict=True):
        assert one.prediction is not None
        assert one.prediction.label == other.label
        assert one.prediction.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_plain_text_csv_and_ids(here: Path, predictor: Predictor, prompt: Prompt) -> None:
    (here / "x.txt").write_text("good film\n\ndull film\n")
    assert [r.id for r in results(predictor, prompt, RowFile(here / "x.txt"))] == ["1", "3"]
    (here / "x.csv").write_text("key,text\na,good film\nb,dull\n")
    file = RowFile(here / "x.csv", id="key")
    assert [r.id for r in results(predictor, prompt, file, review="text")] == ["a", "b"]


def test_a_bad_row_stops_with_its_line(here: Path, predictor: Predictor, prompt: Prompt) -> None:
    (here / "x.jsonl").write_text('{"review": "good"}\n{"text": "no review"}\n')
    with pytest.raises(DataError, match=r"x\.jsonl, line 2, field 'review': no such column"):
        results(predictor, prompt, RowFile(here / "x.jsonl"))


def test_bad_rows_are_reported_in_their_place(
    here: Path, predictor: Predictor, prompt: Prompt
) -> None:
    lines = ['{"review": "good"}', "not json", '{"review": ""}', '{"review": "dull"}', "[1]"]
    (here / "x.jsonl").write_text("\n".join(lines) + "\n")
    found = results(predictor, prompt, RowFile(here / "x.jsonl", skip_bad_rows=True))
    assert [r.id for r in found] == ["1", "2", "3", "4", "5"]
    assert [r.error is None for r in found] == [True, False, False, True, False]
    assert "line 2" in (found[1].error or "")
    assert json.loads(json_line(found[1]))["prediction"] is None


def test_a_field_that_the_prompt_does_not_have_is_refused(
    here: Path, predictor: Predictor, prompt: Prompt
) -> None:
    path = write_jsonl(here / "x.jsonl", [{"review": "good"}])
    with pytest.raises(SettingsError, match="did you mean 'review'"):
        results(predictor, prompt, RowFile(path), reviw="text")


def test_a_table_has_a_column_for_each_label(
    here: Path, predictor: Predictor, prompt: Prompt
) -> None:
    path = write_jsonl(here / "x.jsonl", [{"review": "good"}])
    (found,) = results(predictor, prompt, RowFile(path))
    head, line = tsv_lines(["negative", "positive"])
    assert head == "id\tprediction\tp(negative)\tp(positive)\n"
    cells = line(found).rstrip("\n").split("\t")
    assert cells[0] == "1"
    assert float(cells[2]) + float(cells[3]) == pytest.approx(1.0, abs=1e-5)
    assert line(Result("7", error="bad\trow")) == "7\t\t\t\n"


def test_an_output_file_appears_only_when_it_is_whole(here: Path) -> None:
    def fail() -> None:
        with output_file(here / "out.tsv", overwrite=False) as stream:
            stream.write("half")
            raise DataError("bad row")

    with pytest.raises(DataError):
        fail()
    assert list(here.iterdir()) == []


def test_an_output_file_is_not_replaced_unasked(here: Path) -> None:
    (here / "out.tsv").write_text("old")
    with pytest.raises(SettingsError, match="--overwrite"), output_file(here / "out.tsv", False):
        pass
    with output_file(here / "out.tsv", overwrite=True) as stream:
        stream.write("new")
    assert (here / "out.tsv").read_text() == "new"


def test_a_full_disk_is_a_sentence(here: Path) -> None:
    def fail() -> None:
        with output_file(here / "out.tsv", overwrite=False):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        fail()
    assert list(here.iterdir()) == []
