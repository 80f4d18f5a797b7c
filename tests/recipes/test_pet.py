"""PET and iPET carried out whole on a tiny backbone: what they leave, what they refuse, how they go on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softprompt.backbones.loading import load_backbone
from softprompt.errors import SettingsError
from softprompt.inference.predictor import Predictor
from softprompt.recipes.known_recipes import recipe_keys
from softprompt.recipes.pet.results import RecipeRun
from softprompt.recipes.pet.run import run_recipe
from softprompt.recipes.pet.settings import PetSettings
from softprompt.recipes.pet.votes import softmax
from softprompt.recipes.run_file import read_run
from softprompt.recipes.watching import Fact, Progress
from softprompt.settings import to_yaml
from tests.small_runs import BAD, GOOD, write_reviews
from tests.tiny_models import save_checkpoint

TASK = {"train": "reviews.csv", "test": "held.csv", "fields": ["review"], "target": "mood"}


def recipe(folder: Path, model: Path, **changes: Any) -> PetSettings:
    """reviews.csv (40 rows), held.csv (20) and pet.yaml, read."""
    write_reviews(folder / "reviews.csv")
    rows = [(f"{text} here", "positive") for text in GOOD] + [(f"{t} too", "negative") for t in BAD]
    held = "".join(f'"{text}",{mood}\n' for text, mood in rows)
    (folder / "held.csv").write_text(f"review,mood\n{held}", encoding="utf-8")
    values = {
        "recipe": "pet",
        "backbone": str(model),
        "task": TASK,
        "patterns": ["{review} It was {mask}.", "{mask}: {review}"],
        "words": {"positive": "great", "negative": "terrible"},
        "training": {"steps": 3, "batch_size": 4, "checkpoint_every": 1},
        "train_limit": 6,
        "train_balanced": True,
        "unlabelled": "train",
        "distil": [
            {"training": {"steps": 2, "batch_size": 4, "checkpoint_every": 1}},
            {
                "method": {"name": "prompt_tuning", "length": 2},
                "training": {"steps": 2, "batch_size": 4},
            },
        ],
        "out": "run",
        **changes,
    }
    path = folder / "pet.yaml"
    path.write_text(to_yaml(values), encoding="utf-8")
    settings = read_run(path)
    assert isinstance(settings, PetSettings)
    return settings


class Told:
    """Remembers what it is told, and may stop everything at a step."""

    def __init__(self, stop_at: int | None = None):
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.lines: list[str] = []
        self._stop_at, self.calls = stop_at, 0

    def facts(self, facts: Sequence[Fact]) -> None:
        self.lines += [f"{fact.name} {fact.value}".strip() for fact in facts]

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, progress: Progress) -> None:
        self.calls += 1
        if self.calls == self._stop_at:
            raise KeyboardInterrupt


def left(folder: Path) -> dict[str, bytes]:
    """Every file that a finished recipe leaves, but for pictures, checkpoints and times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not {"checkpoints", "plots"} & set(path.relative_to(folder).parts)
        and path.name not in ("prompt.json", "README.md")
    }


@pytest.fixture
def made(here: Path, bert: Path) -> RecipeRun:
    return run_recipe(recipe(here, bert))


def test_a_recipe_leaves_models_ensemble_and_products(made: RecipeRun, here: Path):
    folder = here / "run"
    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "data.json", "done.json", "report.md"),
        *("pool", "generation-0", "ensemble", "products"),
    }
    assert list(made.seeds[0].products) == ["ensemble", "classification_head", "prompt_tuning"]
    assert len(made.pool or ()) == 34  # 40 rows less the six labelled ones
    report = (folder / "report.md").read_text(encoding="utf-8")
    for name in ("models, mean of 2", "ensemble", "distilled into classification_head"):
        assert name in report


def test_tuned_weights_of_models_are_dropped_and_prompts_of_products_kept(
    made: RecipeRun, here: Path
):
    assert not list((here / "run" / "generation-0").rglob("*.safetensors"))
    assert [path.parent.name for path in made.prompts] == ["classification_head", "prompt_tuning"]


