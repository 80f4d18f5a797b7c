from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Checkpoints, Command
from tests.small_runs import write_reviews


def test_explain_describes_rows_and_what_each_one_does(
    softprompt: Command, here: Path, trained: Path
) -> None:
    picture = here / "rows.png"
    outcome = softprompt("explain", trained, "--neighbours", "3", "--picture", picture)
    assert outcome.code == 0, outcome.err
    rows = [line for line in outcome.out.splitlines() if line.startswith("[P")]
    assert len(rows) == 6  # three with their words, three with what they contribute
    assert "do not explain what it does (Khashabi et al. 2022)" in outcome.out
    assert "positive  great     [P" in outcome.out
    assert "dev: accuracy" in outcome.out
    assert "on 8 examples" in outcome.out
    assert any(line.startswith("all rows") for line in outcome.out.splitlines())
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = softprompt("explain", trained, "--picture", picture)
    assert again.code == 2
    assert "--overwrite" in again.err


def test_explain_compares_prompts_and_says_where_there_are_no_data(
    softprompt: Command, here: Path, trained: Path
) -> None:
    shutil.copytree(trained / "prompt", here / "copy")
    outcome = softprompt("explain", "copy", trained)
    assert outcome.code == 0, outcome.err
    assert "1.000            1.000" in outcome.out
    assert "Contributions of rows: no data" in outcome.out
    write_reviews(here / "new.csv")
    outcome = softprompt("explain", "copy", "--on", "new.csv", "--target", "mood", "--limit", "10")
    assert outcome.code == 0, outcome.err
    assert "test: accuracy" in outcome.out
    assert "on 10 examples" in outcome.out
    missing = softprompt("explain", "copy", "--on", "nothing.csv", "--target", "mood")
    assert missing.code == 2


def test_a_wayward_prompt_stands_beside_the_free_one(softprompt: Command, trained: Path) -> None:
    outcome = softprompt(
        "explain", trained, "--no-contributions", "--wayward", "this old book is slow"
    )
    assert outcome.code == 0, outcome.err
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("wayward")]
    assert line.split()[2:] == ["this", "old", "book"]
    assert float(line.split()[1]) >= 0


def test_verify_passes_on_the_prompts_own_backbone_and_fails_on_another(
    softprompt: Command, trained: Path, checkpoint: Checkpoints
) -> None:
    outcome = softprompt("verify", trained)
    assert outcome.code == 0, outcome.err
    assert "6 of 6 hold" in outcome.out
    assert "1e-03" in outcome.out
    assert softprompt("show", trained, "--verify").out == outcome.out
    outcome = softprompt("verify", trained, "--backbone", checkpoint("electra"))
    assert outcome.code == 1
    assert "FAILED" in outcome.out
    assert "does not fit" in outcome.err
    outcome = softprompt("verify", trained, "--text", "one", "--text", "two")
    assert outcome.code == 2
    assert "of different lengths" in outcome.err


@pytest.mark.parametrize("command", ["explain", "verify", "import", "export"])
def test_new_commands_have_help(softprompt: Command, command: str) -> None:
    outcome = softprompt(command, "--help")
    assert outcome.code == 0
    assert f"softprompt {command}" in outcome.out


def test_verify_counts_no_check_that_it_skipped(
    softprompt: Command, here: Path, trained: Path
) -> None:
    run = trained.parent / "run.yaml"
    outcome = softprompt("train", run, "method=prompt_design", f"out={here / 'design'}")
    assert outcome.code == 0, outcome.err
    outcome = softprompt("verify", here / "design")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("skipped") == 3
    assert "3 of 3 hold" in outcome.out
