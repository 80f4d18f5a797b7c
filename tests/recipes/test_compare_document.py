"""The manual's page on comparisons: its file and its command run, and it says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.recipes.compare_file import BackboneEntry, TaskEntry
from softprompt.recipes.comparison_rows import METHOD_KEYS
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/compare.md"


def test_the_file_and_the_command_of_the_page_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (typed,), (text,) = commands(PAGE), blocks(PAGE, "yaml")
    (here / "topics.yaml").write_text(text, encoding="utf-8")
    quick = ["training.steps=1", "seeds=[0]", "resamples=100"]
    limits = ["train_limit=16", "dev_limit=4", "test_limit=4"]
    assert main([*typed[1:], *quick, *limits]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    (shown,) = blocks(PAGE, "text")
    for label in ("prompt tuning, length=2", "LoRA", "zero-shot", "majority class", "linear probe"):
        assert f"\n{label}" in printed
        assert f"\n{label}" in shown
    assert (here / "runs/topics/report.html").is_file()


def test_the_page_names_every_key() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for key in (*BackboneEntry.model_fields, *TaskEntry.model_fields, *METHOD_KEYS):
        assert f"`{key}`" in text or key == "max_answer_tokens", key
    assert "@@" not in text
    assert "](compare.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")
