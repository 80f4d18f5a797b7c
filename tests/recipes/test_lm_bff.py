"""LM-BFF and AutoPrompt carried out whole on a tiny backbone: what they leave, what they refuse, how they go on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest

from softprompt.backbones.loading import load_backbone
from softprompt.cli.main import main
from softprompt.errors import UsageError
from softprompt.inference.predictor import Predictor
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.lm_bff.report import mean_and_sd
from softprompt.recipes.lm_bff.results import LmBffRun
from softprompt.recipes.lm_bff.run import run_lm_bff
from softprompt.recipes.lm_bff.settings import LmBffSettings
from softprompt.recipes.lm_bff.splits import data_run, search_run, split_values
from softprompt.recipes.outcomes import read_outcome
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.watching import Fact, Progress
from softprompt.settings import to_yaml
from tests.small_runs import write_jsonl, write_reviews

TEMPLATES = ("{review} It was {mask}.", "{review} {mask} film.", "a {mask} story: {review}")
WORDS = ("good", "great", "bad", "terrible")


def recipe(folder: Path, model: Path, /, **changes: Any) -> LmBffSettings:
    """reviews.csv (40 rows, its test the same texts), lists of candidates, and lm_bff.yaml, read."""
    write_reviews(folder / "reviews.csv")
    write_reviews(folder / "held.csv", times=1)
    (folder / "templates.txt").write_text("\n".join(TEMPLATES) + "\n", encoding="utf-8")
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    values = {
        "recipe": "lm_bff",
        "backbone": str(model),
        "task": {
            "train": "reviews.csv",
            "test": "held.csv",
            "fields": ["review"],
            "target": "mood",
        },
        "template": "{review} It was {mask}.",
        "words": {"positive": "great", "negative": "terrible"},
        "search": [
            {"find": "templates", "candidates": "templates.txt", "fits": 3},
            {"find": "words", "words": "words.txt", "fits": 2},
        ],
        "sweep": {"training.batch_size": [2, 4]},
        "training": {
            "steps": 2,
            "batch_size": 4,
            "evaluate_every": 2,
            "checkpoint_every": 1,
            "optimiser": {"learning_rate": 1e-3},
        },
        "ensemble": 2,
        "k_shot": 4,
        "seeds": [1, 2],
        "out": "run",
        **changes,
    }
    path = folder / "lm_bff.yaml"
    path.write_text(to_yaml(values), encoding="utf-8")
    settings = read_run(path)
    assert isinstance(settings, LmBffSettings)
    return settings


class Told:
    """Remembers what it is told, and may stop everything at a step or a note."""

    def __init__(self, stop_at: int | None = None):
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._stop_at, self.calls = stop_at, 0

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)
        self._count()

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, progress: Progress) -> None:
        self._count()

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._stop_at:
            raise KeyboardInterrupt


def left(folder: Path) -> dict[str, bytes]:
    """Every file that a finished recipe leaves, but for pictures, checkpoints and times."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not {"checkpoints", "plots"} & set(path.relative_to(folder).parts)
        and path.name not in ("prompt.json", "README.md", "sessions.json")
    }
    report, _, time = found["report.md"].partition(b"Time spent:")
    assert time
    return {**found, "report.md": report}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> LmBffRun:
    return run_lm_bff(recipe(tmp_path_factory.mktemp("made"), bert))


def test_each_seed_leaves_its_searches_its_fit_and_its_ensemble(made: LmBffRun):
    folder = made.folder
    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "data.json", "sessions.json", "done.json", "report.md"),
        *("seed-1", "seed-2"),
    }
    assert {path.name for path in (folder / "seed-1").iterdir()} == {
        *("1-templates", "2-words", "fit", "ensemble", "best.yaml"),
    }
    assert [list(one.products) for one in made.seeds] == [["fit", "ensemble"]] * 2
    report = (folder / "report.md").read_text("utf-8")
    for said in ("population sd", "dev − test", "tied at the top", "each with rows of its own"):
        assert said in report
    assert all(template in report for template in {str(one.template) for one in made.seeds})


