"""What a prompt's rows begin with is run once, whatever is asked later, and changes no number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.inference import passes
from softprompt.inference.applied import Applied, apply
from softprompt.inference.beginnings import Beginnings, fixed_beginning
from softprompt.inference.evaluate import evaluate
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predict import Prediction, predict
from softprompt.inference.predictor import Predictor
from softprompt.inference.scoring import score
from softprompt.prompts.addition import Addition, stack
from softprompt.text.answers import FreeText, Verbalizer
from softprompt.text.rendering import Rendering
from softprompt.text.spell import Demonstration
from softprompt.text.template import parse
from softprompt.tuning.run import fit_many
from tests.builders import DECISIVE, Backbones, job, mood, rows
from tests.inference.test_predict import bound, items, prompts
from tests.inference.test_shared_prefix import CAUSAL, IN_F32, whole_rows

SEVERAL = Verbalizer.read({"up": ["very good", "a good film"], "down": "slow and dull"})
INSTRUCTED = "{soft:7}say of this {text} : {mask}"
CANNOT = ("BloomForCausalLM",)
"""Whose attentions take no keys and values from elsewhere."""
ONE_TOKEN = Verbalizer.read({"positive": "is", "negative": "the"})
"""So that an example is one row."""


@pytest.fixture(autouse=True)
def _keeping_whatever_it_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models' prompts are short."""
    monkeypatch.setattr(passes, "LEAST_KNOWN", 1)
    monkeypatch.setattr(passes, "LEAST_SAVED", 1)
    monkeypatch.setattr(passes, "LEAST_SHARE", 0.0)


