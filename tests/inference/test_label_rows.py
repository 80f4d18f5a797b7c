"""The output head run for the label words alone gives the label scores that it gives for all words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.errors import SettingsError
from softprompt.inference import scoring
from softprompt.inference.applied import Applied
from softprompt.inference.objective import ObjectiveSettings
from softprompt.inference.predict import predict
from softprompt.inference.scoring import (
    label_loss,
    label_scores,
    normaliser_cancels,
    score,
    token_loss,
)
from softprompt.methods.full_tuning import FullTuning
from softprompt.prompts.addition import Addition, stack
from softprompt.text.answers import Poles, Verbalizer
from softprompt.text.query import Query, Read
from softprompt.text.rendering import Rendering
from tests.builders import Backbones, fits_of, gradients, job, mood, rows
from tests.inference.test_predict import bound
from tests.inference.test_predict import same as same_predictions
from tests.tiny_models import ARCHITECTURES

ENDS_BEFORE_THE_VOCABULARY = "deberta-v2-own-head"
ONE_ROW = [name for name, plan in ARCHITECTURES.items() if plan.family != "encoder_decoder"]
DECODERS = [name for name, plan in ARCHITECTURES.items() if plan.family == "encoder_decoder"]

# Norms, rotations or a softmax in f32 whatever the weights are.
IN_F32 = {"bloom", "llama", "qwen2", "qwen3", "phi3", "mistral", "gpt-neox", "t5", "t5-1.1", "mt5"}


@pytest.fixture(autouse=True)
def _however_little_it_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models know some 300 words."""
    monkeypatch.setattr(scoring, "LEAST_VOCABULARY", 1)


@contextmanager
def all_words() -> Iterator[None]:
    """Within the block the head runs for the whole vocabulary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "LEAST_VOCABULARY", 10**9)
        yield


@contextmanager
def widths(backbone: Backbone) -> Iterator[list[int]]:
    """What the head's outputs end in, for each call that asks for any."""
    found: list[int] = []
    model: Any = backbone.model
    # Measured before anything is counted.
    assert backbone.picks_tokens
    assert backbone.shares_prefix == (backbone.family != "masked")
    handle = model.get_output_embeddings().register_forward_hook(
        lambda module, given, output: found.extend([output.shape[-1]] * (output.numel() > 0))
    )
    try:
        yield found
    finally:
        handle.remove()


def tolerance_of(name: str, precision: str) -> float:
    return 1e-5 if precision == "float32" else 1e-7 if name in IN_F32 else 1e-10


