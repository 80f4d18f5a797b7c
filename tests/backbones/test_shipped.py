"""The names of the backbones that ship: whole, short, and wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.backbones import shipped
from softprompt.backbones.loading import load_backbone
from softprompt.backbones.shipped import describe, shipped_models, shipped_name
from softprompt.data.registry import load_task
from softprompt.errors import BackboneError, PromptError
from softprompt.inference.predictor import Predictor
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.prompt import Prompt
from softprompt.tuning.run import fit
from tests.tiny_models import save_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that ships two T5 of one architecture, and a masked model."""
    home = tmp_path_factory.mktemp("assets")
    save_checkpoint("t5-1.1", home / "tiny-t5@span", seed=1)
    save_checkpoint("t5-1.1", home / "tiny-t5@lm", seed=2)
    save_checkpoint("bert", home / "tiny-mlm")
    return home


@pytest.fixture
def package(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shipped, "models_folder", lambda: models)
    return models


def refused(name: str) -> str:
    with pytest.raises(BackboneError) as caught:
        load_backbone(name, device="cpu")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_each_variant_is_a_backbone(package: Path) -> None:
    names = ["softprompt/tiny-mlm", "softprompt/tiny-t5@lm", "softprompt/tiny-t5@span"]
    assert shipped_models() == names
    assert [shipped_name(name) for name in names] == names


def test_the_short_name_is_the_default_variant_and_is_recorded_whole(package: Path) -> None:
    backbone = load_backbone("softprompt/tiny-t5", device="cpu")
    assert backbone.name == backbone.identity.name == "softprompt/tiny-t5@lm"
    assert backbone.identity.weights == load_backbone(package / "tiny-t5@lm").identity.weights


def test_a_variant_is_not_dropped(package: Path) -> None:
    span, lm = (load_backbone(f"softprompt/tiny-t5@{which}").identity for which in ("span", "lm"))
    assert span.name == "softprompt/tiny-t5@span"
    assert span.architecture == lm.architecture
    assert span.weights != lm.weights


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "softprompt/tiny-t5@nothing",
            "'softprompt/tiny-t5' has no variant 'nothing'; there: softprompt/tiny-t5@lm "
            "(the default), softprompt/tiny-t5@span",
        ),
        ("softprompt/tiny-t5@", "has no variant ''; there: softprompt/tiny-t5@lm (the default)"),
        ("softprompt/tiny-mlm@span", "'softprompt/tiny-mlm' has no variants"),
        ("softprompt/tiny-mml", "did you mean 'softprompt/tiny-mlm'?"),
        ("softprompt/..", "no backbone 'softprompt/..' ships in the package"),
    ],
)
def test_a_wrong_name_lists_what_there_is(package: Path, name: str, says: str) -> None:
    assert says in refused(name)


def test_without_its_default_variant_a_short_name_lists_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny-t5@span").mkdir()
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path)
    assert "has no default variant; there: softprompt/tiny-t5@span" in refused("softprompt/tiny-t5")


def test_a_description_says_family_size_and_default(package: Path) -> None:
    found = {name: describe(name) for name in shipped_models()}
    lm, span = found["softprompt/tiny-t5@lm"], found["softprompt/tiny-t5@span"]
    assert (lm.family, lm.short) == ("encoder_decoder", "softprompt/tiny-t5")
    assert span.short is None
    assert found["softprompt/tiny-mlm"].short == "softprompt/tiny-mlm"
    weights = package / "tiny-t5@lm" / "model.safetensors"
    assert lm.n_bytes == weights.stat().st_size > 4 * lm.parameters
    assert lm.parameters == load_backbone(lm.name, device="cpu").n_parameters


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint("bert", tmp_path / "tiny-mlm")
    (tmp_path / "tiny-mlm" / "model.safetensors").write_bytes(b"\x10" + b"\0" * 7 + b"not a header")
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path)
    with pytest.raises(BackboneError, match="tiny-mlm: damaged"):
        describe("softprompt/tiny-mlm")


def test_a_prompt_of_one_variant_is_refused_on_the_other(package: Path, tmp_path: Path) -> None:
    span, lm = (load_backbone(f"softprompt/tiny-t5@{which}") for which in ("span", "lm"))
    task = load_task("softprompt/reviews-zh")
    run = fit(span, task, PromptTuning(length=2), training={"steps": 0}, test=None)
    run.prompt.save(tmp_path / "prompt")
    assert Prompt.load(tmp_path / "prompt").backbone == span.identity
    with pytest.raises(PromptError) as caught:
        Predictor(lm, tmp_path / "prompt")
    assert "was learned on 'softprompt/tiny-t5@span' and does not fit 'softprompt/tiny-t5@lm'" in (
        str(caught.value)
    )
    assert "other weights" in str(caught.value)


@pytest.mark.parametrize("name", shipped_models())
def test_what_ships_is_as_described(name: str) -> None:
    described, loaded = describe(name), load_backbone(name, device="cpu")
    assert described.family == loaded.family
    assert described.parameters == loaded.n_parameters
