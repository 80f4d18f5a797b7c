"""A run file and `key=value` assignments become checked settings, paths made absolute.

Paths in a file are relative to the file, paths in an assignment to the folder one is in; a file
that is written back (`config.yaml` of a run) holds absolute ones and means the same anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softprompt.data.columns import did_you_mean
from softprompt.errors import SettingsError, UsageError
from softprompt.recipes.known_recipes import RECIPES
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.sweeps import nested, variants
from softprompt.recipes.task_schema import task_title
from softprompt.settings import override, read_yaml, to_yaml

PATHS = (
    "out",
    "data",
    "task.train",
    "task.dev",
    "task.test",
    "task.unlabelled",
    "unlabelled.files",
    "method.init_from",
    "method.sources",
    "method.target",
)
"""Keys that hold a path, or a list of them."""

NAMES = ("backbone", "demonstrations.encoder")
"""Keys that hold a path if it looks like one or is a folder there, and a name else."""

SEARCHED = ("candidates", "words", "generator")
"""Keys of a search of a recipe that hold a path, the last one or a name; {data}/… stays as it is."""

NAMED = ("method",)
"""Groups that a bare name stands for, so that `method=lora method.rank=4` says both."""

CONFIG = "config.yaml"


def read_run(path: Path | None, assignments: Sequence[str] = ()) -> RunSettings:
    """Read a run file, lay assignments over it, check the whole.

    Args:
        path: a YAML file, or a run folder (its `config.yaml`); None for assignments alone.
        assignments: `key.sub=value`, as typed on a command line.
    Raises:
        SettingsError: what is wrong, where, and the closest known key.
    """
    values: dict[str, Any] = {}
    where = "settings"
    if path is not None:
        folder = path.is_dir()
        path = path / CONFIG if folder else path
        where = str(path)
        values = rooted(read_yaml(path), path.resolve().parent)
        if folder:  # it may have been moved since
            values["out"] = str(path.parent.absolute())
    for assignment in assignments:
        values = _assigned(values, assignment)
    try:
        settings = read_settings(values, where)
        variants(settings)  # a value that a swept key refuses is found now
    except SettingsError as error:
        message = str(error)
        known = message.startswith(f"{where}:")
        raise SettingsError(message if known else f"{where}: {message}") from None
    return settings if settings.out else settings.model_copy(update={"out": default_out(settings)})


def read_settings(values: Mapping[str, Any], where: str = "settings") -> RunSettings:
    """Settings of a method, or of the recipe that `recipe:` names.

    Raises:
        SettingsError: no such recipe; an unknown key or a value of a wrong type.
    """
    name = values.get("recipe")
    if name is None:
        return RunSettings.read(values, where)
    if name not in RECIPES:
        hint = did_you_mean(str(name), RECIPES) or f"; known: {', '.join(RECIPES)}"
        raise SettingsError(f"{where}: recipe: no such recipe '{name}'{hint}")
    return RECIPES[name].read(values, where)


def rooted(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The values of a run file with every path in them made absolute.

    Args:
        base: what relative paths are relative to.
    """
    found = {**values}
    for key in (*PATHS, *NAMES):
        _root(found, key, base)
    if isinstance(task := found.get("task"), Mapping) and isinstance(task.get("mix"), list):
        found["task"] = {**task, "mix": _rooted_tasks(task["mix"], base)}
    if isinstance(steps := found.get("search"), list):
        found["search"] = [_rooted_search(one, base) for one in steps]
    if isinstance(others := found.get("test_on"), list):
        found["test_on"] = _rooted_tasks(others, base)
    _root_sweep(found, base)
    return found


def _rooted_search(step: Any, base: Path) -> Any:
    if not isinstance(step, Mapping):
        return step
    found = {**step}
    for key in SEARCHED:
        given = found.get(key)
        if not isinstance(given, str) or given.startswith("{data}"):
            continue
        if key != "generator" or _is_folder(given, base):
            found[key] = _absolute(given, base)
    return found


def _rooted_tasks(tasks: list[Any], base: Path) -> list[Any]:
    return [
        rooted({"task": one}, base)["task"] if isinstance(one, Mapping) else one for one in tasks
    ]


def default_out(settings: RunSettings) -> str:
    """Where a run goes that does not say: `runs/<task>` in the folder one is in."""
    name = task_title(settings.task).split(".")[0]
    plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
    return str(Path.cwd() / "runs" / (plain.removeprefix("softprompt-") or "run"))


def write_run(settings: RunSettings) -> str:
    """The settings as YAML text, defaults written out."""
    return to_yaml(settings.resolved())


def completed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Saved settings with the defaults of keys that came later, so that what an earlier version left is gone
    on with; as they are where they can no longer be read."""
    try:
        return read_settings(values).resolved()
    except UsageError:
        return values


def differing(left: Mapping[str, Any], right: Mapping[str, Any], above: str = "") -> list[str]:
    """Dotted names of the keys in which two resolved runs differ."""
    found: list[str] = []
    for key in dict.fromkeys([*left, *right]):
        one, other = left.get(key), right.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differing(one, other, f"{above}{key}.")
        elif one != other:
            found.append(above + str(key))
    return found


def _root(values: dict[str, Any], key: str, base: Path) -> None:
    """Make the path under a dotted key absolute, in place; copies what it changes."""
    *above, last = key.split(".")
    node = values
    for part in above:
        inner = node.get(part)
        if not isinstance(inner, Mapping):
            return
        node[part] = {**inner}
        node = node[part]
    given = node.get(last)
    if isinstance(given, list):
        node[last] = [_absolute(one, base) if isinstance(one, str) else one for one in given]
    elif isinstance(given, str) and given and (key not in NAMES or _is_folder(given, base)):
        node[last] = _absolute(given, base)


def _root_sweep(values: dict[str, Any], base: Path) -> None:
    """The same for every value of a sweep that is or holds a path."""
    given = values.get("sweep")
    if not isinstance(given, Mapping):
        return
    rooted: dict[str, Any] = {**given}
    for key, several in given.items():
        top = str(key).split(".")[0]
        if top not in ("method", "demonstrations") or not isinstance(several, list):
            continue
        wrapped = [nested({str(key): value}) for value in several]
        for one in wrapped:
            for path in (*PATHS, *NAMES):
                _root(one, path, base)
        rooted[key] = [_inner(one, str(key)) for one in wrapped]
    values["sweep"] = rooted


def _inner(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _assigned(values: dict[str, Any], assignment: str) -> dict[str, Any]:
    """One assignment laid over the values; what follows `sweep.` is a key of its own, dots and all."""
    key, equals, text = assignment.partition("=")
    if not key.startswith("sweep.") or not equals:
        values = override(values, [assignment], NAMED)
        own = rooted(override({}, [assignment]), Path.cwd())
        *above, last = key.split(".")
        node = values
        for part in above:
            node = node[part]
        node[last] = _inner(own, key)
    else:
        given = values.get("sweep") or {}
        if not isinstance(given, Mapping):
            raise SettingsError(f"'{assignment}': 'sweep' is not a group of settings")
        value = override({}, [f"value={text}"])["value"]
        values = {**values, "sweep": {**given, key.removeprefix("sweep."): value}}
    if key.split(".")[0] == "sweep":
        _root_sweep(values, Path.cwd())
    return values


def _absolute(path: str, base: Path) -> str:
    return str((base / Path(path).expanduser()).absolute())


def _is_folder(name: str, base: Path) -> bool:
    """Whether a backbone's name means a folder rather than a name on the hub."""
    return name.startswith((".", "/", "~")) or (base / name).is_dir()
