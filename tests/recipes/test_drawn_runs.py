"""Demonstrations that are drawn, through run files, comparisons and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import read_compare
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.run_file import read_run
from softprompt.settings import to_yaml
from tests.small_runs import run_values, write_jsonl, write_reviews, write_run_yaml


def test_a_run_is_trained_used_and_shown(
    here: Path, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run_yaml(here, bert)
    assert main(["train", str(path), "demonstrations.draws=4"]) == 0, capsys.readouterr().err
    assert "a prediction averages 4 draws" in capsys.readouterr().out
    rows = write_jsonl(here / "more.jsonl", [{"review": "a good film"}, {"review": "so dull"}])
    assert main(["predict", "run/prompt", str(rows), "--out", "out.jsonl"]) == 0
    whole = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    one = write_jsonl(here / "one.jsonl", [{"review": "so dull"}])
    assert main(["predict", "run/prompt", str(one), "--out", "alone.jsonl"]) == 0
    alone = json.loads((here / "alone.jsonl").read_text())
    assert alone["prediction"] == whole[1]["prediction"]
    assert main(["show", "run/prompt", "--render", "--backbone", str(bert)]) == 0
    assert main(["show", str(path), "--render"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--split", "dev"]) == 0, capsys.readouterr().err


def test_an_older_run_has_no_such_key(here: Path, bert: Path) -> None:
    path = write_run_yaml(here, bert)
    assert "demonstrations" not in read_run(path).resolved()
    shown = read_run(path, ["demonstrations={}"]).resolved()["demonstrations"]
    assert shown == {"draws": 16, "nearest": None, "encoder": "tfidf", "limit": None}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("demonstrations.draws=0", "draws"),
        ("demonstrations.drows=3", "did you mean 'draws'"),
        ("demonstrations={nearest: 0.5, encoder: ./nothing}", "cannot be loaded|not installed"),
        ("method=classification_head demonstrations.draws=2", "class vectors"),
        ("method=prompt_design method.demonstrations=2 demonstrations.draws=2", "one of the two"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(
    here: Path, bert: Path, capsys: pytest.CaptureFixture[str], given: str, says: str
) -> None:
    import re

    path = write_run_yaml(here, bert, method={"name": "prompt_design"})
    typed = [given] if "{" in given else given.split()
    assert main(["train", str(path), *typed]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert not (here / "run").exists()


def test_an_encoder_that_is_a_folder_is_found_from_the_file(here: Path, bert: Path) -> None:
    (here / "files" / "encoder").mkdir(parents=True)
    drawn = {"nearest": 0.5, "encoder": "encoder"}
    path = write_run_yaml(here / "files", bert, demonstrations=drawn)
    settings = read_run(path)
    assert settings.demonstrations is not None
    assert settings.demonstrations.encoder == str(here / "files" / "encoder")
    named = read_run(path, ["demonstrations.encoder=org/name"]).demonstrations
    assert named is not None
    assert named.encoder == "org/name"


def test_a_comparison_lays_them_over_and_its_zero_shot_row_has_none(here: Path, bert: Path) -> None:
    write_reviews(here / "reviews.csv")
    given = run_values(bert)
    values = {
        "backbone": str(bert),
        "tasks": [{"task": given["task"], "label": "mood", "demonstrations": {"limit": 5}}],
        "template": given["template"],
        "words": given["words"],
        "demonstrations": {"draws": 4},
        "dev_size": 8,
        "seeds": [0],
        "methods": [
            {"name": "prompt_tuning", "length": 3, "label": "drawn"},
            {"name": "prompt_tuning", "length": 3, "label": "plain", "demonstrations": None},
            {"name": "prompt_design", "label": "shown", "demonstrations": 2}
            | {"objective": {"answer_score": "sum"}},
            {"name": "prompt_design", "label": "averaged", "demonstrations": {"nearest": 0.5}},
        ],
    }
    (here / "compare.yaml").write_text(to_yaml(values), encoding="utf-8")
    cells = {c.row.label: c for c in plan(read_compare(here / "compare.yaml")).cells}
    found = {
        label: [run.settings.demonstrations for run in cell.runs] for label, cell in cells.items()
    }
    (drawn,) = found["drawn"]
    assert drawn is not None
    assert (drawn.draws, drawn.limit, drawn.nearest) == (4, 5, None)
    assert found["plain"] == [None]
    assert found["zero-shot"] == [None]
    (averaged,) = found["averaged"]
    assert averaged is not None
    assert (averaged.draws, averaged.nearest) == (4, 0.5)
    (shown,) = cells["shown"].runs
    assert shown.settings.method.demonstrations == 2  # type: ignore[attr-defined]


def test_settings_are_read_with_their_key(here: Path, bert: Path) -> None:
    path = write_run_yaml(here, bert)
    with pytest.raises(SettingsError, match=r"demonstrations\.nearest"):
        read_run(path, ["demonstrations.nearest=2"])
