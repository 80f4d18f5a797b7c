"""Where the rows of a prompt start, on real tokenizers of each notation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError, SettingsError, UsageError
from softprompt.methods.initialisation import frequent_pieces, is_whole_word
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.run import fit
from tests.builders import FAMILIES, Backbones, fits_of, job, mood
from tests.tiny_models import TEXTS


def start(backbone: Backbone, method: PromptTuning, seed: int = 0, **given: Any) -> Tensor:
    """The rows before the first step, `[P, E]`."""
    (made,) = fits_of(backbone, [job(method=method, seed=seed, **given)])
    return made.parameters["rows"].detach()


def embedded(backbone: Backbone, text: str) -> Tensor:
    return backbone.rows(backbone.tokenizer.encode(text, continues=False).ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_start_as_the_mean_of_their_words_pieces(backbones: Backbones, name: str):
    backbone = backbones(name)
    words = {"positive": "very good film", "negative": "awful"}
    rows = start(backbone, PromptTuning(length=5), words=words)
    assert rows.shape == (5, backbone.width)
    torch.testing.assert_close(rows[0], embedded(backbone, "very good film").mean(dim=0))
    torch.testing.assert_close(rows[1], embedded(backbone, "awful").mean(dim=0))


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_left_over_are_words_of_the_vocabulary(backbones: Backbones, name: str):
    backbone = backbones(name)
    rows = start(backbone, PromptTuning(length=6, init="vocabulary"))
    allowed = backbone.rows(
        frequent_pieces(backbone, [e.fields["text"] for e in mood().examples("train")])
    )  # type: ignore[misc]
    for row in rows:
        assert bool((allowed == row).all(dim=1).any())
    assert len(rows.unique(dim=0)) == 6  # drawn without replacement


def test_pieces_are_counted_on_the_tasks_text_and_no_odd_ones_drawn(backbones: Backbones):
    backbone = backbones("bert")
    pieces = backbone.tokenizer.pieces(tuple(frequent_pieces(backbone, [*TEXTS, "film film film"])))
    assert pieces[0] == "film"
    assert {"很", "好", "dull"} <= set(pieces)
    assert not [p for p in pieces if re.fullmatch(r"\[.*|##.*|[a-zA-Z0-9]|\W", p)]


def test_with_enough_words_in_the_text_no_other_is_drawn(backbones: Backbones):
    backbone = backbones("bert")
    every = frequent_pieces(backbone, [])
    assert len(every) > 55
    some = " ".join(backbone.tokenizer.pieces(tuple(every[:55])))
    assert set(frequent_pieces(backbone, [some])) == set(every[:55])


def test_a_vocabulary_sorted_by_frequency_gives_its_first_ids(backbones: Backbones):
    backbone = backbones("t5-1.1")
    ids = frequent_pieces(backbone, list(TEXTS), most=40)
    assert ids == [i for i in range(40) if i not in backbone.tokenizer.special]
    assert len(ids) == 37  # all but <pad>, </s> and <unk>


@pytest.mark.parametrize(
    ("piece", "text", "marked", "whole"),
    [
        ("good", "good", False, True),
        ("##ing", "##ing", False, False),
        ("[unused7]", "[unused7]", False, False),
        ("<0x0A>", "\n", True, False),
        ("Ġgood", " good", True, True),
        ("ing", "ing", True, False),
        ("▁good", "good", True, True),
        ("▁a", "a", True, False),
        ("é", "é", False, False),
        ("и", "и", False, True),
        ("好", "好", True, True),
        ("å¥½", "好", True, True),  # as byte-level vocabularies write it
        ("Ġ", " ", True, False),
        ("12", "12", False, False),
        ("Ã", "�", True, False),
    ],
)
def test_what_counts_as_a_whole_word(piece: str, text: str, marked: bool, whole: bool):
    assert is_whole_word(piece, text, marked) is whole


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_from_a_text_are_its_pieces_in_order(backbones: Backbones, name: str):
    backbone = backbones(name)
    wanted = embedded(backbone, "the film was good")
    rows = start(backbone, PromptTuning(length=12, init="text", init_text="the film was good"))
    torch.testing.assert_close(rows[: len(wanted)], wanted)


def test_soft_words_in_a_template_start_from_these_words(backbones: Backbones):
    backbone = backbones("bert")
    template = "{soft:'It was'}{text}{soft:3}{mask}"
    rows = start(backbone, PromptTuning(init="uniform"), template=template)
    assert rows.shape[0] == 5
    torch.testing.assert_close(rows[:2], embedded(backbone, "It was"))


def test_uniform_rows_have_the_scale_of_the_backbones_embeddings(backbones: Backbones):
    backbone = backbones("bert")
    rows = start(backbone, PromptTuning(length=40, init="uniform"))
    assert float(rows.pow(2).mean().sqrt()) == pytest.approx(backbone.rms, rel=0.1)
    assert float(rows.abs().max()) <= 3**0.5 * backbone.rms + 1e-6
    paper = start(backbone, PromptTuning(length=40, init="uniform_paper"))
    assert float(paper.abs().max()) <= 0.5


@pytest.mark.parametrize("init", ["labels", "vocabulary", "uniform", "uniform_code"])
def test_the_same_seed_gives_the_same_rows(backbones: Backbones, init: Any):
    backbone, method = backbones("bert"), PromptTuning(length=6, init=init, noise=0.1)
    assert torch.equal(start(backbone, method), start(backbone, method))
    assert not torch.equal(start(backbone, method), start(backbone, method, seed=1))


def test_noise_is_in_units_of_the_embeddings_scale(backbones: Backbones):
    backbone = backbones("bert")
    plain = start(backbone, PromptTuning(length=30, init="uniform"))
    noisy = start(backbone, PromptTuning(length=30, init="uniform", noise=0.5))
    moved = float((noisy - plain).pow(2).mean().sqrt())
    assert moved == pytest.approx(0.5 * backbone.rms, rel=0.1)


def test_rows_from_another_prompt_or_an_npy_file_are_those(backbones: Backbones, tmp_path: Path):
    backbone = backbones("bert")
    run = fit(backbone, mood(), PromptTuning(length=3), training={"steps": 2, "batch_size": 4})
    run.prompt.save(tmp_path / "prompt")
    assert run.prompt.rows is not None
    np.save(tmp_path / "rows.npy", run.prompt.rows.numpy())
    for source in ("prompt", "rows.npy"):
        method = PromptTuning(length=3, init="prompt", init_from=str(tmp_path / source))
        assert torch.equal(start(backbone, method), run.prompt.rows)
        with pytest.raises(PromptError, match="expected 4 rows of width 32"):
            start(backbone, PromptTuning(length=4, init="prompt", init_from=str(tmp_path / source)))
    np.save(tmp_path / "wide.npy", np.zeros((3, 8), dtype=np.float32))
    with pytest.raises(PromptError, match="8"):
        start(backbone, PromptTuning(length=3, init="prompt", init_from=str(tmp_path / "wide.npy")))
    with pytest.raises(SettingsError, match="neither a prompt folder nor"):
        start(backbone, PromptTuning(length=3, init="prompt", init_from=str(tmp_path / "none")))
    method = PromptTuning(length=3, init="prompt", init_from=str(tmp_path / "prompt"))
    with pytest.raises(PromptError, match="does not fit"):
        start(backbones("gpt2"), method)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init": "text"}, "init: text needs the words"),
        ({"init": "prompt"}, "init: prompt needs a prompt folder"),
        ({"init_text": "so"}, "has an effect with init: text only; init is labels"),
        ({"init": "text", "init_text": "so", "init_from": "x"}, "init: prompt only; init is text"),
        ({"length": 0}, "greater than or equal to 1|expected at least 1"),
    ],
)
def test_settings_at_odds_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        PromptTuning(**settings)
    with pytest.raises(SettingsError, match=message):
        PromptTuning.read(settings)


def test_more_labels_than_rows_leave_the_last_ones_out(backbones: Backbones):
    with pytest.warns(UserWarning, match="2 labels for 1 prompt rows"):
        start(backbones("bert"), PromptTuning(length=1))


def test_two_different_lengths_are_an_error(backbones: Backbones):
    with pytest.raises(UsageError, match="template says 4 rows, the method says 3"):
        start(backbones("bert"), PromptTuning(length=3), template="{soft:4}{text}{mask}")
    for template in ("{soft:4}{text}{mask}", "{soft:1}{text}{soft:3}{mask}"):
        assert start(backbones("bert"), PromptTuning(), template=template).shape[0] == 4
    assert start(backbones("bert"), PromptTuning()).shape[0] == 20
