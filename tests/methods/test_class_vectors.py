"""Methods whose class vectors answer: WARP, P-tuning v2, a linear probe, a classification head."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.analysis.accounts import of_prompt, planned
from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import PromptError, SettingsError, TemplateError
from softprompt.inference.objective import ObjectiveSettings
from softprompt.inference.predict import Prediction, predict
from softprompt.inference.predictor import Predictor
from softprompt.methods.classification_head import ClassificationHead
from softprompt.methods.linear_probe import LinearProbe
from softprompt.methods.method import NO_STACKS, Method
from softprompt.methods.p_tuning_v2 import PTuningV2
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.warp import Warp
from softprompt.prompts.addition import Addition, described, stack
from softprompt.prompts.readout import Readout
from softprompt.text.answers import Classes, answers_from_json
from softprompt.tuning.fit import Fit
from softprompt.tuning.loop import Loop
from softprompt.tuning.run import fit, fit_many
from tests.builders import (
    DECISIVE,
    FAMILIES,
    Backbones,
    fits_of,
    job,
    mood,
    rows,
    saved_as_learned,
    task_of,
)

KINDS: dict[str, Method] = {
    "warp": Warp(length=3),
    "warp normal": Warp(length=2, init="normal", class_init="random"),
    "p_tuning_v2": PTuningV2(length=3),
    "linear_probe": LinearProbe(),
    "linear_probe words": LinearProbe(class_init="words"),
}
HEAD: dict[str, Method] = {"classification_head": ClassificationHead()}
FROZEN = pytest.mark.parametrize("method", KINDS.values(), ids=KINDS.keys())
EACH = pytest.mark.parametrize(
    "method", [*KINDS.values(), *HEAD.values()], ids=[*KINDS.keys(), *HEAD.keys()]
)
FAMILY = pytest.mark.parametrize("name", FAMILIES)
SHORT = {"steps": 3, "batch_size": 4}
TEXTS = ("the film was good", "a dull plot , so very slow and long", "it")


def thirds(**changes: Any) -> Any:
    """A task of three labels."""
    examples = [replace(e, target=("a", "b", "c")[n % 3]) for n, e in enumerate(rows(9, seed=4))]
    facts: dict[str, Any] = {
        "name": "thirds",
        "fields": ("text",),
        "kind": "label",
        "labels": ("a", "b", "c"),
        "metrics": ("accuracy",),
        "template": "{text} : {mask}",
        "words": {"a": ("good",), "b": ("bad",), "c": ("one",)},
    }
    return task_of({"train": examples}, **{**facts, **changes})


# --- learning -------------------------------------------------------------------------------------


@FROZEN
@FAMILY
def test_every_parameter_has_a_gradient(backbones: Backbones, name: str, method: Method):
    (made,) = fits_of(backbones(name), [job(method=method)])
    Loop(backbones(name), [made]).backward({0: made.draw()})
    for parameter, tensor in made.parameters.items():
        assert tensor.grad is not None, parameter
        assert bool(tensor.grad.isfinite().all()), parameter
        assert bool(tensor.grad.any()), parameter


def test_a_classification_head_trains_what_it_reads(backbones: Backbones):
    backbone, one = backbones("gpt-neox"), job(method=ClassificationHead())
    head: Any = backbone.model.get_output_embeddings()  # type: ignore[operator]
    with one.method.opened(backbone):
        (made,) = fits_of(backbone, [one])
        Loop(backbone, [made]).backward({0: made.draw()})
        still = [p for p in made.parameters.values() if p.grad is None]
    assert [p is head.weight for p in still] == [True]


@FROZEN
@FAMILY
def test_the_loss_falls_with_the_methods_own_defaults(
    backbones: Backbones, name: str, method: Method
):
    losses: list[float] = []
    training = {"steps": 40, "batch_size": 20, "evaluate_every": 40, "keep": "last"}
    fit_many(
        backbones(name),
        [job(mood(n=20, dev=0), method, training=training)],
        lambda fit, record: losses.append(record["loss"]),
    )
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_falls_under_a_classification_head(backbones: Backbones):
    losses: list[float] = []
    training = {"steps": 30, "batch_size": 20, "evaluate_every": 30, "keep": "last"}
    training |= {"optimiser": {"learning_rate": 3e-3}}
    fit_many(
        backbones("bert"),
        [job(mood(n=20, dev=0), ClassificationHead(), training=training)],
        lambda fit, record: losses.append(record["loss"]),
    )
    assert losses[-1] < 0.8 * losses[0]


@EACH
@FAMILY
def test_formulas_count_what_is_learned_and_what_is_stored(
    backbones: Backbones, name: str, method: Method
):
    backbone = backbones(name)
    run = fit(backbone, mood(), method, training={"steps": 1, "batch_size": 4})
    length = run.prompt.addition.n_rows
    account = planned(
        method,
        length,
        backbone.width,
        backbone.n_parameters,
        backbone.attentions.shapes if method.n_attended() else NO_STACKS,
        method.n_opened(backbone),
        method.n_readout(2, backbone.head.width),
    )
    assert account.learned == run.n_learned
    stored = of_prompt(run.prompt, backbone.n_parameters).stored
    assert account.stored == stored + method.n_opened(backbone)
    if method.name == "warp":
        assert account.learned == length * 32 + 2 * (32 + 1)
    if method.name == "linear_probe":
        assert account.learned == 2 * (32 + 1)


def test_interrupted_it_goes_on_to_the_same_prompt(
    backbones: Backbones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "fsync", lambda handle: None)

    def stop(fit: Any, record: Any) -> None:
        if fit.step == 3:
            raise KeyboardInterrupt

    one = job(method=Warp(length=3), seed=2, training={"steps": 5, "evaluate_every": 2})
    (whole,) = fit_many(backbones("bert"), [one])
    again = replace(one, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit_many(backbones("bert"), [again], stop)
    (resumed,) = fit_many(backbones("bert"), [again])
    assert resumed.prompt.content_hash == whole.prompt.content_hash


# --- sharing a batch ------------------------------------------------------------------------------


def mixed(backbone: Backbone) -> list[Fit]:
    """Fits with and without class vectors, of two tasks with two and three labels."""
    methods = [*KINDS.values(), PTuningV2(length=2, head="words"), PromptTuning(length=4)]
    jobs = [job(method=one, seed=n) for n, one in enumerate(methods)]
    jobs += [job(thirds(), Warp(length=5), seed=9), job(thirds(), LinearProbe(), seed=9)]
    return fits_of(backbone, jobs)


def gradients_of(backbone: Backbone, fits: list[Fit], chosen: list[int]) -> dict[int, list[Tensor]]:
    Loop(backbone, fits).backward({n: fits[n].draw() for n in chosen})
    found = {}
    for n in chosen:
        found[n] = [p.grad.clone() for p in fits[n].parameters.values() if p.grad is not None]
        assert len(found[n]) == len(fits[n].parameters)
        fits[n].drop_gradients()
    return found


@FAMILY
def test_in_one_batch_each_has_the_gradients_that_it_has_alone(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    fits = mixed(backbone)
    together = gradients_of(backbone, fits, list(range(len(fits))))
    for n in range(len(fits)):
        for found, alone in zip(together[n], gradients_of(backbone, fits, [n])[n], strict=True):
            torch.testing.assert_close(found, alone, rtol=1e-9, atol=1e-10)


def probabilities(found: list[Prediction]) -> list[dict[str, float]]:
    return [dict(one.probabilities) for one in found]


@FAMILY
def test_in_one_batch_each_predicts_what_it_predicts_alone(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    applied = [one.applied for one in mixed(backbone)]
    items = [(n, Example(text, {"text": text})) for text in TEXTS for n in range(len(applied))]
    together = probabilities(predict(backbone, applied, items))
    alone = [
        probabilities(predict(backbone, [applied[n]], [(0, example)]))[0] for n, example in items
    ]
    for found, wanted in zip(together, alone, strict=True):
        assert found == pytest.approx(wanted, abs=1e-10)
    assert len({tuple(row.values()) for row in alone}) > len(TEXTS)


def test_class_vectors_of_two_backbones_share_no_batch():
    given = [Addition(readout=Readout(torch.zeros(2, width), torch.zeros(2))) for width in (3, 4)]
    with pytest.raises(PromptError, match=r"widths \[3, 4\], expected prompts of one backbone"):
        stack(given)


# --- what the scores are --------------------------------------------------------------------------


def direct_states(backbone: Backbone, text: str) -> Tensor:
    """What the output head reads at the answer slot of `{text} it was {mask}.`, `[H]`: the model's own
    last hidden states, by transformers alone."""
    model: Any = deepcopy(backbone.model)  # transformers leaves its hooks for hidden states there
    tokenizer: Any = backbone.tokenizer.wrapped
    states: Tensor
    if backbone.family == "masked":
        given = tokenizer(f"{text} it was [MASK].", return_tensors="pt")
        place = int((given["input_ids"][0] == tokenizer.mask_token_id).nonzero())
        states = model(**given, output_hidden_states=True).hidden_states[-1]
        states = model.cls.predictions.transform(states)[0, place]
    elif backbone.family == "causal":
        given = tokenizer(f"{text} it was", return_tensors="pt")
        states = model(**given, output_hidden_states=True).hidden_states[-1][0, -1]
    else:
        ids = [tokenizer(part, add_special_tokens=False).input_ids for part in (text, "it was")]
        sentinel = tokenizer.convert_tokens_to_ids("<extra_id_0>")
        dot, end = tokenizer.convert_tokens_to_ids(["."])[0], tokenizer.eos_token_id
        out = model(
            input_ids=torch.tensor([[*ids[0], *ids[1], sentinel, dot, end]]),
            decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id, sentinel]]),
            output_hidden_states=True,
        )
        states = out.decoder_hidden_states[-1][0, -1]
        if model.config.scale_decoder_outputs:
            states = states * model.model_dim**-0.5
    return states


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "t5-1.1"])
def test_a_linear_probe_scores_the_state_below_the_output_head(backbones: Backbones, name: str):
    backbone = backbones(name)
    (made,) = fits_of(backbone, [job(method=LinearProbe(class_init="random"), seed=5)])
    readout = made.applied.addition.readout
    assert readout is not None
    items = [(0, Example(text, {"text": text})) for text in TEXTS]
    found = [list(p.probabilities.values()) for p in predict(backbone, [made.applied], items)]
    with torch.no_grad():
        states = torch.stack([direct_states(backbone, text) for text in TEXTS])
        scores = states @ readout.weight.T + readout.bias
    torch.testing.assert_close(torch.tensor(found), scores.softmax(-1), rtol=1e-4, atol=1e-5)
    assert float(scores.std()) > 1e-3


@FAMILY
def test_vectors_that_start_from_words_score_as_the_words_do(backbones: Backbones, name: str):
    """So does WARP begin: its first predictions are the label words' own."""
    backbone = backbones(name)
    words = {"positive": [["a"], ["is"]], "negative": [["so"]]}  # one piece each
    labels = ObjectiveSettings(normalise="labels")
    template = "{text} it was {mask}" if name == "gpt2" else "{text} it was {mask}."
    pair = [
        job(mood(words=None), method, words=words, objective=labels, template=template)
        for method in (Warp(length=3), PromptTuning(length=3))
    ]
    items = [Example(text, {"text": text}) for text in TEXTS]
    by_class, by_word = (
        probabilities(predict(backbone, [one.applied], [(0, item) for item in items]))
        for one in fits_of(backbone, pair)
    )
    if name == "t5-1.1":  # behind each word its end is scored too
        assert [set(row) for row in by_class] == [set(row) for row in by_word]
        return
    for found, wanted in zip(by_class, by_word, strict=True):
        assert found == pytest.approx(wanted, abs=1e-4)


