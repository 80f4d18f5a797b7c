"""Searches at their edges: refusals that leave nothing, lists that change or go, numbers without words, titles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.errors import DataError, SettingsError
from softprompt.recipes.lm_bff.run import run_lm_bff
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.candidates import Candidate, read_candidates, titles
from softprompt.recipes.search.settings import TemplateSettings
from softprompt.recipes.search.templates.search import search_templates
from tests.builders import rows
from tests.recipes.test_lm_bff import recipe
from tests.recipes.test_search_fitting import THREE, Noting, rank
from tests.recipes.test_search_fitting import small_run as reviews_run
from tests.recipes.test_search_words import Stopping, searched, small_run
from tests.small_runs import write_jsonl, write_run_yaml


@pytest.fixture(scope="module")
def backbone(bert: Path) -> Backbone:
    return load_backbone(str(bert))


# --- refusals -------------------------------------------------------------------------------------


def test_classes_that_have_the_same_words_only_are_refused_and_leave_no_folder(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    (here / "words.txt").write_text("good\n", encoding="utf-8")
    listed = {"words": str(here / "words.txt"), "fits": 0}
    with pytest.raises(SettingsError, match=r"2 classes have 1 word to .* a larger --top"):
        searched(small_run(here, bert), here / "found", backbone, **listed)
    assert not (here / "found").exists()
    same = searched(small_run(here, bert), here / "found", backbone, **listed, repeats=True)
    assert [one.words for one in same.candidates] == [{"positive": "good", "negative": "good"}]


def test_neighbours_of_words_of_several_tokens_are_refused_before_the_pass(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run = small_run(here, bert, words={"positive": "very good", "negative": "awful"})
    with pytest.raises(SettingsError, match="neighbours: the run's own words"):
        searched(run, here / "found", backbone, told := Noting(), neighbours=2)
    assert not told.notes
    assert not (here / "found").exists()


def test_the_own_words_are_compared_as_the_tokenizer_writes_them(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    """A capital letter is gone in an uncased token; what is left of it is compared, not dropped."""
    said = {}
    for name, positive in (("lower", "great"), ("upper", "Great"), ("several", "very good")):
        run = small_run(here, bert, words={"positive": positive, "negative": "awful"})
        searched(run, here / name, backbone, told := Noting(), fits=0)
        said[name] = next(note for note in told.notes if "the run's own" in note).split("own ")[1]
    assert said["lower"].startswith("awful / great: 0.")
    assert said["upper"] == said["lower"].replace("great", "Great")
    assert said["several"] == "awful / very good are not all among the words"


def test_a_line_separator_in_a_label_parts_no_line(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    made = [{"text": e.fields["text"], "mood": f"so\u2028{e.target}"} for e in rows(24)]
    write_jsonl(here / "odd.jsonl", made)
    task = {"train": "odd.jsonl", "fields": ["text"], "target": "mood"}
    found = searched(small_run(here, bert, task=task, words=None), here / "found", backbone)
    again = searched(small_run(here, bert, task=task, words=None), here / "found", backbone)
    assert again.candidates == found.candidates
    assert list(found.best.words or {}) == ["so\u2028negative", "so\u2028positive"]


def test_what_an_interrupted_search_left_outlives_a_refusal(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run, path = small_run(here, bert), here / "words.txt"
    path.write_text("good\nbad\n", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        searched(run, here / "found", backbone, Stopping(3), words=str(path), fits=0)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        searched(run, here / "found", backbone, words=str(path), fits=0)
    assert (here / "found/work/words.json").is_file()


@pytest.mark.parametrize("word", ["3", "null", "[]", '["good", 3]', '""'])
def test_a_word_that_is_no_text_is_named_with_its_line(word: str, tmp_path: Path) -> None:
    path = tmp_path / "candidates.jsonl"
    path.write_text(
        f'{{"template": "{{text}} {{mask}}"}}\n{{"words": {{"yes": {word}}}}}\n', "utf-8"
    )
    with pytest.raises(
        DataError, match=r"candidates\.jsonl, line 2: words of 'yes': expected a word"
    ):
        read_candidates(path)


# --- numbers --------------------------------------------------------------------------------------


def stars_run(folder: Path, model: Path, **changes: Any) -> RunSettings:
    made = [{"text": e.fields["text"], "stars": float(n % 6)} for n, e in enumerate(rows(24))]
    write_jsonl(folder / "stars.jsonl", made)
    task = {"train": "stars.jsonl", "fields": ["text"], "target": "stars"}
    own = {"task": {**task, "kind": "number", "bounds": [0, 5]}, "words": None, **changes}
    return small_run(folder, model, **own)


def test_a_number_whose_ends_have_no_words_is_searched(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    found = searched(stars_run(here, bert), here / "found", backbone, fits=1)
    assert set(found.best.words or {}) == {"lower", "upper"}
    assert "the run's own" not in (here / "found/report.md").read_text("utf-8")
    with pytest.raises(SettingsError, match=r"neighbours: task .* has no words of its own"):
        searched(stars_run(here, bert), here / "near", backbone, neighbours=2)
    assert not (here / "near").exists()


def test_a_recipe_finds_the_words_of_a_number_that_has_none(here: Path, bert: Path) -> None:
    task = stars_run(here, bert).resolved()["task"]
    own = {"task": task, "template": "{text} {mask}.", "words": None, "sweep": {}, "seeds": [1]}
    step = {"find": "words", "top": 4, "fits": 1}
    (one,) = run_lm_bff(recipe(here, bert, **own, search=[step], ensemble=0)).seeds
    assert set(one.words or {}) == {"lower", "upper"}


# --- lists ----------------------------------------------------------------------------------------


def test_a_list_of_templates_that_was_changed_is_refused_and_one_that_is_gone_is_not_needed(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run, path = read_run(write_run_yaml(here, bert)), here / "list.txt"
    settings = TemplateSettings(candidates=str(path), fits=0)
    path.write_text("{review} so {mask}\nA {mask} one: {review}\n", encoding="utf-8")
    first = search_templates(run, settings, here / "found", backbone=backbone)
    path.write_text("{review} and {mask}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"--candidates: .*list\.txt was changed since .*found"):
        search_templates(run, settings, here / "found", backbone=backbone)
    path.unlink()
    again = search_templates(run, settings, here / "found", backbone=backbone)
    assert again.candidates == first.candidates
    with pytest.raises(DataError, match="no such file"):
        search_templates(run, settings, here / "found", backbone=backbone, overwrite=True)


def test_a_list_of_words_that_is_gone_is_not_needed_once_there_are_candidates(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run, path = small_run(here, bert), here / "words.txt"
    path.write_text("good\nbad\nslow\n", encoding="utf-8")
    first = searched(run, here / "found", backbone, words=str(path), fits=0)
    report = (here / "found/report.md").read_bytes()
    path.unlink()
    assert searched(run, here / "found", backbone, words=str(path), fits=0) == first
    assert (here / "found/report.md").read_bytes() == report


def test_a_recipe_goes_on_without_the_lists_that_its_searches_have_read(
    here: Path, bert: Path
) -> None:
    settings = recipe(here, bert, seeds=[1], sweep={})
    (first,) = run_lm_bff(settings).seeds
    for name in ("done.json", "1-templates/done.json", "2-words/done.json"):
        (here / "run" / name).unlink()
    for name in ("templates.txt", "words.txt"):
        (here / name).unlink()
    (again,) = run_lm_bff(settings).seeds
    assert (again.template, again.words) == (first.template, first.words)


# --- how candidates are written -------------------------------------------------------------------


def test_words_stand_in_the_order_of_the_labels_whatever_their_file_says(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run = small_run(here, bert)
    searched(run, here / "found", backbone, fits=0)
    opposite = [
        {"words": {"positive": "good", "negative": "bad"}},
        {"words": {"negative": "good", "positive": "bad"}},
    ]
    write_jsonl(here / "found/candidates.jsonl", opposite)
    found = searched(run, here / "found", backbone, fits=0)
    assert titles(found.candidates) == ["bad / good", "good / bad"]
    report = (here / "found/report.md").read_text("utf-8")
    assert "words stand in the order negative / positive" in report


def test_a_single_candidate_is_shown_with_its_template() -> None:
    one = Candidate("{text} {mask}.", {"yes": "good", "no": "bad"})
    assert titles([one]) == ["{text} {mask}.  ·  good / bad"]
    assert titles([one, Candidate(one.template, {"yes": "a", "no": "b"})]) == [
        "good / bad",
        "a / b",
    ]


def test_a_fit_that_was_killed_in_its_first_file_keeps_its_number(
    here: Path, bert: Path, backbone: Backbone
) -> None:
    run = reviews_run(here, bert, method="prompt_design")
    rank(run, THREE[:1], here / "fits", backbone)
    (here / "fits/002").mkdir()
    (here / "fits/002/.config.yaml.0badcafe.partial").write_text("half", encoding="utf-8")
    found = rank(run, THREE, here / "fits", backbone)
    assert {one.place.name for one in found.fits} == {"001", "002", "003"}
    assert not list((here / "fits").glob("*/.*"))


# --- k_shot ---------------------------------------------------------------------------------------


def test_k_shot_says_what_becomes_of_a_dev_file_and_which_task_is_too_small(
    here: Path, bert: Path
) -> None:
    task = {"train": "mood.jsonl", "dev": "mood.jsonl", "fields": ["text"], "target": "mood"}
    run = small_run(here, bert, task={**task, "test": "mood.jsonl"}, k_shot=4, dev_size=None)
    assert "dev: the task's own is no dev under k_shot, set aside" in run_task(run).notes
    tested = small_run(here, bert, task=task, k_shot=4, dev_size=None)
    assert "dev: the task's own is no dev under k_shot, it is test here" in run_task(tested).notes
    with pytest.raises(SettingsError, match=r"k_shot: task 'mood': label .* use k="):
        run_task(small_run(here, bert, task=task, k_shot=40, dev_size=None))
