"""Label words searched on tiny backbones: candidates, lists, poles, interruptions, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.errors import DataError, SettingsError, UsageError
from softprompt.inference.evaluate import evaluate
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.candidates import Candidate, read_candidates
from softprompt.recipes.search.finishing import Searched
from softprompt.recipes.search.fitting import bound_candidate
from softprompt.recipes.search.settings import WordSettings
from softprompt.recipes.search.words.listing import read_word_list
from softprompt.recipes.search.words.search import search_words
from softprompt.recipes.search.words.table import read_table
from softprompt.recipes.watching import Silent
from softprompt.settings import to_yaml
from tests.builders import rows
from tests.small_runs import run_values, write_jsonl

# --- whole searches -----------------------------------------------------------------------------


def small_run(folder: Path, model: Path | str, **changes: Any) -> RunSettings:
    """24 rows of the mood task; a row's label is decided by a word in it."""
    made = [{"text": e.fields["text"], "mood": e.target} for e in rows(24)]
    write_jsonl(folder / "mood.jsonl", made)
    values = run_values(
        Path(str(model)),
        task={"train": "mood.jsonl", "fields": ["text"], "target": "mood"},
        template="{text} it was {mask}.",
        words={"positive": "great", "negative": "awful"},
        training__steps=2,
        training__evaluate_every=2,
    )
    values |= {"backbone": str(model), **changes}
    (folder / "run.yaml").write_text(to_yaml(values), encoding="utf-8")
    return read_run(folder / "run.yaml")


def searched(
    run: RunSettings, out: Path, backbone: Backbone, told: Any = None, **settings: Any
) -> Searched:
    values = {"top": 6, "fits": 2, "combinations": 10, **settings}
    return search_words(run, WordSettings.read(values, "words"), out, told, backbone=backbone)


def test_candidates_score_what_a_zero_shot_evaluation_gives(here: Path, bert: Path) -> None:
    backbone = load_backbone(str(bert))
    run = small_run(here, bert)
    found = searched(run, here / "found", backbone)
    task = run_task(run).task
    assert len(found.candidates) == 10
    for one in found.candidates:
        applied = bound_candidate(run, one, task, backbone)
        own = evaluate(backbone, applied, task.examples("train"), ["accuracy"], task.labels)
        assert one.scores["train_score"] == pytest.approx(own.metrics["accuracy"], abs=1e-9)
        assert one.scores["train_cross_entropy"] == pytest.approx(own.metrics["loss"], abs=1e-4)
    ranked = [(-c.scores["train_score"], c.scores["train_cross_entropy"]) for c in found.candidates]
    assert ranked == sorted(ranked)
    assert found.ranking is not None
    assert len(found.ranking.fits) == 2
    best = read_run(here / "found" / "best.yaml")
    assert best.words == found.best.words
    assert best.template == run.template
    report = (here / "found" / "report.md").read_text(encoding="utf-8")
    assert "6 × 6 = 36 combinations, all scored" in report
    assert "the run's own awful / great: " in report