@FAMILY
def test_the_order_of_the_labels_changes_no_prediction(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    found = []
    for labels in (tuple(DECISIVE), tuple(reversed(DECISIVE))):
        task = mood(test=6, labels=labels)
        run = fit(backbone, task, LinearProbe(), training=SHORT)
        assert list(run.prompt.answers["labels"]) == list(labels)
        found.append(run.evaluations["test"].predictions)
    for one, other in zip(*found, strict=True):
        assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=1e-10)


def test_words_in_another_order_than_the_labels_stay_with_their_labels(backbones: Backbones):
    words = {"negative": "awful", "positive": "great"}
    pair = [job(method=LinearProbe(class_init="words"), words=given) for given in (None, words)]
    one, other = (made.applied for made in fits_of(backbones("bert"), pair))
    assert one.answers.labels(None) == other.answers.labels(None) == ("positive", "negative")
    assert one.addition.readout is not None
    assert other.addition.readout is not None
    assert torch.equal(one.addition.readout.weight, other.addition.readout.weight)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_rows_may_stand_before_among_and_behind_the_text(backbones: Backbones, name: str):
    template = "{soft:2}{text}{soft:1} it was {mask}"
    if name == "bert":
        template += "{soft:3}"
    (made,) = fits_of(backbones(name), [job(method=Warp(), template=template)])
    Loop(backbones(name), [made]).backward({0: made.draw()})
    grad = made.parameters["rows"].grad
    assert grad is not None
    assert len(grad) == (6 if name == "bert" else 3)
    assert bool(grad.any(dim=1).all())


