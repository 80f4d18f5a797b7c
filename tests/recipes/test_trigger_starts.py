"""What triggers start from: masks that are no triggers in the end, words that must not be any, rows that are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from softprompt.cli.main import main
from softprompt.errors import RunError, SettingsError
from softprompt.recipes.lm_bff.course import read_search
from softprompt.recipes.lm_bff.run import run_lm_bff
from softprompt.recipes.search.candidates import read_candidates
from softprompt.recipes.search.triggers.scene import Scene
from softprompt.recipes.search.triggers.text import as_text
from softprompt.text.template import parse
from tests.builders import Backbones, rows
from tests.recipes.test_lm_bff import recipe
from tests.recipes.test_trigger_runs import looks, searched
from tests.recipes.test_trigger_search import TEMPLATE, bound
from tests.small_runs import write_run_yaml


def test_triggers_are_written_around_rows_that_stay(backbones: Backbones) -> None:
    backbone = backbones("bert")
    pieces = backbone.tokenizer.pieces(tuple(range(backbone.tokenizer.size)))
    film, story, piece, mask = map(pieces.index, ("film", "story", "##a", "[MASK]"))

    def written(ids: tuple[int, ...], template: str = TEMPLATE) -> str | None:
        own = parse(template)
        decode = backbone.tokenizer.decode
        made = as_text(own, ids, decode, lambda t, n: bound(backbone, t, n), rows(3), {mask})
        return None if made is None else str(made)

    assert written((film, story)) == "{text} film story  it was {mask}."
    assert written((film, mask)) == "{text} film {soft:1#t0r1} it was {mask}."
    assert written((mask, mask)) == "{text}{soft:2#t0r0} it was {mask}."
    assert written((piece, mask)) is None
    twice = "{soft:2#a}{text}{#a} it was {mask}."
    made = written((mask, film), twice)
    assert made is not None
    assert made.count("film") == 2
    assert "{soft:1#t0r0}" in made


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_triggers_that_started_from_masks_are_text_in_the_end(
    backbones: Backbones, here: Path, seed: int
) -> None:
    settings = {"start": "mask", "iterations": 16, "evaluate_every": 1, "fits": 1, "loss": "labels"}
    searched(backbones("bert"), here / "s", run={"seeds": [seed]}, **settings)
    seen = looks(here / "s", seed)
    mask = backbones("bert").tokenizer.mask
    assert mask in seen[0]["ids"]
    assert mask not in seen[-1]["ids"]
    assert not (here / "s/prompt").exists()
    for one in read_candidates(here / "s/candidates.jsonl"):
        assert "[MASK]" not in one.scores["triggers"]
    report = (here / "s/report.md").read_text("utf-8")
    assert "[MASK]" not in report
    whole = [look for look in seen if mask not in look["ids"]]
    assert f"of {len(whole)} that were looked at" in report


def test_where_every_look_holds_a_mask_a_recipe_says_what_to_change(here: Path, bert: Path) -> None:
    step = {"find": "triggers", "start": "mask", "iterations": 1, "fits": 1, "batch_size": 4}
    own = {"recipe": "autoprompt", "template": "{review}{soft:3} {mask}.", "sweep": {}}
    plain = {"training": {}, "ensemble": 0, "seeds": [1], "search": [step]}
    with pytest.raises(RunError, match=r"start: random in place of start: mask, or .* iterations"):
        run_lm_bff(recipe(here, bert, **own, **plain))


@pytest.mark.parametrize(
    ("start", "exclude", "named"),
    [("it is", ["IT"], "it"), ("a great film", [], "great"), ("so long", ["film"], None)],
)
def test_words_that_triggers_start_from_must_be_allowed(
    backbones: Backbones, here: Path, start: str, exclude: list[str], named: str | None
) -> None:
    run = {"template": f"{{text}}{{soft:'{start}'}} it was {{mask}}."}
    if named is None:
        searched(backbones("bert"), here / "s", run=run, exclude=exclude)
        return
    with pytest.raises(SettingsError, match=f"triggers start from '{named}'"):
        searched(backbones("bert"), here / "s", run=run, exclude=exclude)
    assert not (here / "s").exists()


# --- triggers that are no text --------------------------------------------------------------------


def best_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the triggers that are asked for first, the best ones, there is no text."""
    text, asked = Scene.text, list[Any]()

    def of_others(scene: Scene, ids: Any, *most: Any) -> Any:
        if not most:
            asked.append(ids)
        return None if len(asked) == 1 and not most else text(scene, ids, *most)

    monkeypatch.setattr(Scene, "text", of_others)


def test_a_recipe_scores_the_triggers_that_it_uses_and_says_that_others_were_better(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best_is_no_text(monkeypatch)
    step = {"find": "triggers", "iterations": 12, "evaluate_every": 1, "fits": 2, "batch_size": 4}
    own = {"recipe": "autoprompt", "template": "{review}{soft:2} It was {mask}.", "sweep": {}}
    plain = {"training": {}, "ensemble": 0, "seeds": [1], "search": [step]}
    (one,) = run_lm_bff(recipe(here, bert, **own, **plain)).seeds
    home = here / "run/1-triggers"
    used = read_candidates(home / "candidates.jsonl")[0]
    found = read_search("triggers", home)
    assert found.template == one.template == used.template
    assert found.dev["accuracy"] == used.scores["dev accuracy"]
    assert found.dev["accuracy"] == one.fit.outcome.metrics["dev"]["accuracy"]
    best = " ".join(json.loads((home / "done.json").read_text("utf-8"))["best"]["triggers"])
    said = f"seed 1, triggers: the best triggers ({best}) could not be written as text"
    assert said in (here / "run/report.md").read_text("utf-8")


def test_the_console_shows_the_triggers_that_were_kept_as_rows(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Scene, "text", lambda *_: None)
    given = {"template": "{review}{soft:2} It was {mask}.", "method": "prompt_design"}
    write_run_yaml(here, bert, **given)
    line = ["search", "triggers", "run.yaml", "--out", "found", "--iterations", "2"]
    assert main([*line, "--tokens", "any", "--batch-size", "4"]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    best = json.loads((here / "found/done.json").read_text("utf-8"))["best"]["triggers"]
    assert "{review}{soft:2} It was {mask}." in printed
    assert f"chosen: {' '.join(best)}, no text, kept as the rows of a prompt" in printed
