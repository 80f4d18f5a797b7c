"""DePT: a short prompt and a low-rank offset to the embeddings of the text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.analysis.accounts import of_prompt, planned
from softprompt.analysis.verifying import verify
from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import PromptError
from softprompt.inference import text_positions
from softprompt.inference.applied import Applied
from softprompt.inference.objective import ObjectiveSettings
from softprompt.inference.predict import Prediction, predict
from softprompt.methods.dept import Dept
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.warp import Warp
from softprompt.prompts.addition import Addition, described
from softprompt.prompts.offset import Offset, pick_offsets, stack_offsets
from softprompt.tuning.fit import Fit
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit, fit_many
from tests.builders import FAMILIES, Backbones, fits_of, job, mood, saved_as_learned

FAMILY = pytest.mark.parametrize("name", FAMILIES)
METHOD = Dept(length=3, rank=4, positions=20)
TEXTS = ("the film was good", "a dull plot , so very slow and long", "it", "it was so")
FRONT = "{soft}this old film was : {text} it was {mask}."
"""A template whose beginning is worth keeping."""


def moved(backbone: Backbone, seed: int = 0, method: Dept = METHOD, **given: Any) -> Fit:
    """A fit whose offset is as large as the embeddings."""
    (made,) = fits_of(backbone, [job(method=method, seed=seed, **given)])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        left = made.parameters["offset.left"]
        left.copy_(torch.randn(left.shape, generator=generator) * 10 / backbone.rms)
    offset = made.applied.addition.offset
    assert offset is not None
    product = (offset.left @ offset.right).detach()
    assert float(product.square().mean().sqrt()) > 0.2 * backbone.rms
    return made


def items(applied: Sequence[Applied]) -> list[tuple[int, Example]]:
    return [(n, Example(text, {"text": text})) for text in TEXTS for n in range(len(applied))]


def scores(found: Sequence[Prediction]) -> list[dict[str, float]]:
    return [dict(one.probabilities) for one in found]


def same(found: Sequence[Prediction], wanted: Sequence[Prediction], most: float = 1e-10) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert (one.label, one.text) == (other.label, other.text)
        assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=most)


# --- learning -------------------------------------------------------------------------------------


@FAMILY
def test_every_parameter_has_a_gradient_once_the_offset_is_not_zero(
    backbones: Backbones, name: str
):
    backbone = backbones(name)
    (made,) = fits_of(backbone, [job(method=METHOD)])
    for step in range(2):
        Loop(backbone, [made]).backward({0: made.draw()})
        for parameter, tensor in made.parameters.items():
            assert tensor.grad is not None, parameter
            assert bool(tensor.grad.any()) == (parameter != "offset.right" or step > 0), parameter
        made.update({"loss": 0.0})


@FAMILY
def test_the_offset_starts_at_zero(backbones: Backbones, name: str):
    pair = [job(method=one) for one in (METHOD, PromptTuning(length=3))]
    one, other = (made.applied for made in fits_of(backbones(name), pair))
    same(
        predict(backbones(name), [one], items([one])),
        predict(backbones(name), [other], items([other])),
    )


@FAMILY
def test_the_loss_falls_with_the_methods_own_defaults(backbones: Backbones, name: str):
    losses: list[float] = []
    training = {"steps": 40, "batch_size": 20, "evaluate_every": 40, "keep": "last"}
    fit_many(
        backbones(name),
        [job(mood(n=20, dev=0), METHOD, training=training)],
        lambda fit, record: losses.append(record["loss"]),
    )
    assert losses[-1] < 0.8 * losses[0]


@FAMILY
def test_a_step_moves_the_offset_by_its_own_rate(backbones: Backbones, name: str):
    def after(rate: float) -> float:
        backbone = backbones(name)
        method = METHOD.model_copy(update={"offset_rate": rate})
        (made,) = fits_of(backbone, [job(method=method, training={"steps": 1})])
        Loop(backbone, [made]).run()
        offset = made.applied.addition.offset
        assert offset is not None
        return float((offset.left @ offset.right).detach().square().mean().sqrt()) / backbone.rms

    small, large = after(0.01), after(0.1)
    assert large == pytest.approx(10 * small, rel=0.02)
    assert 1e-5 < large < 3e-3  # 0.1 of the usual 0.03


@FAMILY
def test_formulas_count_what_is_learned_and_what_is_stored(backbones: Backbones, name: str):
    backbone = backbones(name)
    run = fit(backbone, mood(), METHOD, training={"steps": 1, "batch_size": 4})
    account = planned(METHOD, 3, backbone.width, backbone.n_parameters)
    assert account.learned == run.n_learned == 3 * 32 + 4 * (20 + 32)
    assert account.stored == of_prompt(run.prompt, backbone.n_parameters).stored


# --- what is added, and where ---------------------------------------------------------------------


@pytest.mark.parametrize("positions", [6, 60])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
@torch.no_grad()
def test_scores_are_those_of_the_model_fed_by_hand(backbones: Backbones, name: str, positions: int):
    """Embeddings plus the offset of each text position, learned rows left alone."""
    backbone = backbones(name, precision="float64")
    applied = moved(backbone, method=METHOD.model_copy(update={"positions": positions})).applied
    offset, rows = applied.addition.offset, applied.addition.rows
    assert offset is not None
    assert rows is not None
    table = offset.left @ offset.right  # [s, E]
    model: Any = backbone.model
    for text in TEXTS[:2]:
        example = Example(text, {"text": text})
        found = list(predict(backbone, [applied], [(0, example)])[0].probabilities.values())
        totals = []
        rendering = applied.render(example)
        for query in rendering.queries:
            slot = query.reads[0].positions[0]
            states, number = [], 0
            for place, token in enumerate(query.ids):
                if token < 0:
                    states.append(rows[-1 - token])
                    continue
                state = backbone.embed(torch.tensor(token))
                if number < positions and not (name == "gpt2" and place > slot):
                    state = state + table[number]
                states.append(state)
                number += 1
            logits = model(inputs_embeds=torch.stack(states)[None]).logits[0].log_softmax(-1)
            totals += [
                (
                    read.candidate,
                    sum(logits[p, t] for p, t in zip(read.positions, read.tokens, strict=True)),
                )
                for read in query.reads
            ]
        wanted = torch.stack([total for _, total in sorted(totals, key=lambda pair: pair[0])])
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), wanted.softmax(-1))


def test_beyond_its_last_position_a_text_is_left_as_it_is():
    offsets = stack_offsets(
        [
            Offset(torch.ones(2, 1), torch.full((1, 3), 5.0)),
            None,
            Offset(torch.ones(1, 1), torch.ones(1, 3)),
        ]
    )
    assert offsets is not None
    index = torch.tensor([[0, 1, 2, -1], [0, 1, 2, -1], [0, 1, 2, -1]])
    picked = pick_offsets(offsets, torch.tensor([0, 1, 2]), index)[..., 0]
    assert picked.tolist() == [[5, 5, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_text_is_counted_past_learned_rows_up_to_the_answer():
    (row,) = text_positions.mark_answers([(7, -1, -2, 8, 9, 10)], [3])
    padded = torch.tensor([[*row, 0]])
    mask = torch.tensor([[True] * 6 + [False]])
    assert text_positions.text_index(padded, mask, ()).tolist() == [[0, -1, -1, 1, -1, -1, -1]]
    assert text_positions.text_index(padded, mask, [4]).tolist() == [[4, -1, -1, 5, -1, -1, -1]]
    assert text_positions.count_text(row) == 2


# --- sharing a batch ------------------------------------------------------------------------------


def fits(backbone: Backbone) -> list[Fit]:
    return [
        moved(backbone, 1),
        moved(backbone, 2, Dept(length=5, rank=2, positions=5), template=FRONT),
        *fits_of(backbone, [job(method=m) for m in (Warp(length=2), PromptTuning(length=4))]),
    ]


@FAMILY
def test_in_one_batch_each_predicts_what_it_predicts_alone(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    applied = [one.applied for one in fits(backbone)]
    asked = items(applied)
    together = predict(backbone, applied, asked)
    alone = [predict(backbone, [applied[n]], [(0, example)])[0] for n, example in asked]
    same(together, alone)


@FAMILY
def test_in_one_batch_each_has_the_gradients_that_it_has_alone(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    made = fits(backbone)
    found: list[dict[int, list[torch.Tensor]]] = []
    for groups in ([list(range(len(made)))], [[n] for n in range(len(made))]):
        gradients: dict[int, list[torch.Tensor]] = {}
        for chosen in groups:
            Loop(backbone, made).backward({n: made[n].draw() for n in chosen})
            for n in chosen:
                own = [p.grad for p in made[n].parameters.values()]
                gradients[n] = [grad.clone() for grad in own if grad is not None]
                assert len(gradients[n]) == len(own)
                made[n].drop_gradients()
        found.append(gradients)
    for n in range(len(made)):
        for one, other in zip(found[0][n], found[1][n], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@FAMILY
def test_the_prompt_passes_every_check_of_verify(backbones: Backbones, tmp_path: Path, name: str):
    """Batch as single, pads on either side, mixed as alone."""
    backbone = backbones(name, precision="float64")
    run = fit(backbone, mood(), METHOD, training={"steps": 3, "batch_size": 4})
    applied = moved(backbone).applied
    examples = [Example(text, {"text": text}) for text in TEXTS]
    for check in verify(backbone, run.prompt, applied, examples):
        assert check.passed, check


@pytest.mark.parametrize("prediction", ["rank", "greedy"])
@pytest.mark.parametrize("words", [("great", "awful"), ("very good", "very bad plot")])
def test_beginnings_that_are_shared_or_kept_change_nothing(
    backbones: Backbones, prediction: Any, words: tuple[str, str]
):
    """Of a causal model: text positions go on counting behind what was run before."""
    backbone = backbones("gpt2", precision="float64")
    spelled = dict(zip(("positive", "negative"), ([word] for word in words), strict=True))
    applied = moved(
        backbone,
        template=FRONT,
        words=spelled,
        objective=ObjectiveSettings(prediction=prediction),
    ).applied
    asked = items([applied]) * 6
    shared = predict(backbone, [applied], asked)
    alone = [predict(backbone, [applied], [one])[0] for one in asked]
    backbone.share_prefix = False
    try:
        whole = predict(backbone, [applied], asked)
    finally:
        backbone.share_prefix = True
    same(shared, whole)
    same(alone, whole)


def test_a_token_that_is_text_here_and_an_answer_there_is_run_twice(backbones: Backbones):
    """One example's text is the other's text and answer."""
    backbone = backbones("gpt2", precision="float64")
    words = {"positive": ["good good"], "negative": ["good bad"]}
    applied = moved(backbone, template="{soft}{text} {mask}", words=words).applied
    texts = ["the film", "the film good", "the film good good"] * 9
    asked = [(0, Example(str(n), {"text": text})) for n, text in enumerate(texts)]
    shared = predict(backbone, [applied], asked)
    backbone.share_prefix = False
    try:
        same(shared, predict(backbone, [applied], asked))
    finally:
        backbone.share_prefix = True


# --- saving ---------------------------------------------------------------------------------------


@FAMILY
def test_the_saved_prompt_predicts_what_the_learner_did(
    backbones: Backbones, tmp_path: Path, name: str
):
    training = {"steps": 3, "batch_size": 4}
    run = saved_as_learned(backbones(name), METHOD, tmp_path / "prompt", training)
    shapes = {n: t.shape for n, t in run.prompt.addition.tensors().items()}
    assert described(shapes)["offset"] == "of 20 text positions, rank 4"


def test_an_offset_that_is_not_whole_is_refused():
    left, right = torch.zeros(4, 2), torch.zeros(2, 3)
    with pytest.raises(PromptError, match=r"expected offset\.left and offset\.right, got"):
        Addition.from_tensors({"offset.left": left})
    with pytest.raises(PromptError, match=r"got shapes \[4, 2\] and \[4, 2\]"):
        Offset(left, left)
    with pytest.raises(PromptError, match=r"expected floating point numbers, got torch\.int64"):
        Offset(left.long(), right)
    with pytest.raises(PromptError, match=r"offsets of the widths \[3, 5\]"):
        stack_offsets([Offset(left, right), Offset(left, torch.zeros(2, 5))])
