"""Position limits: rows, special tokens and answers count, text is cut to what is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.errors import DataError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predict import predict
from softprompt.prompts.addition import Addition
from softprompt.text.answers import Answers, FreeText, Verbalizer
from softprompt.text.template import parse
from tests.backbones.by_hand import all_logits, embedded
from tests.backbones.conftest import Tiny
from tests.tiny_models import ARCHITECTURES, save_checkpoint

LONG = " ".join(["the film was very good and the plot not so dull"] * 30)
WORDS = Verbalizer.read({"good": ["good", "very great"], "bad": "terrible"})
LIMITED = [name for name, plan in ARCHITECTURES.items() if plan.kind not in ("T5", "MT5", "Bloom")]
HARD = [name for name in LIMITED if ARCHITECTURES[name].family == "causal"]
GENERATED = ["bart", "pegasus", *HARD]
SHORT, LONGER = "a film", LONG


def bound(backbone: Backbone, source: str, answers: Answers, rows: int = 7) -> Applied:
    objective = resolve_objective(
        ObjectiveSettings(), backbone.family, isinstance(answers, FreeText)
    )
    applied = apply(backbone, parse(source), answers, objective, n_rows=rows)
    if rows == 0:
        return applied
    generator = torch.Generator().manual_seed(3)
    return applied.with_addition(
        Addition(backbone.rms * torch.randn(rows, backbone.width, generator=generator))
    )


def template_for(backbone: Backbone) -> str:
    return "{text} it was {mask}." if backbone.family == "masked" else "{text} it was"


@pytest.mark.parametrize(
    ("name", "positions", "limit"),
    [
        ("roberta", 514, 512),
        ("xlm-roberta", 514, 512),
        ("bert", 512, 512),
        ("bart", 1024, 1024),
        ("gpt2", 1024, 1024),
        ("opt", 2048, 2048),
    ],
)
def test_published_sizes_leave_their_well_known_limits(
    tmp_path: Path, name: str, positions: int, limit: int
) -> None:
    key = "n_positions" if name == "gpt2" else "max_position_embeddings"
    folder = save_checkpoint(name, tmp_path / name, **{key: positions})
    backbone = load_backbone(folder, device="cpu")
    assert backbone.limit == limit
    longest = embedded(backbone, [(5,) * limit])
    if backbone.family == "encoder_decoder":
        assert backbone.encode(longest).states.shape[1] == limit
    else:
        assert all_logits(backbone, longest)[0].shape[0] == limit


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta", "bert", "gpt2"])
def test_one_position_more_does_not_exist(tiny: Tiny, name: str) -> None:
    """What the limit protects from: an index error deep inside the network."""
    backbone = tiny(name)
    assert backbone.limit is not None
    with pytest.raises((IndexError, RuntimeError)):
        all_logits(backbone, embedded(backbone, [(5,) * (backbone.limit + 1)]))


def test_t5_has_no_limit_but_its_tokenizers(tiny: Tiny, tmp_path: Path) -> None:
    assert tiny("t5").limit is None
    options = {"model_max_length": 50}
    folder = save_checkpoint("t5", tmp_path / "t5", tokenizer_options=options)
    assert load_backbone(folder, device="cpu").limit == 50


@pytest.mark.parametrize("name", LIMITED)
def test_long_text_is_cut_to_what_rows_and_special_tokens_leave(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    applied = bound(backbone, template_for(backbone), WORDS)
    rendering = applied.render(Example("long", {"text": LONG}))
    assert rendering.cut > 0
    longest = max(len(query.ids) for query in rendering.queries)
    assert backbone.limit is not None
    # a causal model never reads the position of an answer's last token
    assert backbone.limit - 2 <= longest <= backbone.limit
    for query in rendering.queries:
        assert [i for i in query.ids if i < 0] == [-1 - row for row in range(7)]
        assert len(query.decoder or ()) <= backbone.limit
    whole = applied.render(Example("short", {"text": "a film"}))
    assert whole.cut == 0
    prediction = predict(backbone, [applied], [(0, Example("long", {"text": LONG}))])[0]
    assert prediction.cut == rendering.cut
    assert sum(prediction.probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["bart", "bart-scaled"])
def test_a_decoder_that_repeats_the_text_fits_too(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    applied = bound(backbone, "{text} it was {mask}.", WORDS, rows=0)
    for length in range(20, 34):  # words, around the limit of 64 tokens
        example = Example(str(length), {"text": " ".join(LONG.split()[:length])})
        for query in applied.render(example).queries:
            assert len(query.ids) <= 64
            assert query.decoder is not None
            assert len(query.decoder) <= 64
        predict(backbone, [applied], [(0, example)])


def test_sentinels_count_where_a_tokenizer_sets_the_limit(tmp_path: Path) -> None:
    folder = save_checkpoint("t5", tmp_path / "t5", tokenizer_options={"model_max_length": 50})
    backbone = load_backbone(folder, device="cpu")
    applied = bound(backbone, "{text} it was {mask} and dull", WORDS)
    rendering = applied.render(Example("long", {"text": LONG}))
    assert {len(query.ids) for query in rendering.queries} == {50}


@pytest.mark.parametrize("name", LIMITED)
def test_more_rows_leave_less_text(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    example = Example("long", {"text": LONG})
    few, many = (
        bound(backbone, template_for(backbone), WORDS, rows).render(example) for rows in (2, 22)
    )
    assert many.cut - few.cut in range(17, 24)  # a character of several tokens goes whole
    assert abs(len(many.queries[0].ids) - len(few.queries[0].ids)) <= 3


@pytest.mark.parametrize("name", LIMITED)
def test_a_prompt_too_long_for_the_backbone_is_refused(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    applied = bound(backbone, template_for(backbone), WORDS, rows=64)
    with pytest.raises(DataError, match="too long for the limit of"):
        applied.render(Example("any", {"text": "a film"}))


@pytest.mark.parametrize("name", GENERATED)
def test_a_long_text_leaves_room_for_its_generated_answer(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    applied = [bound(backbone, "{text} so", FreeText(most)) for most in (4, 40)]
    items = [
        (0, Example("long, short answer", {"text": LONGER})),
        (1, Example("short, long answer", {"text": SHORT})),
        (1, Example("long, long answer", {"text": LONGER})),
    ]
    together = predict(backbone, applied, items)
    alone = [predict(backbone, applied, [item])[0] for item in items]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.cut > 0 for one in together] == [True, False, True]


@pytest.mark.parametrize("name", HARD)
def test_generation_stops_at_the_last_position_of_that_row_alone(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    assert backbone.limit == 64
    full, near, short = (5,) * 64, (5, 6) * 30, (7, 8, 9)
    made = backbone.generate(embedded(backbone, [full, near, short]), 12)
    assert made[0] == ()
    assert len(made[1]) <= 4
    assert made[1:] == [
        backbone.generate(embedded(backbone, [ids]), 12)[0] for ids in (near, short)
    ]


@pytest.mark.parametrize("name", ["bart", "pegasus"])
def test_a_decoder_stops_at_its_last_position(tiny: Tiny, name: str) -> None:
    backbone = tiny(name)
    (made,) = backbone.generate(embedded(backbone, [(7, 8, 9, backbone.tokenizer.end[0])]), 500)
    assert len(made) <= 64
