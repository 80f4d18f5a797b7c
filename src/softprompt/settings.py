"""The base of all settings: typed, frozen, unknown keys refused with a suggestion; YAML in and out.

A settings class is the single source of its defaults, its help and its documentation. Files are
YAML 1.2 (ruamel.yaml): `Yes` and `on` stay words, `1e-5` is a number.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from softprompt.errors import SettingsError


class Settings(BaseModel):
    """Frozen settings; `Settings.read` turns what is wrong into a sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """Check values against the schema.

        Raises:
            SettingsError: an unknown key (with the closest known one) or a value of a wrong type.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_sentence(cls, error, where)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML 1.2 mapping.

    Raises:
        SettingsError: no such file, not UTF-8, not YAML (with line and column), not a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise SettingsError(f"{path}: a folder, expected a YAML file") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}") from None
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = ""
        if mark and "{" in text.splitlines()[min(mark.line, text.count("\n"))]:
            hint = "; a template that begins with { needs quotes: template: '{soft:20}{text} …'"
        raise SettingsError(f"{path}{place}: not YAML: {error.problem}{hint}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected `key: value` lines, found a {type(values).__name__}")
    return values


def to_yaml(values: Mapping[str, Any]) -> str:
    """Write a mapping as YAML, keys in the given order."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(dict(values), stream)
    return stream.getvalue()


def override(
    values: dict[str, Any], assignments: Sequence[str], named: Collection[str] = ()
) -> dict[str, Any]:
    """Apply `key.sub=value` assignments; a value is read as YAML, so `seeds=[1,2]` is a list.

    A mapping replaces the one there (`rates={}`, `rates={news: 2}`); a template, `{text} {mask}`,
    stays a text: its braces hold no values.

    Args:
        named: dotted keys of groups that a bare name stands for: under `method: lora`,
            `method.rank=4` makes `{name: lora, rank: 4}`.
    Raises:
        SettingsError: an assignment without `=`, or a path through something that is no mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    result = {**values}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise SettingsError(
                f"'{assignment}': expected key=value, for example training.steps=50"
            )
        try:
            value = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            value = text
        if text.startswith("{") and not _is_mapping(value):
            value = text
        *above, last = path.split(".")
        node = result
        for depth, key in enumerate(above, start=1):
            inner = node.get(key) or {}
            if isinstance(inner, str) and ".".join(above[:depth]) in named:
                inner = {"name": inner}
            if not isinstance(inner, Mapping):
                raise SettingsError(f"'{assignment}': '{key}' is not a group of settings")
            node[key] = {**inner}
            node = node[key]
        node[last] = value
    return result


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict) and None not in value.values()


def _sentence(schema: type[BaseModel], error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors():
        extra = problem["type"] == "extra_forbidden"
        path, known = _place(schema, problem["loc"][: -1 if extra else None])
        name = ".".join([*path, str(problem["loc"][-1])] if extra else path)
        if extra:
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"
            lines.append(f"{where}: unknown key '{name}'{hint}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: '{name}' is missing")
        else:
            got = problem["input"]
            message = problem["msg"].removeprefix("Value error, ")
            place = f"{where}: '{name}'" if name else where
            lines.append(f"{place}: {message}, got {got!r}")
    return "\n".join(lines)


def _place(schema: type[BaseModel], steps: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """The key that a problem's place stands for, and the keys known there.

    Pydantic puts the tag of a union's branch among the keys, which a user never wrote.
    """
    models: list[type[BaseModel]] = [schema]
    path: list[str] = []
    for step in steps:
        owners = [model for model in models if step in model.model_fields]
        branch = [model for model in models if step == getattr(model, "name", model.__name__)]
        if owners:
            path.append(str(step))
            models = _models_in(owners[0].model_fields[str(step)].annotation)
        elif branch:
            models = branch
        else:
            path.append(str(step))
            models = (
                models if isinstance(step, int) else []
            )  # a number is a place in a list of these
    known = {alias for model in models for alias in model.model_fields}
    return path, sorted(known)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models named in a type, those inside unions included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
