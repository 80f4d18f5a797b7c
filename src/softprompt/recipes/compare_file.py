"""The file of a comparison: backbones × tasks × methods × seeds, in one YAML.

Knows values; `comparison_plan.py` makes runs of them. What a method or a task may say is what a run
file may say of it, and is checked there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from softprompt.errors import SettingsError
from softprompt.recipes.run_file import rooted
from softprompt.recipes.task_schema import AnyOther, AnyTask, AnyText, VariantName
from softprompt.settings import Settings, override, read_yaml

BEST = "best"


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _spelled(key: str) -> Any:
    """A bare text stands for the entry that has nothing but its name."""

    def spell(value: Any) -> Any:
        return [{key: one} if isinstance(one, str) else one for one in _listed(value)]

    return BeforeValidator(spell)


class Common(Settings):
    """What the file says for all cells, a task for its own, a method for its rows."""

    template: str | None = Field(default=None, description="as in a run file")
    words: dict[Any, Any] | None = Field(default=None, description="as in a run file")
    training: dict[str, Any] = Field(default={}, description="laid over a method's own defaults")
    objective: dict[str, Any] = Field(default={}, description="what is trained, how it predicts")
    render: dict[str, Any] = Field(default={}, description="text to tokens")
    demonstrations: dict[str, Any] | None = Field(
        default=None, description="drawn anew at each look, as in a run file"
    )


class CommonData(Common):
    """Which rows of a task are used, and how it is asked."""

    answers: str | None = Field(default=None, description="auto, words, candidates or text")
    max_answer_tokens: int | None = Field(default=None, description="longest generated answer")
    data: str | None = Field(default=None, description="folder of a named task's files")
    variant: VariantName = Field(
        default=None, description="of a named task: other files; seed: those called like the seed"
    )
    dev_size: int | None = Field(default=None, description="rows of train that become dev")
    k_shot: int | None = Field(default=None, description="k rows per label for train, k for dev")
    train_limit: int | None = Field(default=None, description="at most so many rows of train")
    dev_limit: int | None = Field(default=None, description="… of dev")
    test_limit: int | None = Field(default=None, description="… of test")
    train_balanced: bool | None = Field(default=None, description="train_limit per label alike")
    unlabelled: AnyText | None = Field(
        default=None, description="text without labels, as in a run file"
    )
    unlabelled_limit: int | None = Field(default=None, description="at most so many rows of it")
    data_seed: int | None = Field(default=None, description="of dev out of train, k_shot, limits")


class BackboneEntry(Settings):
    """A backbone of the comparison."""

    name: str = Field(description="a folder, a name on the hub, or softprompt/…")
    label: str | None = Field(default=None, description="in tables; else the name's last part")
    note: str | None = Field(default=None, description="said beside its tables")
    family: str | None = Field(default=None, description="of a model that belongs to two")
    precision: str | None = Field(default=None, description="else the file's")


class TaskEntry(CommonData):
    """A task of the comparison."""

    task: AnyTask = Field(description="a name, or your own files as in a run file")
    label: str | None = Field(default=None, description="in tables; else its name")
    note: str | None = Field(default=None, description="said beside its table")
    test_on: Annotated[list[AnyOther], BeforeValidator(_listed)] = Field(
        default=[], description="other tasks, scored as they are; each as in a run file"
    )


class CompareSettings(CommonData):
    """A whole comparison."""

    backbones: Annotated[list[BackboneEntry], _spelled("name")] = Field(
        min_length=1, description="one or several; `backbone` for a single one"
    )
    tasks: Annotated[list[TaskEntry], _spelled("task")] = Field(
        min_length=1, description="names, or mappings that begin with task: name or files"
    )
    methods: Annotated[list[dict[str, Any]], _spelled("name")] = Field(
        min_length=1,
        description="names, or mappings: name, label, note, the method's keys, training, objective, "
        "template, words, vary (rows), sweep (chosen on dev)",
    )
    seeds: Annotated[list[int], BeforeValidator(_listed)] = Field(
        default=[0, 1, 2, 3, 4], min_length=1, description="every cell is trained with each"
    )
    split_seed_with_seed: bool = Field(
        default=False, description="each seed also draws its own train and dev"
    )
    baselines: list[Literal["majority", "bag_of_words", "zero_shot", "linear_probe"]] = Field(
        default=["majority", "bag_of_words", "zero_shot"], description="beside the methods"
    )
    vary: dict[str, list[Any]] = Field(
        default={}, description="dotted key: [values], one row each, such as method.length: [1, 5]"
    )
    test_on: dict[str, Annotated[list[AnyOther], BeforeValidator(_listed)]] = Field(
        default={}, description="task's label: other tasks, scored as they are"
    )
    reference: str = Field(default=BEST, description="a row's label; best: the highest mean on dev")
    resamples: int = Field(default=2000, ge=100, description="of the bootstrap")
    overlap: bool = Field(default=True, description="look for rows that two splits share")
    out: str | None = Field(default=None, description="folder; else runs/<the file's name>")
    precision: str = Field(default="auto", description="of all backbones, as in a run file")
    device: str | None = Field(default=None, description="cpu, cuda, …")

    @model_validator(mode="before")
    @classmethod
    def _one_backbone(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "backbone" not in values:
            return values
        if "backbones" in values:
            raise ValueError("give either backbone or backbones")
        rest = {key: value for key, value in values.items() if key != "backbone"}
        return {**rest, "backbones": [values["backbone"]]}

    @model_validator(mode="after")
    def _seeds_differ(self) -> CompareSettings:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: expected different ones")
        return self


def read_compare(
    path: Path, assignments: Sequence[str] = (), data: Path | None = None
) -> CompareSettings:
    """Read a comparison, paths made absolute.

    Args:
        path: the YAML file, the folder of a comparison (its `compare.yaml`), or the name of one that
            ships.
        assignments: `key.sub=value`, as typed on a command line; paths in them are relative to the
            folder one is in.
        data: folder of the named tasks' files, in place of the file's.
    Raises:
        SettingsError: what is wrong, where, and the closest known key.
    """
    path = _shipped(path)
    folder = path.is_dir()
    path = path / COMPARE if folder else path
    values = _rooted(read_yaml(path), path.resolve().parent)
    if folder:  # it may have been moved since
        values["out"] = str(path.parent.absolute())
    if assignments:
        given = override(values, assignments)
        changed = {one.partition("=")[0].split(".")[0] for one in assignments}
        typed = _rooted({key: given[key] for key in changed}, Path.cwd())
        if "backbone" in changed:
            values.pop("backbones", None)
        if "backbones" in changed:
            values.pop("backbone", None)
        values = {**values, **typed}
    if data is not None:
        values["data"] = str(data.absolute())
    settings = CompareSettings.read(values, str(path))
    if settings.out is None:
        name = "comparison" if path.stem in ("compare", "comparison") else path.stem
        settings = settings.model_copy(update={"out": str(Path.cwd() / "runs" / name)})
    return settings


COMPARE = "compare.yaml"
"""The resolved file in a comparison's folder."""