def test_rows_may_start_from_the_mask_token(backbones: Backbones):
    backbone = backbones("bert")
    (made,) = fits_of(backbone, [job(method=Warp(length=3, init="mask"))])
    mask = backbone.tokenizer.mask
    assert mask is not None
    rows = made.applied.addition.rows
    assert rows is not None
    torch.testing.assert_close(rows.detach(), backbone.rows([mask]).repeat(3, 1))


def test_a_prompt_beginning_that_is_kept_changes_no_score(backbones: Backbones):
    """Class vectors read the last position, behind whatever is shared."""
    backbone = backbones("gpt2", precision="float64")
    template = "{soft}this old film was : {text} it was {mask}"
    (made,) = fits_of(backbone, [job(method=Warp(length=9), template=template)])
    items = [(0, Example(str(n), {"text": text})) for n, text in enumerate(TEXTS * 4)]
    shared = probabilities(predict(backbone, [made.applied], items))
    backbone.share_prefix = False
    try:
        whole = probabilities(predict(backbone, [made.applied], items))
    finally:
        backbone.share_prefix = True
    for found, wanted in zip(shared, whole, strict=True):
        assert found == pytest.approx(wanted, abs=1e-10)


# --- saving ---------------------------------------------------------------------------------------


@FROZEN
@FAMILY
def test_the_saved_prompt_predicts_what_the_learner_did(
    backbones: Backbones, tmp_path: Path, name: str, method: Method
):
    run = saved_as_learned(backbones(name), method, tmp_path / "prompt", SHORT)
    shapes = {n: t.shape for n, t in run.prompt.addition.tensors().items()}
    assert described(shapes)["class vectors"] == "2 of width 32, with a bias"


