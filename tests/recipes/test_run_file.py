from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.errors import SettingsError
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.spot import Spot
from softprompt.recipes.run_file import differing, read_run, write_run
from softprompt.recipes.task_schema import FileTask


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


FILES = "task: {train: data/a.csv, test: /abs/t.csv, fields: text, target: y}\n"


def test_paths_in_a_file_are_relative_to_the_file(here: Path) -> None:
    path = write(here / "sub", f"backbone: ./model\nout: ../run\ndata: d\n{FILES}")
    settings = read_run(path)
    assert isinstance(settings.task, FileTask)
    assert settings.task.train == str(here / "sub" / "data" / "a.csv")
    assert settings.task.test == "/abs/t.csv"
    assert settings.backbone == str(here / "sub" / "model")
    assert Path(settings.out or "").resolve() == here / "run"
    assert settings.data == str(here / "sub" / "d")


def test_a_name_on_the_hub_stays_a_name(here: Path) -> None:
    path = write(here, "backbone: google/t5-small\ntask: sst2\n")
    assert read_run(path).backbone == "google/t5-small"


def test_a_backbone_folder_beside_the_file_is_a_path(here: Path) -> None:
    (here / "models" / "mine").mkdir(parents=True)
    path = write(here, "backbone: models/mine\ntask: sst2\n")
    assert read_run(path).backbone == str(here / "models" / "mine")


def test_paths_in_assignments_are_relative_to_where_one_is(here: Path) -> None:
    path = write(here / "sub", f"backbone: b\n{FILES}")
    settings = read_run(path, ["task.train=new.csv", "out=there"])
    assert isinstance(settings.task, FileTask)
    assert settings.task.train == str(here / "new.csv")
    assert settings.out == str(here / "there")


def test_paths_inside_a_group_that_is_typed_are_relative_to_where_one_is(here: Path) -> None:
    path = write(here / "sub", f"backbone: b\n{FILES}")
    settings = read_run(path, ["task={train: new.csv, fields: {text: 评论}, target: 标签}"])
    assert isinstance(settings.task, FileTask)
    assert settings.task.train == str(here / "new.csv")


def test_the_sources_of_a_method_are_paths_each_of_them(here: Path) -> None:
    method = "method: {name: spot, sources: [p/one, /abs/two.npy], target: mine}\n"
    path = write(here / "sub", f"backbone: b\ntask: sst2\n{method}")
    wanted = Spot(
        sources=(str(here / "sub/p/one"), "/abs/two.npy"), target=str(here / "sub" / "mine")
    )
    assert read_run(path).method == wanted
    settings = read_run(path, ["method.sources=[p, q.npy]"])
    assert settings.method == wanted.model_copy(
        update={"sources": (str(here / "p"), str(here / "q.npy"))}
    )


def test_assignments_are_laid_over_the_file(here: Path) -> None:
    path = write(here, "backbone: b\ntask: sst2\nmethod: prompt_tuning\ntraining: {steps: 5}\n")
    settings = read_run(
        path, ["method.length=7", "training.optimiser.learning_rate=1e-2", "seeds=[3, 4]"]
    )
    assert settings.method == PromptTuning(length=7)
    assert settings.training.steps == 5
    assert settings.training.optimiser.learning_rate == 0.01
    assert settings.seeds == [3, 4]


def test_assignments_alone_are_a_run(here: Path) -> None:
    settings = read_run(None, ["backbone=b", "task=sst2", "template={text} was {mask}", "seeds=2"])
    assert settings.template == "{text} was {mask}"
    assert settings.seeds == [2]
    assert settings.out == str(here / "runs" / "sst2")


def test_a_task_that_ships_gets_a_folder_without_a_slash(here: Path) -> None:
    settings = read_run(None, ["backbone=b", "task=softprompt/reviews-en"])
    assert settings.out == str(here / "runs" / "reviews-en")


def test_yes_and_no_stay_words(here: Path) -> None:
    path = write(here, "backbone: b\ntask: boolq\nwords: {true: Yes, false: No}\n")
    assert read_run(path).words == {"true": "Yes", "false": "No"}


def test_a_written_run_reads_back_as_itself(here: Path) -> None:
    text = "template: '{soft:3}{text}：好 #{mask}。'\nwords: {a: [x, 好], b: 差}\nseeds: [1, 2]\n"
    settings = read_run(write(here, f"backbone: b\nout: run\n{FILES}{text}"))
    other = here / "config.yaml"
    other.write_text(write_run(settings), encoding="utf-8")
    assert read_run(other) == settings


def test_a_run_folder_that_was_moved_is_where_it_is(here: Path) -> None:
    settings = read_run(None, ["backbone=b", "task=sst2", "out=old"])
    (here / "new").mkdir()
    (here / "new" / "config.yaml").write_text(write_run(settings), encoding="utf-8")
    assert read_run(here / "new").out == str(here / "new")


def test_differing_names_keys_by_their_place() -> None:
    left = {"a": 1, "b": {"c": 1, "d": [1]}, "e": {"f": 1}}
    right = {"a": 1, "b": {"c": 2, "d": [1]}, "e": 3, "g": 4}
    assert differing(left, right) == ["b.c", "e", "g"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbone: b\ntask: sst2\ntraining: {steps: -1}\n", "run.yaml: training: 'steps'"),
        ("backbone: b\ntask: sst2\ntraining: {stepz: 1}\n", "run.yaml: training: unknown key"),
        ("backbone: b\ntask: sst2\ntemplate: {text} It was {mask}\n", "a template that begins"),
        ("- a\n- b\n", "expected `key: value` lines"),
        ("a: 1\na: 2\n", "not YAML"),
    ],
)
def test_a_bad_file_is_named(here: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_run(write(here, text))
    assert message in str(caught.value)
    assert "run.yaml" in str(caught.value)


def test_an_assignment_into_a_value_is_refused(here: Path) -> None:
    with pytest.raises(SettingsError, match="'task' is not a group of settings"):
        read_run(None, ["backbone=b", "task=sst2", "task.train=x"])


def test_a_bare_method_takes_the_keys_that_follow(here: Path) -> None:
    both = ["backbone=b", "task=sst2", "method=lora", "method.rank=2"]
    settings = read_run(None, both)
    assert settings.method.model_dump()["rank"] == 2
    assert settings.method.name == "lora"
    again = read_run(write(here, "backbone: b\ntask: sst2\nmethod: lora\n"), ["method.rank=2"])
    assert again.method == settings.method
    last = read_run(None, [*both, "method=prompt_tuning"])
    assert last.method.name == "prompt_tuning"
    with pytest.raises(SettingsError, match="'task' is not a group of settings"):
        read_run(None, [*both, "task.train=x"])
