from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Subprocess
from tests.small_runs import GOOD, write_jsonl, write_reviews


def test_evaluate_finds_the_runs_own_data(softprompt: Command, trained: Path) -> None:
    outcome = softprompt("evaluate", trained)
    assert outcome.code == 0, outcome.err
    done = json.loads((trained / "done.json").read_text())
    accuracy = done["scores"]["seed 0"]["dev"]["accuracy"]
    assert f"dev    accuracy  8  {accuracy:.4f}" in outcome.out


def test_evaluate_takes_a_file_a_run_file_and_a_split(
    softprompt: Command, here: Path, trained: Path
) -> None:
    write_reviews(here / "new.csv")
    outcome = softprompt("evaluate", trained / "prompt", "new.csv", "--target", "mood")
    assert "test   accuracy  40" in outcome.out
    outcome = softprompt("evaluate", trained, trained.parent / "run.yaml", "--split", "train")
    assert "train  accuracy  32" in outcome.out
    outcome = softprompt(
        "evaluate",
        trained,
        "new.csv",
        "--target",
        "mood",
        "--metric",
        "macro_f1",
        "--out",
        "p.jsonl",
    )
    assert "macro_f1" in outcome.out
    assert len((here / "p.jsonl").read_text().splitlines()) == 40


def test_evaluate_refuses_another_task(softprompt: Command, here: Path, trained: Path) -> None:
    outcome = softprompt("evaluate", trained, "softprompt/topics-en")
    assert outcome.code == 2
    assert "reads the field 'review'" in outcome.err
    rows = [{"review": "x", "mood": "meh"}]
    write_jsonl(here / "x.jsonl", rows)
    outcome = softprompt("evaluate", trained, "x.jsonl", "--target", "mood")
    assert outcome.code == 2
    assert "unknown label 'meh'" in outcome.err
    outcome = softprompt("evaluate", trained, "x.jsonl")
    assert "--target" in outcome.err


def test_predict_writes_a_table(softprompt: Command, here: Path, trained: Path) -> None:
    write_reviews(here / "new.csv")
    outcome = softprompt("predict", trained, "new.csv", "--out", "out.tsv")
    assert outcome.code == 0, outcome.err
    lines = (here / "out.tsv").read_text().splitlines()
    assert lines[0] == "id\tprediction\tp(negative)\tp(positive)"
    assert [line.split("\t")[0] for line in lines[1:]] == [str(n) for n in range(2, 42)]
    assert softprompt("predict", trained, "new.csv", "--out", "out.tsv").code == 2


def test_predict_reads_single_texts(softprompt: Command, trained: Path) -> None:
    outcome = softprompt("predict", trained, "--text", "a good film", "--text", "dull")
    lines = outcome.out.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["a good film", "dull"]


def test_predict_streams_from_standard_input(
    start: Subprocess, here: Path, softprompt: Command, trained: Path
) -> None:
    texts = [f"{GOOD[n % 10]} {n}" for n in range(600)]  # more than one group
    text = "".join(json.dumps({"review": t}) + "\n" for t in texts)
    process = start("predict", trained, "-")
    out, err = process.communicate(text)
    assert process.returncode == 0, err
    piped = [json.loads(line) for line in out.splitlines()]
    assert [row["id"] for row in piped] == [str(n) for n in range(1, 601)]
    (here / "x.txt").write_text("".join(t + "\n" for t in texts))
    from_file = softprompt("predict", trained, "x.txt").out
    assert out == from_file


def test_predict_reports_bad_rows_in_place(softprompt: Command, here: Path, trained: Path) -> None:
    (here / "x.jsonl").write_text('{"review": "good"}\nnonsense\n{"review": "dull"}\n')
    stopped = softprompt("predict", trained, "x.jsonl", "--out", "out.jsonl")
    assert stopped.code == 2
    assert "x.jsonl, line 2: malformed JSON" in stopped.err
    assert not (here / "out.jsonl").exists()
    outcome = softprompt("predict", trained, "x.jsonl", "--skip-bad-rows")
    assert outcome.code == 0
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert [row["prediction"] is None for row in rows] == [False, True, False]
    assert "warning: 1 bad rows have no prediction" in outcome.err


def test_a_reader_that_goes_away_is_no_error(start: Subprocess, here: Path, trained: Path) -> None:
    (here / "x.txt").write_text("good film\n" * 5000)
    process = start("predict", trained, "x.txt")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None  # so that communicate() leaves it alone
    _, err = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in err


def test_a_moved_backbone_is_named(
    softprompt: Command, here: Path, trained: Path, bert: Path
) -> None:
    prompt = json.loads((trained / "prompt/prompt.json").read_text())
    assert prompt["backbone"]["name"] == str(bert)
    shutil.copytree(bert, here / "elsewhere")
    outcome = softprompt("predict", trained, "--text", "good", "--backbone", "elsewhere")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("pair", ["review", "=x", "review="])
def test_a_field_without_a_column_is_refused(softprompt: Command, trained: Path, pair: str) -> None:
    outcome = softprompt("predict", trained, "--text", "x", "--field", pair)
    assert outcome.code == 2
    assert "expected FIELD=COLUMN" in outcome.err


def test_a_run_that_left_no_prompt_says_how_to_keep_it(
    softprompt: Command, here: Path, trained: Path
) -> None:
    shutil.copytree(trained, here / "run", ignore=shutil.ignore_patterns("prompt"))
    for place in ("run", "run/prompt"):
        outcome = softprompt("predict", here / place, "--text", "good")
        assert outcome.code == 2
        assert "training.keep_weights=true" in outcome.err
