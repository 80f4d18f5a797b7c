"""Training steps change the prompt and not one bit of the backbone; opened weights close unharmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.opening import opened
from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.task import Task
from softprompt.inference.objective import ObjectiveSettings
from softprompt.methods.method import Method
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.fit import Fit
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import Job, fit, make_fit, training_settings
from tests.backbones.by_hand import all_logits, embedded, encoded_by, framed, text_ids
from tests.backbones.conftest import Tiny
from tests.tiny_models import ARCHITECTURES, TEXTS

METHOD = PromptTuning(length=4, init="vocabulary")


def six_examples() -> Task:
    rows = [
        Example(f"train-{number}", {"text": text}, ("good", "bad")[number % 2])
        for number, text in enumerate(TEXTS)
    ]
    return Task(
        name="six",
        fields=("text",),
        kind="label",
        labels=("good", "bad"),
        splits={"train": Split.of(rows)},
        metrics=("accuracy",),
    )


def one_fit(backbone: Backbone, template: str, method: Method, objective: ObjectiveSettings) -> Fit:
    """A fit of one step over all six examples."""
    training = training_settings(method, {"steps": 1, "batch_size": 6})
    job = Job(
        six_examples(),
        method,
        template=template,
        objective=objective,
        training=training,
        test=None,
    )
    return make_fit(backbone, job)


def template_for(backbone: Backbone) -> str:
    return "{text} it was {mask}." if backbone.family == "masked" else "{text} it was"


def bits(backbone: Backbone) -> Mapping[str, Tensor]:
    """Every parameter and buffer, copied."""
    return {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}


def assert_untouched(backbone: Backbone, before: Mapping[str, Tensor]) -> None:
    after = backbone.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert all(p.grad is None for p in backbone.model.parameters())
    assert not any(module.training for module in backbone.model.modules())


class Watched:
    """Keeps the gradient that the optimiser is about to use."""

    def __init__(self, parameter: nn.Parameter):
        self.gradient = torch.zeros_like(parameter)
        parameter.register_hook(self._add)

    def _add(self, gradient: Tensor) -> None:
        self.gradient += gradient


@pytest.mark.parametrize("normalise", ["labels", "vocabulary"])
def test_a_step_moves_every_row_and_nothing_else(
    backbone: Backbone, normalise: Literal["labels", "vocabulary"]
) -> None:
    before = bits(backbone)
    objective = ObjectiveSettings(normalise=normalise)
    made = one_fit(backbone, template_for(backbone), METHOD, objective)
    (rows,) = made.parameters.values()
    watched, start = Watched(rows), rows.detach().clone()
    Loop(backbone, [made]).run()
    assert_untouched(backbone, before)
    assert bool((watched.gradient.abs().sum(dim=1) > 0).all()), "a dead row"
    assert bool((rows.detach() != start).any(dim=1).all())
    assert bool(torch.isfinite(rows).all())


def test_rows_in_a_decoder_learn_as_those_in_the_encoder_do(encoder_decoder: Backbone) -> None:
    before = bits(encoder_decoder)
    template = "{soft:3}{text}{decoder}{soft:2} it was"
    made = one_fit(encoder_decoder, template, PromptTuning(init="vocabulary"), ObjectiveSettings())
    (rows,) = made.parameters.values()
    assert rows.shape[0] == 5
    watched = Watched(rows)
    Loop(encoder_decoder, [made]).run()
    assert_untouched(encoder_decoder, before)
    assert bool((watched.gradient.abs().sum(dim=1) > 0).all())


def test_a_whole_fit_with_its_evaluation_leaves_the_backbone_as_it_was(backbone: Backbone) -> None:
    before = bits(backbone)
    task = six_examples()
    task = task.with_splits(dev=task.examples("train"), test=task.examples("train"))
    settings = {"steps": 2, "batch_size": 3}
    run = fit(backbone, task, METHOD, template=template_for(backbone), training=settings)
    assert_untouched(backbone, before)
    assert run.n_learned == 4 * backbone.width
    assert 0.0 <= run.metrics["test"]["accuracy"] <= 1.0


def _logits(backbone: Backbone) -> Tensor:
    inputs = embedded(backbone, [framed(backbone, text_ids(backbone, TEXTS[0]))])
    if backbone.family != "encoder_decoder":
        return all_logits(backbone, inputs)[0]
    start = embedded(backbone, [backbone.decoder_start], decoder=True)
    return all_logits(backbone, start, encoded_by(backbone, inputs))[0]


RATES = ("dropout", "dropout_rate", "hidden_dropout_prob", "resid_pdrop", "mlp_dropout")
"""What configs call the share that is dropped in the blocks."""


def drops_out(backbone: Backbone) -> bool:
    return any(getattr(backbone.config, rate, 0.0) > 0 for rate in RATES)


def test_dropout_is_off_unless_asked_for_and_off_again_afterwards(backbone: Backbone) -> None:
    calm = _logits(backbone)
    assert torch.equal(_logits(backbone), calm)
    with torch.random.fork_rng(devices=[]), backbone.dropout():
        torch.manual_seed(0)
        shaken, again = _logits(backbone), _logits(backbone)
    assert torch.equal(shaken, again) != drops_out(backbone)
    assert torch.equal(_logits(backbone), calm)
    with pytest.raises(RuntimeError, match="stop"), backbone.dropout():
        raise RuntimeError("stop")
    assert not any(module.training for module in backbone.model.modules())
    with backbone.dropout(False):
        assert not backbone.model.training


def test_most_architectures_do_have_dropout_to_switch_off(tiny: Tiny) -> None:
    """The test above says little of a model whose config has none, as Llama's or Qwen's."""
    assert {name for name in ARCHITECTURES if not drops_out(tiny(name))} <= {
        "albert",
        "bloom",
        "gpt-neox",
        "llama",
        "mistral",
        "modernbert",
        "phi3",
        "qwen2",
        "qwen3",
    }


def test_opened_weights_learn_and_close_bit_identical(backbone: Backbone) -> None:
    before = bits(backbone)
    with opened(backbone) as parameters:
        assert {id(p) for p in parameters.values()} == {id(p) for p in backbone.model.parameters()}
        assert all(p.requires_grad for p in parameters.values())
        optimiser = torch.optim.SGD(list(parameters.values()), lr=0.1)
        inputs = embedded(backbone, [framed(backbone, text_ids(backbone, TEXTS[0]))])
        place = torch.tensor([0])
        if backbone.family == "encoder_decoder":
            start = embedded(backbone, [backbone.decoder_start], decoder=True)
            logits = backbone.logits(start, place, place, backbone.encode(inputs))
        else:
            logits = backbone.logits(inputs, place, place)
        logits.logsumexp(dim=-1).sum().backward()
        optimiser.step()
        moved = [n for n, t in backbone.model.state_dict().items() if not torch.equal(t, before[n])]
        assert moved
    assert_untouched(backbone, before)


def test_weights_close_bit_identical_after_an_error_inside(backbone: Backbone) -> None:
    before = bits(backbone)
    with pytest.raises(RuntimeError, match="stop"), opened(backbone) as parameters:  # noqa: PT012
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.fill_(float("nan"))
        raise RuntimeError("stop")
    assert_untouched(backbone, before)


def test_only_the_chosen_weights_open(tiny: Tiny) -> None:
    backbone = tiny("bert")
    with opened(backbone, lambda name: "layer.1." in name) as parameters:
        assert parameters
        assert all("layer.1." in name for name in parameters)
        free = {name for name, p in backbone.model.named_parameters() if p.requires_grad}
        assert free == set(parameters)
