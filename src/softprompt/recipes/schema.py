"""The schema of a run file: every key of `softprompt train`, with its default and one line of help.

Made of the settings classes themselves: a method's keys are the fields of its class, found through
`METHODS`. Knows values, not files or folders; `run_file.py` reads YAML into this.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from softprompt.data.columns import did_you_mean
from softprompt.inference.drawn import DemonstrationSettings
from softprompt.inference.objective import ObjectiveSettings
from softprompt.methods.method import Method
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.registry import METHODS
from softprompt.recipes.task_schema import (
    AnyOther,
    AnyTask,
    AnyText,
    FileTask,
    MixTask,
    TextFiles,
    VariantName,
    text_keys,
)
from softprompt.settings import Settings
from softprompt.text.rendering import RenderSettings
from softprompt.tuning.run import training_settings
from softprompt.tuning.settings import TrainingSettings


def _several(value: Any) -> Any:
    if isinstance(value, Mapping):
        raise ValueError(
            "expected a list of values; an inner key is written with dots, as in "
            "method.length: [5, 20]"
        )
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of one or more values")
    return value


def _without_name(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: inner for key, inner in value.items() if key != "name"}


def _branch(value: Any) -> str | None:
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    return str(name) if name is not None else None


if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = Annotated[
        functools.reduce(
            operator.or_,
            (Annotated[m, BeforeValidator(_without_name), Tag(n)] for n, m in METHODS.items()),
        ),
        Discriminator(_branch),
    ]


_UNSAID = (
    *("sweep", "test_on_dev", "test_on"),
    *("train_balanced", "unlabelled", "unlabelled_limit", "demonstrations"),
)
"""Keys that `resolved` leaves out where they say nothing, so that older runs differ in no key."""


class RenderLimits(Settings):
    """How text becomes tokens; see `RenderSettings`."""

    limit: int | None = Field(
        default=None, ge=1, description="positions per example; else the backbone's"
    )
    separator: str = Field(default="\n", description="what {sep} is where the tokenizer has none")
    per_piece: bool = Field(default=False, description="tokenise each piece apart (PET, LM-BFF)")
    demonstration_separator: str = Field(
        default=" ", description="what joins demonstrations: text, or {sep}"
    )

    def resolved(self) -> RenderSettings:
        """For the renderer."""
        return RenderSettings(**self.model_dump())


class RunSettings(Settings):
    """A whole run: backbone × task × template × answers × objective × method."""

    backbone: str = Field(description="a folder, a name on the hub, or softprompt/… that ships")
    task: AnyTask = Field(
        description="a name (softprompt list tasks), your own files: {train: …, …}, or several "
        "tasks as one: {mix: [name, …]}"
    )
    template: str | None = Field(
        default=None, description="else the task's own; plain: the task's fields and nothing else"
    )
    words: Annotated[dict[str, Any] | None, BeforeValidator(text_keys)] = Field(
        default=None,
        description="label: word, or [words], or {slot: word} of {mask:slot}; else the task's own, "
        "else the labels",
    )
    answers: Literal["auto", "words", "candidates", "text"] = Field(
        default="auto", description="label words, the example's own candidates, or free text"
    )
    max_answer_tokens: int = Field(
        default=32, ge=1, description="longest generated answer (free text)"
    )
    method: AnyMethod = Field(
        default_factory=PromptTuning, description="a name, or {name: prompt_tuning, length: 20}"
    )
    training: TrainingSettings = Field(
        default_factory=TrainingSettings, description="how long, with what, what is kept"
    )
    objective: ObjectiveSettings = Field(
        default_factory=ObjectiveSettings, description="what is trained, how it predicts"
    )
    seeds: list[int] = Field(
        default=[0], min_length=1, description="one prompt each, in shared batches"
    )
    sweep: dict[str, Annotated[list[Any], BeforeValidator(_several)]] = Field(
        default_factory=dict,
        description="key: [values], such as method.length: [5, 20]; every combination is trained, "
        "the best on dev is chosen",
    )
    out: str | None = Field(default=None, description="run folder; else runs/<task>")
    precision: Literal["auto", "float32", "float16", "bfloat16", "float64", "int8"] = Field(
        default="auto",
        description="auto: float32 on the CPU, else as the checkpoint suggests; int8: linear "
        "layers in 8 bits, for prompts",
    )
    device: str | None = Field(
        default=None, description="cpu, cuda, …; else an accelerator if there is"
    )
    family: Literal["masked", "encoder_decoder", "causal"] | None = Field(
        default=None, description="only for a model that belongs to two"
    )
    data: str | None = Field(default=None, description="folder of a named task's files")
    variant: VariantName = Field(
        default=None, description="of a named task: another choice of files"
    )
    dev_size: int | None = Field(
        default=None,
        ge=0,
        description="rows of train that become dev where there is none; 0: no dev at all",
    )
    k_shot: int | None = Field(
        default=None, ge=1, description="k rows per label for train, k for dev"
    )
    train_limit: int | None = Field(
        default=None, ge=1, description="use at most so many rows of train"
    )
    train_balanced: bool = Field(
        default=False, description="train_limit rows are spread evenly over the labels"
    )
    dev_limit: int | None = Field(default=None, ge=1, description="… of dev")
    test_limit: int | None = Field(default=None, ge=1, description="… of test")
    data_seed: int = Field(
        default=0, ge=0, description="of dev out of train, k_shot and the limits"
    )
    unlabelled: AnyText | None = Field(
        default=None,
        description="text without labels: train (its rows that are neither learned from nor "
        "chosen on), or {files: …, fields: …}; else the task's own",
    )
    unlabelled_limit: int | None = Field(
        default=None, ge=1, description="draw at most so many of them"
    )
    render: RenderLimits = Field(
        default_factory=lambda: RenderLimits(), description="text to tokens"
    )
    demonstrations: DemonstrationSettings | None = Field(
        default=None,
        description="solved examples of train beside each question, one per label, drawn anew at each look: "
        "{draws: 16}",
    )
    test_on_dev: bool = Field(
        default=False,
        description="a task with a dev file and no test: that file is the test, dev comes out of train",
    )
    test_on: list[AnyOther] = Field(
        default=[],
        description="other tasks, scored as they are at the end: names, files, or {task: name, "
        "variant: …, labels: {its own: the trained one's}}",
    )

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, values: Any) -> Any:
        """A bare method name and a bare seed are written out; the method's training defaults lie
        under what is given."""
        if not isinstance(values, Mapping):
            return values
        filled = {**values, "method": _named(values.get("method", PromptTuning.name))}
        if isinstance(filled.get("seeds"), int):
            filled["seeds"] = [filled["seeds"]]
        kind = METHODS.get(_branch(filled["method"]) or "")
        given = filled.get("training", {})
        if kind is not None and isinstance(given, Mapping):
            filled["training"] = training_settings(kind.model_construct(), given)
        return filled

    @field_validator("task", mode="before")
    @classmethod
    def _task_or_files(cls, value: Any) -> Any:
        if not isinstance(value, str | Mapping | FileTask | MixTask):
            raise ValueError(
                "expected a task's name, or a mapping with train, fields and target, or {mix: [names]}"
            )
        return value

    @field_validator("unlabelled", mode="before")
    @classmethod
    def _train_or_files(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "train":
            raise ValueError("expected train, or {files: …, fields: …} for files of text")
        if not isinstance(value, str | Mapping | TextFiles | None):
            raise ValueError("expected train, or a mapping with files and fields")
        return value

    @field_validator("method", mode="before")
    @classmethod
    def _known_method(cls, value: Any) -> Any:
        name = _branch(value)
        if name is None:
            raise ValueError(f"expected a method's name, one of {', '.join(METHODS)}")
        if name not in METHODS:
            hint = did_you_mean(name, METHODS) or f"; known: {', '.join(METHODS)}"
            raise ValueError(f"no such method{hint}")
        return value

    @field_validator("words")
    @classmethod
    def _words_are_texts(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for label, given in (value or {}).items():
            if not _words_in(given) or not all(
                isinstance(word, str) and word.strip() for word in _words_in(given)
            ):
                raise ValueError(
                    f"words of '{label}': expected a word or a list of words (in quotes where "
                    "YAML would read a number)"
                )
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value) or any(not 0 <= seed < 2**32 for seed in value):
            raise ValueError("expected different whole numbers from 0 to 2**32 − 1")
        return value

    @property
    def remark(self) -> str | None:
        """What must stand beside every score; None: nothing."""
        return None

    def resolved(self) -> dict[str, Any]:
        """All settings as a run file has them, defaults written out."""
        values = self.model_dump(mode="json")
        values["method"] = {"name": self.method.name, **self.method.model_dump(mode="json")}
        for key in _UNSAID:
            if not values[key]:
                del values[key]
        for task in (values["task"], *_mixed_tasks(values["task"]), *values.get("test_on", ())):
            if isinstance(task, dict) and task.get("unlabelled", "") is None:
                del task["unlabelled"]
        return values


def _mixed_tasks(task: Any) -> list[Any]:
    return list(task.get("mix", ())) if isinstance(task, Mapping) else []


def _words_in(given: Any) -> list[Any]:
    """All words of a label, however deep: a word, words, or several for several slots each."""
    if isinstance(given, Mapping):
        given = list(given.values())
    if not isinstance(given, list):
        return [given]
    return [word for inner in given for word in _words_in(inner)]


def _named(method: Any) -> Any:
    """A bare name, and keys without a name (`method.length=5` alone), written out."""
    if isinstance(method, Mapping):
        return {"name": PromptTuning.name, **method}
    return {"name": method} if isinstance(method, str) else method


def key_table(schema: type[Settings] = RunSettings, above: str = "") -> list[tuple[str, str, str]]:
    """Every key of a run file: its dotted name, its default, one line of help."""
    rows: list[tuple[str, str, str]] = []
    for name, field in schema.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Settings):
            rows += key_table(inner, f"{above}{name}.")
            continue
        rows.append((above + name, _shown_default(field), field.description or ""))
    if schema is RunSettings:
        rows += key_table(FileTask, "task.")
        rows += key_table(TextFiles, "unlabelled.")
        rows += key_table(DemonstrationSettings, "demonstrations.")
        rows += [(f"{key} (mixture)", d, h) for key, d, h in key_table(MixTask, "task.")]
        for name, kind in METHODS.items():
            rows += [(f"{key} ({name})", d, h) for key, d, h in key_table(kind, "method.")]
    return rows


def _shown_default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Settings):
        return getattr(value, "name", "")
    if isinstance(value, str):
        return value if value.isprintable() and value.strip() else repr(value)
    if isinstance(value, Sequence | Mapping) and not value:
        return "none"
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
