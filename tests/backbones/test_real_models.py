"""Small pretrained models: they say what they are known to say, and obey the same laws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.backbones.shipped import shipped_models
from tests.backbones.by_hand import (
    all_logits,
    embedded,
    encoded_by,
    framed,
    learned,
    one_prompt,
    same,
    text_ids,
)

REAL = ("stories260k", "babyllama105", "aren_translit", "minilm_mlm")
TEXTS = ("once upon a time", "a", "the movie was not good at all", "tom went out to play.")
Load = Callable[[str], Backbone]


@pytest.fixture(scope="module")
def load() -> Load:
    loaded: dict[str, Backbone] = {}

    def backbone_of(name: str) -> Backbone:
        if name not in loaded:
            loaded[name] = load_backbone(name, device="cpu")
        return loaded[name]

    return backbone_of


@pytest.fixture(params=[*REAL, *shipped_models()])
def real(request: pytest.FixtureRequest, load: Load) -> Backbone:
    """A shared model, or one that ships in the package."""
    if request.param in REAL:
        shared: Path = request.getfixturevalue("shared")
        return load(str(shared / "models" / request.param))
    return load(request.param)


def _logits(
    backbone: Backbone, sequences: list[tuple[int, ...]], rows: torch.Tensor
) -> list[torch.Tensor]:
    inputs = embedded(backbone, sequences, prompt=one_prompt(rows))
    if backbone.family != "encoder_decoder":
        return all_logits(backbone, inputs)
    start = (*backbone.decoder_start, *text_ids(backbone, TEXTS[0]))
    decoder = embedded(backbone, [start] * len(sequences), decoder=True)
    return all_logits(backbone, decoder, encoded_by(backbone, inputs))


def test_a_prompt_made_of_a_text_acts_as_the_text(real: Backbone) -> None:
    a, b = text_ids(real, TEXTS[0]), text_ids(real, TEXTS[2], continues=True)
    rows = real.rows(a)
    (expected,) = _logits(real, [framed(real, a, b)], rows)
    (got,) = _logits(real, [framed(real, learned(len(a)), b)], rows)
    same(got, expected)


def test_a_row_alone_and_in_a_batch_is_the_same(real: Backbone) -> None:
    rows = real.rows(text_ids(real, TEXTS[3]))
    sequences = [
        framed(real, learned(min(1 + number, len(rows))), text_ids(real, text, continues=True))
        for number, text in enumerate(TEXTS)
    ]
    together = _logits(real, sequences, rows)
    for sequence, row in zip(sequences, together, strict=True):
        same(_logits(real, [sequence], rows)[0], row)


def test_generation_alone_and_in_a_batch_is_the_same(real: Backbone) -> None:
    if real.family == "masked":
        pytest.skip("a masked model generates nothing")
    sequences = [framed(real, text_ids(real, text)) for text in TEXTS]
    together = real.generate(embedded(real, sequences), 12)
    assert together == [real.generate(embedded(real, [ids]), 12)[0] for ids in sequences]


def test_the_prompts_rows_have_the_scale_of_real_embeddings(real: Backbone) -> None:
    rows = real.rows(text_ids(real, " ".join(TEXTS)))
    assert 0.2 < float(rows.pow(2).mean().sqrt()) / real.rms < 5.0


def test_a_storyteller_tells_its_story(load: Load, shared: Path) -> None:
    backbone = load(str(shared / "models" / "stories260k"))
    (ids,) = backbone.generate(embedded(backbone, [backbone.tokenizer.start]), 40)
    assert backbone.tokenizer.decode(ids).startswith(
        "Once upon a time, there was a little girl named Lily. "
        "She loved to play outside in the park."
    )


def test_a_masked_model_knows_a_capital(load: Load, shared: Path) -> None:
    backbone = load(str(shared / "models" / "minilm_mlm"))
    mask = backbone.tokenizer.mask
    assert mask is not None
    before = text_ids(backbone, "the capital of france is")
    after = text_ids(backbone, ".", continues=True)
    ids = framed(backbone, before, (mask,), after)
    logits = all_logits(backbone, embedded(backbone, [ids]))[0][ids.index(mask)]
    best = logits.softmax(dim=-1).topk(2)
    assert backbone.tokenizer.pieces(tuple(best.indices.tolist())) == ["france", "paris"]
    assert best.values.tolist() == pytest.approx([0.14, 0.12], abs=0.005)  # as its card says