def shipped_comparisons() -> dict[str, Path]:
    """The comparisons that ship, name to file."""
    from importlib import resources

    root = Path(str(resources.files("softprompt"))) / "assets" / "comparisons"
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}


def _shipped(path: Path) -> Path:
    known = shipped_comparisons()
    return known[path.name] if not path.exists() and str(path) in known else path


def resolved(settings: CompareSettings) -> dict[str, Any]:
    """All settings as a file has them; what is not given is left out."""
    return settings.model_dump(mode="json", exclude_defaults=True) | {"seeds": settings.seeds}


def _rooted(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The file's values with its paths made absolute, entry by entry as in a run file."""
    found = {**rooted({k: v for k, v in values.items() if k != "test_on"}, base)}
    found |= _varied(values, base)
    if "backbones" in found:
        found["backbones"] = [_backbone(one, base) for one in _listed(found["backbones"])]
    elif isinstance(found.get("backbone"), Mapping):
        found["backbone"] = _backbone(found["backbone"], base)
    if "tasks" in found:
        found["tasks"] = [
            rooted(one, base) if isinstance(one, Mapping) else one
            for one in _listed(found["tasks"])
        ]
    if "methods" in found:
        found["methods"] = [_method(one, base) for one in _listed(found["methods"])]
    if "test_on" in values:
        given = values["test_on"]
        if not isinstance(given, Mapping):
            raise SettingsError(
                "test_on: expected a mapping, task's label: [other tasks], such as sst2: [imdb]"
            )
        found["test_on"] = {
            str(key): rooted({"test_on": _listed(one)}, base)["test_on"]
            for key, one in given.items()
        }
    return found


def _backbone(given: Any, base: Path) -> Any:
    if isinstance(given, Mapping):
        return {**given, "name": rooted({"backbone": given.get("name")}, base)["backbone"]}
    return rooted({"backbone": given}, base)["backbone"]


def _method(given: Any, base: Path) -> Any:
    if not isinstance(given, Mapping):
        return given
    inner = rooted({"method": dict(given), "sweep": given.get("sweep")}, base)
    swept = {"sweep": inner["sweep"]} if given.get("sweep") else {}
    for key, kind in (("demonstrations", Mapping), ("search", list)):
        if isinstance(given.get(key), kind):
            swept |= rooted({key: given[key]}, base)
    return inner["method"] | swept | _varied(given, base)


def _varied(given: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """`vary` with the paths in its values made absolute; a bare key is the method's own."""
    if not isinstance(vary := given.get("vary"), Mapping):
        return {}
    found = {}
    for key, values in vary.items():
        path = str(key) if "." in str(key) else f"method.{key}"
        found[key] = rooted({"sweep": {path: values}}, base)["sweep"][path]
    return {"vary": found}
