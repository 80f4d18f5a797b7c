from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.errors import SettingsError
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.recipes.run_file import read_run, write_run
from softprompt.recipes.schema import RunSettings, key_table
from softprompt.recipes.sweeps import LONGEST_NAME, nested, variants

LEAST: dict[str, Any] = {"backbone": "b", "task": "sst2", "out": "/runs/r"}
RATE = "training.optimiser.learning_rate"


def read(sweep: dict[str, Any], **values: Any) -> RunSettings:
    return RunSettings.read({**LEAST, **values, "sweep": sweep}, "run.yaml")


def names(sweep: dict[str, Any], **values: Any) -> list[str]:
    return [variant.name for variant in variants(read(sweep, **values))]


def test_a_run_without_a_sweep_is_its_only_variant() -> None:
    settings = RunSettings.read(LEAST)
    (only,) = variants(settings)
    assert (only.name, only.values, only.settings) == ("", {}, settings)
    assert "sweep" not in settings.resolved()


def test_every_combination_is_a_variant_in_the_order_given() -> None:
    found = variants(read({RATE: [0.03, 0.1], "method.length": [5, 20]}))
    assert [one.name for one in found] == [
        "learning_rate=0.03,length=5",
        "learning_rate=0.03,length=20",
        "learning_rate=0.1,length=5",
        "learning_rate=0.1,length=20",
    ]
    second = found[1].settings
    assert second.method == PromptTuning(length=20)
    assert second.training.optimiser.learning_rate == 0.03
    assert second.out == "/runs/r/learning_rate=0.03,length=20"
    assert second.sweep == {}


def test_a_swept_value_stands_over_the_one_in_the_file() -> None:
    found = variants(read({"method.length": [5, 7]}, method={"length": 20, "init": "uniform"}))
    assert [one.settings.method for one in found] == [
        PromptTuning(length=5, init="uniform"),
        PromptTuning(length=7, init="uniform"),
    ]


def test_methods_can_be_swept_each_with_its_own_training_defaults() -> None:
    settings = read({"method": ["prompt_tuning", "full_tuning"]}, training={"steps": 7})
    soft, full = (one.settings for one in variants(settings))
    assert (soft.method, full.method) == (PromptTuning(), FullTuning())
    assert (soft.training.steps, full.training.steps) == (7, 7)
    assert (soft.training.optimiser.name, full.training.optimiser.name) == ("adafactor", "adamw")
    alone = RunSettings.read({**LEAST, "method": "full_tuning", "training": {"steps": 7}})
    assert full.training == alone.training


def test_a_key_inside_a_swept_method_is_laid_over_it() -> None:
    sweep = {"method.length": [2, 3], "method": ["prompt_tuning", {"init": "uniform"}]}
    found = [one.settings.method for one in variants(read(sweep))]
    assert found == [
        PromptTuning(length=length, init=init)
        for length in (2, 3)
        for init in ("labels", "uniform")
    ]


def test_config_yaml_of_a_sweep_reads_back_as_the_same_variants(here: Path) -> None:
    sweep = {"method": ["prompt_tuning", "full_tuning"], "training.steps": [3, 4]}
    settings = read(sweep, training={"batch_size": 4})
    (here / "config.yaml").write_text(write_run(settings), encoding="utf-8")
    again = read_run(here / "config.yaml")
    assert again == settings
    assert variants(again) == variants(settings)


# --- names ------------------------------------------------------------------------------------


def test_what_is_too_long_or_unsafe_for_a_name_is_numbered() -> None:
    templates = ["{text} It was {mask}.", "{text} {mask}"]
    assert names({"template": templates, "method.noise": [0.1, 1e-05]}) == [
        "template=1,noise=0.1",
        "template=1,noise=1e-05",
        "template=2,noise=0.1",
        "template=2,noise=1e-05",
    ]
    method = {"name": "prompt_tuning", "init": "text"}
    texts = [{**method, "init_text": text} for text in ("../up", "a/b")]
    assert names({"method": texts}) == ["method=1", "method=2"]


def test_names_that_differ_in_case_only_are_numbered() -> None:
    words = [{"0": "Bad", "1": "Good"}, {"0": "bad", "1": "good"}]
    assert names({"words": words}) == ["words=1", "words=2"]
    sweep = {"method.init_text": ["A", "a"]}
    assert names(sweep, method={"init": "text", "init_text": "x"}) == ["init_text=1", "init_text=2"]


def test_keys_with_the_same_last_part_are_written_out() -> None:
    words = {"a.length": "x"}
    assert names({"words.length": ["x", "y"], "method.length": [5]}, words=words) == [
        "words.length=x,method.length=5",
        "words.length=y,method.length=5",
    ]


def test_very_long_names_give_way_to_numbers() -> None:
    optimiser = [f"training.optimiser.{key}" for key in ("learning_rate", "weight_decay", "eps")]
    sweep = {key: [0.00001234567891, 0.0000987654321] for key in optimiser}
    long = {
        **sweep,
        "method.noise": [0.00001234567891],
        "training.optimiser.clip_norm": [1.23456789],
    }
    assert names(long) == [f"variant={n}" for n in range(1, 9)]


