"""SPoT: which source prompt the rows start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from softprompt.errors import PromptError, SettingsError
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.spot import Spot, similarities
from softprompt.tuning.run import fit
from tests.builders import Backbones, fits_of, job, learned, mood


def saved(folder: Path, **rows: torch.Tensor) -> list[str]:
    for name, matrix in rows.items():
        np.save(folder / f"{name}.npy", matrix.numpy())
    return [str(folder / f"{name}.npy") for name in rows]


def start(backbones: Backbones, **settings: Any) -> torch.Tensor:
    (made,) = fits_of(backbones("bert"), [job(method=Spot.read(settings))])
    return made.parameters["rows"].detach()


@pytest.fixture
def prompts(tmp_path: Path) -> dict[str, torch.Tensor]:
    """Two sources and a target whose mean lies near the second's, each of 3 rows."""
    draw = torch.Generator().manual_seed(0)
    one, other, noise = (torch.randn(3, 32, generator=draw) for _ in range(3))
    return {"one": one, "other": other, "target": other.flip(0) + 0.3 * noise}


def test_the_source_nearest_in_its_mean_row_is_chosen_whatever_the_order(
    backbones: Backbones, tmp_path: Path, prompts: dict[str, torch.Tensor]
):
    one, other, target = saved(tmp_path, **prompts)
    for sources in ([one, other], [other, one]):
        rows = start(backbones, sources=sources, target=target)
        assert torch.equal(rows, prompts["other"])
        first = start(backbones, sources=sources, choose="first")
        assert torch.equal(first, prompts["one" if sources[0] == one else "other"])


def test_without_a_target_the_label_word_prompt_stands_in_for_it(
    backbones: Backbones, tmp_path: Path
):
    (plain,) = fits_of(backbones("bert"), [job(method=PromptTuning(length=3))])
    labels = plain.parameters["rows"].detach()
    one, other = saved(tmp_path, one=-labels, other=3 * labels)
    assert torch.equal(start(backbones, sources=[one, other]), 3 * labels)


def test_similarity_is_the_cosine_of_mean_rows():
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    sources = [torch.tensor([[5.0, 5.0]]), torch.tensor([[1.0, -1.0]]), torch.tensor([[-2.0, 0.0]])]
    assert similarities(target, sources) == pytest.approx([1.0, 0.0, -(0.5**0.5)], abs=1e-6)


def test_from_a_prompt_folder_it_is_prompt_tuning_from_that_prompt(
    backbones: Backbones, tmp_path: Path
):
    backbone, training = backbones("bert"), {"steps": 3, "batch_size": 4}
    source = fit(backbone, mood(seed=4), PromptTuning(length=3), training=training).prompt
    source.save(tmp_path / "source")
    folder = str(tmp_path / "source")
    spot = fit(backbone, mood(), Spot(sources=(folder,)), training=training)
    plain = PromptTuning(length=3, init="prompt", init_from=folder)
    wanted = fit(backbone, mood(), plain, training=training)
    assert spot.prompt.rows is not None
    assert wanted.prompt.rows is not None
    assert torch.equal(spot.prompt.rows, wanted.prompt.rows)
    (fresh,) = fits_of(backbone, [job(method=Spot(sources=(folder,)))])
    assert learned(fresh).shape == (3 * 32,)
    with pytest.raises(PromptError, match="does not fit"):
        fits_of(backbones("gpt2"), [job(method=Spot(sources=(folder,)))])


def test_sources_that_cannot_be_are_refused(backbones: Backbones, tmp_path: Path):
    one, long = saved(tmp_path, one=torch.zeros(3, 32), long=torch.zeros(4, 32))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "'sources' is missing"),
        ({"sources": []}, "expected at least one prompt folder"),
        ({"sources": [one, long]}, r"long\.npy has 4 rows, .*one\.npy has 3; expected prompts of"),
        ({"sources": [one], "length": 4}, r"length is 4, the source .*one\.npy has 3 rows"),
        ({"sources": [str(tmp_path)]}, "no such file|no prompt folder"),
        ({"sources": ["none"]}, "sources: none is neither a prompt folder nor a .npy file"),
        ({"sources": [one], "target": "none"}, "target: none is neither a prompt folder"),
        ({"sources": [one], "choose": "cosin"}, "'cosine' or 'first'"),
    ]
    for settings, message in wrong:
        with pytest.raises((SettingsError, PromptError), match=message):
            start(backbones, **settings)
    with pytest.raises(SettingsError, match="the template says 4"):
        fits_of(
            backbones("bert"),
            [job(method=Spot(sources=(one,)), template="{soft:4}{text}{mask}")],
        )