@pytest.fixture
def _of_examples_nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that happen to begin alike are not worth a pass."""
    monkeypatch.setattr(passes, "LEAST_SAVED", 64)


@contextmanager
def worked(backbone: Backbone) -> Iterator[list[tuple[int, int]]]:
    """Rows and positions of every call of the network."""
    found: list[tuple[int, int]] = []
    assert backbone.shares_prefix in (True, False)  # measured before anything is counted

    def note(module: Any, given: Any, named: dict[str, Any]) -> None:
        ids = named.get("input_ids")
        there = named["inputs_embeds"] if ids is None else ids
        found.append((there.shape[0], there.shape[1]))

    handle = backbone.model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


def of_all_kinds(backbone: Backbone) -> list[Applied]:
    """Ragged rows, labels of several tokens, own candidates, PMI, greedy and free answers, learned keys
    and values."""
    attended = [] if type(backbone.model).__name__ in CANNOT else [with_attended(backbone)]
    return [
        *attended,
        *prompts(backbone),
        bound(backbone, INSTRUCTED, SEVERAL, n_rows=7, seed=5),
        bound(backbone, "say of {text} so", FreeText(7), n_rows=6, seed=8),
    ]


def with_attended(backbone: Backbone, length: int = 3) -> Applied:
    """An instruction before the field, and learned keys and values of every layer."""
    answers = Verbalizer.read({"up": "good", "down": "bad"})
    objective = resolve_objective(ObjectiveSettings(), backbone.family, False)
    template = parse("say of this {text} : {mask}")
    applied = apply(backbone, template, answers, objective, n_attended=length)
    generator = torch.Generator().manual_seed(12)
    tensors = {
        stack: torch.randn(s.layers, 2, length, s.heads, s.width, generator=generator)
        for stack, s in backbone.attentions.shapes.items()
    }
    return applied.with_addition(Addition(None, tensors))


def same(got: Sequence[Prediction], wanted: Sequence[Prediction], tolerance: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        assert (one.id, one.label, one.text) == (other.id, other.label, other.text)
        assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=tolerance)


@pytest.mark.parametrize("name", CAUSAL)
def test_calls_one_by_one_are_one_batch_and_whole_rows(backbones: Backbones, name: str) -> None:
    backbone = backbones(name, precision="float64")
    tolerance = 1e-6 if name in IN_F32 else 1e-10
    applied = of_all_kinds(backbone)
    asked = items(applied)
    kept = Beginnings(applied)
    one_by_one = [predict(backbone, applied, [one], beginnings=kept)[0] for one in asked]
    held = kept.nbytes
    together = predict(backbone, applied, asked, beginnings=kept)
    in_parts = predict(backbone, applied, asked, token_budget=70, beginnings=kept)
    assert held == kept.nbytes > 0
    with whole_rows(backbone):
        # Each alone: left pads are no numbers to BLOOM's attention in f64.
        wanted = predict(backbone, applied, asked, token_budget=1)
    for got in (one_by_one, together, in_parts):
        same(got, wanted, tolerance)
    assert len({prediction.text for prediction in wanted}) > 3
    assert len({prediction.label for prediction in wanted}) > 3


def test_the_first_call_and_the_last_give_the_same_bits(backbones: Backbones) -> None:
    backbone = backbones("gpt2")
    applied = of_all_kinds(backbone)
    kept, asked = Beginnings(applied), items(applied)
    first = [predict(backbone, applied, [one], beginnings=kept) for one in asked]
    fresh = [predict(backbone, applied, [one]) for one in asked[::-1]][::-1]
    last = [predict(backbone, applied, [one], beginnings=kept) for one in asked]
    assert first == fresh == last


@pytest.mark.usefixtures("_of_examples_nothing_shared")
@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral"])
def test_a_beginning_is_run_once_over_many_calls(backbones: Backbones, name: str) -> None:
    backbone = backbones(name)
    applied = [
        bound(backbone, answers=ONE_TOKEN, n_rows=9),
        bound(backbone, INSTRUCTED, ONE_TOKEN, n_rows=7, seed=1),
    ]
    kept, examples = Beginnings(applied), rows(5)
    begun = [len(kept.ids(number)) for number in range(2)]
    assert begun[0] == len(backbone.tokenizer.start) + 9
    assert begun[1] > begun[0]
    for number, example in enumerate(examples):
        with worked(backbone) as seen:
            predict(backbone, applied, [(0, example)], beginnings=kept)
        (query,) = applied[0].render(example).queries
        rest = (1, len(query.ids) - begun[0])
        assert seen == ([(1, begun[0]), rest] if number == 0 else [rest])
    both = [(which, example) for example in examples for which in (0, 1)]
    with worked(backbone) as seen:
        predict(backbone, applied, both, beginnings=kept)
    assert seen[0] == (1, begun[1])
    assert [count for count, _ in seen[1:]] == [len(both)]
    with worked(backbone) as seen:
        predict(backbone, applied, both, beginnings=kept)
    assert [count for count, _ in seen] == [len(both)]


@pytest.mark.usefixtures("_of_examples_nothing_shared")
def test_an_evaluation_of_many_batches_runs_it_once(backbones: Backbones) -> None:
    backbone, examples = backbones("gpt2"), rows(9)
    applied = bound(backbone, answers=ONE_TOKEN, n_rows=9)
    with worked(backbone) as seen:
        evaluate(backbone, applied, examples, ["accuracy"], tuple(DECISIVE), token_budget=1)
    assert seen[0] == (1, 9)
    assert len(seen) == 1 + len(examples)
    assert sorted(length for _, length in seen[1:]) == sorted(
        len(applied.render(example).queries[0].ids) - 9 for example in examples
    )


def test_greedy_answers_run_the_text_and_then_each_token(backbones: Backbones) -> None:
    backbone = backbones("gpt-neox")
    applied = [bound(backbone, "say of {text} so", FreeText(4), n_rows=9)]
    kept, (example, other) = Beginnings(applied), rows(2)
    predict(backbone, applied, [(0, example)], beginnings=kept)
    with worked(backbone) as seen:
        predict(backbone, applied, [(0, other)], beginnings=kept)
    text = len(applied[0].source(other).ids) - len(kept.ids(0))
    assert seen == [(1, text), *[(1, 1)] * (len(seen) - 1)]


def test_prompts_of_equal_ids_keep_their_own(backbones: Backbones) -> None:
    backbone = backbones("gpt2", precision="float64")
    applied = [bound(backbone, INSTRUCTED, n_rows=7, seed=seed) for seed in (1, 2, 3)]
    kept, example = Beginnings(applied), rows(1)[0]
    assert kept.ids(0) == kept.ids(1)
    asked = [(which, example) for which in (2, 0, 1, 0, 2)]
    found = [predict(backbone, applied, [one], beginnings=kept)[0] for one in asked]
    with whole_rows(backbone):
        same(found, predict(backbone, applied, asked), 1e-10)
    same(predict(backbone, applied, asked, beginnings=kept), found, 1e-10)
    assert found[1] == found[3] != found[0] == found[4] != found[2]
    # Keys and values of 2 layers, 32 wide in all heads, 8 bytes each.
    assert kept.nbytes == 3 * 2 * 2 * 32 * len(kept.ids(0)) * 8


# --- rows that begin otherwise -------------------------------------------------------------------


def summed(
    backbone: Backbone, applied: Applied, renderings: Sequence[Rendering], kept: Beginnings | None
) -> Tensor:
    with torch.no_grad():
        prompt = stack([applied.addition])
        return score(backbone, prompt, renderings, [0] * len(renderings), beginnings=kept).summed


def near(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert float((got - wanted).abs().max()) <= tolerance * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gpt-neox"])
def test_rows_that_begin_otherwise_are_right_and_so_are_those_after_them(
    backbones: Backbones, name: str
) -> None:
    backbone = backbones(name, precision="float64")
    tolerance = 1e-6 if name in IN_F32 else 1e-10
    applied = bound(backbone, "{soft:5}the plot is {text} so {mask}", SEVERAL, n_rows=5)
    texts = (
        "{soft:5}the plot is {text} so {mask}",
        "{soft:5}the story is {text} so {mask}",  # from the instruction's middle on
        "{text}{soft:5} so {mask}",  # from its first id on
        "{soft:5}{mask} the plot is {text}",  # what is read lies within it
        "{soft:5}the plot is {text} so {mask}",
    )
    kept = Beginnings([applied])
    groups = [
        [bound(backbone, text, SEVERAL, n_rows=5).render(e) for e in rows(3, seed=n)]
        for n, text in enumerate(texts)
    ]
    with whole_rows(backbone):
        wanted = [summed(backbone, applied, group, None) for group in groups]
    for group, expected in zip(groups, wanted, strict=True):
        near(summed(backbone, applied, group, kept), expected, tolerance)
    mixed = [rendering for group in zip(*groups, strict=True) for rendering in group]
    with whole_rows(backbone):
        expected = summed(backbone, applied, mixed, None)
    near(summed(backbone, applied, mixed, kept), expected, tolerance)


def test_demonstrations_that_change_are_not_taken_for_each_other(backbones: Backbones) -> None:
    backbone = backbones("gpt2", precision="float64")
    applied = bound(backbone, "{soft:4}rate: {demo} {text} it was {mask}", n_rows=4)
    kept = Beginnings([applied])
    shown = [Demonstration({"text": text}, ("great",)) for text in ("a film", "the book", "dull")]
    for chosen in (shown[:2], shown[1:], [], shown[:2]):
        made = [applied.renderer.score(e.fields, demonstrations=chosen) for e in rows(3)]
        with whole_rows(backbone):
            expected = summed(backbone, applied, made, None)
        near(summed(backbone, applied, made, kept), expected, 1e-10)


def test_an_empty_text_is_read_within_what_is_kept(backbones: Backbones) -> None:
    backbone = backbones("gpt2", precision="float64")
    applied = [bound(backbone, "{soft:6}{text}{mask}", n_rows=6)]
    kept = Beginnings(applied)
    asked = [(0, Example(str(n), {"text": text})) for n, text in enumerate(("a", "", "good film"))]
    found = [predict(backbone, applied, [one], beginnings=kept)[0] for one in asked]
    with whole_rows(backbone):
        same(found, predict(backbone, applied, asked), 1e-10)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_fixed_beginning_is_what_every_example_begins_with(
    backbones: Backbones, name: str
) -> None:
    backbone = backbones(name)
    start = tuple(backbone.tokenizer.start)
    instructed = fixed_beginning(bound(backbone, INSTRUCTED, n_rows=7))
    assert instructed[: len(start) + 7] == (*start, *range(-1, -8, -1))
    assert len(instructed) > len(start) + 7
    for example in rows(5):
        query = bound(backbone, INSTRUCTED, n_rows=7).render(example).queries[0]
        assert query.ids[: len(instructed)] == instructed
    assert fixed_beginning(bound(backbone, "{text} so {soft:3}{mask}", n_rows=3))[:1] == start
    assert fixed_beginning(bound(backbones("bert"), n_rows=2)) == ()


# --- where nothing is kept -----------------------------------------------------------------------


def test_gradients_are_never_taken_through_what_is_kept(backbones: Backbones) -> None:
    backbone = backbones("gpt2", precision="float64")
    applied = bound(backbone, INSTRUCTED, SEVERAL, n_rows=7)
    kept, made = Beginnings([applied]), [applied.render(example) for example in rows(3)]
    assert applied.addition.rows is not None

    def gradient(beginnings: Beginnings | None) -> Tensor:
        leaf = applied.addition.rows.double().requires_grad_()  # type: ignore[union-attr]
        scores = score(backbone, stack([Addition(leaf)]), made, [0] * 3, beginnings=beginnings)
        return torch.autograd.grad(scores.summed.sum(), leaf)[0]

    summed(backbone, applied, made, kept)
    assert kept.nbytes
    with whole_rows(backbone):
        expected = gradient(None)
    near(gradient(kept), expected, 1e-10)


def test_nothing_is_kept_where_rows_cannot_share(backbones: Backbones) -> None:
    for name in ("bert", "t5-1.1", "gpt2"):
        backbone = backbones(name)
        applied = [bound(backbone, "{soft:6}{text} {mask}", n_rows=6)]
        kept = Beginnings(applied)
        with whole_rows(backbone):
            predict(backbone, applied, [(0, rows(1)[0])], beginnings=kept)
        assert kept.nbytes == 0
        if name == "gpt2":
            with backbone.dropout():
                predict(backbone, applied, [(0, rows(1)[0])], beginnings=kept)
        else:
            predict(backbone, applied, [(0, rows(1)[0])], beginnings=kept)
        assert kept.nbytes == 0


def test_what_is_kept_of_other_prompts_is_refused(backbones: Backbones) -> None:
    backbone = backbones("gpt2")
    one, other = bound(backbone, n_rows=4), bound(backbone, n_rows=4)
    for given in ([other], [one, other]):
        with pytest.raises(ValueError, match="of other prompts"):
            predict(backbone, given, [(0, rows(1)[0])], beginnings=Beginnings([one]))


# --- a loaded prompt ----------------------------------------------------------------------------


@pytest.mark.usefixtures("_of_examples_nothing_shared")
def test_a_predictor_runs_a_prompts_beginning_once_and_keeps_to_what_it_loaded(
    backbones: Backbones,
) -> None:
    backbone = backbones("gpt2")
    task = mood(words={"positive": ("a",), "negative": ("the",)})
    run, second = fit_many(backbone, [job(task, seed=seed) for seed in (1, 2)])
    predictor = Predictor(backbone, {"a": run.prompt, "b": second.prompt})
    with worked(backbone) as seen:
        before = predictor.predict(["good", "a dull film"], task="a")
        again = [predictor.predict([text], task="a")[0] for text in ("good", "a dull film")]
        list(predictor.predict_examples(rows(4), task="a", chunk=1))
        predictor.predict([("a", "good"), ("b", "good")])
    assert [one for one in seen if one[1] == 3] == [(1, 3)] * 2  # rows of each prompt
    assert len(seen) == 1 + 1 + 2 + 4 + 2
    same([again[0]], [before[0]], 1e-5)
    assert run.prompt.addition.rows is not None
    run.prompt.addition.rows.zero_()
    assert predictor.predict(["good", "a dull film"], task="a") == before
    assert Predictor(backbone, run.prompt).predict(["good"])[0].probabilities != pytest.approx(
        dict(before[0].probabilities), abs=1e-4
    )
