"""The manual's page on demonstrations: its file, commands and Python run, and it names every key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.inference.drawn import DemonstrationSettings
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/demonstrations.md"


def test_the_file_and_the_commands_of_the_page_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (text,) = blocks(PAGE, "yaml")
    (here / "demonstrated.yaml").write_text(text, encoding="utf-8")
    small = ["training.steps=2", "training.evaluate_every=2", "dev_limit=8", "test_limit=8"]
    for typed in commands(PAGE):
        more = small if typed[1] == "train" else []
        assert main([*typed[1:], *more]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "demonstrations  one per label" in printed
    assert "read here" in printed
    (python,) = blocks(PAGE, "python")
    ran = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_page_names_every_key_and_the_manual_the_page() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for name in DemonstrationSettings.model_fields:
        assert f"| `{name}` |" in text, name
    assert "](demonstrations.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")