def test_planted_label_words_are_found(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stub answers with one word where a good word stands in the text, and with another elsewhere."""
    backbone = load_backbone(str(bert))
    ids = {
        word: backbone.tokenizer.encode(word, continues=False).ids[0] for word in ("moving", "slow")
    }
    signs = [
        backbone.tokenizer.encode(word, continues=False).ids[0]
        for word in ("good", "fine", "funny")
    ]
    vectors, real = backbone.rows(signs), backbone.logits

    def planted(
        inputs: Any, rows: torch.Tensor, columns: torch.Tensor, *given: Any, **also: Any
    ) -> torch.Tensor:
        logits = 0.1 * real(inputs, rows, columns, *given, **also)
        gaps = (inputs.embeddings[:, :, None] - vectors).abs().amax(dim=-1)  # [B, S, signs]
        good = (gaps < 1e-6).flatten(1).any(dim=1)[rows]
        logits[good, ids["moving"]] += 9.0
        logits[~good, ids["slow"]] += 9.0
        return logits

    monkeypatch.setattr(backbone, "logits", planted)
    found = searched(small_run(here, bert), here / "found", backbone, fits=0, top=20)
    assert found.best.words == {"positive": "moving", "negative": "slow"}
    assert found.best.scores["train_score"] == 1.0
    near = searched(
        small_run(here, bert), here / "near", backbone, fits=0, top=20, neighbours=1, by="logit"
    )
    assert len(near.candidates) == 1


def test_two_passes_and_one_give_the_same_candidates(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, run = load_backbone(str(bert)), small_run(here, bert)
    searched(run, here / "one", backbone, fits=0)
    monkeypatch.setattr(read_table, "__kwdefaults__", {"largest": 10})
    searched(run, here / "two", backbone, fits=0)
    pair = [read_candidates(here / name / "candidates.jsonl") for name in ("one", "two")]
    assert [c.words for c in pair[0]] == [c.words for c in pair[1]]
    assert "two, since all scores" in (here / "two" / "report.md").read_text(encoding="utf-8")


def test_what_refuses_to_search_leaves_no_folder(here: Path, bert: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        searched(small_run(here, bert), here / "out", load_backbone(str(bert)), words="no.txt")
    assert not (here / "out").exists()


class Stopping(Silent):
    def __init__(self, at: int):
        self._left = at

    def note(self, message: str) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


def test_a_search_that_was_interrupted_ends_as_one_that_was_not(here: Path, bert: Path) -> None:
    backbone, run = load_backbone(str(bert)), small_run(here, bert)
    whole = searched(run, here / "whole", backbone)
    for at in (1, 2, 4):
        with pytest.raises(KeyboardInterrupt):
            searched(run, here / "cut", backbone, Stopping(at))
    again = searched(run, here / "cut", backbone)
    assert again.candidates == whole.candidates
    assert again.ranking is not None
    assert whole.ranking is not None
    assert again.ranking.choice == whole.ranking.choice
    reports = [(here / name / "report.md").read_text(encoding="utf-8") for name in ("cut", "whole")]
    assert reports[0] == reports[1]


def test_listed_words_of_several_tokens_are_scored_by_the_engine(here: Path, bert: Path) -> None:
    backbone, run = (
        load_backbone(str(bert)),
        small_run(here, bert, template="{text} so {mask} then"),
    )
    path = here / "words.txt"
    path.write_text("good\nvery good\nnot good\nbad\n\ngood\n", encoding="utf-8")
    found = searched(run, here / "found", backbone, words=str(path), fits=1)
    assert len(found.candidates) == 10
    task = run_task(run).task
    for one in found.candidates:
        own = evaluate(
            backbone,
            bound_candidate(run, one, task, backbone),
            task.examples("train"),
            ["accuracy"],
            task.labels,
        )
        assert one.scores["train_score"] == pytest.approx(own.metrics["accuracy"], abs=1e-9)
        assert one.scores["train_cross_entropy"] == pytest.approx(own.metrics["loss"], abs=1e-4)
    used = {word for one in found.candidates for word in (one.words or {}).values()}
    assert used == {"good", "very good", "not good", "bad"}


def test_a_list_that_was_changed_is_read_anew_or_refused(here: Path, bert: Path) -> None:
    backbone, run, path = load_backbone(str(bert)), small_run(here, bert), here / "words.yaml"
    path.write_text("positive: [good, fine]\nnegative: [bad]\n", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):  # the table is there, and nothing was made of it
        searched(run, here / "found", backbone, Stopping(3), words=str(path), fits=0)
    assert (here / "found/work/words.json").is_file()
    assert not (here / "found/candidates.jsonl").exists()

    path.write_text("positive: [good]\nnegative: [fine, bad, very slow]\n", encoding="utf-8")
    found = searched(run, here / "found", backbone, words=str(path), fits=0)
    assert [(one.words or {})["positive"] for one in found.candidates] == ["good"] * 3
    assert {(one.words or {})["negative"] for one in found.candidates} == {
        *("fine", "bad", "very slow"),
    }

    path.write_text("positive: [good, fine]\nnegative: [bad, very slow]\n", encoding="utf-8")
    with pytest.raises(
        SettingsError, match=r"words\.yaml was changed since .* made its candidates"
    ):
        searched(run, here / "found", backbone, words=str(path), fits=0)
    assert read_candidates(here / "found/candidates.jsonl") == list(found.candidates)


def test_a_causal_backbone_searches_at_the_end_and_a_list_anywhere(
    here: Path, tmp_path: Path
) -> None:
    from tests.tiny_models import save_checkpoint

    model = save_checkpoint("gpt2", tmp_path / "gpt2")
    backbone = load_backbone(str(model))
    found = searched(small_run(here, model, template="{text} it was {mask}"), here / "a", backbone)
    assert found.ranking is not None
    path = here / "words.yaml"
    path.write_text("positive: [good, fine]\nnegative: [bad, very bad]\n", encoding="utf-8")
    run = small_run(here, model, template="{text} it was {mask} indeed")
    listed = searched(run, here / "b", backbone, words=str(path), fits=0)
    assert {one.words["positive"] for one in listed.candidates if one.words} == {"good", "fine"}


def test_a_number_is_searched_between_two_poles(here: Path, bert: Path) -> None:
    made = [{"text": e.fields["text"], "stars": float(n % 6)} for n, e in enumerate(rows(24))]
    write_jsonl(here / "stars.jsonl", made)
    run = small_run(here, bert)
    values = run.resolved() | {
        "task": {
            "train": str(here / "stars.jsonl"),
            "fields": ["text"],
            "target": "stars",
            "kind": "number",
            "bounds": [0, 5],
        },
        "words": {"lower": "awful", "upper": "great"},
    }
    (here / "stars.yaml").write_text(to_yaml(values), encoding="utf-8")
    own = read_run(here / "stars.yaml")
    backbone = load_backbone(str(bert))
    found = searched(own, here / "found", backbone)
    task = run_task(own).task
    best = bound_candidate(own, found.best, task, backbone)
    first = found.candidates[0]
    applied = bound_candidate(own, first, task, backbone)
    scored = evaluate(backbone, applied, task.examples("train"), ["pearson"], ())
    assert first.scores["train_score"] == pytest.approx(scored.metrics["pearson"], abs=1e-4)
    assert set(found.best.words or {}) == {"lower", "upper"}
    assert best.answers.kind == "poles"


def test_what_cannot_be_searched_is_refused_before_anything_is_written(
    here: Path, bert: Path
) -> None:
    backbone = load_backbone(str(bert))
    run = small_run(here, bert, template="{mask} {text} {mask}", words=None)
    with pytest.raises(SettingsError, match="one answer slot"):
        searched(run, here / "a", backbone)
    with pytest.raises(SettingsError, match="answers by class vectors"):
        searched(small_run(here, bert, method="classification_head"), here / "a", backbone)
    with pytest.raises(SettingsError, match="answers: text"):
        searched(small_run(here, bert, answers="text", words=None), here / "a", backbone)
    with pytest.raises(SettingsError, match="of words of one token"):
        WordSettings.read({"words": "x", "neighbours": 3}, "words")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.txt", "\n \n", "no words, expected one a line"),
        ("w.yaml", "positiv: [good]\n", "'positiv' is none of the labels"),
        ("w.yaml", "positive: good\n", "expected a list of words"),
        ("w.yaml", "positive: [good]\n", "no words for negative"),
    ],
)
def test_a_list_that_is_wrong_is_named(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_word_list(tmp_path / name, ["positive", "negative"])
    with pytest.raises(DataError, match="no such file"):
        read_word_list(tmp_path / "none.txt", ["positive"])


def test_candidates_of_a_search_are_its_files_lines(here: Path, bert: Path) -> None:
    backbone, run = load_backbone(str(bert)), small_run(here, bert)
    searched(run, here / "found", backbone, fits=0)
    path = here / "found" / "candidates.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    added = Candidate(None, {"positive": "film", "negative": "plot"})
    path.write_text(
        '{"words": {"positive": "film", "negative": "plot"}}\n' + "\n".join(lines[1:]), "utf-8"
    )
    found = searched(run, here / "found", backbone, fits=1)
    assert found.candidates[0] == added
    assert found.ranking is not None
    assert found.ranking.best.candidate == added
