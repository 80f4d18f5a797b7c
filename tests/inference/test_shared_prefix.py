"""A shared beginning, run once, changes cost and no number: scores, gradients, predictions, texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.prefix import Prefix
from softprompt.inference import passes
from softprompt.inference.applied import Applied
from softprompt.inference.predict import predict
from softprompt.inference.scoring import score
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.addition import Addition, stack
from softprompt.text.answers import FreeText, Verbalizer
from softprompt.text.rendering import Rendering
from tests.builders import Backbones, fits_of, gradients, job, mood, rows
from tests.inference.test_predict import bound, items, prompts
from tests.inference.test_predict import same as same_predictions
from tests.tiny_models import ARCHITECTURES

CAUSAL = [name for name, plan in ARCHITECTURES.items() if plan.family == "causal"]

# Norms or rotations in f32 whatever the weights are; BLOOM's softmax.
IN_F32 = {"bloom", "llama", "qwen2", "qwen3", "phi3", "mistral", "gpt-neox"}


@contextmanager
def whole_rows(backbone: Backbone) -> Iterator[None]:
    """Within the block nothing is shared."""
    backbone.share_prefix = False
    try:
        yield
    finally:
        backbone.share_prefix = True


@pytest.fixture(autouse=True)
def _sharing_whatever_it_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short rows save less than a second pass costs."""
    monkeypatch.setattr(passes, "LEAST_SAVED", 1)
    monkeypatch.setattr(passes, "LEAST_SHARE", 0.0)


@pytest.fixture
def prefills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The lengths of the beginnings of every pass that others went on from, the measurement of whether
    the architecture can aside."""
    lengths: list[tuple[int, ...]] = []
    plain = Backbone.prefill

    def prefill(self: Backbone, inputs: Any, *given: Any, **named: Any) -> tuple[Tensor, Prefix]:
        if "prefix" in named:
            lengths.append(tuple(inputs.mask.sum(dim=1).tolist()))
        return plain(self, inputs, *given, **named)

    monkeypatch.setattr(Backbone, "prefill", prefill)
    return lengths


TEMPLATES = {
    "rows, then a field": ("{text} it was {mask}", 5),
    "rows and an instruction before the field": ("{soft:7}say of this {text} : {mask}", 7),
    "an instruction between rows": ("the {soft:2}film {soft:3}{text} {mask}", 5),
    "nothing before the field": ("{text} so {soft:3}{mask}", 3),
}


def applied_of(backbone: Backbone) -> list[Applied]:
    """A prompt for each template, and one whose candidates have several tokens."""
    made = [
        bound(backbone, template, n_rows=n, seed=seed)
        for seed, (template, n) in enumerate(TEMPLATES.values())
    ]
    several = Verbalizer.read({"up": ["very good", "a good film"], "down": "slow and dull"})
    return [*made, bound(backbone, "{text} it was {mask}", several, n_rows=9, seed=9)]


def loss_and_gradients(
    backbone: Backbone,
    additions: Sequence[Addition],
    renderings: Sequence[Rendering],
    owners: Sequence[int],
) -> tuple[Tensor, list[Tensor]]:
    """All candidates' scores, and of a mixture of them the gradient of each prompt."""
    leaves = [a.rows.to(backbone.dtype).requires_grad_() for a in additions if a.rows is not None]
    scores = score(backbone, stack([Addition(rows) for rows in leaves]), renderings, owners)
    weights = torch.linspace(0.5, 1.5, len(scores.summed), dtype=scores.summed.dtype)
    loss = (scores.summed * weights).sum() + 0.01 * scores.squared_z.sum()
    return scores.summed.detach(), list(torch.autograd.grad(loss, leaves))


def asked(applied: Sequence[Applied], n: int = 5) -> tuple[list[Rendering], list[int]]:
    """Ragged examples in turn for each prompt."""
    pairs = [(which, e) for e in rows(n, seed=4, most=9) for which in range(len(applied))]
    return [applied[which].render(e) for which, e in pairs], [which for which, _ in pairs]


