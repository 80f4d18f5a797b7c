"""Candidates fitted, ranked and tested on a tiny backbone: ties, interruptions, edited lists, weights kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.errors import DataError, RunError, SettingsError
from softprompt.recipes.outcomes import read_outcome
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import begin
from softprompt.recipes.search.candidates import Candidate, read_candidates, write_candidates
from softprompt.recipes.search.finishing import Searched, finish
from softprompt.recipes.search.fitting import Ranking, fit_candidates, write_best
from softprompt.recipes.search.settings import SearchSettings
from softprompt.recipes.watching import Fact, Progress, Silent, Watcher
from tests.small_runs import BAD, GOOD, write_run_yaml

TUNING = {"name": "full_tuning"}
TASK = {"train": "reviews.csv", "test": "held.csv", "fields": ["review"], "target": "mood"}


def words(good: str, bad: str, template: str | None = None) -> Candidate:
    return Candidate(template, {"positive": good, "negative": bad})


THREE = (
    words("great", "terrible"),
    words("good", "bad", "{review} A {mask} one."),
    words("bad", "good"),
)


@pytest.fixture(scope="module")
def backbone(bert: Path) -> Backbone:
    return load_backbone(str(bert))


def small_run(folder: Path, model: Path, **changes: Any) -> RunSettings:
    """reviews.csv, held.csv and a run of four steps over them."""
    held = [(f"{text} here", "positive") for text in GOOD] + [(f"{t} too", "negative") for t in BAD]
    lines = "".join(f'"{text}",{mood}\n' for text, mood in held)
    (folder / "held.csv").write_text(f"review,mood\n{lines}", encoding="utf-8")
    values = {"task": TASK, "training__steps": 4, "training__evaluate_every": 2, **changes}
    return read_run(write_run_yaml(folder, model, **values))


def rank(
    run: RunSettings,
    candidates: Sequence[Candidate],
    home: Path,
    backbone: Backbone,
    told: Watcher | None = None,
) -> Ranking:
    return fit_candidates(run, candidates, home, backbone, run_task(run), told or Silent())


class Stopping(Silent):
    """Interrupts at the so-many-th step."""

    def __init__(self, at: int):
        self._left = at

    def progress(self, progress: Progress) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shown: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def facts(self, facts: Sequence[Fact]) -> None:
        self.shown += [f"{fact.name} {fact.value}" for fact in facts]


@pytest.mark.parametrize("method", [{"name": "prompt_tuning", "length": 2}, TUNING])
def test_candidates_are_ranked_on_dev_and_the_best_alone_is_tested(
    method: dict[str, Any], here: Path, bert: Path, backbone: Backbone
) -> None:
    run = small_run(here, bert, method=method)
    told = Noting()
    found = rank(run, THREE, here / "fits", backbone, told)
    dev = [one.values("dev", "accuracy")[0] for one in found.fits]
    assert dev == sorted(dev, reverse=True)
    assert {one.candidate.key for one in found.fits} == {one.key for one in THREE}
    assert set(found.test) >= {"accuracy", "loss"}
    assert all("test" not in one.outcomes[0].metrics for one in found.fits)
    tested = [path.parent.name for path in (here / "fits").glob("*/test.json")]
    assert tested == [found.best.place.name]
    assert sum("best so far: dev accuracy" in note for note in told.notes) == 2
    assert sum(" left" in note for note in told.notes) == 2
    kept = {path.parent.name for path in (here / "fits").glob("*/prompt")}
    assert kept == ({found.best.place.name} if method == TUNING else {"001", "002", "003"})
    assert not list((here / "fits").glob("*/checkpoints"))


def test_full_tuning_leaves_the_backbone_as_it_was(here: Path, bert: Path) -> None:
    own = load_backbone(str(bert))
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    rank(small_run(here, bert, method=TUNING), THREE[:2], here / "fits", own)
    assert all(value.equal(before[name]) for name, value in own.model.state_dict().items())


def test_a_search_that_was_interrupted_ends_as_one_that_was_not(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run = small_run(here, bert, method=TUNING, training__checkpoint_every=1)
    whole = rank(run, THREE, here / "whole", backbone)
    for at in (2, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            rank(run, THREE, here / "cut", backbone, Stopping(at))
    again = rank(run, THREE, here / "cut", backbone)
    assert [one.candidate.key for one in again.fits] == [one.candidate.key for one in whole.fits]
    for one, other in zip(again.fits, whole.fits, strict=True):
        assert one.outcomes[0].metrics == other.outcomes[0].metrics
    assert again.test == whole.test
    assert rank(run, THREE, here / "cut", backbone, Stopping(1)) == again  # nothing is fitted again


def test_a_fit_that_was_interrupted_before_its_first_file_keeps_its_number(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    (here / "fits" / "001").mkdir(parents=True)
    found = rank(small_run(here, bert, method="prompt_design"), THREE, here / "fits", backbone)
    assert {one.place.name for one in found.fits} == {"001", "002", "003"}


def test_equals_are_ordered_by_cross_entropy_then_by_their_order(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    """The same words in templates that hardly differ tie where dev has two rows."""
    run = small_run(here, bert, dev_size=2, method="prompt_design")
    same = [words("great", "terrible", f"{{review}}{dots} {{mask}}.") for dots in ("!", "?", "")]
    found = rank(run, same, here / "fits", backbone)
    scores = [
        (one.values("dev", "accuracy")[0], one.values("dev", "loss")[0]) for one in found.fits
    ]
    assert scores == sorted(scores, key=lambda pair: (-pair[0], pair[1]))
    best = [pair for pair in scores if pair[0] == scores[0][0]]
    assert found.choice.tied == len(best)
    assert found.choice.settled == ("lower dev loss" if len(best) > 1 else "")


def test_a_list_may_be_edited_between_two_runs(here: Path, bert: Path, backbone: Backbone) -> None:
    run = small_run(here, bert, method=TUNING)
    first = rank(run, THREE, here / "fits", backbone)
    rest = [one.candidate for one in first.fits[1:]]
    added = words("fine", "dull")
    told = Noting()
    found = rank(run, [added, *rest], here / "fits", backbone, told)
    fitted = [note for note in told.notes if note.startswith("fit ")]
    assert len(fitted) == 1
    assert "fine / dull" in fitted[0]
    assert {one.candidate.key for one in found.fits} == {added.key, *(one.key for one in rest)}
    assert (found.best.place / "prompt").is_dir()  # its weights had been dropped for another's
    known = {one.candidate.key: one.outcomes[0].metrics for one in first.fits}
    again = {one.candidate.key: one.outcomes[0].metrics for one in found.fits}
    assert all(again[key] == known[key] for key in again if key in known)
    fresh = read_outcome(found.best.place)
    assert fresh is not None
    assert fresh.metrics == found.best.outcomes[0].metrics


def test_a_candidate_that_does_not_fit_is_refused_before_anything_is_fitted(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run = small_run(here, bert)
    wrong = Candidate("{text} It was {mask}.", None)
    with pytest.raises(
        SettingsError, match=r"candidate 2 \(.*unknown|candidate 2 \(.*field 'text'"
    ):
        rank(run, [THREE[0], wrong], here / "fits", backbone)
    assert not (here / "fits").exists()


def test_where_no_loss_is_a_number_it_is_said_and_known_when_going_on(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    wild = {"name": "adamw", "learning_rate": 1e30, "relative": False}
    run = small_run(here, bert, method=TUNING, training__optimiser=wild)
    with pytest.raises(RunError):
        rank(run, THREE[:2], here / "fits", backbone)
    failed = [read_outcome(path) for path in sorted((here / "fits").iterdir())]
    assert len(failed) == 2
    assert all(one is not None and one.failure for one in failed)
    with pytest.raises(RunError, match="the loss is nan"):
        rank(run, THREE[:2], here / "fits", backbone, Stopping(1))  # nothing is fitted again


def test_several_seeds_are_ranked_by_their_mean(here: Path, bert: Path, backbone: Backbone) -> None:
    run = small_run(here, bert, seeds=[3, 4])
    found = rank(run, THREE[:2], here / "fits", backbone)
    assert all(len(one.outcomes) == 2 for one in found.fits)
    means = [sum(one.values("dev", "accuracy")) / 2 for one in found.fits]
    assert means == sorted(means, reverse=True)
    assert 0 <= found.test["accuracy"] <= 1


def test_the_best_stands_in_a_run_file_that_trains_as_it_is(here: Path, bert: Path) -> None:
    run = small_run(here, bert)
    write_best(here / "search" / "best.yaml", run, THREE[1], "the best\nof all")
    read = read_run(here / "search" / "best.yaml")
    assert read.template == THREE[1].template
    assert read.words == THREE[1].words
    same = read.model_copy(update={"template": run.template, "words": run.words, "out": run.out})
    assert same == run


def test_candidates_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "candidates.jsonl"
    listed = [Candidate("{a} {mask}", {"是": "好"}, {"zero_shot": 0.5}), Candidate("{a} {mask}!")]
    write_candidates(path, listed)
    assert read_candidates(path) == listed
    path.write_text(path.read_text(encoding="utf-8") * 2, encoding="utf-8")
    assert read_candidates(path) == listed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ('{"templates": "x"}', "line 2: expected an object with template, words, scores"),
        ('{"template": 3}', "line 2: expected a text as template"),
        ('{"scores": {}}', "line 2: expected a template, or words"),
    ],
)
def test_a_line_that_is_no_candidate_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "candidates.jsonl"
    path.write_text(f'{{"template": "x {{mask}}"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_candidates(path)


# --- the folder ---------------------------------------------------------------------------------


def search(
    run: RunSettings, out: Path, backbone: Backbone, fits: int, told: Watcher | None = None
) -> Searched:
    own = SearchSettings(fits=fits)
    begun = begin("words", run, own, out, told, backbone=backbone)
    if not begun.folder.candidates.exists():
        write_candidates(begun.folder.candidates, THREE)
    return finish(begun, "Label words", [], "zero_shot")


def test_a_search_leaves_its_ranking_and_goes_on_with_more_fits(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run = small_run(here, bert)
    first = search(run, here / "found", backbone, 1)
    assert first.ranking is not None
    assert len(first.ranking.fits) == 1
    told = Noting()
    found = search(run, here / "found", backbone, 3, told)
    assert found.ranking is not None
    assert len(found.ranking.fits) == 3
    assert f"going on with the search in {here / 'found'}" in told.notes
    report = (here / "found" / "report.md").read_text(encoding="utf-8")
    assert "the best of 3 fitted candidates by dev accuracy" in report
    assert "dev − test" in report
    done = json.loads((here / "found" / "done.json").read_text(encoding="utf-8"))
    assert done["best"]["words"] == found.best.words
    assert set(done["scores"]) == {"dev", "test"}
    comment = (here / "found" / "best.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert comment.startswith("# the best of 3 fitted")


def test_without_fits_the_first_candidate_is_the_best(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    found = search(small_run(here, bert), here / "found", backbone, 0)
    assert found.ranking is None
    assert found.best == THREE[0]
    assert read_run(here / "found" / "best.yaml").words == THREE[0].words


def test_other_settings_or_data_are_refused(here: Path, bert: Path, backbone: Backbone) -> None:
    run = small_run(here, bert)
    search(run, here / "found", backbone, 0)
    with pytest.raises(SettingsError, match=r"these differ: run\.seeds"):
        search(small_run(here, bert, seeds=[7]), here / "found", backbone, 0)
    rows = (here / "reviews.csv").read_text(encoding="utf-8")
    (here / "reviews.csv").write_text(rows + '"a new one",positive\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="other data: train"):
        search(run, here / "found", backbone, 0)
    (here / "other").mkdir()
    (here / "other" / "letter.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"no search \(letter.txt\)"):
        search(run, here / "other", backbone, 0)


def test_a_run_without_dev_rows_or_with_a_sweep_is_refused(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    with pytest.raises(SettingsError, match="no dev split"):
        search(small_run(here, bert, dev_size=0), here / "found", backbone, 0)
    swept = small_run(here, bert, sweep={"method.length": [2, 3]})
    with pytest.raises(SettingsError, match="sweep"):
        search(swept, here / "found", backbone, 0)
    assert not (here / "found").exists()