@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=5, unique=True),
    st.lists(st.integers(1, 500), min_size=1, max_size=5, unique=True),
    st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4, unique=True),
)
def test_names_are_different_and_safe_as_file_names(
    rates: list[float], lengths: list[int], templates: list[str]
) -> None:
    found = names({RATE: rates, "method.length": lengths, "template": templates})
    assert len({name.casefold() for name in found}) == len(rates) * len(lengths) * len(templates)
    for name in found:
        assert len(name) <= LONGEST_NAME
        assert set(name) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,="
        )
        assert "=" in name
        assert not name.endswith(".")


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"method.length": []}, "'sweep.method.length': expected a list of one or more values"),
        ({"method.length": 5}, "'sweep.method.length': expected a list of one or more values, got 5"),
        ({"method": {"length": [5]}}, "'sweep.method': expected a list of values; an inner key"),
        ({"method.length": [5, 0]}, "sweep.method.length, value 0: 'method.length': expected at least 1, got 0"),
        ({"method.lenght": [5]}, "unknown key 'method.lenght'; did you mean 'length'?"),
        ({"metod.length": [5]}, "sweep: unknown key 'metod.length'; did you mean 'method.length'?"),
        ({"training.steps": ["many"]}, "sweep.training.steps, value many: training: 'steps'"),
        ({"training.steps.x": [1]}, "'steps' is not a group of settings"),
        ({"method": ["lstm"]}, "sweep.method, value lstm: 'method': no such method"),
        ({"method.name": ["mpt"]}, "sweep.method.name: cannot be swept: give whole methods"),
        ({"backbone": ["a", "b"]}, "sweep.backbone: cannot be swept: the fits of a sweep share one"),
        ({"precision": ["float32"]}, "sweep.precision: cannot be swept: the fits of a sweep share"),
        ({"task.train": ["a.csv"]}, "sweep.task.train: cannot be swept: the fits of a sweep share"),
        ({"k_shot": [4, 8]}, "sweep.k_shot: cannot be swept: the fits of a sweep share their data"),
        ({"render.limit": [4, 8]}, "sweep.render.limit: cannot be swept: every variant must read"),
        ({"seeds": [[0], [1]]}, "sweep.seeds: cannot be swept: every variant is trained with every"),
        ({"out": ["a"]}, "sweep.out: cannot be swept: a run has one folder"),
        ({"training.token_budget": [8]}, "sweep.training.token_budget: cannot be swept: it changes"),
        ({"method.length": [5, 5]}, "sweep: length=1 and length=2 are the same settings"),
        ({"training.steps": list(range(1001))}, "sweep: 1001 = 1,001 variants, expected at most 1,"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused_by_name(sweep: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        variants(read(sweep))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_values_that_only_clash_together_are_named_together() -> None:
    sweep = {"method.init": ["labels", "text"], "method.init_text": ["good"]}
    with pytest.raises(SettingsError, match=r"sweep\.method\.init_text, value good"):
        variants(read(sweep))  # labels take no text
    sweep = {
        "training.optimiser.name": ["adafactor", "adamw"],
        "training.optimiser.factored": [False],
    }
    expected = r"sweep, training\.optimiser\.name=adamw, training\.optimiser\.factored=false: "
    with pytest.raises(SettingsError, match=expected):
        variants(read(sweep))


def test_every_group_of_a_run_file_can_be_swept_or_says_why_not() -> None:
    from softprompt.recipes.sweeps import APART, SWEPT

    groups = {key.split(".")[0].split(" ")[0] for key, _, _ in key_table()}
    assert groups - {*APART, *SWEPT} == set()


# --- run files and assignments ----------------------------------------------------------------


def test_a_swept_key_is_assigned_by_its_dotted_name(here: Path) -> None:
    text = "backbone: b\ntask: sst2\nsweep:\n  method.length: [5, 20]\n  template: [a, b]\n"
    (here / "run.yaml").write_text(text)
    found = read_run(here / "run.yaml", ["sweep.method.length=[7]", f"sweep.{RATE}=[0.1]"])
    assert found.sweep == {"method.length": [7], "template": ["a", "b"], RATE: [0.1]}
    found = read_run(here / "run.yaml", ["sweep={method.length: [1, 2]}"])
    assert found.sweep == {"method.length": [1, 2]}
    assert read_run(here / "run.yaml", ["sweep={}"]).sweep == {}


def test_paths_in_a_sweep_are_relative_to_where_they_are_written(here: Path) -> None:
    (here / "sub").mkdir()
    text = "backbone: b\ntask: sst2\nmethod: {init: prompt, init_from: x}\n"
    (here / "sub" / "run.yaml").write_text(f"{text}sweep: {{method.init_from: [one, /two]}}\n")
    found = read_run(here / "sub" / "run.yaml")
    assert found.sweep == {"method.init_from": [str(here / "sub/one"), "/two"]}
    found = read_run(here / "sub" / "run.yaml", ["sweep.method.init_from=[three]"])
    assert found.sweep == {"method.init_from": [str(here / "three")]}
    whole = "sweep={method: [{init: prompt, init_from: p}]}"
    (values,) = read_run(here / "sub" / "run.yaml", [whole]).sweep["method"]
    assert values["init_from"] == str(here / "p")


def test_a_bad_value_is_said_with_the_file(here: Path) -> None:
    (here / "run.yaml").write_text("backbone: b\ntask: sst2\nsweep: {method.length: [0]}\n")
    with pytest.raises(SettingsError, match=r"run\.yaml: sweep\.method\.length, value 0: "):
        read_run(here / "run.yaml")


def test_swept_values_are_shown_as_a_run_file_has_them() -> None:
    assert nested({RATE: 0.1, "method.length": 5, "template": "t"}) == {
        "training": {"optimiser": {"learning_rate": 0.1}},
        "method": {"length": 5},
        "template": "t",
    }


def test_the_list_of_settings_knows_sweeps() -> None:
    rows = {key: (default, described) for key, default, described in key_table()}
    assert rows["sweep"][0] == "none"
    assert "method.length: [5, 20]" in rows["sweep"][1]