def near(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    scale = max(1.0, float(wanted.abs().max()))
    assert float((got - wanted).abs().max()) <= tolerance * scale


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", CAUSAL)
def test_scores_and_gradients_of_mixed_prompts_are_those_of_whole_rows(
    backbones: Backbones, prefills: list[tuple[int, ...]], name: str, precision: str
) -> None:
    backbone = backbones(name, precision=precision)
    tolerance = 2e-5 if precision == "float32" else 1e-6 if name in IN_F32 else 1e-10
    applied = applied_of(backbone)
    additions = [one.addition for one in applied]
    renderings, owners = asked(applied)
    scores, found = loss_and_gradients(backbone, additions, renderings, owners)
    lengths, examples = prefills  # of prompts, and of the examples that have several rows
    start = len(backbone.tokenizer.start)
    assert lengths[0] >= 5 + start
    assert lengths[1] > 7 + start
    assert lengths[3] == start  # nothing but the start token, if there is one
    with whole_rows(backbone):
        expected, wanted = loss_and_gradients(backbone, additions, renderings, owners)
    assert len(prefills) == 2
    assert len(examples) == len(renderings) > len(lengths)
    near(scores, expected, tolerance)
    # Mistral's window of 5 keeps some of the reads from seeing some of the rows.
    assert sum(float(one.abs().max()) > 1e-3 for one in wanted) >= (2 if name == "mistral" else 5)
    for one, other in zip(found, wanted, strict=True):
        near(one, other, tolerance)


@pytest.mark.parametrize("which", range(5), ids=[*TEMPLATES, "candidates of several tokens"])
def test_one_prompt_alone_is_that_of_whole_rows(backbones: Backbones, which: int) -> None:
    backbone = backbones("gpt2", precision="float64")
    one = applied_of(backbone)[which]
    renderings, owners = asked([one])
    scores, found = loss_and_gradients(backbone, [one.addition], renderings, owners)
    with whole_rows(backbone):
        expected, wanted = loss_and_gradients(backbone, [one.addition], renderings, owners)
    near(scores, expected, 1e-10)
    near(found[0], wanted[0], 1e-10)


@pytest.mark.parametrize("name", ["gpt2", "opt", "mistral"])
def test_micro_batches_of_several_fits_add_up_to_the_gradient_of_whole_rows(
    backbones: Backbones, prefills: list[tuple[int, ...]], name: str
) -> None:
    backbone = backbones(name, precision="float64")
    tolerance = 1e-6 if name in IN_F32 else 1e-10

    def found(budget: int) -> list[tuple[float, Tensor]]:
        training = {"token_budget": budget, "batch_size": 6}
        jobs = [
            job(training=training),
            job(mood(seed=1), PromptTuning(length=7), seed=3, training=training),
        ]
        return gradients(backbone, fits_of(backbone, jobs))

    with whole_rows(backbone):
        wanted = found(10_000)
    assert not prefills
    for budget, batches in ((10_000, 1), (100, 2)):
        for (loss, gradient), (expected, other) in zip(found(budget), wanted, strict=True):
            assert loss == pytest.approx(expected, rel=tolerance)
            near(gradient, other, tolerance)
        assert len(prefills) >= batches
        prefills.clear()


@pytest.mark.parametrize("name", CAUSAL)
def test_predictions_and_generated_texts_are_those_of_whole_rows(
    backbones: Backbones, prefills: list[tuple[int, ...]], name: str
) -> None:
    backbone = backbones(name)
    applied = [*prompts(backbone), bound(backbone, "{text} so", FreeText(7), n_rows=6, seed=8)]
    together = predict(backbone, applied, items(applied))
    assert prefills  # of examples; those of prompts are kept: test_kept_beginnings.py
    with whole_rows(backbone):
        same_predictions(together, predict(backbone, applied, items(applied)))
    alone = [predict(backbone, [applied[w]], [(0, example)])[0] for w, example in items(applied)]
    same_predictions(together, alone)
    assert len({prediction.text for prediction in together}) > 3


def test_with_dropout_every_row_draws_its_own(
    backbones: Backbones, prefills: list[tuple[int, ...]]
) -> None:
    backbone = backbones("gpt2")
    gradients(backbone, fits_of(backbone, [job(training={"dropout": True})]))
    assert not prefills


def test_a_prompt_that_is_no_number_leaves_the_others_alone(backbones: Backbones) -> None:
    backbone = backbones("gpt2")
    applied = applied_of(backbone)[:2]
    renderings, owners = asked(applied)
    additions = [one.addition for one in applied]
    spoilt = [additions[0], Addition(torch.full_like(additions[1].rows, float("nan")))]  # type: ignore[arg-type]
    scores, _ = loss_and_gradients(backbone, spoilt, renderings, owners)
    own = [owners[e] == 0 for e, r in enumerate(renderings) for _ in r.label_of]
    assert bool(scores[torch.tensor(own)].isfinite().all())
    assert not bool(scores.isfinite().all())
    fine, bad = fits_of(backbone, [job(), job(seed=1)])
    ((_, alone),) = gradients(backbone, fits_of(backbone, [job()]))
    with torch.no_grad():
        bad.parameters["rows"].fill_(float("nan"))
    (_, gradient), _ = gradients(backbone, [fine, bad])
    near(gradient, alone, 1e-6)


DECODERS = [name for name, plan in ARCHITECTURES.items() if plan.family == "encoder_decoder"]


@pytest.mark.parametrize("name", DECODERS)
def test_labels_of_a_decoder_share_what_it_read_and_how_it_begins(
    backbones: Backbones, prefills: list[tuple[int, ...]], name: str
) -> None:
    backbone = backbones(name, precision="float64")
    labels = {"up": ["very good", "a good film"], "down": "slow and dull", "so": "so", "no": "bad"}
    answers = Verbalizer.read(labels)
    applied = [
        bound(backbone, "{text} it was", answers, n_rows=5, seed=1),
        bound(backbone, "{text}{decoder}it {soft:3}was {mask}", answers, n_rows=3, seed=2),
    ]
    for which in ([0], [1], [0, 1]):
        some = [applied[number] for number in which]
        renderings, owners = asked(some)
        additions = [one.addition for one in some]
        scores, found = loss_and_gradients(backbone, additions, renderings, owners)
        assert len(prefills) == 1
        assert len(prefills.pop()) == len(renderings)
        with whole_rows(backbone):
            expected, wanted = loss_and_gradients(backbone, additions, renderings, owners)
        assert not prefills
        near(scores, expected, 1e-6)
        for one, other in zip(found, wanted, strict=True):
            assert float(other.abs().max()) > 0
            near(one, other, 1e-6)
