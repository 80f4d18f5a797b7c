"""What is predicted depends on the example and its prompt, never on who shares the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import DataError, PromptError, RunError, SettingsError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.evaluate import evaluate
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predict import Prediction, predict
from softprompt.prompts.addition import Addition
from softprompt.text.answers import Answers, FreeText, OwnCandidates, Poles, Verbalizer
from softprompt.text.template import parse
from tests.builders import DECISIVE, FAMILIES, WORDS, Backbones, rows

CHOICES = ("a good film", "a slow and dull one", "funny")


def bound(
    backbone: Backbone,
    template: str = "{text} it was {mask}",
    answers: Answers | None = None,
    n_rows: int = 0,
    seed: int = 0,
    **objective: Any,
) -> Applied:
    answers = answers or Verbalizer.read(WORDS)
    free = isinstance(answers, FreeText)
    resolved = resolve_objective(ObjectiveSettings(**objective), backbone.family, free)
    applied = apply(backbone, parse(template), answers, resolved, n_rows=n_rows)
    noise = torch.randn(n_rows, backbone.width, generator=torch.Generator().manual_seed(seed))
    return applied.with_addition(Addition(noise * backbone.rms if n_rows else None))


def prompts(backbone: Backbone) -> list[Applied]:
    """Prompts of several lengths, templates, answers and objectives."""
    found = [
        bound(backbone, n_rows=4),
        bound(backbone, "{soft}this {text} : {mask}", n_rows=2, seed=1, answer_score="mean"),
        bound(backbone, "{text} {mask}", OwnCandidates()),
        bound(backbone, "so {text} . {mask}", n_rows=3, seed=2, pmi=True),
        bound(backbone, "it {text} {mask}", Poles(("bad", "very good"), (0.0, 5.0)), 1),
    ]
    if backbone.family != "masked":
        found += [
            bound(backbone, "{text} it was {mask}", n_rows=5, prediction="greedy"),
            bound(backbone, "say {text} : {mask}", FreeText(4), n_rows=2),
        ]
    return found


def items(applied: Sequence[Applied]) -> list[tuple[int, Example]]:
    """Every prompt asked about every row, in turn."""
    given = rows(6, seed=9)
    asked = [(which, example) for example in given for which in range(len(applied))]
    return [
        (w, replace(e, candidates=CHOICES) if isinstance(applied[w].answers, OwnCandidates) else e)
        for w, e in asked
    ]


def same(got: Sequence[Prediction], wanted: Sequence[Prediction]) -> None:
    assert [p.id for p in got] == [p.id for p in wanted]
    for one, other in zip(got, wanted, strict=True):
        assert (one.label, one.text, one.cut) == (other.label, other.text, other.cut)
        # f32: matrices of other shapes add up in another order
        assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=2e-5)
        assert (one.value is None) == (other.value is None)
        if one.value is not None:
            assert one.value == pytest.approx(other.value, abs=1e-4)


@pytest.mark.parametrize("name", [*FAMILIES, "llama", "bart"])
def test_mixed_tasks_in_one_batch_are_as_each_alone(backbones: Backbones, name: str):
    backbone = backbones(name)
    template = "{text} {decoder}{mask}" if name == "bart" else None
    applied = prompts(backbone) if template is None else [bound(backbone, template, n_rows=3)]
    together = predict(backbone, applied, items(applied))
    alone = [
        predict(backbone, [applied[which]], [(0, example)])[0] for which, example in items(applied)
    ]
    same(together, alone)
    assert len({p.label for p in together}) > 1


@pytest.mark.parametrize("name", FAMILIES)
def test_neither_token_budget_nor_order_changes_a_prediction(backbones: Backbones, name: str):
    backbone = backbones(name)
    applied = prompts(backbone)
    asked = items(applied)
    wanted = predict(backbone, applied, asked)
    same(predict(backbone, applied, asked, token_budget=1), wanted)
    same(predict(backbone, applied, asked, token_budget=70), wanted)
    same(predict(backbone, applied, asked[::-1])[::-1], wanted)


@pytest.mark.parametrize("name", FAMILIES)
def test_probabilities_are_over_the_examples_own_labels_and_sum_to_one(
    backbones: Backbones, name: str
):
    backbone = backbones(name)
    applied = prompts(backbone)
    for (which, example), prediction in zip(
        items(applied), predict(backbone, applied, items(applied)), strict=True
    ):
        if applied[which].objective.prediction == "greedy":
            assert not prediction.probabilities
            continue
        labels = applied[which].answers.labels(example.candidates)
        assert tuple(prediction.probabilities) == labels
        assert sum(prediction.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        assert prediction.label == max(labels, key=prediction.probabilities.__getitem__)


def test_pmi_takes_off_the_score_on_empty_fields(backbones: Backbones):
    backbone = backbones("gpt2")
    (example,) = rows(1)
    plain, corrected = (
        bound(backbone, "so {text} {mask}"),
        bound(backbone, "so {text} {mask}", pmi=True),
    )
    (given,) = predict(backbone, [plain], [(0, example)])
    (empty,) = predict(backbone, [plain], [(0, replace(example, fields={"text": ""}))])
    (got,) = predict(backbone, [corrected], [(0, example)])
    ratio = {label: p / empty.probabilities[label] for label, p in given.probabilities.items()}
    wanted = {label: r / sum(ratio.values()) for label, r in ratio.items()}
    assert dict(got.probabilities) == pytest.approx(wanted, rel=1e-4)
    assert dict(got.probabilities) != pytest.approx(dict(given.probabilities), rel=1e-2)


def generating(backbone: Backbone, monkeypatch: pytest.MonkeyPatch, *outputs: str) -> None:
    """Let the backbone generate these texts, by their pieces and in this order."""
    tokenizer: Any = backbone.tokenizer.wrapped

    def generate(inputs: Any, most: int, decoder: Any, prefix: Any) -> list[tuple[int, ...]]:
        return [tuple(tokenizer(text, add_special_tokens=False).input_ids) for text in outputs]

    monkeypatch.setattr(backbone, "generate", generate)


@pytest.mark.parametrize(
    ("template", "output", "label"),
    [
        ("{text} it was", "great", "positive"),
        ("{text} it was", "great film", None),
        ("{text} it was", "the", None),
        ("{text} it was {mask} .", "<extra_id_0> awful <extra_id_1>", "negative"),
        ("{text} it was {mask} .", "<extra_id_0> awful <extra_id_1> film", "negative"),
        ("{text} {decoder}it was {mask}", "awful", "negative"),
        ("{text} {decoder}it was {mask} .", "awful .", "negative"),
    ],
)
def test_a_decoders_output_is_the_label_whose_whole_answer_it_is(
    backbones: Backbones,
    monkeypatch: pytest.MonkeyPatch,
    template: str,
    output: str,
    label: str | None,
):
    backbone = backbones("t5-1.1")
    generating(backbone, monkeypatch, output)
    applied = bound(backbone, template, prediction="greedy")
    (got,) = predict(backbone, [applied], [(0, rows(1)[0])])
    assert (got.label, got.answer) == (label, label)
    assert got.text == output.replace("<extra_id_0>", "").partition("<extra_id_1>")[0].strip()


def test_several_slots_are_filled_behind_their_sentinels(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
):
    backbone = backbones("t5-1.1")
    answers = Verbalizer.read({"up": [["very", "good"]], "down": [["so", "bad"]]}, 2)
    applied = bound(backbone, "{mask} {text} {mask}", answers, prediction="greedy")
    generating(backbone, monkeypatch, "<extra_id_0> so <extra_id_1> bad <extra_id_2> and")
    assert predict(backbone, [applied], [(0, rows(1)[0])])[0].label == "down"


@pytest.mark.parametrize(
    ("output", "label"),
    [(" good film", "short"), (" good book and", "long"), (" bad", None)],
)
def test_a_causal_output_is_the_longest_answer_that_it_begins_with(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch, output: str, label: str | None
):
    backbone = backbones("gpt2")
    answers = Verbalizer.read({"short": "good", "long": "good book"})
    applied = bound(backbone, "{text} it was {mask}", answers, prediction="greedy")
    generating(backbone, monkeypatch, output)
    assert predict(backbone, [applied], [(0, rows(1)[0])])[0].label == label


def test_both_ways_stand_in_an_encoder_decoders_report(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
):
    backbone = backbones("t5-1.1")
    examples = [replace(rows(1)[0], id=str(n), target="positive") for n in range(4)]
    generating(backbone, monkeypatch, "great", "awful", "the film", "great")
    found = evaluate(backbone, bound(backbone, "{text}"), examples, ["accuracy"], tuple(DECISIVE))
    assert found.beside["greedy_accuracy"] == 0.5
    assert found.beside["illegal"] == 0.25
    assert found.beside["rank_accuracy"] == found.metrics["accuracy"]
    greedy = bound(backbone, "{text}", prediction="greedy")
    same_again = evaluate(backbone, greedy, examples, ["accuracy"], tuple(DECISIVE))
    assert same_again.beside == found.beside
    assert same_again.metrics == {"accuracy": 0.5}


def test_the_loss_of_an_evaluation_is_the_mean_of_minus_log_p(backbones: Backbones):
    backbone = backbones("bert")
    examples, applied = rows(5), bound(backbone)
    found = evaluate(backbone, applied, examples, ["accuracy"], tuple(DECISIVE))
    pairs = zip(found.predictions, examples, strict=True)
    p = torch.tensor([prediction.probabilities[str(e.target)] for prediction, e in pairs])
    assert found.metrics["loss"] == pytest.approx(float(-p.log().mean()), rel=1e-5)


def test_scores_that_are_no_numbers_are_an_error_not_a_prediction(backbones: Backbones):
    backbone = backbones("bert")
    applied = bound(backbone, n_rows=2)
    spoilt = applied.with_addition(Addition(torch.full((2, backbone.width), float("nan"))))
    with pytest.raises(RunError, match="example 0-0: its scores are not numbers"):
        predict(backbone, [spoilt], [(0, rows(1)[0])])


def test_greedy_prediction_is_refused_where_it_cannot_be_judged(backbones: Backbones):
    with pytest.raises(SettingsError, match="masked backbone ranks candidates"):
        bound(backbones("bert"), prediction="greedy")
    words = Verbalizer.read({"up": [["very", "good"]], "down": [["so", "bad"]]}, 2)
    with pytest.raises(SettingsError, match="greedy needs one answer slot"):
        bound(backbones("gpt2"), "{text} {mask} and {mask}", words, prediction="greedy")


@pytest.mark.parametrize(
    ("settings", "free", "message"),
    [
        ({"normalise": "labels"}, True, "normalise: labels needs candidates"),
        ({"prediction": "rank"}, True, "prediction: rank needs candidates"),
        ({"z_loss": 1e-4}, False, "z_loss: has no effect"),
    ],
)
def test_an_objective_at_odds_with_the_answers_is_refused(
    settings: dict[str, Any], free: bool, message: str
):
    with pytest.raises(SettingsError, match=message):
        resolve_objective(ObjectiveSettings(**settings), "causal", free)


def test_a_prompt_with_another_number_of_rows_is_refused(backbones: Backbones):
    with pytest.raises(PromptError, match="places 2 rows, the prompt has 3"):
        bound(backbones("bert"), n_rows=2).with_addition(Addition(torch.zeros(3, 32)))


def test_an_error_in_an_example_names_it(backbones: Backbones):
    broken = Example("row 7", {"other": "x"}, "positive")
    with pytest.raises(DataError, match=r"example row 7: .*expected a field 'text'"):
        predict(backbones("bert"), [bound(backbones("bert"))], [(0, broken)])
    with pytest.raises(DataError, match=r"example row 8 has no target"):
        evaluate(
            backbones("bert"),
            bound(backbones("bert")),
            [Example("row 8", {"text": "x"})],
            ["accuracy"],
        )
    with pytest.raises(DataError, match="no examples"):
        evaluate(backbones("bert"), bound(backbones("bert")), [], ["accuracy"])