@FAMILY
def test_a_classification_head_is_saved_with_the_weights_it_stands_on(
    backbones: Backbones, tmp_path: Path, name: str
):
    training = {**SHORT, "keep_weights": True, "optimiser": {"learning_rate": 0.01}}
    saved_as_learned(backbones(name), ClassificationHead(), tmp_path / "prompt", training)


def test_an_encoder_decoder_is_judged_by_rank_alone(backbones: Backbones):
    run = fit(backbones("t5-1.1"), mood(test=6), LinearProbe(), training=SHORT)
    assert set(run.metrics["test"]) == {"accuracy", "loss"}


def test_class_vectors_that_are_not_whole_are_refused():
    weight = torch.zeros(2, 3)
    with pytest.raises(PromptError, match=r"expected readout\.weight and readout\.bias, got"):
        Addition.from_tensors({"readout.weight": weight})
    with pytest.raises(PromptError, match=r"got shapes \[2, 3\] and \[3\]"):
        Readout(weight, torch.zeros(3))
    with pytest.raises(PromptError, match=r"expected floating point numbers, got torch\.int64"):
        Readout(weight.long(), torch.zeros(2))


def test_answers_read_back_in_the_order_of_their_vectors():
    answers = Classes({"z": (("bad",),), "a": (("good",), ("fine",))})
    description = answers.to_json()
    description["words"] = dict(sorted(description["words"].items()))
    assert answers_from_json(description) == answers
    assert answers_from_json(description).labels(None) == ("z", "a")


