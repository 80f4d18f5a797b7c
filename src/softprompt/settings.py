"""The base of all settings: typed, frozen, unknown keys refused with a suggestion; YAML in and out.

A settings class is the single source of its defaults, its help and its documentation. Files are
YAML 1.2 (ruamel.yaml): `Yes` and `on` stay words, `1e-5` is a number.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LONGEST = 80
"""Characters of a wrong value that a message shows."""


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
    """What is wrong, one line a key; what each branch of a union expects is one expectation."""
    lines = []
    wrong: dict[str, tuple[list[str], Any]] = {}
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
        elif (expected := _expected(problem)) is not None:
            several, _ = wrong.setdefault(name, ([], problem["input"]))
            several.append(expected)
        else:
            message = problem["msg"].removeprefix("Value error, ")
            if not name:  # of the whole file: it names its keys, and what was got is all of them
                lines.append(f"{where}: {message}")
                continue
            place = f"{where}: '{name}'"
            asks = message.endswith("?")
            lines.append(
                f"{place}: {message}{' Got' if asks else ', got'} {_got(problem['input'])}"
            )
    for name, (several, given) in wrong.items():
        place = f"{where}: '{name}'" if name else where
        wanted = " or ".join(dict.fromkeys(several))
        lines.append(f"{place}: expected {wanted}, got {_got(given)}{_meant(given, wanted)}")
    return "\n".join(lines)


_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "mapping_type"), "a mapping, key: value"),
    **dict.fromkeys(("model_type", "model_attributes_type"), "a group of settings, key: value"),
    "string_type": "a text",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}
"""What pydantic's kinds of error mean, in the words of this package."""


def _expected(problem: ErrorDetails) -> str | None:
    """What should have stood there; None of kinds that bring a sentence of their own."""
    kind = problem["type"]
    if kind not in _EXPECTED:
        return None
    given = problem["input"]
    if kind == "string_type" and isinstance(given, int | float):
        return "a text (in quotes, where YAML reads something else)"
    numbers = problem.get("ctx", {})
    shown = {k: f"{v:g}" if isinstance(v, float) else v for k, v in numbers.items()}
    return _EXPECTED[kind].format_map(shown)


def _got(given: Any) -> str:
    """A value as a run file has it, the beginning of a long one."""
    spelled = {None: "nothing", True: "true", False: "false"}
    if given is None or isinstance(given, bool):
        return spelled[given]
    text = repr(given)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _meant(given: Any, expected: str) -> str:
    """The closest of the words that are expected."""
    words = expected.split("'")[1::2]
    close = difflib.get_close_matches(given, words, n=1) if isinstance(given, str) else []
    return f"; did you mean '{close[0]}'?" if close else ""


def _place(schema: type[BaseModel], steps: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """The key that a problem's place stands for, and the keys known there.

    Pydantic puts the tag of a union's branch among the keys, which a user never wrote.
    """
    models: list[type[BaseModel]] = [schema]
    kind: Any = schema
    path: list[str] = []
    for step in steps:
        owners = [model for model in models if step in model.model_fields]
        branch = [model for model in models if step == getattr(model, "name", model.__name__)]
        if owners:
            path.append(str(step))
            kind = owners[0].model_fields[str(step)].annotation
            models = _models_in(kind)
        elif branch:
            models, kind = branch, None
        elif isinstance(step, str) and len(_branches(kind)) > 1:
            kind = None
        else:
            path.append(str(step))
            inside = [one for branch in _branches(kind) for one in get_args(branch)]
            kind = inside[-1] if inside else None  # of a list its values, of a mapping too
            models = (
                models if isinstance(step, int) else []
            )  # a number is a place in a list of these
    known = {alias for model in models for alias in model.model_fields}
    return path, sorted(known)


def _branches(kind: Any) -> list[Any]:
    """What a union is of, without None; a type that is none is its only branch."""
    if get_origin(kind) is Annotated:
        return _branches(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [b for one in get_args(kind) if one is not NoneType for b in _branches(one)]
    return [kind]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models named in a type, those inside unions included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
