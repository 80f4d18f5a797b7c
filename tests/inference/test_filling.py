"""Batched filling in scores what a loop over one example, one candidate and one token at a time does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import MemoryShortage, SettingsError
from softprompt.inference import filling
from softprompt.inference.applied import Applied, apply
from softprompt.inference.filling import fill_in
from softprompt.inference.objective import Fill, ObjectiveSettings, resolve_objective
from softprompt.inference.predict import predict
from softprompt.inference.predictor import Predictor
from softprompt.inference.scoring import score
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.addition import Addition, stacked
from softprompt.text.answers import Answers, OwnCandidates, Verbalizer
from softprompt.text.query import Query
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import parse
from softprompt.tuning.run import fit_many
from tests.builders import WORDS, Backbones, job, mood, rows

FILLS: tuple[Fill, ...] = ("parallel", "max_first", "left_to_right")
SLOW: tuple[Fill, ...] = ("max_first", "left_to_right")
LONG = Verbalizer.read({"up": ["very good", "fun"], "down": ["not so good", "bad", "odd"]})
"""Words of one to three tokens, several of a label: `fun` and `odd` are spelled by letters."""
PAIRS = Verbalizer.read({"up": [["so", "very good"]], "down": [["not so", "bad"]]}, slots=2)
CHOICES = ("a good film", "a slow and dull one", "funny", "a good old book")


def bound(
    backbone: Backbone,
    template: str = "{text} it was {mask}.",
    answers: Answers = LONG,
    n_rows: int = 0,
    seed: int = 0,
    limit: int | None = None,
    **objective: Any,
) -> Applied:
    resolved = resolve_objective(ObjectiveSettings(**objective), backbone.family, False)
    settings = RenderSettings(limit=limit)
    applied = apply(backbone, parse(template), answers, resolved, n_rows=n_rows, settings=settings)
    noise = torch.randn(n_rows, backbone.width, generator=torch.Generator().manual_seed(seed))
    return applied.with_addition(Addition(noise.double() * backbone.rms if n_rows else None))


def asked_of(applied: Sequence[Applied], n: int = 5) -> list[tuple[int, Example]]:
    """Every prompt asked about every row, in turn; own candidates differ in number and length."""
    asked = []
    for number, example in enumerate(rows(n, seed=4)):
        for which, one in enumerate(applied):
            own = CHOICES[number % 2 :] if isinstance(one.answers, OwnCandidates) else None
            asked.append((which, replace(example, candidates=own)))
    return asked


# --- the loop that batches are held against -------------------------------------------------------


def log_p(backbone: Backbone, query: Query, ids: Sequence[int], prompt: Tensor | None) -> Tensor:
    """What the model alone says of one row, `[T, V]`."""
    model: Any = backbone.model
    embeddings = model.get_input_embeddings()(torch.tensor(ids).clamp(min=0))
    for place, number in enumerate(ids):
        if number < 0:
            assert prompt is not None
            embeddings[place] = prompt[-1 - number]
    kinds = torch.tensor([query.segments])
    with torch.no_grad():
        given = {"inputs_embeds": embeddings[None], "token_type_ids": kinds}
        return torch.log_softmax(model(**given).logits[0], dim=-1)


@torch.no_grad()
def naive(backbone: Backbone, applied: Applied, example: Example, fill: Fill) -> list[float]:
    """The score of each candidate, in order: one forward pass for each of its tokens."""
    found = {}
    for query in applied.render(example).queries:
        for read in query.reads:
            ids, left = list(query.ids), dict(zip(read.positions, read.tokens, strict=True))
            total = 0.0
            while left:
                table = log_p(backbone, query, ids, applied.addition.rows)
                each = {place: float(table[place, token]) for place, token in left.items()}
                if fill == "parallel":
                    total, left = sum(each.values()), {}
                    continue
                place = min(each) if fill == "left_to_right" else max(each, key=each.__getitem__)
                total += each[place]
                ids[place] = left.pop(place)
            found[read.candidate] = total
    return [found[number] for number in sorted(found)]


def probabilities(scores: Sequence[float], applied: Applied, example: Example) -> list[float]:
    """A softmax over labels; of several words of a label, the mean of their scores."""
    rendering = applied.render(example)
    sizes = {read.candidate: len(read.tokens) for q in rendering.queries for read in q.reads}
    scale = [sizes[n] if applied.objective.mean else 1 for n in range(len(scores))]
    table = []
    for label in range(len(rendering.labels)):
        own = [n for n, of in enumerate(rendering.label_of) if of == label]
        table.append(sum(scores[n] / scale[n] for n in own) / len(own))
    return torch.tensor(table, dtype=torch.float64).softmax(dim=-1).tolist()


def check(backbone: Backbone, applied: Sequence[Applied], token_budget: int = 8192) -> None:
    """Predictions are the naive loop's, to f64's rounding."""
    asked = asked_of(applied)
    found = predict(backbone, applied, asked, token_budget)
    for (which, example), prediction in zip(asked, found, strict=True):
        one = applied[which]
        wanted = probabilities(naive(backbone, one, example, one.objective.fill), one, example)
        assert list(prediction.probabilities.values()) == pytest.approx(wanted, abs=1e-9)


# --- equal to the loop ----------------------------------------------------------------------------


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("name", ["bert", "roberta", "albert"])
def test_words_of_several_lengths_are_scored_as_one_by_one(
    backbones: Backbones, name: str, fill: Fill
):
    backbone = backbones(name, precision="float64")
    check(backbone, [bound(backbone, fill=fill)])


@pytest.mark.parametrize("fill", SLOW)
@pytest.mark.parametrize(
    ("template", "answers", "n_rows", "objective"),
    [
        ("{mask} it was , {text} {mask}", PAIRS, 0, {}),
        ("{soft}{text}{sep}it was {mask}", LONG, 3, {}),
        ("{text} {mask}", OwnCandidates(), 2, {"answer_score": "mean"}),
    ],
)
def test_slots_rows_segments_and_own_candidates_are_scored_as_one_by_one(
    backbones: Backbones,
    template: str,
    answers: Answers,
    n_rows: int,
    objective: dict[str, Any],
    fill: Fill,
):
    backbone = backbones("bert", precision="float64")
    check(backbone, [bound(backbone, template, answers, n_rows, fill=fill, **objective)])


@pytest.mark.parametrize("token_budget", [1, 90, 8192])
def test_prompts_of_every_order_share_batches_however_they_are_cut(
    backbones: Backbones, token_budget: int
):
    backbone = backbones("bert", precision="float64")
    applied = [
        bound(backbone, n_rows=4, fill="max_first"),
        bound(backbone, "so {text} : {mask}", n_rows=2, seed=1, fill="left_to_right"),
        bound(backbone, "{text} {mask}", OwnCandidates(), fill="max_first", answer_score="mean"),
        bound(backbone, "{text} {mask}", n_rows=1, seed=2),
    ]
    check(backbone, applied, token_budget)


def test_the_likelier_token_is_read_first_and_the_other_behind_or_before_it(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    tokenizer, model = backbone.tokenizer.wrapped, backbone.model

    def table(text: str) -> Tensor:
        with torch.no_grad():
            given = tokenizer(text, return_tensors="pt")
            return torch.log_softmax(model(**given).logits[0], dim=-1)  # type: ignore[operator]

    began = []
    for example in rows(12):
        text = f"{example.fields['text']} it was"
        masks = table(f"{text} [MASK] [MASK].")
        first = len(tokenizer(text).input_ids) - 1
        scores = {}
        for words in ("so good", "very bad"):
            left, right = tokenizer.convert_tokens_to_ids(words.split())
            a, b = masks[first, left], masks[first + 1, right]
            began.append(bool(a > b))
            if a > b:
                scores[words] = a + table(f"{text} {words.split()[0]} [MASK].")[first + 1, right]
            else:
                scores[words] = b + table(f"{text} [MASK] {words.split()[1]}.")[first, left]
        answers = Verbalizer.read({words: words for words in scores})
        (found,) = predict(
            backbone, [bound(backbone, answers=answers, fill="max_first")], [(0, example)]
        )
        wanted = torch.stack([*scores.values()]).softmax(dim=0).tolist()
        assert list(found.probabilities.values()) == pytest.approx(wanted, abs=1e-9)
    assert len(set(began)) == 2  # both orders were met


def test_scores_are_log_probabilities_and_say_how_many_tokens_they_are_of(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    one = bound(backbone, n_rows=2, fill="max_first")
    (example,) = rows(1)
    rendering, prompts = one.render(example), stacked([one.addition])
    found = fill_in(backbone, prompts, [rendering], [0], ["max_first"], 8192)
    wanted = naive(backbone, one, example, "max_first")
    assert found.summed.tolist() == pytest.approx(wanted, abs=1e-9)
    assert found.tokens.tolist() == [2, 3, 3, 1, 3]
    assert found.label.tolist() == [0, 0, 1, 1, 1]
    with torch.no_grad():
        parallel = fill_in(backbone, prompts, [rendering], [0], ["parallel"], 8192)
        beside = score(backbone, prompts, [rendering], [0])
    torch.testing.assert_close(parallel.summed, beside.summed)
    assert parallel.tokens.tolist() == beside.tokens.tolist()


def test_the_order_matters_for_several_tokens_and_not_for_one(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    short = Verbalizer.read(WORDS)
    for answers, alike in ((LONG, False), (short, True)):
        applied = [bound(backbone, answers=answers, fill=fill) for fill in FILLS]
        (example,) = rows(1)
        first, *others = (
            list(p.probabilities.values())
            for p in predict(backbone, applied, [(n, example) for n in range(len(FILLS))])
        )
        pairs = [(first, others[0]), (first, others[1]), (others[0], others[1])]
        for one, other in pairs:
            assert (one == pytest.approx(other, abs=1e-9)) == alike


@pytest.mark.parametrize("objective", [{"pmi": True}, {"calibration": "contextual"}])
def test_corrections_are_made_with_scores_of_the_same_order(
    backbones: Backbones, objective: dict[str, Any]
):
    backbone = backbones("bert", precision="float64")
    one = bound(backbone, fill="max_first", **objective)
    (example,) = rows(1)

    def naively(text: str) -> Tensor:
        given = replace(example, fields={"text": text})
        return torch.tensor(probabilities(naive(backbone, one, given, "max_first"), one, given))

    empty = ("",) if one.objective.pmi else ("N/A", "", "[MASK]")
    ratio = naively(str(example.fields["text"])) / torch.stack([*map(naively, empty)]).mean(dim=0)
    (found,) = predict(backbone, [one], [(0, example)])
    wanted = (ratio / ratio.sum()).tolist()
    assert list(found.probabilities.values()) == pytest.approx(wanted, abs=1e-6)


# --- what runs -------------------------------------------------------------------------------------


@pytest.fixture
def asked_rows(backbones: Backbones) -> Iterator[list[int]]:
    """How many rows each pass over the tiny BERT had."""
    seen: list[int] = []
    handle = backbones("bert").model.register_forward_pre_hook(
        lambda module, given, named: seen.append(len(named["inputs_embeds"])), with_kwargs=True
    )
    yield seen
    handle.remove()


def test_a_round_is_one_pass_and_equal_rows_run_once(backbones: Backbones, asked_rows: list[int]):
    backbone = backbones("bert")
    words = {"a": "very good film", "b": "very good plot", "c": "so bad", "d": "dull"}
    one = bound(backbone, answers=Verbalizer.read(words), fill="left_to_right")
    predict(backbone, [one], [(0, example) for example in rows(1)])
    # three lengths; `very` and `so` filled in; `very good`
    assert asked_rows == [3, 2, 1]
    asked_rows.clear()
    predict(backbone, [one, one], [(0, example) for example in rows(2, most=1)] * 3)
    assert asked_rows == [6, 4, 2]  # three times the same examples are the same rows


def test_examples_that_are_done_leave_the_batch(backbones: Backbones, asked_rows: list[int]):
    backbone = backbones("bert")
    one = bound(backbone, "{text} {mask}", OwnCandidates(), fill="max_first")
    short, long = rows(2, most=2)
    asked = [replace(short, candidates=("good", "bad")), replace(long, candidates=("so good", "x"))]
    predict(backbone, [one], [(0, example) for example in asked])
    assert asked_rows == [3, 1]


def test_rows_that_do_not_fit_the_memory_run_in_smaller_parts(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    one = bound(backbone, fill="max_first")
    asked = asked_of([one])
    wanted = [list(p.probabilities.values()) for p in predict(backbone, [one], asked)]
    most = 40

    def check_memory(module: Any, given: Any, named: Any) -> None:
        if named["inputs_embeds"].shape[0] * named["inputs_embeds"].shape[1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = backbone.model.register_forward_pre_hook(check_memory, with_kwargs=True)
    try:
        with pytest.warns(UserWarning, match="does not hold a token budget"):
            found = predict(backbone, [one], asked)
        for prediction, row in zip(found, wanted, strict=True):
            assert list(prediction.probabilities.values()) == pytest.approx(row, abs=1e-9)
        most = 5
        with (
            pytest.warns(UserWarning, match="does not hold"),
            pytest.raises(MemoryShortage, match="a single example"),
        ):
            predict(backbone, [one], asked)
    finally:
        handle.remove()


def test_words_of_one_token_do_not_pay_for_an_order(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
):
    backbone = backbones("bert")
    rounds: list[int] = []
    take = filling._take_round
    monkeypatch.setattr(filling, "_take_round", lambda *a: (rounds.append(1), take(*a))[1])
    one = bound(backbone, answers=Verbalizer.read(WORDS), fill="max_first")
    predict(backbone, [one], [(0, example) for example in rows(3)])
    assert len(rounds) == 1


# --- training with the longest answer's masks ------------------------------------------------------


def test_in_training_a_shorter_answer_reads_the_first_masks_of_the_longest(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    words = Verbalizer.read({"up": "great", "down": "very bad"})
    one = bound(backbone, answers=words, masks="longest")
    (example,) = rows(1)
    tokenizer: Any = backbone.tokenizer.wrapped
    encoded = tokenizer(f"{example.fields['text']} it was [MASK] [MASK].", return_tensors="pt")
    first, second = (encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero().flatten()
    model: Any = backbone.model
    with torch.no_grad():
        table = torch.log_softmax(model(**encoded).logits[0], dim=-1)
        found = score(backbone, None, [one.render_lesson(example)], [0], normalised=False)
    great, very, bad = tokenizer.convert_tokens_to_ids(["great", "very", "bad"])
    wanted = torch.stack([table[first, great], table[first, very] + table[second, bad]])
    torch.testing.assert_close(found.summed, wanted)
    assert found.tokens.tolist() == [1, 2]
    alone = one.render(example)  # a prediction gives each its own number of masks
    masks = [query.ids.count(tokenizer.mask_token_id) for query in alone.queries]
    assert masks == [1, 2]


@pytest.mark.parametrize("masks", ["own", "longest"])
def test_a_prompt_taught_and_asked_so_predicts_alike_when_read_back(
    backbones: Backbones, tmp_path: Path, masks: str
):
    words = {"positive": ["great", "very good"], "negative": "not so fine"}
    objective = ObjectiveSettings.read({"masks": masks, "fill": "max_first"}, "objective")
    given = {"words": words, "objective": objective, "training": {"steps": 3}}
    task = mood(test=6)
    (run,) = fit_many(backbones("bert"), [job(task, PromptTuning(length=2), **given)])
    run.prompt.save(tmp_path / "p")
    assert run.prompt.objective["masks"] == masks
    assert run.prompt.objective["fill"] == "max_first"
    found = Predictor(backbones("bert"), tmp_path / "p").predict_examples(task.examples("test"))
    assert list(found) == list(run.evaluations["test"].predictions)


def test_a_prompt_saved_before_there_was_an_order_is_read_as_it_was(
    backbones: Backbones, tmp_path: Path
):
    (run,) = fit_many(backbones("bert"), [job(mood(test=4), training={"steps": 1})])
    old = {k: v for k, v in run.prompt.objective.items() if k not in ("masks", "fill")}
    predictor = Predictor(backbones("bert"), replace(run.prompt, objective=old))
    found = list(predictor.predict_examples(mood(test=4).examples("test")))
    assert found == list(run.evaluations["test"].predictions)


# --- where it has no meaning -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "kind", "given"),
    [
        ("causal", {}, {"fill": "max_first"}),
        ("causal", {}, {"masks": "longest"}),
        ("encoder_decoder", {}, {"fill": "max_first"}),
        ("encoder_decoder", {}, {"masks": "longest"}),
        ("masked", {"classes": True}, {"fill": "max_first"}),
        ("masked", {"classes": True}, {"masks": "longest"}),
        ("masked", {"free_text": True}, {"masks": "longest"}),
    ],
)
def test_masks_are_refused_where_no_words_are_ranked_in_them(
    family: Any, kind: dict[str, bool], given: dict[str, Any]
):
    settings = ObjectiveSettings(**given)
    with pytest.raises(SettingsError, match=rf"objective\.{next(iter(given))}.* no effect"):
        resolve_objective(settings, family, **{"free_text": False, **kind})


def test_free_text_is_written_in_any_order():
    found = resolve_objective(ObjectiveSettings(fill="max_first"), "masked", free_text=True)
    assert (found.fill, found.prediction, found.normalise) == ("max_first", "greedy", "vocabulary")


def test_the_longest_answers_masks_are_refused_where_one_answer_is_taught():
    settings = ObjectiveSettings(masks="longest", normalise="vocabulary")
    with pytest.raises(SettingsError, match="the right answer alone"):
        resolve_objective(settings, "masked", free_text=False)
    asked = ObjectiveSettings(fill="max_first", normalise="vocabulary")
    assert resolve_objective(asked, "masked", free_text=False).fill == "max_first"
