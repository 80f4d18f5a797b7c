"""What a wrong setting is told: the key, what was expected, what was got, in plain words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import CompareSettings
from softprompt.recipes.schema import RunSettings
from softprompt.settings import LONGEST, Settings


class Inner(Settings):
    share: float = Field(default=0.5, gt=0, le=1)
    kind: Literal["sharp", "blunt"] = "sharp"


class Outer(Settings):
    name: str
    count: int = Field(default=1, ge=1)
    switch: bool = False
    inner: Inner = Field(default_factory=Inner)
    several: list[int] = Field(default=[1], min_length=1)
    by_name: dict[str, int] = Field(default={})
    open_end: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    either: list[str] | dict[str, str] | None = None


def told(schema: type[Settings], **values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        schema.read(values, "file.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "'count': expected at least 1, got 0"),
        ({"count": "ten"}, "'count': expected a whole number, got 'ten'"),
        ({"count": 1.5}, "'count': expected a whole number, got 1.5"),
        ({"count": None}, "'count': expected a whole number, got nothing"),
        ({"switch": "maybe"}, "'switch': expected true or false, got 'maybe'"),
        ({"inner": {"share": 0}}, "'inner.share': expected more than 0, got 0"),
        ({"inner": {"share": 2.5}}, "'inner.share': expected at most 1, got 2.5"),
        ({"inner": {"share": "half"}}, "'inner.share': expected a number, got 'half'"),
        (
            {"inner": {"kind": "blnt"}},
            "'inner.kind': expected 'sharp' or 'blunt', got 'blnt'; did you mean 'blunt'?",
        ),
        ({"inner": 3}, "'inner': expected a group of settings, key: value, got 3"),
        ({"inner": {"shape": 1}}, "unknown key 'inner.shape'; did you mean 'share'?"),
        ({"several": 3}, "'several': expected a list, got 3"),
        ({"several": []}, "'several': expected a list of at least 1, got []"),
        ({"several": [1, "b"]}, "'several.1': expected a whole number, got 'b'"),
        ({"by_name": {"a": "b"}}, "'by_name.a': expected a whole number, got 'b'"),
        ({"open_end": -1}, "'open_end': expected at least 0 or 'all', got -1"),
        (
            {"open_end": "al"},
            "'open_end': expected a whole number or 'all', got 'al'; did you mean 'all'?",
        ),
        ({"either": 3}, "'either': expected a list or a mapping, key: value, got 3"),
        (
            {"name": 3},
            "'name': expected a text (in quotes, where YAML reads something else), got 3",
        ),
        ({"name": ["x"]}, "'name': expected a text, got ['x']"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(values: dict[str, Any], sentence: str):
    assert told(Outer, **{"name": "x", **values}) == f"file.yaml: {sentence}"


def test_a_missing_key_is_named_and_each_mistake_has_a_line():
    lines = told(Outer, count=0, swich=True).splitlines()
    assert "file.yaml: 'name' is missing" in lines
    assert "file.yaml: unknown key 'swich'; did you mean 'switch'?" in lines
    assert "file.yaml: 'count': expected at least 1, got 0" in lines
    assert len(lines) == 3


def test_of_a_long_value_the_beginning_is_shown():
    message = told(Outer, name="x", count="y" * 500)
    assert len(message) < LONGEST + 60
    assert message.endswith("…")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"k_shot": 0}, "'k_shot': expected at least 1, got 0"),
        ({"method": {"name": "lora", "rank": 0}}, "'method.rank': expected at least 1, got 0"),
        ({"task": {"mix": ["a"]}}, "'task.mix': expected a list of at least 2, got ['a']"),
        ({"task": {"train": 3, "fields": ["a"], "target": "b"}}, "'task.train': expected a text"),
        ({"task": {"train": "a", "fields": 3, "target": "b"}}, "'task.fields': expected a list or"),
        ({"answers": "word"}, "; did you mean 'words'?"),
        ({"training": {"optimiser": {"name": "adam"}}}, "; did you mean 'adamw'? Got 'adam'"),
        ({"training": {"steps": "many"}}, "'steps': expected a whole number, got 'many'"),
    ],
)
def test_a_run_file_is_told_its_own_keys(values: dict[str, Any], sentence: str):
    message = told(RunSettings, **{"backbone": "x", "task": "y", **values})
    assert sentence in message
    assert "Input should" not in message
    assert len(message.splitlines()) == 1


def test_a_comparison_is_told_its_own_keys():
    message = told(CompareSettings, backbone="x", tasks=["y"], methods=["z"], resamples=3)
    assert message == "file.yaml: 'resamples': expected at least 100, got 3"
