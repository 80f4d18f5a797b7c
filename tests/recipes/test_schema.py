from __future__ import annotations

from typing import Any

import pytest

from softprompt.errors import SettingsError
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.registry import METHODS
from softprompt.recipes.schema import RunSettings, key_table

LEAST: dict[str, Any] = {"backbone": "b", "task": "sst2"}


def read(**values: Any) -> RunSettings:
    return RunSettings.read({**LEAST, **values}, "run.yaml")


def refusal(**values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**values)
    return str(caught.value)


def test_backbone_and_task_are_enough() -> None:
    settings = read()
    assert settings.method == PromptTuning()
    assert settings.seeds == [0]


def test_a_method_is_a_name_or_a_mapping() -> None:
    assert read(method="full_tuning").method == FullTuning()
    assert read(method={"name": "prompt_tuning", "length": 7}).method == PromptTuning(length=7)


def test_the_methods_training_defaults_lie_under_what_is_given() -> None:
    training = read(method="full_tuning", training={"steps": 9}).training
    assert training.steps == 9
    assert training.optimiser.name == "adamw"
    assert training.optimiser.learning_rate == 1e-4


NEEDED: dict[str, dict[str, Any]] = {
    "spot": {"sources": ["a", "b"]},
    "wayward": {"sentence": "a prompt reads as one likes"},
}
"""What a method cannot do without."""


@pytest.mark.parametrize("method", METHODS)
def test_resolved_settings_read_back_as_themselves(method: str) -> None:
    task = {"train": "a.csv", "fields": "t", "target": "y", "labels": {0: "no", 1: "yes"}}
    named = {"name": method, **NEEDED.get(method, {})}
    settings = read(method=named, task=task, words={"no": ["bad", "dull"], "yes": "good"})
    again = RunSettings.read(settings.resolved(), "config.yaml")
    assert again == settings
    assert again.resolved() == settings.resolved()


def test_raw_labels_may_be_numbers() -> None:
    task = {"train": "a.csv", "fields": "t", "target": "y", "labels": {0: "no", 1: "yes"}}
    read_task = read(task=task).task
    assert not isinstance(read_task, str)
    assert read_task.labels == {"0": "no", "1": "yes"}
    assert read_task.fields == ["t"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tempalte": "x"}, "run.yaml: unknown key 'tempalte'; did you mean 'template'?"),
        (
            {"method": {"name": "prompt_tuning", "lenght": 3}},
            "run.yaml: unknown key 'method.lenght'; did you mean 'length'?",
        ),
        ({"method": "promt_tuning"}, "did you mean 'prompt_tuning'?"),
        ({"method": "lstm"}, "known: prompt_tuning, prefix_tuning, full_tuning, prompt_design"),
        ({"method": 3}, "expected a method's name"),
        (
            {"task": {"trian": "x", "fields": "t", "target": "y"}},
            "run.yaml: unknown key 'task.trian'; did you mean 'train'?",
        ),
        ({"task": {"train": "x"}}, "run.yaml: 'task.fields' is missing"),
        ({"task": 3}, "expected a task's name, or a mapping"),
        ({"training": {"stepz": 3}}, "unknown key 'stepz'; did you mean 'steps'?"),
        ({"training": {"optimiser": {"schedul": "x"}}}, "did you mean 'schedule'?"),
        ({"objective": {"normalize": "labels"}}, "did you mean 'normalise'?"),
        ({"words": {"good": 3}}, "words of 'good': expected a word or a list of words"),
        ({"seeds": [1, 1]}, "expected different whole numbers"),
        ({"seeds": []}, "'seeds'"),
        ({"precision": "f32"}, "'float32'"),
        ({"k_shot": 0}, "'k_shot'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(values: dict[str, Any], message: str) -> None:
    assert message in refusal(**values)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match=r"run\.yaml: 'backbone' is missing"):
        RunSettings.read({"task": "sst2"}, "run.yaml")


def test_every_key_has_a_help_line() -> None:
    bare = [key for key, _, description in key_table() if not description]
    assert bare == []


def test_the_key_table_names_the_keys_of_every_method() -> None:
    keys = {key for key, _, _ in key_table()}
    for name, kind in METHODS.items():
        assert {f"method.{field} ({name})" for field in kind.model_fields} <= keys
    assert {"training.optimiser.learning_rate", "task.labels", "objective.pmi"} <= keys


def test_there_is_a_json_schema_with_every_method() -> None:
    schema = RunSettings.model_json_schema()
    assert {"PromptTuning", "FullTuning", "FileTask", "TrainingSettings"} <= set(schema["$defs"])


def test_a_variant_may_be_called_by_a_number() -> None:
    values = {"task": "lm_bff/sst2", "backbone": "softprompt/tiny-mlm"}
    assert RunSettings.read({**values, "variant": 13}, "run").variant == "13"
    with pytest.raises(SettingsError, match="variant"):
        RunSettings.read({**values, "variant": True}, "run")