def test_the_second_search_stands_on_what_the_first_one_found(made: LmBffRun):
    for one in made.seeds:
        first, second = one.found
        assert first.template in TEMPLATES
        assert first.words is None
        assert second.template == first.template
        assert set((second.words or {}).values()) <= set(WORDS)
        assert (one.template, one.words) == (first.template, second.words)


def test_words_may_be_searched_first(here: Path, bert: Path):
    steps = [
        {"find": "words", "words": "words.txt", "fits": 1},
        {"find": "templates", "candidates": "templates.txt", "fits": 1},
    ]
    run = run_lm_bff(recipe(here, bert, search=steps, ensemble=0, seeds=[1], sweep={}))
    (one,) = run.seeds
    assert [found.kind for found in one.found] == ["words", "templates"]
    assert one.words == one.found[0].words
    assert one.template == one.found[1].template
    assert (here / "run/1-words/done.json").is_file()  # a single seed has no folder of its own


def test_the_scores_of_the_seeds_are_read_with_the_population_sd(made: LmBffRun):
    values = [one.fit.outcome.metrics["test"]["accuracy"] for one in made.seeds]
    shown = f"{fmean(values):.3f} ± {pstdev(values):.3f}"
    assert mean_and_sd(values) == shown
    assert shown in (made.folder / "report.md").read_text("utf-8")


def test_each_seed_draws_its_own_rows_by_the_law_of_the_paper(here: Path, bert: Path):
    settings = recipe(here, bert)
    rows = []
    for seed in settings.seeds:
        task = run_task(data_run(settings, seed)).task
        whole = run_task(
            read_run(
                None,
                [
                    f"backbone={bert}",
                    "task.train=reviews.csv",
                    "task.test=held.csv",
                    "task.fields=[review]",
                    "task.target=mood",
                ],
            )
        ).task
        drawn = run_task(
            read_run(
                here / "lm_bff.yaml",
                [f"seeds=[{seed}]", f"data_seed={seed}", "split_seed_with_seed=false"],
            )
        ).task
        assert len(task.examples("train")) == len(task.examples("dev")) == 8
        assert [one.id for one in task.examples("train")] == [
            one.id for one in drawn.examples("train")
        ]
        assert len(whole.examples("test")) == len(task.examples("test"))
        rows.append({one.id for one in task.examples("train")})
    assert rows[0] != rows[1]


def test_without_k_shot_there_are_sixteen(here: Path, bert: Path):
    settings = recipe(here, bert, k_shot=None)
    assert split_values(settings, 2) == {"data_seed": 2, "k_shot": 16}


def test_a_task_that_comes_in_splits_takes_the_one_of_the_seed():
    given = ["recipe=lm_bff", "task=lm_bff/sst2", "backbone=softprompt/tiny-mlm"]
    settings = read_run(None, given)
    assert isinstance(settings, LmBffSettings)
    assert settings.seeds == [13, 21, 42, 87, 100]
    assert split_values(settings, 87) == {"data_seed": 87, "variant": "87"}
    for more, said in ((["seeds=[7]"], "found seed 7"), (["variant='13'"], "called like it")):
        other = read_run(None, [*given, *more])
        assert isinstance(other, LmBffSettings)
        with pytest.raises(UsageError, match=said):
            split_values(other, other.seeds[0])


@pytest.mark.parametrize("seed", [13, 100])
def test_the_split_of_a_seed_is_the_published_one(shared: Path, seed: int):
    folder = shared / "data"
    path = folder / "lm_bff_k_shot" / "SST-2" / f"16-{seed}" / "train.tsv"
    if not path.is_file():
        pytest.skip("no published splits")
    settings = read_run(
        None,
        ["recipe=lm_bff", "task=lm_bff/sst2", "backbone=softprompt/tiny-mlm", f"data={folder}"],
    )
    assert isinstance(settings, LmBffSettings)
    read = [row.fields["text"] for row in run_task(data_run(settings, seed)).task.examples("train")]
    lines = path.read_text("utf-8").splitlines()[1:]
    assert read == [line.rsplit("\t", 1)[0].strip() for line in lines]


def test_searches_fit_plainly_under_their_own_training(here: Path, bert: Path):
    settings = recipe(here, bert, search_training={"steps": 1, "optimiser": {"name": "adafactor"}})
    run = search_run(settings, 1, settings.template, settings.words, Path("x"))
    assert (run.training.steps, run.training.optimiser.name) == (1, "adafactor")
    assert not run.sweep
    assert run.training.batch_size == 4
    assert run.seeds == [1]


