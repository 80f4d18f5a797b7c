from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import measuring
from benchmarks.backbones import COLUMNS, main
from benchmarks.cells import Cells
from benchmarks.measuring import open_backbone, random_twin, scene
from benchmarks.recipes import FIRST_LETTERS, RECIPES, TESTS, Amount
from softprompt.backbones.loading import load_backbone
from softprompt.data.known_tasks import TASKS
from softprompt.errors import UsageError
from softprompt.text.template import parse
from tests.benchmarks.conftest import TINY, Folders, content

ONE = ["--tests", "softprompt/reviews-en", "--seeds", "2", *TINY]


@pytest.mark.parametrize("name", ["bert", "t5-1.1", "llama"])
def test_every_column_is_measured_on_every_family_and_never_twice(
    name: str, folders: Folders, tmp_path: Path, never: Callable[[], None]
) -> None:
    line = ["--backbones", folders(name), *ONE, "--results", str(tmp_path)]
    main(line)
    left = content(tmp_path)
    table = left["backbones.md"].decode()
    head = f"| test set | n | {' | '.join(COLUMNS)} |"
    assert head in table
    (row,) = [r for r in table.splitlines() if r.startswith("| softprompt/reviews-en | 6 |")]
    assert "–" not in row
    assert row.count("±") == 3  # both prompt tunings and full tuning have two seeds
    assert ("generated and ranked" in table) == (name == "t5-1.1")
    never()
    main(line)
    assert content(tmp_path) == left
    main(["--table", "--results", str(tmp_path)])
    assert content(tmp_path) == left


def test_an_interrupted_script_goes_on_where_it_was(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["--backbones", folders("bert"), *ONE, "--results", str(tmp_path)]
    whole, calls = measuring.fit_many, []

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 4:  # the second seed of full tuning
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(measuring, "fit_many", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(line)
    assert len(Cells(tmp_path / "backbones.jsonl")) == 4 + 2 + 2 + 1
    main(line)
    assert len(calls) == 5
    assert len(Cells(tmp_path / "backbones.jsonl")) == 10


def test_more_seeds_and_other_settings_are_measured_others_are_not(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["--backbones", folders("bert"), *ONE, "--results", str(tmp_path)]
    main(line)
    whole, seeds = measuring.fit_many, []

    def counted(backbone: Any, jobs: Sequence[Any]) -> Any:
        seeds.append([job.seed for job in jobs])
        return whole(backbone, jobs)

    monkeypatch.setattr(measuring, "fit_many", counted)
    main([*line, "--seeds", "3"])
    assert seeds == [[2], [2]]  # not on random weights
    main([*line, "--limit", "20"])
    assert seeds[2:] == [[0, 1], [0, 1], [0], [1]]


def test_what_a_user_got_wrong_is_one_sentence(folders: Folders, tmp_path: Path) -> None:
    line = ["--backbones", folders("bert"), "--tests", "sst2", "--results", str(tmp_path)]
    with pytest.raises(SystemExit, match="the files of sst2 are not shipped"):
        main(line)


def test_random_weights_have_the_shape_and_the_tokenizer_of_the_backbone(folders: Folders) -> None:
    backbone = load_backbone(folders("t5-1.1"))
    with random_twin(backbone) as twin, random_twin(backbone) as again:
        shapes = {n: p.shape for n, p in backbone.model.named_parameters()}
        assert {n: p.shape for n, p in twin.model.named_parameters()} == shapes
        assert twin.identity.weights == again.identity.weights != backbone.identity.weights
        assert twin.tokenizer.wrapped.get_vocab() == backbone.tokenizer.wrapped.get_vocab()
        assert torch.equal(twin.rows([5]), again.rows([5]))


@pytest.mark.parametrize("name", ["bert", "t5-1.1", "llama"])
def test_all_methods_see_the_same_rows_and_words(name: str, folders: Folders) -> None:
    here = scene(open_backbone(folders(name)), "softprompt/topics-en", None, Amount(test=6))
    assert len(here.task.examples("test")) == 6
    assert "soft" not in here.template
    assert here.settings["data"] == {
        split: here.task.content_hash(split) for split in ("train", "dev", "test")
    }
    greedy = here.with_objective(prediction="rank")
    assert greedy.settings["objective"] != here.settings["objective"]


def test_the_label_words_of_a_causal_model_are_first_letters_that_differ() -> None:
    for name, own in FIRST_LETTERS.items():
        entry = TASKS[name].words
        assert entry is not None
        assert {label: str(word)[0] for label, word in entry.items()} == dict(own)
        assert len(set(own.values())) == len(own)


def test_every_test_set_has_a_template_for_every_family() -> None:
    for name in TESTS:
        for family in RECIPES:
            template = parse(TASKS[name].templates.get(family, str(TASKS[name].template)))
            assert template.fields == ("text",)
            assert family != "causal" or template.source.endswith("{mask}")


def test_an_unknown_test_set_is_refused(folders: Folders) -> None:
    with pytest.raises(UsageError, match="no test set 'mnli'; known: sst2"):
        scene(open_backbone(folders("bert")), "mnli", None, Amount())


def test_a_shipped_name_needs_no_prefix() -> None:
    assert open_backbone("tiny-mlm").name == "softprompt/tiny-mlm"
