"""Free text written into masks: the same as one row and one token at a time, learned, saved and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.objective import Fill, ObjectiveSettings, resolve_objective
from softprompt.inference.predict import predict
from softprompt.inference.predictor import Predictor
from softprompt.inference.questions import plain_text
from softprompt.methods.full_tuning import FullTuning
from softprompt.prompts.addition import Addition
from softprompt.text.answers import FreeText, Verbalizer
from softprompt.text.template import parse
from softprompt.tuning.run import fit_many
from tests.builders import Backbones, job, mood, rows

FILLS: tuple[Fill, ...] = ("parallel", "max_first", "left_to_right")
SPANS = ("the film", "funny", "a good old book", "it", "so slow a plot")
TEMPLATE = "{text} it was {mask:span}."


def bound(backbone: Backbone, fill: Fill, n_rows: int = 0) -> Applied:
    resolved = resolve_objective(ObjectiveSettings(fill=fill), backbone.family, True)
    applied = apply(backbone, parse(TEMPLATE), FreeText(), resolved, n_rows=n_rows)
    noise = torch.randn(n_rows, backbone.width, generator=torch.Generator().manual_seed(3))
    return applied.with_addition(Addition(noise.double() * backbone.rms if n_rows else None))


def asked(n: int = 5) -> list[Example]:
    return [
        replace(row, fields={**row.fields, "span": span}, target=(span, "True"))
        for row, span in zip(rows(n, seed=5), SPANS, strict=True)
    ]


@torch.no_grad()
def naive(backbone: Backbone, applied: Applied, example: Example) -> str:
    """PET's loop: a forward pass for each token of one example."""
    source, fill = applied.source(example), applied.objective.fill
    ids, left = list(source.ids), list(source.masks)
    model: Any = backbone.model
    while left:
        embeddings = model.get_input_embeddings()(torch.tensor(ids).clamp(min=0))
        for place, number in enumerate(ids):
            if number < 0:
                assert applied.addition.rows is not None
                embeddings[place] = applied.addition.rows[-1 - number]
        kinds = torch.tensor([source.segments])
        given = {"inputs_embeds": embeddings[None], "token_type_ids": kinds}
        shares = model(**given).logits[0].softmax(dim=-1)
        likeliest = {place: float(shares[place].max()) for place in left}
        best = max(likeliest, key=likeliest.__getitem__)
        taken = {"parallel": left, "max_first": [best], "left_to_right": left[:1]}[fill]
        for place in taken:
            ids[place] = int(shares[place].argmax())
        left = [place for place in left if place not in taken]
    return plain_text([ids[place] for place in source.masks], backbone)


@pytest.mark.parametrize("token_budget", [1, 8192])
@pytest.mark.parametrize("fill", FILLS)
def test_texts_are_written_as_one_by_one(backbones: Backbones, fill: Fill, token_budget: int):
    backbone = backbones("bert", precision="float64")
    applied = [bound(backbone, fill), bound(backbone, fill, n_rows=3)]
    items = [(which, row) for row in asked() for which in range(2)]
    found = predict(backbone, applied, items, token_budget)
    assert [one.text for one in found] == [naive(backbone, applied[w], row) for w, row in items]
    assert all(one.free and one.label is None and not one.probabilities for one in found)


def test_orders_and_ranked_labels_may_share_a_batch(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    ranked = resolve_objective(ObjectiveSettings(), "masked", False)
    words = Verbalizer.read({"up": "good", "down": "bad"})
    applied = [
        *(bound(backbone, fill) for fill in FILLS),
        apply(backbone, parse("{text} it was {mask}."), words, ranked),
    ]
    items = [(which, row) for row in asked() for which in range(4)]
    together = predict(backbone, applied, items)
    alone = [predict(backbone, [applied[which]], [(0, row)])[0] for which, row in items]
    assert [(one.text, one.label) for one in together] == [(o.text, o.label) for o in alone]


def span_task(examples: Sequence[Example], tested: Sequence[Example]) -> Any:
    splits = {"train": Split.of(examples), "test": Split.of(tested)}
    return replace(
        mood(),
        name="spans",
        fields=("text", "span"),
        kind="text",
        labels=(),
        words=None,
        splits=splits,
        metrics=("wsc",),
        template=TEMPLATE,
    )


def test_a_span_is_learned_with_its_end_saved_and_written_again(
    backbones: Backbones, tmp_path: Path
):
    """Every row's answer is one word, and what is left of the masks is padding. Some are written twice: in
    training no mask has a word already written beside it (as in PET)."""
    taught = [
        replace(row, fields={**row.fields, "span": "film"}, target="film")
        for row in rows(16, seed=6)
    ]
    tested = [replace(row, id=f"t{row.id}", target=("film", "True")) for row in taught[:4]]
    backbone = backbones("bert")
    quick = {"learning_rate": 3e-3}
    short = {"steps": 100, "batch_size": 16, "keep": "last", "optimiser": quick}
    given = job(
        span_task(taught, tested),
        FullTuning(),
        training={**short, "keep_weights": True},
        objective=ObjectiveSettings(fill="max_first"),
    )
    (run,) = fit_many(backbone, [given])
    assert run.metrics["test"]["wsc"] == 1.0
    texts = [one.text for one in run.evaluations["test"].predictions]
    assert "film" in texts
    assert set(texts) <= {"film", "film film"}
    run.prompt.save(tmp_path / "prompt")
    again = Predictor(backbone, {"spans": tmp_path / "prompt"})
    found = again.predict([("spans", row.fields) for row in tested])
    assert [one.text for one in found] == texts


def test_ranking_free_text_is_refused(backbones: Backbones):
    for given in ({"prediction": "rank"}, {"normalise": "labels"}, {"masks": "longest"}):
        with pytest.raises(SettingsError):
            resolve_objective(ObjectiveSettings(**given), "masked", True)
    objective = resolve_objective(ObjectiveSettings(prediction="greedy"), "masked", False)
    with pytest.raises(SettingsError, match="ranks candidates"):
        apply(
            backbones("bert"),
            parse("{text} it was {mask}."),
            Verbalizer.read({"up": "good", "down": "bad"}),
            objective,
        )
