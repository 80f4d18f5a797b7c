"""The manual's page on triggers: its file and command run, and it names every option."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.recipes.search.triggers.settings import TriggerSettings
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/search-triggers.md"


def test_the_file_and_the_command_of_the_page_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (typed,), (text,) = commands(PAGE), blocks(PAGE, "yaml")
    (here / typed[3]).write_text(text, encoding="utf-8")
    small = ["--iterations", "1", "--top-k", "2", "--batch-size", "4", "--fits", "1"]
    limits = ["train_limit=24", "dev_limit=12", "test_limit=8"]
    assert main([*typed[1:4], *limits, *typed[4:], *small]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    (shown,) = blocks(PAGE, "text")
    for said in ("seed 0, iteration 0: dev accuracy", "chosen: {text}", "next: softprompt train"):
        assert said in printed
        assert said in shown


def test_the_page_names_every_option_and_the_manual_the_page() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for name in TriggerSettings.model_fields:
        if name not in ("batch_size", "checkpoint_every"):  # in --help
            assert f"--{name.replace('_', '-')}" in text, name
    assert "](search-triggers.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")