@pytest.mark.parametrize(
    ("method", "file"),
    [
        ({"name": "prompt_tuning", "length": 2}, "prompt.safetensors"),
        ({"name": "lora", "rank": 2}, "weights/adapter_model.safetensors"),
    ],
)
def test_models_that_learn_little_are_kept(
    here: Path, bert: Path, method: dict[str, Any], file: str
):
    run_recipe(recipe(here, bert, method=method, distil=[]))
    assert len(list((here / "run" / "generation-0").glob(f"*/prompt/{file}"))) == 2


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_the_same_file_runs_on_every_family(
    here: Path, tmp_path_factory: pytest.TempPathFactory, kind: str
):
    model = save_checkpoint(kind, tmp_path_factory.mktemp("models") / kind)
    patterns = ["{review} It was {mask}.", "{review} In short: {mask}"]
    method = {"name": "prompt_tuning", "length": 2}
    product = {"method": method, "training": {"steps": 2, "batch_size": 4}}
    run = run_recipe(recipe(here, model, patterns=patterns, method=method, distil=[product]))
    assert list(run.seeds[0].products) == ["ensemble", "prompt_tuning"]
    records = (here / "run/products/prompt_tuning/metrics.jsonl").read_text("utf-8")
    assert "loss" in records


def test_an_ensemble_can_teach_another_backbone(
    here: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory
):
    small = save_checkpoint("roberta", tmp_path_factory.mktemp("models") / "small")
    product = {"backbone": str(small), "training": {"steps": 2, "batch_size": 4}}
    run = run_recipe(recipe(here, bert, distil=[product]))
    predictor = Predictor(load_backbone(str(small)), run.prompts[0])
    assert predictor.predict(["a great film"])[0].label in run.task.labels


def test_tuned_weights_are_kept_on_request(here: Path, bert: Path):
    run_recipe(recipe(here, bert, keep_members=True, distil=[]))
    assert len(list((here / "run" / "generation-0").rglob("weights/*.safetensors"))) == 2


def test_the_ensemble_is_the_weighted_mean_of_its_models_logits(made: RecipeRun, here: Path):
    seed = made.seeds[0]
    generation = seed.generations[0]
    parts = [np.load(member.scores("test")) for member in generation.members]
    joint = sum(w * part for w, part in zip(generation.weights, parts, strict=True))
    expected = [made.task.labels[place] for place in softmax(joint).argmax(axis=1)]
    lines = (here / "run" / "ensemble" / "predictions.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == expected


def test_weights_are_the_untrained_patterns_accuracies(made: RecipeRun):
    generation = made.seeds[0].generations[0]
    before = [one.before for one in generation.made]
    total = sum(one for one in before if one is not None)
    assert total > 0
    assert generation.weights == pytest.approx([one / total for one in before if one is not None])


def test_a_product_predicts_by_itself(made: RecipeRun, bert: Path):
    predictor = Predictor(load_backbone(str(bert)), made.prompts[1])
    assert predictor.predict(["a great film"])[0].label in made.task.labels


def test_a_product_learns_from_soft_labels_of_unlabelled_rows_alone(made: RecipeRun, here: Path):
    prompt = json.loads((here / "run/products/prompt_tuning/prompt/prompt.json").read_text("utf-8"))
    assert prompt["task"]["train_rows"] == 8  # two steps of four, of 34
    assert prompt["objective"]["temperature"] == 2.0


def test_the_same_settings_leave_the_same_bytes(here: Path, bert: Path):
    run_recipe(recipe(here, bert))
    once = left(here / "run")
    run_recipe(recipe(here, bert), overwrite=True)
    assert left(here / "run") == once


@pytest.mark.parametrize("name", ["pet", "ipet"])
def test_interrupted_anywhere_it_goes_on_where_it_was(here: Path, bert: Path, name: str):
    changes: dict[str, Any] = {"recipe": name}
    if name == "ipet":
        changes |= {"generations": 1, "growth": 2}
    told = Told()
    run_recipe(recipe(here, bert, **changes), told)
    whole = left(here / "run")
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(here, bert, **changes), Told(1), overwrite=True)
    stops = 1
    while not (here / "run" / "done.json").is_file():
        with contextlib.suppress(KeyboardInterrupt):  # two steps, and out again
            run_recipe(recipe(here, bert, **changes), Told(2))
        stops += 1
        assert stops <= told.calls
    assert stops > 4
    assert left(here / "run") == whole


