"""The manual's page on template search: its command runs, and it names every option."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.recipes.search.settings import TemplateSettings
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/search-templates.md"


def test_the_file_and_the_command_of_the_page_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (text,), typed = blocks(PAGE, "yaml"), commands(PAGE)[0]
    (here / "reviews.yaml").write_text(text, encoding="utf-8")
    quick = ["training.steps=1", "k_shot=4", "test_limit=8"]
    small = ["--beam", "4", "--templates", "2", "--fits", "1"]
    assert main([*typed[1:], *quick, *small]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    (shown,) = blocks(PAGE, "text")
    last = "next: softprompt train runs/reviews-zh-templates/best.yaml"
    for line in ("form after: {text}", "form before: ", "chosen: ", last):
        assert line in printed
        assert line in shown


def test_the_page_names_every_option() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for key in TemplateSettings.model_fields:
        assert f"--{key.replace('_', '-')}" in text, key
    assert "](search-templates.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")