def test_demonstrations_are_of_the_final_fit_alone(here: Path, bert: Path):
    steps = [{"find": "templates", "candidates": "templates.txt", "fits": 1}]
    own = {"demonstrations": {"draws": 2}, "search": steps, "ensemble": 0, "seeds": [1]}
    run_lm_bff(recipe(here, bert, **own, sweep={}))
    assert "demonstrations:" in (here / "run/fit/config.yaml").read_text("utf-8")
    assert "demonstrations:" not in (here / "run/1-templates/search.yaml").read_text("utf-8")


def test_tuned_weights_of_searches_are_dropped_and_small_ones_stay(here: Path, bert: Path):
    small = {"seeds": [1], "sweep": {}}
    run_lm_bff(recipe(here, bert, **small))
    assert not list((here / "run").rglob("*.safetensors"))
    learned = {"name": "prompt_tuning", "length": 2}
    run_lm_bff(recipe(here, bert, **small, method=learned, out="soft"))
    assert len(list((here / "soft").glob("*/fits/*/prompt"))) == 5
    assert (here / "soft/fit/prompt").is_dir()


def test_the_ensemble_is_the_mean_of_its_members(here: Path, bert: Path):
    method = {"name": "prompt_tuning", "length": 2}
    run = run_lm_bff(recipe(here, bert, seeds=[1], sweep={}, method=method))
    (one,) = run.seeds
    assert one.ensemble is not None
    rows = run.task.examples("test")
    backbone = load_backbone(str(bert))
    folders = [place / "prompt" for place in one.found[-1].ranked[:2]]
    each = [
        list(Predictor(backbone, {"": Prompt.load(folder)}).predict_examples(rows))
        for folder in folders
    ]
    lines = (one.place / "ensemble/predictions.jsonl").read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        shares = json.loads(line)["probabilities"]
        for label, share in shares.items():
            mean = fmean(own[number].probabilities[label] for own in each)
            assert share == pytest.approx(mean, abs=2e-6)


def test_the_best_of_a_seed_is_a_run_file(made: LmBffRun, here: Path):
    one = made.seeds[0]
    again = read_run(made.folder / "seed-1/best.yaml", ["out=again"])
    assert again.template == one.template
    assert not again.sweep
    assert again.training.batch_size == one.fit.values["training.batch_size"]
    assert main(["train", str(made.folder / "seed-1/best.yaml"), "out=again"]) == 0
    outcome = read_outcome(here / "again")
    assert outcome is not None
    assert outcome.metrics == one.fit.outcome.metrics


def test_interrupted_anywhere_it_goes_on_where_it_was(here: Path, bert: Path):
    told = Told()
    changes: dict[str, Any] = {"seeds": [1]}
    run_lm_bff(recipe(here, bert, **changes), told)
    whole = left(here / "run")
    with pytest.raises(KeyboardInterrupt):
        run_lm_bff(recipe(here, bert, **changes), Told(3), overwrite=True)
    stops = 1
    while not (here / "run" / "done.json").is_file():
        with contextlib.suppress(KeyboardInterrupt):
            run_lm_bff(recipe(here, bert, **changes), Told(7))
        stops += 1
        assert stops <= told.calls
    assert stops > 4
    assert left(here / "run") == whole


def test_autoprompt_finds_triggers_and_learns_nothing_else(here: Path, bert: Path):
    steps = [{"find": "triggers", "iterations": 2, "evaluate_every": 1, "fits": 1, "batch_size": 4}]
    given = {"recipe": "autoprompt", "template": "{review}{soft:2} It was {mask}.", "sweep": {}}
    run = run_lm_bff(recipe(here, bert, **given, search=steps, ensemble=0, seeds=[1], training={}))
    (one,) = run.seeds
    assert run.settings.method.name == "prompt_design"
    assert "{soft" not in str(one.template)
    assert str(one.template).startswith("{review}")
    assert one.fit.outcome.n_learned == 0


