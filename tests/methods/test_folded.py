"""Methods whose rows come out of a small network: learned through it, saved without it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from softprompt.analysis.accounts import of_prompt, planned
from softprompt.errors import SettingsError
from softprompt.methods.dept import Dept
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.method import Method
from softprompt.methods.mpt import Mpt
from softprompt.methods.p_tuning import PTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.registry import METHODS
from softprompt.methods.residual import ResidualPromptTuning
from softprompt.methods.superpos import SuperPos
from softprompt.methods.ulpt import Ulpt
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit, fit_many
from tests.builders import FAMILIES, Backbones, fits_of, job, mood, saved_as_learned

KINDS: dict[str, Method] = {
    "p_tuning": PTuning(length=3),
    "p_tuning mlp": PTuning(length=3, encoder="mlp", hidden=5),
    "p_tuning labels": PTuning(length=3, init="labels", hidden=7),
    "residual": ResidualPromptTuning(length=3),
    "residual separate": ResidualPromptTuning(length=3, separate=True, bottleneck=6),
    "superpos": SuperPos(length=3, mixed=8),
    "superpos weights": SuperPos(length=3, tuned=False),
    "ulpt": Ulpt(length=3, rank=2),
    "mpt": Mpt(length=3),
    "mpt rank 2": Mpt(length=3, rank=2, init="uniform"),
}
EACH = pytest.mark.parametrize("method", KINDS.values(), ids=KINDS.keys())


def rows_of(backbones: Backbones, method: Method, name: str = "bert", **given: Any) -> torch.Tensor:
    """The rows before the first step, `[P, E]`."""
    (made,) = fits_of(backbones(name), [job(method=method, **given)])
    rows = made.applied.addition.rows
    assert rows is not None
    return rows.detach()


@EACH
@pytest.mark.parametrize("name", FAMILIES)
def test_rows_start_at_the_scale_of_the_embeddings(backbones: Backbones, name: str, method: Method):
    rows = rows_of(backbones, method, name)
    assert rows.shape == (3, backbones(name).width)
    assert bool(rows.isfinite().all())
    assert 0.4 < float(rows.square().mean().sqrt()) / backbones(name).rms < 2.5


@EACH
def test_a_seed_means_the_same_rows_and_another_other_ones(backbones: Backbones, method: Method):
    torch.manual_seed(5)
    first = rows_of(backbones, method, seed=3)
    torch.manual_seed(6)
    assert torch.equal(rows_of(backbones, method, seed=3), first)
    assert not torch.equal(rows_of(backbones, method, seed=4), first)


@EACH
def test_making_a_learner_draws_from_its_own_generator_only(backbones: Backbones, method: Method):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    fits_of(backbones("bert"), [job(method=method)])
    assert torch.equal(torch.rand(3), wanted)


@EACH
def test_every_parameter_has_a_gradient(backbones: Backbones, method: Method):
    (made,) = fits_of(backbones("bert"), [job(method=method)])
    Loop(backbones("bert"), [made]).backward({0: made.draw()})
    for name, parameter in made.parameters.items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


@EACH
def test_the_loss_falls_on_a_toy_with_the_methods_own_defaults(
    backbones: Backbones, method: Method
):
    training = {"steps": 40, "batch_size": 20, "evaluate_every": 40, "keep": "last"}
    losses: list[float] = []
    fit_many(
        backbones("bert"),
        [job(mood(n=20, dev=0), method, training=training)],
        lambda fit, record: losses.append(record["loss"]),
    )
    assert losses[-1] < 0.8 * losses[0]


@EACH
def test_the_saved_prompt_predicts_what_the_learner_did(
    backbones: Backbones, tmp_path: Path, method: Method
):
    saved_as_learned(backbones("bert"), method, tmp_path / "p", {"steps": 3, "batch_size": 4})


@EACH
def test_formulas_count_what_is_learned_and_what_is_stored(backbones: Backbones, method: Method):
    backbone = backbones("bert")
    run = fit(backbone, mood(), method, training={"steps": 1, "batch_size": 4})
    account = planned(method, 3, backbone.width, backbone.n_parameters)
    assert account.learned == run.n_learned
    assert account.stored == of_prompt(run.prompt, backbone.n_parameters).stored == 3 * 32


@EACH
def test_interrupted_it_goes_on_to_the_same_prompt(
    backbones: Backbones, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "fsync", lambda handle: None)

    def stop(fit: Any, record: Any) -> None:
        if fit.step == 3:
            raise KeyboardInterrupt

    backbone, training = backbones("bert"), {"steps": 5, "evaluate_every": 2}
    one = job(method=method, seed=2, training=training)
    (whole,) = fit_many(backbone, [one])
    again = replace(one, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit_many(backbone, [again], stop)
    torch.manual_seed(99)
    (resumed,) = fit_many(backbone, [again])
    assert resumed.prompt.content_hash == whole.prompt.content_hash
    assert resumed.history == whole.history


def test_different_methods_in_one_batch_learn_what_each_learns_alone(backbones: Backbones):
    backbone = backbones("bert", "float64")
    jobs = [job(method=one, seed=n) for n, one in enumerate(KINDS.values())]
    for one, found in zip(jobs, fit_many(backbone, jobs), strict=True):
        (alone,) = fit_many(backbone, [one])
        assert found.prompt.rows is not None
        assert alone.prompt.rows is not None
        torch.testing.assert_close(found.prompt.rows, alone.prompt.rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["t5-1.1", "gpt2"])
@EACH
def test_a_step_moves_rows_by_a_share_of_their_scale_on_every_backbone(
    backbones: Backbones, name: str, method: Method
):
    backbone = backbones(name)
    rate = {"learning_rate": 0.03}
    (made,) = fits_of(backbone, [job(method=method, training={"steps": 1, "optimiser": rate})])
    before = made.applied.addition.rows
    Loop(backbone, [made]).run()
    after = made.applied.addition.rows
    assert before is not None
    assert after is not None
    moved = float((after - before).detach().square().mean().sqrt()) / backbone.rms
    assert 0.003 < moved < 0.3


@pytest.mark.parametrize("init", ["labels", "vocabulary", "uniform"])
def test_rows_start_where_prompt_tuning_starts(backbones: Backbones, init: str):
    wanted = rows_of(backbones, PromptTuning(length=5, init=init))
    found = {
        "p_tuning": rows_of(backbones, PTuning(length=5, init=init)),
        "residual": rows_of(backbones, ResidualPromptTuning(length=5, init=init)),
        "superpos": rows_of(backbones, SuperPos(length=5, init=init)),
        "mpt": rows_of(backbones, Mpt(length=5, init=init)),
        "ulpt": rows_of(backbones, Ulpt(length=5, init=init, rank=31)),
    }
    share = {
        name: float((rows - wanted).square().mean().sqrt()) / backbones("bert").rms
        for name, rows in found.items()
    }
    assert share["p_tuning"] < 1e-5
    assert share["mpt"] == 0
    assert share["residual"] == pytest.approx(0.1, rel=0.01)
    assert share["superpos"] < 0.2
    assert share["ulpt"] < 0.3  # one dimension of 32 is lost


def test_soft_words_of_a_template_start_from_their_words_though_an_encoder_makes_the_rest(
    backbones: Backbones,
):
    template = "{soft:'It was'}{text}{soft:3}{mask}"
    backbone = backbones("bert")
    words = backbone.rows(backbone.tokenizer.encode("It was", continues=False).ids)
    rows = rows_of(backbones, PTuning(), template=template)
    assert rows.shape[0] == 5
    torch.testing.assert_close(rows[:2], words, rtol=1e-4, atol=1e-5)
    assert float(rows[2:].square().mean().sqrt()) == pytest.approx(backbone.rms, rel=0.5)


def test_shared_rows_may_start_from_the_mean_of_several_prompts(
    backbones: Backbones, tmp_path: Path
):
    made = [torch.randn(3, 32, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    for number, rows in enumerate(made):
        np.save(tmp_path / f"{number}.npy", rows.numpy())
    np.save(tmp_path / "long.npy", np.zeros((4, 32), dtype=np.float32))
    sources = [str(tmp_path / "0.npy"), str(tmp_path / "1.npy")]
    method = Mpt.read({"length": 3, "init": "sources", "sources": sources})
    torch.testing.assert_close(rows_of(backbones, method), (made[0] + made[1]) / 2)
    with pytest.raises(SettingsError, match="sources: 3 rows, expected 4; set the length"):
        rows_of(backbones, method.model_copy(update={"length": 4}))
    mixed = [*sources, str(tmp_path / "long.npy")]
    with pytest.raises(SettingsError, match=r"long\.npy has 4 rows, .* expected prompts of one"):
        rows_of(backbones, method.model_copy(update={"sources": tuple(mixed)}))


def test_a_frozen_matrix_follows_from_the_seed_alone(backbones: Backbones):
    (one,) = fits_of(backbones("bert"), [job(method=Ulpt(length=3, rank=2), seed=1)])
    (same,) = fits_of(backbones("bert"), [job(method=Ulpt(length=3, rank=2), seed=1)])
    same.learner.parameters()["codes"].data.copy_(one.parameters["codes"].data)
    first, second = one.applied.addition.rows, same.applied.addition.rows
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (PTuning, {"encoder": "lsmt"}, "expected one of lstm, mlp; did you mean 'lstm'?"),
        (PTuning, {"init": "encodr"}, "did you mean 'encoder'?"),
        (PTuning, {"hidden": 0}, "expected at least 1, got 0"),
        (ResidualPromptTuning, {"bottelneck": 3}, "did you mean 'bottleneck'?"),
        (ResidualPromptTuning, {"init": "encoder"}, "expected one of labels"),
        (Mpt, {"init": "sources"}, "init: sources needs a list of prompts"),
        (Mpt, {"sources": ["a"]}, "has an effect with init: sources only; init is labels"),
        (SuperPos, {"init_text": "so"}, "has an effect with init: text only"),
    ],
)
def test_settings_at_odds_are_refused(kind: type[Method], settings: dict[str, Any], message: str):
    with pytest.raises(SettingsError) as refused:
        kind.read(settings)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Mpt(length=3, rank=4), "rank: 4 is more than a matrix of 3 rows and 32 columns can have"),
        (Ulpt(length=3), "rank: 64 dimensions for rows of width 32; expected fewer"),
        (SuperPos(length=9, mixed=8), "mixed: 8 embeddings for 9 rows.*expected at least 9"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_before_a_step(
    backbones: Backbones, method: Method, message: str
):
    with pytest.raises(SettingsError, match=message):
        fits_of(backbones("bert"), [job(method=method)])


def test_every_method_has_an_account() -> None:
    for kind in METHODS.values():
        method = kind.model_construct()
        if kind not in (FullTuning, Dept):  # an offset of the text needs no rows
            assert planned(method, 0, 64, 1_000).stored == 0
