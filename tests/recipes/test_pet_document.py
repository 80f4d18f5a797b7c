"""The manual's page on PET: its file and command run, and the comparisons that ship can be laid out."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.cli.main import main
from softprompt.recipes.compare_file import read_compare, shipped_comparisons
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.pet.settings import IpetSettings
from tests.conftest import ROOT
from tests.test_documents import blocks, commands

PAGE = "docs/pet.md"


def test_the_file_and_the_command_of_the_page_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (typed,), (text,) = commands(PAGE), blocks(PAGE, "yaml")
    quick = text.replace("steps: 60", "steps: 1").replace("steps: 150", "steps: 1")
    (here / "topics.yaml").write_text(quick, encoding="utf-8")
    assert main([*typed[1:], "test_limit=8"]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    (shown,) = blocks(PAGE, "text")
    for stage in ("models, mean of 3", "ensemble", "distilled into head"):
        assert f"\n{stage}" in printed
        assert f"\n{stage}" in shown
    assert "next: softprompt predict runs/topics-en/products/head/prompt FILE" in printed


def test_the_page_names_every_key_of_the_recipes() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    own = set(IpetSettings.model_fields) - {"recipe", "generations", "first", "likeliest"}
    from softprompt.recipes.schema import RunSettings

    for key in own - set(RunSettings.model_fields):
        assert f"`{key}" in text or f"\n{key}:" in text, key
    assert "](pet.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(shipped_comparisons()))
def test_a_comparison_that_ships_can_be_laid_out(name: str, here: Path) -> None:
    laid = plan(read_compare(Path(name)))
    few = ("train_limit", "'recipe'")  # zero labelled rows leave nothing to learn from
    for cell in laid.cells:
        assert cell.refused is None or any(one in cell.refused for one in few), cell.refused
    first = shipped_comparisons()[name].read_text("utf-8").splitlines()[0]
    assert "profile" in first
