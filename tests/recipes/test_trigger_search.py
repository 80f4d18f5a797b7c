"""Trigger tokens: the parts of the search, each against what it should equal."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.backbones.traits import Traits
from softprompt.data.examples import Example
from softprompt.errors import DataError, SettingsError
from softprompt.inference.applied import Applied
from softprompt.inference.objective import ObjectiveSettings
from softprompt.inference.scoring import Scores, label_loss, label_scores, score
from softprompt.prompts.addition import Addition, stack
from softprompt.recipes.search.triggers.climb import (
    Climb,
    Look,
    all_allowed,
    drawn_start,
    ranked,
    read_state,
)
from softprompt.recipes.search.triggers.gradient import best_replacements, first_order
from softprompt.recipes.search.triggers.losses import (
    TriggerLoss,
    label_log_p,
    trigger_lesson,
    trigger_rows,
)
from softprompt.recipes.search.triggers.settings import TriggerSettings
from softprompt.recipes.search.triggers.text import as_text, trigger_slots
from softprompt.recipes.search.triggers.tokens import allowed_tokens
from softprompt.recipes.search.triggers.words import best_words, fit_probe, word_scores
from softprompt.text.answers import Verbalizer
from softprompt.text.rendering import Rendering
from softprompt.text.template import Template, parse
from softprompt.tuning.jobs import bind
from softprompt.tuning.lessons import Lessons
from tests.builders import FAMILIES, Backbones, mood, rows
from tests.tiny_models import build_tokenizer

TEMPLATE = "{text}{soft:2} it was {mask}."
ANSWERS = Verbalizer.read({"positive": ["great", "good"], "negative": "awful"})


def bound(backbone: Backbone, template: str | Template = TEMPLATE, n_rows: int = 1) -> Applied:
    parsed = parse(template) if isinstance(template, str) else template
    return bind(backbone, mood(), parsed, ANSWERS, ObjectiveSettings(), n_rows=n_rows)


def lessons_of(applied: Applied, n: int = 6) -> list[Any]:
    return [trigger_lesson(example, applied) for example in rows(n, seed=1)]


# --- the gradient and what it ranks ---------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["words", "labels"])
def test_first_order_scores_are_autograd_s_inner_products(
    backbones: Backbones, family: str, kind: Any
) -> None:
    backbone = backbones(family, precision="float64")
    applied = bound(backbone)
    lessons = lessons_of(applied)
    ids = (7, 11)
    loss, gradient = TriggerLoss(backbone, applied, kind).gradient(ids, lessons)
    table = backbone.embed(torch.arange(40)).detach()
    found = first_order(gradient[1], table)

    start = trigger_rows(backbone, ids)
    renderings = [one.rendering for one in lessons]
    wanted = torch.tensor([one.wanted for one in lessons], dtype=torch.float64)

    def along(steps: Tensor) -> Tensor:
        """The loss with the second trigger moved along every token at once."""
        moved = torch.stack([start[0], start[1] + steps @ table])
        scores = score(backbone, stack([Addition(moved)]), renderings, [0] * len(lessons))
        if kind == "labels":
            return label_loss(label_scores(scores, renderings, False), wanted).mean()
        each = scores.summed.view(len(lessons), 3).exp()  # great, good; awful
        p = torch.stack([each[:, 0] + each[:, 1], each[:, 2]], dim=1)
        return -(wanted * p.log()).sum(dim=1).mean()

    nothing = torch.zeros(40, dtype=torch.float64, requires_grad=True)
    value = along(nothing)
    (slope,) = torch.autograd.grad(value, nothing)
    assert loss == pytest.approx(float(value.detach()), abs=1e-10)
    torch.testing.assert_close(found, -slope, rtol=1e-8, atol=1e-10)


def test_the_best_replacements_are_the_largest_inner_products_and_equal_ones_go_by_id() -> None:
    rows = torch.tensor([[1.0, 0.0], [3.0, 1.0], [-1.0, 5.0], [3.0, 9.0], [2.0, 0.0]])
    gradient = torch.tensor([-1.0, 0.0])
    ids, scores = best_replacements(gradient, lambda part: rows[part], torch.arange(5), 3)
    assert (ids, scores) == ([1, 3, 4], [3.0, 3.0, 2.0])
    ids, _ = best_replacements(gradient, lambda part: rows[part], torch.tensor([0, 2]), 9)
    assert ids == [0, 2]


def test_a_table_in_pieces_gives_the_same_best_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from softprompt.recipes.search.triggers import gradient as trigger_gradient

    table = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).round()  # with ties
    gradient = torch.tensor([1.0, -2.0, 0.0, 1.0])
    whole = best_replacements(gradient, lambda part: table[part], torch.arange(50), 12)
    monkeypatch.setattr(trigger_gradient, "AT_A_TIME", 7)
    assert best_replacements(gradient, lambda p: table[p], torch.arange(50), 12) == whole


def test_the_gradient_does_not_depend_on_how_a_batch_is_cut(backbones: Backbones) -> None:
    backbone = backbones("bert", precision="float64")
    applied = bound(backbone)
    lessons = lessons_of(applied, 8)
    whole = TriggerLoss(backbone, applied, "words").gradient((7, 11), lessons)
    cut = TriggerLoss(backbone, applied, "words", token_budget=20).gradient((7, 11), lessons)
    assert cut[0] == pytest.approx(whole[0], abs=1e-12)
    torch.testing.assert_close(cut[1], whole[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_candidates_in_one_batch_score_as_one_by_one(backbones: Backbones, family: str) -> None:
    backbone = backbones(family, precision="float64")
    applied = bound(backbone)
    lessons = lessons_of(applied)
    several = [(7, 11), (7, 30), (25, 11), (9, 9)]
    for kind in ("words", "labels"):
        loss = TriggerLoss(backbone, applied, kind)  # type: ignore[arg-type]
        together = loss.of(several, lessons)
        alone = [loss.of([ids], [one])[0] for ids in several for one in lessons]
        means = [sum(alone[n : n + len(lessons)]) / len(lessons) for n in range(0, len(alone), 6)]
        assert together == pytest.approx(means, abs=1e-9)
        assert together[0] == pytest.approx(loss.gradient((7, 11), lessons)[0], abs=1e-9)
        small = TriggerLoss(backbone, applied, kind, token_budget=24)  # type: ignore[arg-type]
        assert small.of(several, lessons) == pytest.approx(together, abs=1e-9)


def test_a_label_s_probability_is_the_sum_of_its_words() -> None:
    p = torch.tensor([0.2, 0.3, 0.1, 0.05, 0.25, 0.5], requires_grad=True)
    scores = Scores(
        summed=p.log(),
        tokens=torch.ones(6),
        squared_z=None,
        example=torch.tensor([0, 0, 0, 0, 1, 1]),
        label=torch.tensor([0, 0, 1, 2, 0, 1]),
    )
    three = Rendering((), ("a", "b", "c"), (0, 0, 1, 2))
    two = Rendering((), ("x", "y"), (0, 1))
    table = label_log_p(scores, [three, two], mean=False)
    expected = [[0.5, 0.1, 0.05], [0.25, 0.5, 0.0]]
    torch.testing.assert_close(table.exp(), torch.tensor(expected))
    table[0, 0].backward()
    torch.testing.assert_close(p.grad, torch.tensor([2.0, 2.0, 0, 0, 0, 0]))


# --- a planted trigger ----------------------------------------------------------------------------


class MeanModel(nn.Module):
    """Every position reads the mean of all embeddings: what one token adds is the same everywhere."""

    def __init__(self, size: int, width: int):
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.table = nn.Embedding.from_pretrained(torch.randn(size, width, generator=draw))
        self.decoder = nn.Linear(width, size)
        with torch.no_grad():
            self.decoder.weight.copy_(torch.randn(size, width, generator=draw))
        self.config = SimpleNamespace(vocab_size=size)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor, **_: Any) -> Any:
        from transformers.modeling_outputs import MaskedLMOutput

        mask = attention_mask[..., None].to(inputs_embeds.dtype)
        mean = (inputs_embeds * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return MaskedLMOutput(logits=self.decoder(mean.expand_as(inputs_embeds)))


def mean_backbone() -> Backbone:
    tokenizer = TextTokenizer(build_tokenizer("word_piece"))
    model = MeanModel(tokenizer.size, 8)
    traits = Traits("masked", 8, 0, None, 0, False, 1.0, 1.0)
    return Backbone(
        name="mean",
        model=model,
        config=model.config,
        tokenizer=tokenizer,
        traits=traits,
        stored=torch.float32,
    )


def climb_of(
    backbone: Backbone, examples: list[Example], seed: int = 0, **settings: Any
) -> tuple[Climb, list[int]]:
    applied = bound(backbone)
    allowed = allowed_tokens(backbone.tokenizer, backbone.vocabulary, "words", ["great", "awful"])
    chosen = TriggerSettings(batch_size=4, **settings)
    loss = TriggerLoss(backbone, applied, chosen.loss)

    def dev(ids: tuple[int, ...]) -> dict[str, float]:
        return {"accuracy": 0.5, "loss": loss.of([ids], lessons.draw(range(len(examples))))[0]}

    lessons = Lessons(examples, applied, make=trigger_lesson)
    return Climb(loss, lessons, all_allowed(allowed), chosen, seed, dev), allowed


def test_a_planted_trigger_is_found_and_brute_force_agrees(tmp_path: Any) -> None:
    """Where the loss falls with a linear function of the mean embedding (one right label, softmax over the
    labels), one token is the best at every position, and the gradient ranks all tokens rightly."""
    backbone = mean_backbone()
    examples = [e for e in rows(16, seed=2) if e.target == "positive"]
    climb, allowed = climb_of(backbone, examples, top_k=1, iterations=8, loss="labels")
    start = drawn_start(allowed, 2, 0)
    found = climb.run(start, tmp_path / "state.json", lambda state, swap: None).ids
    lessons = climb.lessons.draw(range(len(examples)))
    pairs = list(itertools.product(allowed, repeat=2))
    losses = climb.loss.of(pairs, lessons)
    assert found == pairs[min(range(len(pairs)), key=losses.__getitem__)]
    assert found[0] == found[1]
    assert start != found


def test_a_swap_is_kept_only_if_it_is_better_on_the_fresh_batch(backbones: Backbones) -> None:
    climb, allowed = climb_of(backbones("bert"), rows(24, seed=4), top_k=4)
    ids = drawn_start(allowed, 2, 1)
    outcomes = set()
    for iteration in range(12):
        made = climb.swap(iteration, ids)
        known, fresh = climb.batches(iteration)
        trials = [(*ids[: made.position], t, *ids[made.position + 1 :]) for t in made.candidates]
        alone = [climb.loss.of([trial], fresh)[0] for trial in (ids, *trials)]
        assert [made.before, *made.losses] == pytest.approx(alone, abs=1e-5)
        better = min(made.losses) < made.before
        assert (made.ids != ids) == better
        if better:
            assert made.ids == trials[made.losses.index(min(made.losses))]
        outcomes.add(better)
        assert ids[made.position] not in made.candidates
        assert made.loss == pytest.approx(climb.loss.of([ids], known)[0], abs=1e-5)
        ids = made.ids
    assert outcomes == {True, False}


@pytest.mark.parametrize(("n", "size"), [(24, 4), (7, 3), (1, 1)])
def test_the_batch_of_a_swap_shares_no_row_with_that_of_its_gradient(
    backbones: Backbones, n: int, size: int
) -> None:
    climb, _ = climb_of(backbones("bert"), rows(n, seed=4))
    drawn = [climb.batches(iteration) for iteration in range(6)]
    for known, fresh in drawn:
        assert len(known) == len(fresh) == size
        assert n == 1 or not {id(one) for one in known} & {id(one) for one in fresh}
    assert n == 1 or drawn[0][0] != drawn[1][0]


def test_positions_batches_and_starts_depend_on_the_seed_alone(backbones: Backbones) -> None:
    one, allowed = climb_of(backbones("bert"), rows(24, seed=4), seed=5, top_k=2)
    again, _ = climb_of(backbones("bert"), rows(24, seed=4), seed=5, top_k=2)
    other, _ = climb_of(backbones("bert"), rows(24, seed=4), seed=6, top_k=2)
    ids = drawn_start(allowed, 2, 5)
    assert one.swap(3, ids) == again.swap(3, ids)
    assert one.swap(3, ids) != other.swap(3, ids)
    assert drawn_start(allowed, 4, 5) != drawn_start(allowed, 4, 6)
    places = {one.swap(n, ids).position for n in range(12)}
    assert places == {0, 1}


def test_an_interrupted_search_ends_as_an_uninterrupted_one(
    backbones: Backbones, tmp_path: Any
) -> None:
    settings = {"top_k": 3, "iterations": 7, "checkpoint_every": 3, "evaluate_every": 2}
    climb, allowed = climb_of(backbones("bert"), rows(24, seed=4), **settings)
    start = drawn_start(allowed, 2, 0)
    whole = climb.run(start, tmp_path / "whole.json", lambda state, swap: None)

    def stop(state: Any, swap: Any) -> None:
        if state.iteration == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        climb.run(start, tmp_path / "cut.json", stop)
    kept = read_state(tmp_path / "cut.json")
    assert kept is not None
    assert kept.iteration == 3
    resumed = climb.run(start, tmp_path / "cut.json", lambda state, swap: None)
    assert resumed == whole
    assert (tmp_path / "cut.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_looks_are_ranked_by_metric_then_loss_then_age_and_the_same_triggers_count_once() -> None:
    def look(iteration: int, ids: tuple[int, ...], accuracy: float, loss: float) -> Look:
        return Look(0, iteration, ids, {"accuracy": accuracy, "loss": loss})

    looks = [
        look(0, (1,), 0.5, 0.1),
        look(1, (2,), 0.9, 0.4),
        look(2, (3,), 0.9, 0.3),
        look(3, (4,), 0.9, 0.3),
        look(4, (2,), 0.9, 0.4),
    ]
    assert [one.ids for one in ranked(looks, "accuracy", True)] == [(3,), (4,), (2,), (1,)]
    assert ranked(looks, "accuracy", False)[0].ids == (1,)


# --- which tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["word_piece", "bytes_gpt2", "unigram_t5", "unigram_llama"])
def test_excluded_tokens_never_may_be_triggers(name: str) -> None:
    tokenizer = TextTokenizer(build_tokenizer(name))
    for kind in ("any", "text", "words"):
        ids = allowed_tokens(tokenizer, tokenizer.size, kind, ["great", "Good"])  # type: ignore[arg-type]
        assert not set(ids) & tokenizer.special
        texts = [tokenizer.decode((number,)).strip() for number in ids]
        assert "great" not in texts
        assert "good" not in texts
        assert "one" in texts
        assert ids == sorted(ids)
        if kind == "words":
            assert all(text.isalpha() for text in texts)


def test_whole_words_are_those_behind_a_space_and_han_characters() -> None:
    tokenizer = TextTokenizer(build_tokenizer("word_piece"))
    pieces = tokenizer.pieces(tuple(allowed_tokens(tokenizer, tokenizer.size, "words")))
    assert "电" in pieces
    assert "film" in pieces
    assert not any(piece.startswith("##") for piece in pieces)
    assert "," not in pieces
    anything = tokenizer.pieces(tuple(allowed_tokens(tokenizer, tokenizer.size, "any")))
    assert "##a" in anything
    assert "[MASK]" not in anything
    text = tokenizer.pieces(tuple(allowed_tokens(tokenizer, tokenizer.size, "text")))
    assert "," in text
    assert "##a" not in text
    bpe = TextTokenizer(build_tokenizer("bytes_gpt2"))
    words = bpe.pieces(tuple(allowed_tokens(bpe, bpe.size, "words")))
    assert all(piece.startswith("Ġ") or not piece.isascii() for piece in words)


def test_a_vocabulary_without_any_allowed_token_is_refused() -> None:
    tokenizer = TextTokenizer(build_tokenizer("word_piece"))
    with pytest.raises(SettingsError, match="no token of this vocabulary"):
        allowed_tokens(tokenizer, 5, "any")


# --- triggers as text -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*FAMILIES, "roberta", "llama"])
@pytest.mark.parametrize(
    "template",
    [
        "{text}{soft:2} it was {mask}",
        "{soft:2}{text} it was {mask}",
        "{soft:1#a}{text}{soft:1}{#a} it was {mask}",
        "{text} it was {mask}",
    ],
)
def test_triggers_as_text_are_read_back_as_the_same_ids(
    backbones: Backbones, family: str, template: str
) -> None:
    backbone = backbones(family)
    tokenizer = backbone.tokenizer
    slots = trigger_slots(
        parse(template), 2, lambda text: tokenizer.encode(text, continues=False).ids
    )
    allowed = allowed_tokens(tokenizer, backbone.vocabulary, "words")
    words = [n for n in allowed if tokenizer.decode((n,)).isascii()]  # Han would need a space, too
    ids = drawn_start(words, 2, 1)
    examples = rows(6, seed=3)
    text = as_text(
        slots.template, ids, tokenizer.decode, lambda t, n: bound(backbone, t, n), examples
    )
    assert text is not None
    assert not text.has_soft
    as_rows, as_words = bound(backbone, slots.template, 2), bound(backbone, text, 0)
    for example in examples:
        pairs = zip(as_rows.render(example).queries, as_words.render(example).queries, strict=True)
        for one, other in pairs:
            assert tuple(ids[-1 - i] if i < 0 else i for i in one.ids) == other.ids
            assert one.reads == other.reads


def test_tokens_that_no_spelling_gives_back_are_not_text(backbones: Backbones) -> None:
    backbone = backbones("bert")
    tokenizer = backbone.tokenizer
    pieces = tokenizer.pieces(tuple(range(tokenizer.size)))
    ids = (pieces.index("##a"), pieces.index("film"))
    template = parse(TEMPLATE)
    for order in (ids, (pieces.index("film"), pieces.index("[MASK]"))):
        bind_to = lambda t, n: bound(backbone, t, n)  # noqa: E731
        assert as_text(template, order, tokenizer.decode, bind_to, rows(3)) is None


def test_words_of_a_slot_are_where_its_triggers_start(backbones: Backbones) -> None:
    tokenizer = backbones("bert").tokenizer

    def ids(text: str) -> tuple[int, ...]:
        return tokenizer.encode(text, continues=False).ids

    slots = trigger_slots(parse("{soft}{text}{soft:'the film'} {mask}"), 3, ids)
    assert str(slots.template) == "{soft:3}{text}{soft:2} {mask}"
    assert slots.starts == (None, None, None, *ids("the film"))
    front = trigger_slots(parse("{start}{text} {mask}"), 2, ids)
    assert str(front.template) == "{start}{soft:2}{text} {mask}"


# --- label words by a probe -----------------------------------------------------------------------


def test_the_probe_finds_the_direction_and_its_words() -> None:
    draw = torch.Generator().manual_seed(0)
    means = torch.tensor([[4.0, 0.0, 1.0], [0.0, 4.0, 1.0], [-4.0, -4.0, 1.0]])
    states = torch.cat([means[n] + torch.randn(12, 3, generator=draw) for n in range(3)])
    golds = [label for label in "abc" for _ in range(12)]
    probe = fit_probe(states, golds, states, golds, ["a", "b", "c"])
    assert probe.accuracy > 0.9
    output = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [-9.0, -9.0, 0], [5.0, 0, 0], [0, 0, 9.0]])
    scores = word_scores(probe.weights, output)
    torch.testing.assert_close(scores.exp().sum(dim=0), torch.ones(5))
    ids, words = [10, 11, 12, 13, 14], ["w0", "w1", "w2", "w3", "w4"]

    def fits(several: Any) -> list[tuple[int, ...]]:
        return [(10 + int(word[1]),) for word in several]

    found = best_words(scores, ids, words, ["a", "b", "c"], 1, fits)
    assert found == {"a": ["w0"], "b": ["w1"], "c": ["w2"]}
    with pytest.raises(DataError, match="expected 4"):
        best_words(scores, ids, words, ["a", "b", "c"], 4, fits)


def test_two_labels_have_opposite_weights() -> None:
    draw = torch.Generator().manual_seed(1)
    states = torch.randn(30, 2, generator=draw)
    golds = ["x" if float(state[0]) > 0 else "y" for state in states]
    probe = fit_probe(states, golds, states, golds, ["x", "y"])
    torch.testing.assert_close(probe.weights[0], -probe.weights[1])
    assert float(probe.weights[0, 0]) > 0
    with pytest.raises(DataError, match="no row of the label 'z'"):
        fit_probe(states, golds, states, golds, ["x", "y", "z"])


def test_the_probe_s_weights_are_those_of_raw_states() -> None:
    draw = torch.Generator().manual_seed(2)
    states = torch.randn(60, 2, generator=draw) * torch.tensor(
        [1.0, 100.0]
    )  # the second says nothing
    golds = ["x" if float(state[0]) > 0 else "y" for state in states]
    weights = fit_probe(states, golds, states, golds, ["x", "y"]).weights
    assert abs(float(weights[0, 1])) < abs(float(weights[0, 0])) / 100


def test_the_loss_of_free_text_is_that_of_its_gold(backbones: Backbones) -> None:
    from softprompt.text.answers import FreeText
    from tests.builders import task_of

    backbone = backbones("gpt2")
    examples = [Example("1", {"text": "the film"}, "good story")]
    task = task_of({"train": examples}, fields=("text",), kind="text", metrics=("exact_match",))
    applied = bind(
        backbone, task, parse("{text}{soft:2} is"), FreeText(4), ObjectiveSettings(), n_rows=1
    )
    made = trigger_lesson(examples[0], applied)
    assert made.wanted == (1.0,)
    (loss,) = TriggerLoss(backbone, applied, "labels").of([(7, 9)], [made])
    scores = score(
        backbone, stack([Addition(trigger_rows(backbone, (7, 9)))]), [made.rendering], [0]
    )
    assert loss == pytest.approx(-float(scores.summed), abs=1e-5)
    assert math.isfinite(loss)