def near(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    scale = max(1.0, float(wanted.abs().max()))
    assert float((got - wanted).abs().max()) <= tolerance * scale


def applied_of(backbone: Backbone) -> list[Applied]:
    """Prompts of several lengths, answers and objectives, all with words of one token."""
    words = Verbalizer.read({"positive": "two", "negative": "awful"})
    return [
        bound(backbone, answers=words, n_rows=4),
        bound(backbone, answers=words, n_rows=3, seed=1, answer_score="mean"),
        bound(backbone, "so {text} : {mask}", words, n_rows=3, seed=2, pmi=True),
        bound(backbone, "it {text} {mask}", Poles(("two", "an"), (0.0, 5.0)), 1),
    ]


def found_by(
    backbone: Backbone,
    additions: Sequence[Addition],
    renderings: Sequence[Rendering],
    owners: Sequence[int],
    *,
    normalised: bool,
    mean: bool = False,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Label probabilities, losses, and the gradient of each prompt."""
    leaves = [a.rows.to(backbone.dtype).requires_grad_() for a in additions if a.rows is not None]
    prompts = stack([Addition(leaf) for leaf in leaves]) if leaves else None
    scores = score(backbone, prompts, renderings, owners, normalised=normalised)
    table = label_scores(scores, renderings, mean)
    targets = torch.zeros_like(table)
    targets[:, :2] = torch.tensor([0.7, 0.3], dtype=table.dtype)
    losses = label_loss(table, targets)
    return (
        table.softmax(-1).detach(),
        losses.detach(),
        list(torch.autograd.grad(losses.sum(), leaves)),
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in ONE_ROW if name != ENDS_BEFORE_THE_VOCABULARY])
def test_probabilities_losses_and_gradients_are_those_of_the_whole_head(
    backbones: Backbones, name: str, precision: str
) -> None:
    backbone = backbones(name, precision=precision)
    tolerance = tolerance_of(name, precision)
    applied = applied_of(backbone)
    additions = [one.addition for one in applied]
    pairs = [(n, e) for e in rows(3, seed=4, most=9) for n in range(len(applied))]
    renderings, owners = [applied[n].render(e) for n, e in pairs], [n for n, _ in pairs]
    assert normaliser_cancels(renderings)
    with widths(backbone) as seen:
        got = found_by(backbone, additions, renderings, owners, normalised=False)
    assert seen == [3]  # the three words: no logits of the vocabulary
    wanted = found_by(backbone, additions, renderings, owners, normalised=True)
    near(got[0], wanted[0], tolerance)
    near(got[1], wanted[1], tolerance)
    assert sum(float(one.abs().max()) > 1e-4 for one in wanted[2]) >= 2
    for one, other in zip(got[2], wanted[2], strict=True):
        near(one, other, tolerance)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_several_words_of_a_label_share_it_as_before(
    backbones: Backbones, name: str, mean: bool
) -> None:
    backbone = backbones(name, precision="float64")
    words = Verbalizer.read({"up": ["two", "awful", "an"], "down": ["so"], "flat": ["is", "in"]})
    applied = bound(backbone, answers=words, n_rows=4)
    renderings = [applied.render(example) for example in rows(4)]
    got, wanted = (
        found_by(backbone, [applied.addition], renderings, [0] * 4, normalised=n, mean=mean)
        for n in (False, True)
    )
    for one, other in zip((*got[:2], *got[2]), (*wanted[:2], *wanted[2]), strict=True):
        near(one, other, 1e-10)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoders_first_tokens_are_scored_as_by_the_whole_head(
    backbones: Backbones, name: str
) -> None:
    backbone = backbones(name, precision="float64")
    start = backbone.decoder_start
    ids = backbone.tokenizer.encode("the film was very good", continues=False).ids
    place = (len(start) - 1,)

    def asked(*tokens: int) -> Rendering:
        reads = tuple(Read(n, place, (token,)) for n, token in enumerate(tokens))
        query = Query((-1, -2, *ids), (0,) * (2 + len(ids)), reads, start)
        return Rendering((query,), tuple("abc"[: len(tokens)]), tuple(range(len(tokens))))

    renderings = [asked(20, 7), asked(7, 31, 5)]
    noise = torch.randn(2, backbone.width, generator=torch.Generator().manual_seed(0))
    additions = [Addition(noise * backbone.rms)]
    with widths(backbone) as seen:
        got = found_by(backbone, additions, renderings, [0, 0], normalised=False)
    assert seen == [4]
    wanted = found_by(backbone, additions, renderings, [0, 0], normalised=True)
    assert float(wanted[2][0].abs().max()) > 1e-3
    for one, other in zip((*got[:2], *got[2]), (*wanted[:2], *wanted[2]), strict=True):
        near(one, other, tolerance_of(name, "float64"))


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_predictions_of_several_prompts_in_one_batch_stay(backbones: Backbones, name: str) -> None:
    backbone = backbones(name)
    applied = applied_of(backbone)
    items = [(n, example) for example in rows(4, seed=9) for n in range(len(applied))]
    with widths(backbone) as seen:
        got = predict(backbone, applied, items)
    assert set(seen) <= {2, 3}
    assert len(seen) == 2  # one pass for the empty fields of pmi
    with all_words():
        wanted = predict(backbone, applied, items)
    same_predictions(got, wanted)
    assert len({p.label for p in wanted}) > 2


def training(**given: Any) -> Any:
    words = {"positive": ("two",), "negative": ("awful",)}
    return job(mood(words=words, template="{text} it was {mask}"), **given)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_steps_loss_and_gradient_stay(backbones: Backbones, name: str) -> None:
    backbone = backbones(name, precision="float64")
    jobs = [
        training(objective=ObjectiveSettings(normalise="labels")),
        training(seed=1, objective=ObjectiveSettings(normalise="labels", answer_score="mean")),
    ]
    with widths(backbone) as seen:
        got = gradients(backbone, fits_of(backbone, jobs))
    assert set(seen) == {2}
    with all_words():
        wanted = gradients(backbone, fits_of(backbone, jobs))
    for (loss, gradient), (expected, other) in zip(got, wanted, strict=True):
        assert loss == pytest.approx(expected, rel=1e-10)
        near(gradient, other, 1e-10)


def test_a_fit_that_learns_the_vocabulary_has_all_of_it_and_so_has_who_shares_its_batch(
    backbones: Backbones,
) -> None:
    backbone = backbones("bert", precision="float64")
    vocabulary = ObjectiveSettings(normalise="vocabulary", z_loss=1e-3)
    with widths(backbone) as seen:
        together = gradients(
            backbone, fits_of(backbone, [training(), training(objective=vocabulary)])
        )
    assert set(seen) == {backbone.vocabulary}
    for one, (loss, gradient) in zip((training(),), together, strict=False):
        ((alone, other),) = gradients(backbone, fits_of(backbone, [one]))
        assert loss == pytest.approx(alone, rel=1e-10)
        near(gradient, other, 1e-10)


def test_opened_weights_get_the_same_gradients(backbones: Backbones) -> None:
    backbone = backbones("bert", precision="float64")
    method = FullTuning()
    found = []
    with method.opened(backbone):
        for whole in (False, True):
            (fit,) = fits_of(backbone, [training(method=method)])
            scored = score(
                backbone,
                None,
                renderings := [lesson.rendering for lesson in fit.draw()],
                [0] * len(renderings),
                normalised=whole,
            )
            assert (scored.squared_z is None) is not whole
            table = label_scores(scored, renderings, False)
            loss = label_loss(table, torch.eye(2, dtype=table.dtype)[[0] * len(table)]).sum()
            found.append(
                torch.autograd.grad(loss, list(fit.parameters.values()), allow_unused=True)
            )
    assert len(found[0]) > 20
    for one, other in zip(*found, strict=True):
        assert (one is None) is (other is None)
        if one is not None:
            near(one, other, 1e-10)


def test_candidates_of_several_tokens_keep_the_normaliser(backbones: Backbones) -> None:
    backbone = backbones("gpt2")
    words = Verbalizer.read({"up": "very good", "down": "slow and dull"})
    applied = bound(backbone, answers=words, n_rows=3)
    renderings = [applied.render(example) for example in rows(2)]
    assert not normaliser_cancels(renderings)
    prompts = stack([applied.addition])
    scores = score(backbone, prompts, renderings, [0, 0], normalised=False)
    torch.testing.assert_close(
        scores.summed, score(backbone, prompts, renderings, [0, 0]).summed, rtol=0, atol=0
    )
    assert scores.squared_z is not None


def test_scores_without_a_normaliser_have_no_token_cross_entropy(backbones: Backbones) -> None:
    backbone = backbones("bert")
    rendering = bound(backbone).render(rows(1)[0])
    scores = score(backbone, None, [rendering], [0], normalised=False)
    with pytest.raises(ValueError, match="not normalised"):
        token_loss(scores, 0.0)


def test_a_head_that_ends_before_the_vocabulary_runs_whole_and_that_is_said_once(
    backbones: Backbones,
) -> None:
    backbone = backbones(ENDS_BEFORE_THE_VOCABULARY)
    with pytest.warns(UserWarning, match=r"no row for each token\); the whole output head runs"):
        assert not backbone.picks_tokens
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(backbone, None, [bound(backbone).render(rows(1)[0])], [0], normalised=False)
    assert scores.squared_z is not None


def test_what_can_be_picked_is_measured_without_dropout(backbones: Backbones) -> None:
    backbone = backbones("albert")
    backbone.__dict__.pop("picks_tokens", None)
    torch.manual_seed(0)
    wanted = torch.rand(2)
    torch.manual_seed(0)
    with backbone.dropout():
        assert backbone.picks_tokens
        assert backbone.model.training
    assert torch.equal(torch.rand(2), wanted)


@pytest.mark.parametrize("name", ["t5", "t5-1.1", "mt5"])
def test_without_the_answers_end_labels_of_one_token_take_one_look_at_the_decoder(
    backbones: Backbones, name: str
) -> None:
    backbone = backbones(name, precision="float64")
    words = {"positive": "good", "negative": "bad"}
    applied = bound(backbone, "{text}{decoder}", Verbalizer.read(words), n_rows=0, answer_end=False)
    (example, *_) = rows(1)
    rendering = applied.render(example)
    assert len(rendering.queries) == 1
    assert [len(read.tokens) for read in rendering.queries[0].reads] == [1, 1]
    (found,) = predict(backbone, [applied], [(0, example)])
    ids = torch.tensor([rendering.queries[0].ids])
    start = torch.tensor([backbone.decoder_start])
    with torch.no_grad():
        logits = backbone.model(input_ids=ids, decoder_input_ids=start).logits[0, -1]
    own = torch.stack([logits[read.tokens[0]] for read in rendering.queries[0].reads])
    expected = own.log_softmax(dim=0).exp().tolist()
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_only_a_decoders_answer_has_an_end_to_leave_out(backbones: Backbones, name: str) -> None:
    with pytest.raises(SettingsError, match="answer_end"):
        bound(backbones(name), answer_end=False)
