"""What an output head reads, and its rows: together they make the network's own logits."""

from __future__ import annotations

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs
from softprompt.errors import BackboneError
from tests.backbones.conftest import Tiny

PLACES = torch.tensor([0, 0]), torch.tensor([1, 3])


@torch.no_grad()
def test_states_and_rows_make_the_logits_of_every_architecture(backbone: Backbone) -> None:
    ids = torch.arange(20, 25)[None]
    inputs = Inputs(backbone.embed(ids), torch.ones_like(ids, dtype=torch.bool))
    encoded = None
    if backbone.family == "encoder_decoder":
        encoded = backbone.encode(inputs)
        inputs = Inputs(backbone.embed(ids, decoder=True), inputs.mask)
    with backbone.head.states(*PLACES) as heard:
        logits = backbone.logits(inputs, *PLACES, encoded)
        (states,) = heard
    assert states.shape == (2, backbone.head.width)
    torch.testing.assert_close(logits, backbone.logits(inputs, *PLACES, encoded))
    try:
        weight, bias = backbone.head.rows([7, 30, 4])
    except BackboneError as error:
        assert "no row for each token" in str(error)  # noqa: PT017  which architectures, below
        assert backbone.name.endswith("own-head")
        return
    scores = states.float() @ weight.T + bias
    torch.testing.assert_close(scores, logits[:, [7, 30, 4]].float(), rtol=1e-4, atol=1e-4)


def test_the_scale_of_its_rows_is_measured(tiny: Tiny) -> None:
    head = tiny("t5-1.1").head
    rows, _ = head.rows(range(tiny("t5-1.1").vocabulary))
    assert head.rms == pytest.approx(float(rows.square().mean().sqrt()), rel=1e-5)