def test_no_labelled_rows_means_none(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, train_limit=0, train_balanced=False))
    generation = run.seeds[0].generations[0]
    assert [one.n_train for one in generation.made] == [0, 0]
    assert [one.n_learned for one in generation.made] == [0, 0]
    assert generation.weights == [0.5, 0.5]
    assert "classification_head" in run.seeds[0].products


def test_without_unlabelled_rows_the_ensemble_is_the_end_and_it_says_so(here: Path, bert: Path):
    told = Told()
    run = run_recipe(recipe(here, bert, unlabelled=None), told)
    assert list(run.seeds[0].products) == ["ensemble"]
    assert any("no unlabelled rows" in line for line in told.warnings)
    assert "no unlabelled rows" in (here / "run" / "report.md").read_text("utf-8")


def test_several_seeds_have_a_folder_each(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, seeds=[1, 2], distil=[]))
    assert [one.place.name for one in run.seeds] == ["seed-1", "seed-2"]
    assert "2 seeds" in (here / "run" / "report.md").read_text("utf-8")


def test_the_auxiliary_loss_reads_the_pool(here: Path, bert: Path):
    training = {"steps": 2, "batch_size": 2, "auxiliary": {"weight": 0.01, "per_example": 2}}
    run_recipe(recipe(here, bert, training=training, distil=[]))
    records = (here / "run/generation-0/pattern-1-1/metrics.jsonl").read_text("utf-8").splitlines()
    assert all("auxiliary_loss" in json.loads(line) for line in records)


def test_rows_that_repeat_evaluation_rows_are_left_out_unless_asked_for(here: Path, bert: Path):
    text = (GOOD[0], BAD[0])
    more = "".join(f'"{one}"\n' for one in (f"{text[0]} here", f"{text[1]} too", "another text"))
    (here / "more.csv").write_text(f"words\n{more}", encoding="utf-8")
    unlabelled = {"files": "more.csv", "fields": {"review": "words"}}
    run = run_recipe(recipe(here, bert, unlabelled=unlabelled, distil=[]))
    assert len(run.pool or ()) == 1
    assert "left out, repeating one of test: 2" in (here / "run" / "report.md").read_text("utf-8")
    run = run_recipe(
        recipe(here, bert, unlabelled=unlabelled, distil=[], transductive=True), overwrite=True
    )
    assert len(run.pool or ()) == 3
    assert "texts that were read in training" in (here / "run" / "report.md").read_text("utf-8")


# --- iPET -----------------------------------------------------------------------------------------


def test_generations_grow_in_the_ratio_of_labels(here: Path, bert: Path):
    run = run_recipe(
        recipe(here, bert, recipe="ipet", growth=2, generations=2, distil=[], train_limit=4)
    )
    sizes = [one.made[0].n_train for one in run.seeds[0].generations]
    assert sizes == [4, 8, 16]
    assert [g.picked[0].wanted for g in run.seeds[0].generations[1:]] == [(2, 2), (6, 6)]


def test_generations_stop_where_the_pool_ends_and_it_says_so(here: Path, bert: Path):
    told = Told()
    run = run_recipe(recipe(here, bert, recipe="ipet", distil=[]), told)  # 6 → 30 → 150 rows
    assert len(run.seeds[0].generations) == 2
    assert any("generation 2 would label 144 rows, the pool has 34" in w for w in told.warnings)


def test_zero_shot_generations_begin_with_ten_rows(here: Path, bert: Path):
    run = run_recipe(
        recipe(here, bert, recipe="ipet", train_limit=0, train_balanced=False, distil=[])
    )
    assert [one.made[0].n_train for one in run.seeds[0].generations] == [0, 10]


