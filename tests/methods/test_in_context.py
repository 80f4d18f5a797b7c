"""In-context learning: what is shown, that it is read as text, and contextual calibration."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softprompt.data.examples import Example
from softprompt.errors import PromptError, SettingsError
from softprompt.inference.demonstrations import (
    FixedShots,
    NearestShots,
    balanced,
    shots_from_json,
)
from softprompt.inference.objective import CONTENT_FREE
from softprompt.inference.predict import predict
from softprompt.inference.predictor import Predictor
from softprompt.methods.prompt_design import PromptDesign
from softprompt.text.rendering import RenderSettings
from softprompt.text.spell import Demonstration
from softprompt.tuning.run import fit, fit_many
from tests.builders import FAMILIES, WORDS, Backbones, fits_of, job, mood, rows

ASKED = [(0, example) for example in rows(6, seed=5)]


def probabilities(backbone: Any, one: Any) -> list[dict[str, float]]:
    (made,) = fits_of(backbone, [one])
    return [dict(p.probabilities) for p in predict(backbone, [made.applied], ASKED)]


def shown(backbone: Any, **given: Any) -> tuple[Demonstration, ...]:
    (made,) = fits_of(backbone, [job(method=PromptDesign(**given))])
    return made.applied.shown(ASKED[0][1])


@pytest.mark.parametrize("family", FAMILIES)
def test_demonstrations_are_read_as_if_they_stood_in_the_template(
    backbones: Backbones, family: str
):
    backbone = backbones(family)
    solved = shown(backbone, demonstrations=3)
    written = " ".join(f"{d.fields['text']} it was {d.words[0]}." for d in solved)
    plain = job(method=PromptDesign(), template=f"{written} {{text}} it was {{mask}}.")
    there = job(method=PromptDesign(demonstrations=3))
    found, wanted = probabilities(backbone, there), probabilities(backbone, plain)
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert found != probabilities(backbone, job(method=PromptDesign()))


def test_a_template_says_where_they_stand(backbones: Backbones):
    template = "so : {demo} and {text} it was {mask}."
    one = job(method=PromptDesign(demonstrations=1), template=template)
    (made,) = fits_of(backbones("bert"), [one])
    tokens = made.applied.render(ASKED[0][1]).queries[0].ids
    (solved,) = made.applied.shown(ASKED[0][1])
    text = backbones("bert").tokenizer.decode(tokens)
    # What stands in the template before and behind them stands in each of them too.
    one, asked = text.index(str(solved.fields["text"])), text.index(str(ASKED[0][1].fields["text"]))
    assert text.index("so :") < one < text.rindex("and") < asked


def test_they_are_drawn_evenly_over_the_labels_by_the_seed():
    train = rows(40)
    lopsided = [e for e in train if e.target == "positive" or e.id.endswith("1")]
    for k in (1, 2, 5, 8):
        counts = Counter(e.target for e in balanced(lopsided, k, seed=3)).values()
        assert sum(counts) == k
        assert k == 1 or max(counts) - min(counts) <= 1
    assert balanced(train, 6, seed=3) == balanced(train, 6, seed=3) != balanced(train, 6, seed=4)
    few = [*train[:1], *(e for e in train if e.target == "negative")]
    assert Counter(e.target for e in balanced(few, 6, 0)) == {"positive": 1, "negative": 5}


@pytest.mark.parametrize("by", ["random", "similarity"])
def test_all_are_as_many_as_train_has(backbones: Backbones, by: Any):
    task = mood(n=4)
    found = {
        k: fits_of(
            backbones("bert"), [job(task, PromptDesign(demonstrations=k, demonstrations_by=by))]
        )
        for k in ("all", 4)
    }
    every, counted = (made.applied.shown(ASKED[0][1]) for (made,) in found.values())
    assert every == counted
    assert {d.fields["text"] for d in every} == {e.fields["text"] for e in task.examples("train")}


def test_of_all_those_that_do_not_fit_are_left_out(backbones: Backbones):
    backbone = backbones("bert")
    one = job(method=PromptDesign(demonstrations="all"), render=RenderSettings(limit=40))
    with pytest.warns(UserWarning, match=r"of 20 demonstrations .* fit on average into 40"):
        (made,) = fits_of(backbone, [one])
    rendering = made.applied.render(ASKED[0][1])
    with pytest.warns(UserWarning, match="fit on average"):
        (run,) = fit_many(backbone, [one])
    assert ["fit on average" in alarm.message for alarm in run.alarms] == [True]  # for the report
    assert 0 < rendering.demonstrations < 20
    assert rendering.queries[0].length <= 40


def demonstration(text: str, word: str) -> Demonstration:
    return Demonstration({"text": text}, (word,))


POOL = (
    demonstration("a slow old film", "awful"),
    demonstration("the book is funny", "great"),
    demonstration("a slow old plot", "awful"),
    demonstration("这部电影很好", "great"),
    demonstration("a slow old book is good", "great"),
)


def test_the_nearest_ones_come_first_and_evenly_over_the_answers():
    shots = NearestShots(POOL, 2)
    assert shots.shown_with({"text": "a slow old film !"}) == (POOL[0], POOL[4])
    assert shots.shown_with({"text": "电影不错"})[0] == POOL[3]
    three = NearestShots(POOL, 3).shown_with({"text": "a slow old film !"})
    assert three == (POOL[0], POOL[2], POOL[4])


def test_an_example_is_never_shown_itself():
    assert POOL[0] not in NearestShots(POOL, 4).shown_with(POOL[0].fields)


def test_shots_come_back_from_json():
    for shots in (FixedShots(POOL), NearestShots(POOL, 2)):
        assert shots_from_json(shots.to_json()) == shots
    for wrong in ({}, {"by": "chance", "rows": []}, {"by": "random", "rows": [3]}):
        with pytest.raises(PromptError, match="demonstrations cannot be read"):
            shots_from_json(wrong)


@pytest.mark.parametrize("by", ["random", "similarity"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_prompt_shows_what_it_showed(
    backbones: Backbones, tmp_path: Path, family: str, by: Any
):
    backbone = backbones(family)
    method = PromptDesign(demonstrations=2, demonstrations_by=by)
    run = fit(backbone, mood(test=6), method, seed=3)
    run.prompt.save(tmp_path / "prompt")
    predictor = Predictor(backbone, tmp_path / "prompt")
    found = list(predictor.predict_examples(mood(test=6).examples("test")))
    assert found == list(run.evaluations["test"].predictions)
    assert run.n_learned == 0


def test_seeds_in_company_show_each_their_own(backbones: Backbones):
    backbone = backbones("bert")
    jobs = [job(method=PromptDesign(demonstrations=2), seed=seed) for seed in (1, 2)]
    together = fit_many(backbone, jobs)
    for one, run in zip(jobs, together, strict=True):
        (alone,) = fit_many(backbone, [one])
        assert alone.evaluations["dev"].predictions == run.evaluations["dev"].predictions
    assert together[0].prompt.task != together[1].prompt.task


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_contextual_calibration_divides_by_the_mean_without_content(
    backbones: Backbones, family: str, k: int
):
    backbone = backbones(family)
    (bare,) = fits_of(backbone, [job(method=PromptDesign(demonstrations=k))])
    empty = [(0, Example(t, {"text": t}, "positive")) for t in CONTENT_FREE]
    prior = [p.probabilities for p in predict(backbone, [bare.applied], empty)]
    mean = {label: sum(p[label] for p in prior) / len(prior) for label in WORDS}
    calibrated = job(method=PromptDesign(demonstrations=k, calibration="contextual"))
    found = probabilities(backbone, calibrated)
    for (_, example), one in zip(ASKED, found, strict=True):
        (plain,) = predict(backbone, [bare.applied], [(0, example)])
        shares = {label: plain.probabilities[label] / mean[label] for label in WORDS}
        wanted = {label: share / sum(shares.values()) for label, share in shares.items()}
        assert one == pytest.approx(wanted, abs=1e-5)


def test_what_leaves_no_room_or_cannot_be_is_refused(backbones: Backbones):
    backbone = backbones("bert")
    many = PromptDesign(demonstrations=4)
    with pytest.raises(SettingsError, match="no room for a single one"):
        fits_of(backbone, [job(method=many, render=RenderSettings(limit=9))])
    with pytest.warns(UserWarning, match=r"of 4 demonstrations .* fit on average into 24"):
        fits_of(backbone, [job(method=many, render=RenderSettings(limit=24))])
    with pytest.raises(SettingsError, match=r"21 of a train split of 20 rows; .* or all"):
        fits_of(backbone, [job(method=PromptDesign(demonstrations=21))])
    with pytest.raises(SettingsError, match="with similarity each has its own"):
        PromptDesign.read(
            {"demonstrations": 2, "demonstrations_by": "similarity", "calibration": "contextual"}
        )
    nearest = job(method=PromptDesign(demonstrations=2, demonstrations_by="similarity"))
    pmi = replace(nearest, objective=nearest.objective.model_copy(update={"pmi": True}))
    with pytest.raises(SettingsError, match="pmi and calibration"):
        fits_of(backbone, [pmi])
    both = job(method=PromptDesign(calibration="contextual"), objective=pmi.objective)
    with pytest.raises(SettingsError, match="leave out pmi"):
        fits_of(backbone, [both])
