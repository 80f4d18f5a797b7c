"""The fingerprint is of the stored weights: the same in every load precision, another for others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.errors import PromptError
from softprompt.prompts.addition import Addition
from softprompt.prompts.prompt import Prompt
from tests.backbones.by_hand import all_logits, embedded, framed, text_ids
from tests.backbones.conftest import Checkpoints, Tiny
from tests.tiny_models import ARCHITECTURES, TEXTS, save_checkpoint

SOME = ("bert", "albert", "t5-1.1", "pegasus", "gpt2", "llama")


def _prompt(backbone: Backbone) -> Prompt:
    return Prompt(
        addition=Addition(backbone.rows([6, 7, 8])),
        method="prompt_tuning",
        template="{text} it was {mask}.",
        answers={"kind": "text", "max_tokens": 4},
        objective={},
        task={"name": "six", "fields": ["text"], "kind": "text", "labels": []},
        backbone=backbone.identity,
    )


def test_the_fingerprint_does_not_depend_on_the_folder_or_the_session(
    backbone: Backbone, tmp_path: Path
) -> None:
    name = Path(backbone.name).name
    again = load_backbone(save_checkpoint(name, tmp_path / "elsewhere"), device="cpu")
    assert replace(again.identity, name=backbone.name) == backbone.identity


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", SOME)
def test_the_fingerprint_is_the_same_in_every_load_precision(
    tmp_path: Path, name: str, stored: torch.dtype
) -> None:
    folder = save_checkpoint(name, tmp_path / name, dtype=stored)
    found = [
        load_backbone(folder, precision=precision, device="cpu").identity
        for precision in ("float32", "bfloat16", "float64")
    ]
    assert found[0] == found[1] == found[2]
    assert found[0].dtype == str(stored).removeprefix("torch.")


@pytest.mark.parametrize("name", ["bert", "t5-1.1", "bart", "pegasus", "llama", "gpt-neox"])
def test_weights_narrowed_at_loading_are_those_that_transformers_loads(
    checkpoint: Checkpoints, name: str
) -> None:
    import transformers

    narrow = load_backbone(checkpoint(name), precision="bfloat16", device="cpu")
    plan = ARCHITECTURES[name]
    make = getattr(transformers, plan.kind + plan.head)
    own = make.from_pretrained(checkpoint(name), dtype=torch.bfloat16)
    assert narrow.dtype == torch.bfloat16
    for (left, a), (right, b) in zip(
        narrow.model.named_parameters(), own.named_parameters(), strict=True
    ):
        assert (left, a.dtype) == (right, b.dtype)
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "opt"])
def test_bfloat16_gives_nearly_the_logits_of_float32(
    checkpoint: Checkpoints, tiny: Tiny, name: str
) -> None:
    narrow = load_backbone(checkpoint(name), precision="bfloat16", device="cpu")
    wide = tiny(name)
    sequence = framed(wide, text_ids(wide, TEXTS[0]))
    got, expected = (all_logits(b, embedded(b, [sequence]))[0] for b in (narrow, wide))
    assert got.dtype == torch.float32
    # bfloat16 keeps 8 bits (0.4 % a number), two layers of large random weights multiply that
    assert float((got - expected).abs().max()) < 0.1 * float(expected.abs().max())


def test_other_weights_have_another_fingerprint(backbone: Backbone, tmp_path: Path) -> None:
    name = Path(backbone.name).name
    other = load_backbone(save_checkpoint(name, tmp_path / "other", seed=1), device="cpu")
    assert other.identity.architecture == backbone.identity.architecture
    assert other.identity.weights != backbone.identity.weights


def test_every_architecture_has_a_fingerprint_of_its_own(tiny: Tiny) -> None:
    identities = [tiny(name).identity for name in ARCHITECTURES]
    found = {(identity.architecture, identity.weights) for identity in identities}
    assert len(found) == len(ARCHITECTURES)


def test_a_change_in_the_last_block_alone_is_noticed(backbone: Backbone) -> None:
    from softprompt.backbones.fingerprint import identity_of, last_block

    name, parameter = last_block(backbone.model)[-1]
    assert name.startswith(tuple("abcdefghijklmnopqrstuvwxyz"))
    kept = parameter.detach().clone()

    def weights() -> str:
        return identity_of(
            backbone.model,
            backbone.config,
            name=backbone.name,
            family=backbone.family,
            width=backbone.width,
            stored=torch.float32,
        ).weights

    try:
        with torch.no_grad():
            parameter.view(-1)[0] += 1e-3
        assert weights() != backbone.identity.weights
    finally:
        with torch.no_grad():
            parameter.copy_(kept)
    assert weights() == backbone.identity.weights


def test_a_prompt_returns_to_its_own_backbone(backbone: Backbone, tmp_path: Path) -> None:
    _prompt(backbone).save(tmp_path / "prompt")
    loaded = Prompt.load(tmp_path / "prompt", backbone.identity)
    assert loaded.rows is not None
    assert torch.equal(loaded.rows, backbone.rows([6, 7, 8]))


@pytest.mark.parametrize("name", SOME)
def test_a_prompt_is_refused_on_other_weights_of_the_same_architecture(
    tiny: Tiny, tmp_path: Path, name: str
) -> None:
    _prompt(tiny(name)).save(tmp_path / "prompt")
    other = load_backbone(save_checkpoint(name, tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(PromptError, match="other weights") as caught:
        Prompt.load(tmp_path / "prompt", other.identity)
    assert caught.value.exit_code == 2


def test_a_prompt_is_refused_on_another_architecture(tiny: Tiny, tmp_path: Path) -> None:
    _prompt(tiny("bert")).save(tmp_path / "prompt")
    with pytest.raises(PromptError, match="other architecture"):
        Prompt.load(tmp_path / "prompt", tiny("electra").identity)
    with pytest.raises(PromptError, match="other family"):
        Prompt.load(tmp_path / "prompt", tiny("gpt2").identity)


def test_a_prompt_for_another_precision_of_the_same_weights_warns(
    tiny: Tiny, tmp_path: Path
) -> None:
    _prompt(tiny("bert")).save(tmp_path / "prompt")
    half = load_backbone(
        save_checkpoint("bert", tmp_path / "half", dtype=torch.float16), device="cpu"
    )
    with pytest.warns(UserWarning, match="another precision of the same weights"):
        Prompt.load(tmp_path / "prompt", half.identity)


def test_the_fingerprint_is_taken_before_weights_are_opened(
    checkpoint: Checkpoints, tiny: Tiny
) -> None:
    from softprompt.backbones.opening import opened

    fresh = load_backbone(checkpoint("bert"), device="cpu")
    with opened(fresh) as parameters, torch.no_grad():
        for parameter in parameters.values():
            parameter.zero_()
        assert fresh.identity == tiny("bert").identity