def test_a_model_alone_has_nobody_to_label_for_it(here: Path, bert: Path):
    with pytest.raises(SettingsError, match="at least two models"):
        run_recipe(recipe(here, bert, recipe="ipet", patterns=["{mask}: {review}"]))


def test_generations_need_unlabelled_rows(here: Path, bert: Path):
    with pytest.raises(SettingsError, match="ipet needs unlabelled rows"):
        run_recipe(recipe(here, bert, recipe="ipet", unlabelled=None))


# --- doubts ---------------------------------------------------------------------------------------


def test_reversed_words_stand_for_the_other_label(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, wording="reversed", distil=[]))
    assert [one.words for one in run.seeds[0].clozes] == [
        {"negative": "great", "positive": "terrible"}
    ] * 2
    assert "the label words are reversed" in (here / "run" / "report.md").read_text("utf-8")


def test_an_audit_shows_what_training_changed(here: Path, bert: Path):
    run = run_recipe(recipe(here, bert, audit=True, distil=[]))
    audit = run.seeds[0].generations[0].made[0].audit
    assert set(audit["drift"]) == {"great", "terrible"}
    assert audit["after"] != audit["before"]
    assert "Language-model loss" in (here / "run" / "report.md").read_text("utf-8")


def test_a_recipes_folder_is_a_run_file_that_means_the_same(here: Path, bert: Path):
    settings = recipe(here, bert, recipe="ipet", distil=[])
    with pytest.raises(KeyboardInterrupt):
        run_recipe(settings, Told(1))
    again = read_run(here / "run")
    assert again.resolved() == settings.resolved()
    assert isinstance(again, PetSettings)


def test_the_keys_of_recipes_are_listed_with_their_help():
    rows = {row[0]: row[1:] for row in recipe_keys()}
    assert rows["repetitions (pet)"] == ("1", "models per pattern (the paper: 3)")
    assert rows["growth (ipet)"][0] == "5.0"
    assert rows["distil.temperature"][0] == "2.0"
    assert all(row[1] for row in rows.values())


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": "{review} {mask}"}, "a recipe has patterns"),
        ({"sweep": {"method.length": [1, 2]}}, "a recipe is not swept"),
        ({"distil": [{}, {}]}, "two are called alike"),
        ({"distil": [{"name": "../up"}]}, "a name becomes a folder's"),
        ({"recipe": "pets"}, "did you mean 'pet'"),
        ({"pattern": ["{mask}"]}, "did you mean 'patterns'"),
    ],
)
def test_what_a_recipe_refuses_when_it_is_read(
    here: Path, bert: Path, changes: dict[str, Any], message: str
):
    with pytest.raises(SettingsError, match=message):
        recipe(here, bert, **changes)
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"patterns": ["{review} It was {mask}.", "{review}"]},
            "pattern 2, '{review}': no answer slot",
        ),
        ({"patterns": ["{revew} {mask}"]}, "pattern 1, .*template field 'revew'"),
        (
            {"distil": [{"template": "{review}", "method": "prompt_tuning"}]},
            "distil, prompt_tuning: ",
        ),
        ({"distil": [{"method": "prompt_tunin"}]}, "did you mean 'prompt_tuning'"),
    ],
)
def test_what_does_not_suit_the_task_is_found_before_anything_is_written(
    here: Path, bert: Path, changes: dict[str, Any], message: str
):
    with pytest.raises(SettingsError, match=message):
        run_recipe(recipe(here, bert, **changes))
    assert not (here / "run").exists()


def test_a_finished_recipe_is_not_overwritten(made: RecipeRun, here: Path, bert: Path):
    with pytest.raises(SettingsError, match="holds a finished run"):
        run_recipe(recipe(here, bert))


def test_a_recipe_goes_on_with_the_same_settings_only(here: Path, bert: Path):
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(here, bert), Told(4))
    with pytest.raises(SettingsError, match=r"these differ: training\.steps"):
        run_recipe(recipe(here, bert, training={"steps": 4, "batch_size": 4}))
