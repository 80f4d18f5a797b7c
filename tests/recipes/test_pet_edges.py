"""PET and iPET where something is missing: a pool, a label's words, an accuracy; and what is taken over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.errors import SettingsError
from softprompt.recipes.pet import course, members, products
from softprompt.recipes.pet.generations import Picked, n_generations
from softprompt.recipes.pet.products import product_run
from softprompt.recipes.pet.run import run_recipe
from softprompt.recipes.pet.scores import Shards, write_scores
from softprompt.recipes.pet.votes import combined
from softprompt.recipes.recipes import KNOWN
from softprompt.recipes.run_file import read_run
from tests.recipes.test_pet import TASK, Told, recipe
from tests.small_runs import BAD, GOOD, write_jsonl
from tests.tiny_models import save_checkpoint


def test_models_whose_patterns_were_never_right_count_alike() -> None:
    one, other = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    assert combined([one, other], [0.0, 0.0]) == pytest.approx(np.array([[0.5, 0.5]]))


def test_zero_shot_generations_pass_a_thousand_rows() -> None:
    """10, 50, 250, 1,250 rows: the paper's M1 to M4."""
    assert n_generations(0, 5) == 4
    assert n_generations(0, 5, first=50) == n_generations(10, 5) == 3


def test_stopped_between_a_models_record_and_its_weights_it_goes_on(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(member: members.Member, keep: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(members, "_drop", stop)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe(here, bert, distil=[]))
    assert list((here / "run").rglob("weights/*.safetensors"))
    run_recipe(recipe(here, bert, distil=[]))
    assert (here / "run" / "done.json").is_file()
    assert not list((here / "run").rglob("weights/*.safetensors"))


def repeated(folder: Path) -> dict[str, Any]:
    """Unlabelled rows that all repeat a test row."""
    texts = [f"{text} here" for text in GOOD[:2]] + [f"{text} too" for text in BAD[:2]]
    (folder / "more.csv").write_text("words\n" + "".join(f'"{t}"\n' for t in texts), "utf-8")
    return {"files": "more.csv", "fields": {"review": "words"}}


def test_a_pool_of_repeated_rows_alone_is_none(here: Path, bert: Path):
    told = Told()
    given = recipe(here, bert)  # writes held.csv
    run = run_recipe(given.model_copy(update={"out": "plain"}))
    assert "classification_head" in run.seeds[0].products
    run = run_recipe(recipe(here, bert, unlabelled=repeated(here)), told)
    assert list(run.seeds[0].products) == ["ensemble"]
    assert any("no unlabelled rows" in line for line in told.warnings)
    with pytest.raises(
        SettingsError, match=r"ipet needs unlabelled rows: .*repeating one of test: 4"
    ):
        run_recipe(recipe(here, bert, recipe="ipet", unlabelled=repeated(here), out="other"))
    assert not (here / "other").exists()


def test_a_date_may_be_a_seed(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, seeds=[20261121], distil=[]))
    member = run.seeds[0].generations[0].members[0]
    assert 0 <= member.seed < 2**32


def test_reversed_words_need_words_for_each_label(here: Path, bert: Path):
    half = {"template": "{review} It was {mask}.", "words": {"positive": "great"}}
    with pytest.raises(SettingsError, match="'negative' has none"):
        run_recipe(recipe(here, bert, wording="reversed", patterns=[half]))


def test_a_product_is_asked_as_the_models_are(here: Path, bert: Path):
    asked = {"loss": "hinge", "masks": "longest", "fill": "max_first", "training_score": "mean"}
    settings = recipe(here, bert, objective=asked)
    clozes, own = run_recipe(settings).seeds[0].clozes, load_backbone(str(bert))
    head, prompt = (
        product_run(settings, one, clozes, 0, Path("p"), own) for one in settings.distil
    )
    assert (prompt.objective.masks, prompt.objective.fill) == ("longest", "max_first")
    assert prompt.objective.training_score == "mean"
    assert (prompt.objective.loss, prompt.objective.temperature) == ("cross_entropy", 2.0)
    assert (head.objective.masks, head.objective.temperature) == ("own", 2.0)


