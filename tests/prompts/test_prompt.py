"""Save and load: what comes back is what was saved, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from softprompt.errors import PromptError
from softprompt.prompts.addition import Addition
from softprompt.prompts.identity import BackboneIdentity
from softprompt.prompts.prompt import Prompt

Make = Callable[..., Prompt]


def _numbers(prompt: Prompt) -> torch.Tensor:
    assert prompt.rows is not None
    return prompt.rows


def test_a_prompt_comes_back_bit_for_bit(make_prompt: Make, tmp_path: Path) -> None:
    prompt = make_prompt()
    prompt.save(tmp_path / "mood")
    again = Prompt.load(tmp_path / "mood")
    assert _numbers(again).numpy().tobytes() == _numbers(prompt).numpy().tobytes()
    for field in fields(Prompt):
        if field.name != "addition":
            assert getattr(again, field.name) == getattr(prompt, field.name), field.name
    assert again.content_hash == prompt.content_hash


def test_saving_what_was_loaded_gives_the_same_files(make_prompt: Make, tmp_path: Path) -> None:
    make_prompt().save(tmp_path / "a" / "mood")
    Prompt.load(tmp_path / "a" / "mood").save(tmp_path / "b" / "mood")
    for name in ("prompt.safetensors", "prompt.json"):
        first, second = (tmp_path / part / "mood" / name for part in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_a_folder_holds_three_files_and_nothing_beside_it(
    make_prompt: Make, tmp_path: Path
) -> None:
    make_prompt().save(tmp_path / "mood")
    assert [path.name for path in tmp_path.iterdir()] == ["mood"]
    names = sorted(path.name for path in (tmp_path / "mood").iterdir())
    assert names == ["README.md", "prompt.json", "prompt.safetensors"]


def test_a_prompt_of_a_hundred_rows_is_about_300_kilobytes(
    make_prompt: Make, tmp_path: Path
) -> None:
    prompt = make_prompt(addition=Addition(torch.zeros(100, 768)))
    prompt.save(tmp_path / "mood")
    assert (prompt.n_parameters, prompt.n_bytes) == (76_800, 307_200)  # Lester: Base, P = 100
    size = sum(path.stat().st_size for path in (tmp_path / "mood").iterdir())
    assert prompt.n_bytes < size < prompt.n_bytes + 8_000


def test_rows_of_any_precision_are_kept_as_float32(make_prompt: Make, tmp_path: Path) -> None:
    half = torch.randn(2, 4).to(torch.bfloat16)
    make_prompt(addition=Addition(half)).save(tmp_path / "mood")
    assert torch.equal(_numbers(Prompt.load(tmp_path / "mood")), half.float())


def test_a_prompt_does_not_follow_further_training(make_prompt: Make) -> None:
    rows = torch.nn.Parameter(torch.ones(2, 4))
    prompt = make_prompt(addition=Addition(rows))
    with torch.no_grad():
        rows.add_(1.0)
    assert _numbers(prompt).unique().tolist() == [1.0]


def test_a_prompt_without_rows_is_saved_too(make_prompt: Make, tmp_path: Path) -> None:
    make_prompt(addition=Addition(), method="prompt_only").save(tmp_path / "mood")
    again = Prompt.load(tmp_path / "mood")
    assert again.rows is None
    assert again.n_parameters == 0


def test_chinese_stays_readable_in_the_record(make_prompt: Make, tmp_path: Path) -> None:
    make_prompt(template="{text}。总体评价是{mask}的。").save(tmp_path / "心情")
    assert "总体评价是" in (tmp_path / "心情" / "prompt.json").read_text(encoding="utf-8")
    assert Prompt.load(tmp_path / "心情").template == "{text}。总体评价是{mask}的。"


def test_numpy_numbers_and_tuples_are_saved_as_json(make_prompt: Make, tmp_path: Path) -> None:
    scores = ({"split": "dev", "value": np.float32(0.5), "n": np.int64(32)},)
    make_prompt(scores=scores, settings={"seeds": (1, 2)}).save(tmp_path / "mood")
    again = Prompt.load(tmp_path / "mood")
    assert again.scores == [{"split": "dev", "value": 0.5, "n": 32}]
    assert again.settings == {"seeds": [1, 2]}


def test_an_undefined_score_is_saved_as_null(make_prompt: Make, tmp_path: Path) -> None:
    make_prompt(scores=[{"metric": "pearson", "value": float("nan")}]).save(tmp_path / "mood")
    assert Prompt.load(tmp_path / "mood").scores == [{"metric": "pearson", "value": None}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"a": {"b": {1, 2}}}}, r"settings\.a\.b: a set cannot be saved"),
        ({"settings": {"a": [1.0, float("inf")]}}, r"settings\.a\[1\]: inf cannot be saved"),
        ({"answers": {"words": {1: "good"}}}, r"answers\.words: key 1: expected text, got int"),
        ({"notes": "\ud800"}, r"notes: .* lone surrogate"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(
    changes: dict[str, Any], message: str, make_prompt: Make, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match=message):
        make_prompt(**changes).save(tmp_path / "mood")
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_that_is_not_finite_is_not_saved_over_a_good_one(
    make_prompt: Make, tmp_path: Path
) -> None:
    good = make_prompt()
    good.save(tmp_path / "mood")
    rows = torch.ones(3, 4)
    rows[1, 2] = float("nan")
    with pytest.raises(PromptError, match=r"tensor 'rows': 1 of 12 numbers are not finite"):
        make_prompt(addition=Addition(rows)).save(tmp_path / "mood", overwrite=True)
    assert Prompt.load(tmp_path / "mood").content_hash == good.content_hash


PREDICTIONS: list[dict[str, Any]] = [
    {"addition": Addition(torch.ones(3, 4))},
    {"template": "{soft:3}{text} All {mask}."},
    {"answers": {"kind": "words", "words": {"good": [["fine"]], "bad": [["bad"]]}}},
    {"objective": {"normalise": "vocabulary"}},
    {"method": "p_tuning"},
    {"settings": {"max_length": 64}},
    {"task": {"name": "mood", "labels": ["bad", "good"]}},
    {"backbone": None},
]


@pytest.mark.parametrize("changes", PREDICTIONS, ids=lambda changes: next(iter(changes)))
def test_the_content_hash_follows_what_determines_predictions(
    changes: dict[str, Any], make_prompt: Make
) -> None:
    assert make_prompt(**changes).content_hash != make_prompt().content_hash


def test_the_content_hash_ignores_scores_notes_and_the_backbones_name(
    make_prompt: Make, identity: BackboneIdentity
) -> None:
    moved = make_prompt(
        scores=[], notes="", examples=[], versions={}, backbone=replace(identity, name="/elsewhere")
    )
    assert moved.content_hash == make_prompt().content_hash


def test_loading_on_its_own_backbone_is_silent(
    make_prompt: Make, identity: BackboneIdentity, tmp_path: Path
) -> None:
    make_prompt().save(tmp_path / "mood")
    Prompt.load(tmp_path / "mood", backbone=identity)


def test_loading_on_another_backbone_names_the_prompt_and_both_backbones(
    make_prompt: Make, identity: BackboneIdentity, tmp_path: Path
) -> None:
    make_prompt().save(tmp_path / "mood")
    other = replace(identity, name="acme/other", weights="f" * 16)
    with pytest.raises(PromptError, match=r"mood was learned on 'softprompt/tiny-mlm' .*acme"):
        Prompt.load(tmp_path / "mood", backbone=other)


def test_a_foreign_prompt_is_accepted_with_a_notice_after_the_width_check(
    make_prompt: Make, identity: BackboneIdentity, tmp_path: Path
) -> None:
    make_prompt(backbone=None).save(tmp_path / "mood")
    with pytest.warns(UserWarning, match="does not say which backbone"):
        Prompt.load(tmp_path / "mood", backbone=identity)
    with pytest.raises(PromptError, match="expected width 8"):
        Prompt.load(tmp_path / "mood", backbone=replace(identity, width=8))


def test_the_record_lists_shapes_without_opening_the_tensors(
    make_prompt: Make, tmp_path: Path
) -> None:
    make_prompt().save(tmp_path / "mood")
    record = json.loads((tmp_path / "mood" / "prompt.json").read_text(encoding="utf-8"))
    assert record["tensors"] == {"rows": [3, 4]}
    assert record["format_version"] == 1
