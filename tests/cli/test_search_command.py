"""`softprompt search words` as a user types it: what it shows and leaves, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.recipes.run_file import read_run
from softprompt.settings import read_yaml
from tests.cli.conftest import Command
from tests.small_runs import write_run_yaml


def test_words_are_searched_fitted_and_shown(softprompt: Command, here: Path, bert: Path) -> None:
    run = write_run_yaml(here, bert, training__steps=2)
    line = ("search", "words", run, "--out", here / "found", "--top", "4", "--fits", "2")
    made = softprompt(*line)
    assert made.code == 0, made.err
    assert "4 × 4 = 16 combinations, all scored" in made.out
    assert "fit 2 of 2: " in made.out
    assert "chosen: {review} It was {mask}.  ·  " in made.out
    assert "next: softprompt train found/best.yaml" in made.out
    kept = read_yaml(here / "found" / "search.yaml")
    assert kept["kind"] == "words"
    assert kept["search"] == kept["search"] | {"top": 4, "fits": 2, "by": "log_probability"}
    again = softprompt(*line)
    assert again.code == 0
    assert "fit 1 of 2" not in again.out  # nothing is fitted again
    best = read_run(here / "found" / "best.yaml")
    assert set(best.words or {}) == {"positive", "negative"}
    assert softprompt("train", here / "found" / "best.yaml", "training.steps=1").code == 0


def test_without_an_out_it_stands_beside_the_run(
    softprompt: Command, here: Path, bert: Path
) -> None:
    run = write_run_yaml(here, bert)
    made = softprompt("search", "words", run, "--top", "2", "--fits", "0")
    assert made.code == 0, made.err
    assert (here / "run-words" / "candidates.jsonl").is_file()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--by", "guess"], "'by': expected 'log_probability' or 'logit', got 'guess'"),
        (["--top", "0"], "'top': expected at least 1"),
        (["--words", "none.txt"], "none.txt: no such file"),
        (["dev_size=0"], "has no dev split"),
        (["recipe=pet", "patterns=['{review} {mask}']", "template=null"], "fits ordinary runs"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_searched(
    given: list[str], said: str, softprompt: Command, here: Path, bert: Path
) -> None:
    run = write_run_yaml(here, bert)
    made = softprompt("search", "words", run, *given, "--out", here / "found")
    assert made.code == 2
    assert said in made.err
    assert not (here / "found" / "candidates.jsonl").exists()