@pytest.mark.parametrize(
    ("models", "asked", "product", "kept"),
    [
        ("bert", {"fill": "max_first", "answer_score": "mean"}, "t5", {"answer_score": "mean"}),
        ("bert", {"masks": "longest"}, "gpt2", {}),
        ("t5", {"answer_end": False, "sentinel_answers": True}, "bert", {}),
        ("t5", {"answer_end": False, "sentinel_answers": True}, "bart", {"answer_end": False}),
    ],
)
def test_a_product_of_another_family_is_asked_as_it_can_be(
    here: Path,
    tmp_path_factory: pytest.TempPathFactory,
    models: str,
    asked: dict[str, Any],
    product: str,
    kept: dict[str, Any],
):
    """BART has no sentinels to begin an answer with."""
    home = tmp_path_factory.mktemp("models")
    backbone, other = (save_checkpoint(kind, home / kind) for kind in (models, product))
    small = {
        "name": "small",
        "backbone": str(other),
        "method": {"name": "prompt_tuning", "length": 2},
        "training": {"steps": 2, "batch_size": 4},
    }
    patterns = ["{review} It was {mask}.", "{review} In short: {mask}"]
    run_recipe(recipe(here, backbone, patterns=patterns, objective=asked, distil=[small]))
    found = read_run(here / "run" / "products" / "small").resolved()["objective"]
    assert {key: found[key] for key in kept} == kept
    left = {key: found[key] for key in asked if key not in kept}
    usual = {"fill": "parallel", "masks": "own", "answer_end": True, "sentinel_answers": False}
    assert left == {key: usual[key] for key in left}


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_written_answers_are_refused_before_anything_is_trained(
    here: Path, tmp_path_factory: pytest.TempPathFactory, kind: str
):
    """There are no scores of labels to average."""
    model = save_checkpoint(kind, tmp_path_factory.mktemp("models") / kind)
    told, patterns = Told(), ["{review} It was {mask}.", "{review} In short: {mask}"]
    given = recipe(here, model, patterns=patterns, objective={"prediction": "greedy"})
    with pytest.raises(SettingsError, match=r"^objective\.prediction: greedy .*use rank"):
        run_recipe(given, told)
    assert not told.calls
    assert not (here / "run").exists()


def test_a_products_own_backbone_is_tried_before_anything_is_trained(here: Path, bert: Path):
    told = Told()
    product = {"backbone": "/no/such/model", "training": {"steps": 2, "batch_size": 4}}
    with pytest.raises(SettingsError, match=r"distil, classification_head: .*/no/such/model"):
        run_recipe(recipe(here, bert, distil=[product]), told)
    assert not told.warnings
    assert not (here / "run").exists()


def test_more_rows_than_are_met_are_not_read(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    read: list[int] = []
    whole = products._softly_labelled

    def counted(*given: Any) -> list[Example]:
        rows = whole(*given)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(products, "_softly_labelled", counted)
    one = {"method": {"name": "prompt_tuning", "length": 2}}
    steps = [{"training": {"steps": n, "batch_size": 4}} for n in (2, 3)]
    run_recipe(recipe(here, bert, distil=[steps[0], {**one, **steps[1], "rows": 5}]))
    assert read == [8, 5]


def test_an_audit_without_unlabelled_rows_reads_the_labelled_ones(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, audit=True, distil=[], unlabelled=None))
    audit = run.seeds[0].generations[0].made[0].audit
    assert audit["after"] != audit["before"]


def test_transductive_scores_are_marked_where_they_stand(here: Path, bert: Path):
    given = recipe(here, bert, unlabelled=repeated(here), distil=[], transductive=True)
    carried = KNOWN["pet"].run(given)
    assert "transductive" in (carried.grid.caption or "")


def test_what_an_ordinary_run_warns_of_a_recipe_does_too(here: Path, bert: Path):
    told = Told()
    same = {"positive": "great", "negative": "great"}
    run_recipe(recipe(here, bert, words=same, render={"limit": 8}), told)
    report = (here / "run" / "report.md").read_text("utf-8")
    for said in ("collides with the word of", "6 of 6 training examples do not fit"):
        assert any(said in line for line in told.warnings)
        assert said in report
    assert not any("no dev split" in line for line in told.warnings)  # nothing is chosen, by design
    fit = json.loads((here / "run" / "ensemble" / "fit.json").read_text("utf-8"))
    assert fit["cut"] == {"test": 20}


def test_without_dev_rows_nothing_was_chosen(here: Path, bert: Path):
    training = {"steps": 2, "batch_size": 4, "keep": "best"}
    run_recipe(recipe(here, bert, training=training, distil=[]))
    assert "selection: none; the last step" in (here / "run" / "report.md").read_text("utf-8")
    run_recipe(recipe(here, bert, training=training, distil=[], dev_size=4, out="chosen"))
    assert "selection: dev; dev chose" in (here / "chosen" / "report.md").read_text("utf-8")


