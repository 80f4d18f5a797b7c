"""docs/tasks.md says what the tables say, and `list tasks` where the files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.task_page import page
from softprompt.data.known_tasks import TASKS
from tests.cli.conftest import Command
from tests.conftest import ROOT
from tests.official_files import write_all


def test_the_page_of_tasks_is_made_from_the_tables() -> None:
    written = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert written == page(), "python -m softprompt.cli.task_page > docs/tasks.md"
    assert all(f"| `{name}`" in written for name in TASKS)


def test_the_list_of_tasks_says_where_files_belong_and_whether_they_are_there(
    softprompt: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOFTPROMPT_DATA", raising=False)
    lines = softprompt("list", "tasks").out.splitlines()
    line = {text.split()[0]: text for text in lines}
    assert "your files: superglue/CB/train.jsonl" in line["super_glue/cb"]
    assert "ships" in line["softprompt/topics-zh"]
    assert lines.index("SuperGLUE") > lines.index("GLUE")
    assert ":t5" in line["glue/rte"]
    assert "variant 13|21|42|87|100" in line["lm_bff/mr"]
    monkeypatch.setenv("SOFTPROMPT_DATA", str(write_all(tmp_path)))
    (tmp_path / "superglue" / "CB" / "val.jsonl").unlink()
    (tmp_path / "superglue" / "WiC" / "train.jsonl").unlink()
    line = {text.split()[0]: text for text in softprompt("list", "tasks").out.splitlines()}
    assert "files found" in line["glue/rte"]
    assert "files found" in line["mrqa/squad"]  # packed
    assert "found: variant fewglue" in line["super_glue/cb"]
    assert "missing: superglue/WiC/train.jsonl" in line["super_glue/wic"]


def test_a_task_whose_files_are_missing_is_shown_and_explained(
    softprompt: Command, tmp_path: Path
) -> None:
    outcome = softprompt("show", "glue/rte:t5", "--data", str(tmp_path))
    assert outcome.code == 2
    assert "rte sentence1: {sentence1} sentence2: {sentence2}" in outcome.out
    assert "official test set has no labels" in outcome.out
    assert "expected <folder>/glue/RTE/train.tsv" in outcome.err
    whole = softprompt("show", "glue/rte", "--data", str(write_all(tmp_path)))
    assert "form" in whole.out
    assert "test: 8 rows" in whole.out


def test_a_task_shows_its_patterns_and_the_page_counts_them(softprompt: Command) -> None:
    shown = softprompt("show", "softprompt/reviews-zh").out
    assert "{mask}评！{text} ← 差 / 好" in shown
    assert "4 patterns" in next(line for line in page().splitlines() if "`yelp_review`: " in line)