def test_a_prompt_without_its_vectors_is_refused(backbones: Backbones):
    backbone = backbones("bert")
    prompt = fit(backbone, mood(), Warp(length=3), training=SHORT).prompt
    for addition, message in (
        (Addition(prompt.rows), "has 0 class vectors, its answers need 2"),
        (
            Addition(prompt.rows, readout=Readout(torch.zeros(3, 32), torch.zeros(3))),
            "has 3 class vectors, its answers need 2",
        ),
        (
            Addition(prompt.rows, readout=Readout(torch.zeros(2, 7), torch.zeros(2))),
            "class vectors of width 7, but the output head .* reads 32",
        ),
    ):
        with pytest.raises(PromptError, match=message):
            Predictor(backbone, replace(prompt, addition=addition))


# --- refusals -------------------------------------------------------------------------------------


def test_a_task_without_labels_is_refused(backbones: Backbones):
    free = task_of(
        {"train": [Example("1", {"text": "a film"}, ("good",))]},
        fields=("text",),
        kind="text",
        metrics=("exact_match",),
        template="{text} {mask}",
    )
    number = task_of(
        {"train": [Example("1", {"text": "a film"}, 3.0)]},
        fields=("text",),
        kind="number",
        bounds=(0.0, 5.0),
        words={"low": ("bad",), "high": ("good",)},
        metrics=("pearson",),
        template="{text} {mask}",
    )
    for task, found in ((free, "free text"), (number, "a number")):
        with pytest.raises(SettingsError, match=f"has {found} to answer with. Use a method"):
            fits_of(backbones("gpt2"), [job(task, LinearProbe())])


@pytest.mark.parametrize(
    ("name", "template", "message"),
    [
        ("bert", "{text} {mask} and {mask}", "2 answer slots in .*: expected one, where class"),
        ("gpt2", "{soft}{text} {mask} {soft:2}", "learned rows behind {mask} .* nothing there"),
        ("t5", "{text}{decoder}{soft:2} {mask} {soft:2}", "learned rows behind {mask}"),
    ],
)
def test_templates_that_class_vectors_cannot_read_are_refused(
    backbones: Backbones, name: str, template: str, message: str
):
    words = {"positive": [["good", "one"]], "negative": [["bad", "one"]]}
    two = template.count("{mask}") == 2
    with pytest.raises(TemplateError, match=message):
        fits_of(
            backbones(name),
            [job(method=Warp(), template=template, words=words if two else None)],
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalise": "vocabulary"}, "objective.normalise: vocabulary is of words"),
        ({"prediction": "greedy"}, "objective.prediction: greedy is of words"),
    ],
)
def test_objectives_of_words_are_refused(
    backbones: Backbones, settings: dict[str, Any], message: str
):
    with pytest.raises(SettingsError, match=message):
        fits_of(
            backbones("t5"), [job(method=LinearProbe(), objective=ObjectiveSettings(**settings))]
        )


def test_starts_that_a_backbone_lacks_are_refused(backbones: Backbones):
    with pytest.raises(SettingsError, match=r"init: mask, but .* has no mask token"):
        fits_of(backbones("gpt2"), [job(method=Warp(init="mask"))])
    with pytest.raises(SettingsError, match=r"class_init: words, but .* has no rows for them"):
        fits_of(backbones("deberta-v2-own-head"), [job(method=Warp())])


def test_settings_at_odds_are_refused():
    with pytest.raises(SettingsError, match="class_init has an effect with head: linear only"):
        PTuningV2.read({"head": "words", "class_init": "zero"}, "method")
    with pytest.raises(SettingsError, match="two different lengths"):
        Warp(length=3).n_rows(4)