def test_the_first_patterns_of_a_file_are_taken_too(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, n_patterns=1, distil=[]))
    assert [one.template for one in run.seeds[0].clozes] == ["{review} It was {mask}."]


@pytest.mark.parametrize("given", ["{review} {mask}", {"template": "{review} {mask}"}])
def test_patterns_are_a_list(here: Path, bert: Path, given: Any):
    with pytest.raises(SettingsError, match="'patterns': expected a list of templates"):
        recipe(here, bert, patterns=given)


def test_a_product_must_learn_something(here: Path, bert: Path):
    with pytest.raises(SettingsError, match=r"distil, prompt_design: .*learns nothing"):
        run_recipe(recipe(here, bert, distil=[{"method": "prompt_design"}]))
    assert not (here / "run").exists()


def test_a_products_wrong_key_is_told_by_its_place_before_a_model_is_loaded(here: Path, bert: Path):
    told = Told()
    wrong = [{"method": "prompt_tuning", "training": {"step": 3}}]
    with pytest.raises(SettingsError, match=r"^distil, prompt_tuning: training: unknown key"):
        run_recipe(recipe(here, bert, distil=wrong), told)
    assert not any("loading" in note for note in told.notes)


def test_a_finished_product_keeps_no_checkpoints(here: Path, bert: Path):
    run_recipe(recipe(here, bert))
    assert list((here / "run" / "products").rglob("prompt.json"))
    assert not list((here / "run").rglob("checkpoints"))


def test_models_without_a_label_are_told_by_their_number(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    def one_label(*_: Any, **__: Any) -> Picked:
        return Picked((0, 1), (0, 0), (2, 2), (2, 0))

    monkeypatch.setattr(course, "pick", one_label)
    told = Told()
    run_recipe(recipe(here, bert, recipe="ipet", distil=[], generations=1, growth=1.5), told)
    said = [line for line in told.warnings if "generation 1" in line]
    assert len(said) == 1  # and nothing of repeated rows
    assert "no row of the pool looked like 'positive' to 2 of 2 models" in said[0]


def test_each_label_is_told_with_the_models_that_lack_it(
    here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    found = iter([(0, 0), (0, 2)])

    def few(*_: Any, **__: Any) -> Picked:
        return Picked((0, 1), (0, 1), (2, 2), next(found))

    monkeypatch.setattr(course, "pick", few)
    told = Told()
    run_recipe(recipe(here, bert, recipe="ipet", distil=[], generations=1, growth=1.5), told)
    said = "no row of the pool looked like 'negative' to 2, 'positive' to 1 of 2 models"
    assert any(said in line for line in told.warnings)


def test_rows_that_labels_share_count_for_each_by_its_share(here: Path, bert: Path):
    """Eight rows, 0.75 × 6 + 0.25 × 2 = 5 of them positive: a generation of 16 adds 5 and 3."""
    shares = [0.75] * 6 + [0.25] * 2
    rows = [
        {"review": text, "mood": {"positive": share, "negative": 1 - share}}
        for text, share in zip(GOOD, shares, strict=False)
    ]
    write_jsonl(here / "soft.jsonl", rows)
    write_jsonl(here / "held.jsonl", [{"review": BAD[0], "mood": "negative"}])
    files = {"train": "soft.jsonl", "test": "held.jsonl", "labels": ["positive", "negative"]}
    run = run_recipe(
        recipe(
            here,
            bert,
            recipe="ipet",
            task={**TASK, **files},
            train_limit=None,
            train_balanced=False,
            unlabelled={"files": "reviews.csv", "fields": {"review": "review"}},
            growth=2,
            generations=2,
            distil=[],
        )
    )
    grown = run.seeds[0].generations[1:]
    assert [one.picked[0].wanted for one in grown] == [(5, 3), (15, 9)]


def test_rows_of_scores_are_read_shard_by_shard(tmp_path: Path):
    shards = Shards(tmp_path)
    whole = np.arange(14, dtype=np.float32).reshape(7, 2)
    for number, (first, last) in enumerate([(0, 3), (3, 6), (6, 7)]):
        write_scores(shards.at(number), whole[first:last])
    for chosen in ([0, 2, 3, 6], [4], list(range(7)), []):
        assert shards.rows(chosen).tolist() == whole[chosen].tolist()
