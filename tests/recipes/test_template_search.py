"""A whole search for templates on tiny models: found, ranked, fitted, gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softprompt.data.task import Task
from softprompt.errors import DataError, SettingsError
from softprompt.recipes.run_file import read_run
from softprompt.recipes.search.candidates import read_candidates
from softprompt.recipes.search.templates.forms import forms
from softprompt.recipes.search.templates.grown import Beam, grow
from softprompt.recipes.search.templates.lists import read_templates
from softprompt.recipes.search.templates.search import (
    TemplateSettings,
    example_words,
    search_templates,
)
from softprompt.recipes.watching import Silent
from softprompt.settings import read_yaml
from softprompt.text.answers import FreeText, Poles
from softprompt.text.template import parse
from tests.builders import backbones
from tests.small_runs import write_jsonl, write_run_yaml
from tests.tiny_models import save_checkpoint

__all__ = ["backbones"]

SMALL = {"beam": 6, "templates": 8, "max_tokens": 5, "limit": 24}


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("t5-1.1", tmp_path_factory.mktemp("models") / "t5")


@pytest.fixture
def run_file(here: Path, bert: Path) -> Path:
    return write_run_yaml(here, bert, training__steps=2, training__evaluate_every=2, dev_size=6)


def go(run_file: Path, out: str, watcher=None, **values):
    settings = TemplateSettings(**{**SMALL, **values})
    return search_templates(read_run(run_file), settings, Path(out), watcher)


def test_templates_are_found_ranked_on_train_and_the_best_are_fitted(run_file, t5):
    found = go(run_file, "found", generator=str(t5), fits=2)
    assert 2 < len(found.candidates) <= 8
    keys = [one.template for one in found.candidates]
    assert len(set(keys)) == len(keys)
    for one in found.candidates:
        template = parse(one.template)
        assert template.fields == ("review",)
        assert len(template.answers) == 1
        assert one.scores["form"] in ("after", "before")
    ranks = [
        (-o.scores["train accuracy"], o.scores["train cross-entropy"]) for o in found.candidates
    ]
    assert ranks == sorted(ranks)
    assert len(found.ranking.fits) == 2
    best = read_yaml(Path("found/best.yaml"))
    assert best["template"] == found.best.template
    assert read_run(Path("found/best.yaml")).template == found.best.template
    assert "before any training" in Path("found/report.md").read_text(encoding="utf-8")


class Interrupting(Silent):
    """Is interrupted when it is told its nth thing."""

    def __init__(self, nth: int):
        self.left = nth

    def note(self, message: str) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def progress(self, progress) -> None:
        self.note("")


def test_an_interrupted_search_leaves_what_an_uninterrupted_one_leaves(run_file, t5):
    go(run_file, "whole", generator=str(t5), fits=1)
    cuts = 0
    while True:
        try:
            go(run_file, "cut", Interrupting(3 + 3 * cuts), generator=str(t5), fits=1)
        except KeyboardInterrupt:
            cuts += 1
        else:
            break
    assert cuts > 3
    for name in ("candidates.jsonl", "report.md", "best.yaml", "done.json"):
        assert Path("cut", name).read_text("utf-8") == Path("whole", name).read_text("utf-8"), name


def test_without_fits_the_best_on_train_stands_in_the_run_file(run_file, t5):
    found = go(run_file, "found", generator=str(t5), fits=0)
    assert found.ranking is None
    assert read_yaml(Path("found/best.yaml"))["template"] == found.candidates[0].template


def test_an_edited_list_is_fitted_as_it_stands(run_file, t5):
    go(run_file, "found", generator=str(t5), fits=0)
    own = {"template": "{review} is {mask}", "words": None}
    write_jsonl(Path("found/candidates.jsonl"), [own])
    found = go(run_file, "found", generator=str(t5), fits=3)
    assert [one.candidate.template for one in found.ranking.fits] == ["{review} is {mask}"]


RELEASED = "0.9 *cls**sent_0*_This_is*mask*.*sep+*\n0.8 *cls*_A*mask*_one.*+sent_0**sep+*\n"


def test_published_lists_are_ranked_with_the_tasks_own_field_names(run_file, here):
    (here / "16-13.score.txt").write_text(RELEASED, encoding="utf-8")
    found = go(run_file, "found", candidates=str(here / "16-13.score.txt"), fits=0)
    assert {(o.template, o.scores["published"]) for o in found.candidates} == {
        ("{review} This is {mask}.", 0.9),
        (" A {mask} one. {review}", 0.8),
    }


def test_templates_that_the_backbone_cannot_use_are_dropped_and_none_left_is_refused(
    run_file, here
):
    (here / "list.txt").write_text("{review} so {mask}\n{title} so {mask}\n", encoding="utf-8")
    found = go(run_file, "found", candidates=str(here / "list.txt"), fits=0)
    assert [one.template for one in found.candidates] == ["{review} so {mask}"]
    assert "- dropped: 1 " in (found.folder / "report.md").read_text(encoding="utf-8")
    (here / "list.txt").write_text("{title} so {mask}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"none of 1 .*template field 'title'"):
        go(run_file, "other", candidates=str(here / "list.txt"), fits=0)
    assert not Path("other").exists()


def test_lists_name_the_line_that_is_no_template(here):
    path = here / "list.txt"
    path.write_text("{a} {mask}\n\n{a} {mask\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"list\.txt, line 3"):
        read_templates(path, ("a",))
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no templates"):
        read_templates(path, ("a",))
    with pytest.raises(DataError, match="no such file"):
        read_templates(here / "none.txt", ("a",))


def test_all_published_lists_read_with_a_tasks_own_names(shared: Path):
    paths = sorted((shared / "data" / "lm_bff_published").glob("*/16-*.txt"))
    if not paths:
        pytest.skip("no published templates")
    for path in (p for p in paths if p.parent.name != "label_mapping"):
        found = read_templates(path, ("first text", "second text"))
        assert 70 <= len(found) <= 100, path
        fields = {name for one in found for name in parse(str(one.template)).fields}
        assert fields <= {"first text", "second text"}
        assert "first text" in fields


@pytest.mark.parametrize(
    ("name", "says"),
    [("gpt2", "is a causal model"), ("pegasus", "has 0 sentinels .*, expected 3 or more")],
)
def test_a_generator_that_cannot_fill_blanks_is_refused_before_anything_is_written(
    name, says, run_file, tmp_path_factory
):
    path = save_checkpoint(name, tmp_path_factory.mktemp("models") / name)
    with pytest.raises(SettingsError, match=says):
        go(run_file, "found", generator=str(path))
    assert not Path("found").exists()


def test_a_task_of_three_fields_asks_which(here, bert, t5):
    moods = ("good", "bad") * 5
    rows = [{"a": f"x{n}", "b": "y", "c": "z", "mood": m} for n, m in enumerate(moods)]
    write_jsonl(here / "rows.jsonl", rows)
    task = {"train": "rows.jsonl", "fields": ["a", "b", "c"], "target": "mood"}
    path = write_run_yaml(
        here, bert, task=task, template="{a} {b} {c} {mask}", words=None, dev_size=2
    )
    with pytest.raises(SettingsError, match="found a, b, c; name one or two"):
        go(path, "found", generator=str(t5))
    found = go(path, "found", generator=str(t5), fields=["a", "c"], fits=0)
    for one in found.candidates:
        assert str(one.template).startswith("{a|drop_last}")
        assert str(one.template).endswith(" {c|lower_first}")


def test_chinese_templates_grow_without_spaces(backbones, tmp_path):
    rows = [{"text": "这部电影很好", "y": "p"}, {"text": "这个故事没有意思", "y": "n"}]
    task = Task.from_jsonl(write_jsonl(tmp_path / "t.jsonl", rows), fields=["text"], target="y")
    for form in forms(("text",), spaced=False):
        grown, _ = grow(
            backbones("t5-1.1"),
            form,
            task.examples("train"),
            ("好", "差"),
            Beam(width=12, max_tokens=6),
            False,
            tmp_path / f"{form.name}.json",
            Silent(),
        )
        assert grown
        assert not [one for one in grown if " {mask}" in one.template]
        assert not [one for one in grown if " {text}" in one.template]


def test_a_number_is_shown_with_the_pole_it_is_nearer_to(tmp_path):
    rows = [{"text": "a", "y": 0.5}, {"text": "b", "y": 2.5}, {"text": "c", "y": 4.0}]
    path = write_jsonl(tmp_path / "t.jsonl", rows)
    task = Task.from_jsonl(path, fields=["text"], target="y", kind="number", bounds=(0.0, 5.0))
    assert example_words(Poles(("No", "Yes"), (0.0, 5.0)), task) == ("No", "Yes", "Yes")
    with pytest.raises(SettingsError, match="not answered by label words"):
        example_words(FreeText(3), task)


def test_a_searchs_own_file_is_a_list_too(run_file, t5):
    first = go(run_file, "found", generator=str(t5), fits=0)
    again = go(run_file, "again", candidates="found/candidates.jsonl", fits=0)
    assert {one.template for one in again.candidates} == {o.template for o in first.candidates}
    assert read_candidates(Path("again/candidates.jsonl")) == again.candidates
    assert json.loads(Path("again/done.json").read_text("utf-8"))["best"]


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5-1.1"])
def test_templates_are_ranked_on_every_family(name, run_file, here, backbones):
    (here / "list.txt").write_text("{review} so {mask}\nA {mask} one: {review}\n", encoding="utf-8")
    settings = TemplateSettings(candidates="list.txt", fits=0)
    run = read_run(run_file)
    found = search_templates(run, settings, Path("found"), backbone=backbones(name))
    assert len(found.candidates) == 2
    assert all(0 <= one.scores["train accuracy"] <= 1 for one in found.candidates)
