"""The base of all settings: typed, frozen, unknown keys refused with a suggestion; YAML in and out.

A settings class is the single source of its defaults, its help and its documentation. Files are
YAML 1.2 (ruamel.yaml): `Yes` and `on` stay words, `1e-5` is a number.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

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


def override(values: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `key.sub=value` assignments; a value is read as YAML, so `seeds=[1,2]` is a list.

    Raises:
        SettingsError: an assignment without `=`, or a path through something that is no mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    result = {**values}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise SettingsError(f"'{assignment}': expected key=value, for example training.steps=50")
        try:
            value = YAML(typ="safe", pure=True).load(text) if not text.startswith("{") else text
        except YAMLError:
            value = text
        *above, last = path.split(".")
        node = result
        for key in above:
            inner = node.get(key) or {}
            if not isinstance(inner, Mapping):
                raise SettingsError(f"'{assignment}': '{key}' is not a group of settings")
            node[key] = {**inner}
            node = node[key]
        node[last] = value
    return result


def _sentence(schema: type[BaseModel], error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        name = ".".join(path)
        if problem["type"] == "extra_forbidden":
            known = _fields_at(schema, path[:-1])
            close = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"
            lines.append(f"{where}: unknown key '{name}'{hint}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: '{name}' is missing")
        else:
            got = problem["input"]
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: '{name}': {message}, got {got!r}")
    return "\n".join(lines)


def _fields_at(schema: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        field = schema.model_fields.get(part)
        if field is None:  # a step into a union's branch, which pydantic names by its tag
            continue
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not nested:
            return []
        schema = nested[0]
    return sorted(schema.model_fields)