def test_nothing_searched_is_the_manual_prompt(
    here: Path, bert: Path, capsys: pytest.CaptureFixture[str]
):
    recipe(here, bert, search=[], ensemble=0, seeds=[1])
    assert main(["train", "lm_bff.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "final fit" in printed
    assert not list((here / "run").glob("1-*"))


def test_a_number_between_two_poles_is_searched_too(here: Path, bert: Path):
    rows = [{"text": f"film {n}", "score": n / 4} for n in range(21)]
    write_jsonl(here / "numbers.jsonl", rows)
    task = {
        "train": "numbers.jsonl",
        "test": "numbers.jsonl",
        "fields": ["text"],
        "target": "score",
        "kind": "number",
        "bounds": [0, 5],
    }
    (here / "numbers.txt").write_text("{text} It was {mask}.\n{text} {mask}!\n", encoding="utf-8")
    steps = [{"find": "templates", "candidates": "numbers.txt", "fits": 2}]
    own = {"task": task, "template": "{text} {mask}.", "search": steps, "seeds": [1], "sweep": {}}
    words = {"lower": "bad", "upper": "good"}
    run = run_lm_bff(recipe(here, bert, **own, words=words))
    assert set(run.seeds[0].products) == {"fit", "ensemble"}
    assert "pearson" in run.seeds[0].products["ensemble"].metrics["test"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": ["template"]}, "expected templates, words, triggers"),
        ({"search": [{"find": "templates", "fit": 3}]}, "did you mean 'fits'"),
        ({"search": [], "ensemble": 2}, "nothing is searched"),
        ({"ensemble": 9}, "the last search makes 2 fits"),
        ({"ensemble": 1}, "at least 2"),
        ({"search_training": {"step": 3}}, "did you mean 'steps'"),
        ({"search": [{"find": "templates", "candidates": "no.txt", "fits": 3}]}, "no such file"),
        ({"search": [{"find": "words", "words": "no.txt", "fits": 2}]}, "no such file"),
        ({"demonstrations": {"nearest": 0.5, "encoder": "/no/encoder"}}, "demonstrations.encoder"),
        ({"demonstrations": {}, "render": {"limit": 14}}, "no room for a single one"),
        ({"words": {"positive": "great"}}, "none are given for"),
        ({"search": [{"find": "templates", "candidates": "{data}/x.txt", "fits": 3}]}, "no data"),
        ({"split_seed_with_seed": False, "k_shot": None, "dev_size": 0}, "no dev split"),
        ({"answers": "candidates", "search": ["words"], "sweep": {}}, "candidates"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    here: Path,
    bert: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    said: str,
):
    monkeypatch.delenv("SOFTPROMPT_DATA", raising=False)
    with contextlib.suppress(UsageError):
        recipe(here, bert, **changes)
    assert main(["train", "lm_bff.yaml"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "got {'recipe'" not in told
    assert "templates: " not in told  # nothing was searched before
    assert not (here / "run").exists()


def test_free_text_is_refused(here: Path, bert: Path):
    write_jsonl(here / "texts.jsonl", [{"text": f"a {n}", "out": f"b {n}"} for n in range(40)])
    task = {"train": "texts.jsonl", "fields": ["text"], "target": "out", "kind": "text"}
    own = {"task": task, "template": "{text} {mask}", "words": None, "sweep": {}}
    shared = {"split_seed_with_seed": False, "k_shot": None}
    with pytest.raises(UsageError, match="needs labels or a number"):
        run_lm_bff(recipe(here, bert, **own, **shared))
    with pytest.raises(UsageError, match="k_shot: rows are counted for each label"):
        run_lm_bff(recipe(here, bert, **own))


def test_other_settings_do_not_go_on_with_a_recipe(here: Path, bert: Path):
    with pytest.raises(KeyboardInterrupt):
        run_lm_bff(recipe(here, bert), Told(4))
    with pytest.raises(UsageError, match="other settings; these differ: ensemble"):
        run_lm_bff(recipe(here, bert, ensemble=0))


def test_the_list_of_recipes_names_them(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "recipes"]) == 0
    printed = capsys.readouterr().out
    assert "lm_bff" in printed
    assert "autoprompt" in printed
    assert main(["list", "settings"]) == 0
    assert "search.fits (templates)" in capsys.readouterr().out
