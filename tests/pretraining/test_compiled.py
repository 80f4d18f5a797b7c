"""A compiled model takes the same steps as one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.pretraining.run import pretrain
from tests.pretraining.toy_runs import FAMILIES, LLAMA, STILL, T5, Record, recipe

ONE_LAYER = {
    "masked": {**STILL, "num_hidden_layers": 1},
    "encoder_decoder": {**T5, "dropout_rate": 0.0, "num_layers": 1, "num_decoder_layers": 1},
    "causal": {**LLAMA, "num_hidden_layers": 1},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_steps_have_the_same_loss(
    family: str, corpus: Path, tokenizers: dict[str, Path], tmp_path: Path
):
    changes = {**FAMILIES[family], "architecture": ONE_LAYER[family]}
    losses: list[list[float]] = []
    for compiled in (False, True):
        records: list[Record] = []
        settings = recipe(
            **changes, tokenizer_from=str(tokenizers[family]), steps=2, compile=compiled
        )
        pretrain(settings, corpus, tmp_path / str(compiled), records.append)
        losses.append([record["loss"] for record in records if "loss" in record])
    # Fused products round otherwise, and a logged loss has four places.
    assert losses[1] == pytest.approx(losses[0], abs=2e-4)
