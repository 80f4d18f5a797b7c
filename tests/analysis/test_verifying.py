from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.analysis.verifying import TOLERANCES, batch_as_single, padding_sides, verify
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.inference.applied import apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predictor import applied_prompt
from softprompt.prompts.addition import Addition
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import Verbalizer
from softprompt.text.template import parse
from tests.tiny_models import TEXTS, save_checkpoint

EXAMPLES = [Example(str(n), {"text": text}) for n, text in enumerate(TEXTS)]
COUNTING = ("bart", "pegasus")


@pytest.fixture(
    scope="module", params=["bert", "roberta", "t5-1.1", "bart", "pegasus", "gpt2", "llama"]
)
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("verified") / request.param
    return load_backbone(save_checkpoint(request.param, folder), device="cpu")


def prompt_on(backbone: Backbone) -> Prompt:
    answers = Verbalizer.read({"positive": "great", "negative": "dull"})
    objective = resolve_objective(ObjectiveSettings(), backbone.family, free_text=False)
    template = {
        "masked": "{soft:2}{text} it was {mask}.{soft:2}",
        "encoder_decoder": "{text} it was",
        "causal": "{text} it was {mask}",
    }[backbone.family]
    applied = apply(backbone, parse(template), answers, objective, n_rows=4)
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(applied.renderer.total_rows, backbone.width, generator=generator)
    return Prompt(
        addition=Addition(backbone.rms * rows),
        method="prompt_tuning",
        template=template,
        answers=answers.to_json(),
        objective=asdict(objective),
        task={"name": "mood", "fields": ["text"], "labels": list(answers.words)},
        backbone=backbone.identity,
        settings={"n_rows": 4},
    )


def test_every_family_passes_every_check(each: Backbone) -> None:
    prompt = prompt_on(each)
    found = verify(each, prompt, applied_prompt(each, prompt), EXAMPLES)
    assert [one.name for one in found if not one.passed] == []
    # BART's and Pegasus's encoders count positions themselves, pads included.
    skipped = ["padding: pads on the left as on the right"] * (each.config.model_type in COUNTING)
    assert [one.name for one in found if one.skipped] == skipped
    differences = [one.difference for one in found if one.difference is not None]
    assert len(differences) == 4 - len(skipped)
    assert max(differences) < 1e-3  # float32 through two or three layers


def test_other_weights_fail_by_their_fingerprint(each: Backbone) -> None:
    prompt = prompt_on(each)
    other = replace(prompt, backbone=replace(each.identity, weights="0" * 16))
    found = verify(each, other, applied_prompt(each, prompt), EXAMPLES)
    assert [one.name for one in found if not one.passed] == [found[0].name]
    assert "other weights" in str(found[0].fault)
    unbound = verify(each, replace(prompt, backbone=None), applied_prompt(each, prompt), EXAMPLES)
    assert "does not say which backbone" in str(unbound[0].skipped)


def test_a_prompt_without_effect_fails(tmp_path: Path) -> None:
    backbone = load_backbone(save_checkpoint("gpt2", tmp_path / "gpt2"), device="cpu")
    prompt = prompt_on(backbone)
    silent = applied_prompt(backbone, prompt).with_addition(Addition(torch.zeros(4, 32)))
    found = verify(backbone, prompt, silent, EXAMPLES)
    assert [one.name.split(":")[0] for one in found if not one.passed] == ["effect"]


def test_a_model_that_sees_its_pads_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(save_checkpoint("bert", tmp_path / "bert"), device="cpu")
    applied = applied_prompt(backbone, prompt_on(backbone))
    whole = backbone.logits

    def blind(inputs: Any, *given: Any, **options: Any) -> Any:
        return whole(replace(inputs, mask=torch.ones_like(inputs.mask)), *given, **options)

    monkeypatch.setattr(backbone, "logits", blind)
    for check in (batch_as_single, padding_sides):
        found = check(backbone, applied, EXAMPLES, TOLERANCES["float32"])
        assert not found.passed
        assert found.difference is not None
        assert found.difference > 1e-2
