"""The manual's page on label words: its file and command run, and it names every setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.recipes.search.settings import WordSettings
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/search-words.md"


def test_the_file_and_the_command_of_the_page_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (typed,), (text,) = commands(PAGE), blocks(PAGE, "yaml")
    (here / "words.yaml").write_text(text, encoding="utf-8")
    assert main([*typed[1:], "--top", "5", "--fits", "1", "test_limit=8"]) == 0
    printed = capsys.readouterr().out
    (shown,) = blocks(PAGE, "text")
    for line in (
        "one pass over 140 training rows: 6,230 words\n",
        "next: softprompt train topics/best.yaml\n",
    ):
        assert line in printed
        assert line in shown


def test_the_page_names_every_option() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    for name in WordSettings.model_fields:
        assert f"--{name}" in page, name
    assert "](search-words.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")
