from __future__ import annotations

import pytest
import torch

from softprompt.analysis.contributions import contributions, mean_embedding
from softprompt.analysis.explaining import (
    RowWords,
    clusters,
    common_form,
    label_words,
    repeats,
    row_words,
    similarity,
    usual_tightness,
)
from softprompt.analysis.neighbours import Neighbour
from softprompt.analysis.prompt_map import MapGroup, MapPoint, prompt_map
from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.prompts.addition import Addition
from softprompt.text.answers import Verbalizer
from softprompt.text.template import parse
from tests.builders import mood


def words(*rows: str) -> list[RowWords]:
    return [
        RowWords(tuple(Neighbour(n, w, 0.5) for n, w in enumerate(row.split())), 0.0, None)
        for row in rows
    ]


def pieces(backbone: Backbone, *texts: str) -> list[int]:
    return [backbone.tokenizer.encode(text, continues=False).ids[0] for text in texts]


def applied_to(backbone: Backbone, rows: torch.Tensor) -> Applied:
    answers = Verbalizer.read({"positive": "great", "negative": "awful"})
    objective = resolve_objective(ObjectiveSettings(), backbone.family, free_text=False)
    applied = apply(backbone, parse("{text} it was {mask}."), answers, objective, n_rows=len(rows))
    return applied.with_addition(Addition(rows))


def test_a_row_on_a_word_has_the_word_for_its_nearest(backbone: Backbone) -> None:
    ids = pieces(backbone, "good", "film")
    found = row_words(backbone, 7 * backbone.rows(ids), k=3)
    assert [one.words[0].id for one in found] == ids
    assert all(len(one.words) == 3 for one in found)
    near = torch.nn.functional.normalize(backbone.rows([w.id for w in found[0].words]), dim=1)
    a, b, c = near
    assert found[0].tightness == pytest.approx(float((a @ b + a @ c + b @ c) / 3), abs=1e-6)
    assert abs(usual_tightness(backbone)) < 0.2  # random words in 32 dimensions are about square


def test_words_of_several_rows_are_repeats_and_tie_rows_together() -> None:
    found = words("a b", "b c", "c d", "x y", "y x", "z w")
    assert repeats(found) == {"b": (0, 1), "c": (1, 2), "x": (3, 4), "y": (3, 4)}
    assert clusters(found) == [(0, 1, 2), (3, 4)]


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ("Technology technology Technologies entirely", "technolog"),
        ("good great fine", None),
        ("film films movie", None),
        ("电影院 电影 电影节", "电影"),
    ],
)
def test_forms_of_one_word_are_seen(given: str, form: str | None) -> None:
    assert common_form(given.split()) == form


def test_label_words_are_found_where_rows_lie_on_them(backbone: Backbone) -> None:
    good, bad, film = pieces(backbone, "good", "bad", "film")
    found = label_words(
        backbone,
        backbone.rows([film, good]),
        {"positive": [(good,)], "negative": [(bad,)]},
        {"positive": ["good"], "negative": ["bad"]},
        k=2,
    )
    positive, negative = found
    assert (positive.row, positive.rank, positive.persists) == (1, 1, True)
    assert positive.cosine == pytest.approx(1.0, abs=1e-5)
    assert negative.rank > 2
    assert not negative.persists


def test_similarity_is_by_means_and_by_best_rows() -> None:
    rows = torch.eye(3)
    same = similarity(rows, 5 * rows.flip(0))
    assert same.mean == pytest.approx(1.0)
    assert same.best == pytest.approx(1.0)
    other = similarity(rows[:1], rows[1:])
    assert (other.mean, other.best) == (pytest.approx(0.0), pytest.approx(0.0))
    half = similarity(rows[:1], rows)  # all of one's rows are matched, a third of the other's
    assert half.best == pytest.approx((1 + 1 / 3) / 2)
    with pytest.raises(PromptError, match="width 3 and 4"):
        similarity(rows, torch.eye(4))


def test_a_row_that_is_silent_already_contributes_nothing(backbone: Backbone) -> None:
    task = mood(n=8, dev=12)
    rows = torch.stack([mean_embedding(backbone), *backbone.rows(pieces(backbone, "good", "bad"))])
    found = contributions(
        backbone, applied_to(backbone, rows), task.examples("dev"), task.metrics, task.labels
    )
    assert (found.n, len(found.rows)) == (12, 3)
    assert found.rows[0].metric == 0
    assert found.rows[0].changed == 0
    assert found.rows[0].log_p == pytest.approx(0.0, abs=1e-6)
    assert found.rows[1].log_p is not None
    assert abs(found.rows[1].log_p) > 1e-3
    assert found.all_rows.row is None


def test_a_contribution_is_what_evaluation_loses(backbone: Backbone) -> None:
    from softprompt.inference.evaluate import evaluate

    task = mood(n=8, dev=12)
    rows = backbone.rows(pieces(backbone, "good", "bad"))
    examples = task.examples("dev")
    found = contributions(backbone, applied_to(backbone, rows), examples, task.metrics, task.labels)
    silenced = torch.stack([rows[0], mean_embedding(backbone)])
    full, less = (
        evaluate(backbone, applied_to(backbone, r), examples, task.metrics, task.labels).metrics
        for r in (rows, silenced)
    )
    assert found.rows[1].metric == pytest.approx(full["accuracy"] - less["accuracy"])
    assert found.rows[1].log_p == pytest.approx(less["loss"] - full["loss"], abs=1e-6)


def test_rows_and_words_become_a_picture_that_is_the_same_every_time(backbone: Backbone) -> None:
    ids = pieces(backbone, "good", "bad", "film", "plot", "story")
    table = backbone.rows(ids)
    groups = [
        MapGroup("rows", [MapPoint("P1", near=(2,)), MapPoint("P2")], table[:2], "rows"),
        MapGroup("words", [MapPoint("电影", "#7"), MapPoint("$x$")], table[2:4], "words"),
        MapGroup("labels", [MapPoint("story")], table[4:], "labels"),
    ]
    picture = prompt_map(groups, "a title")
    assert picture.startswith(b"\x89PNG")
    assert prompt_map(groups, "a title") == picture


def test_a_hundred_rows_on_one_spot_still_make_a_picture() -> None:
    rows = torch.ones(100, 4)
    points = [MapPoint(f"P{n}") for n in range(100)]
    assert prompt_map([MapGroup("rows", points, rows, "rows")], "many").startswith(b"\x89PNG")
