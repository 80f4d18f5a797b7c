"""What foreign rows, or keys and values, are bound to: a task, a template, words and a backbone.

They know no text: the user says what stood around the input when they were learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from softprompt.cli.console import table
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.backbones.backbone import Backbone
    from softprompt.data.task import Task
    from softprompt.prompts.addition import Addition
    from softprompt.prompts.prompt import Prompt


class Asked:
    """What the user says of rows that know no text, as typed."""

    def __init__(self, task: str | None, template: str | None, words: list[str] | None):
        self.task, self.template = task, template
        self.words: dict[str, list[str]] = {}
        for pair in words or ():
            label, equals, word = pair.partition("=")
            if not equals or not label or not word:
                raise SettingsError(
                    f"--word {pair}: expected LABEL=WORD, for example positive=great"
                )
            self.words.setdefault(label, []).append(word)

    @property
    def nothing(self) -> bool:
        return self.task is None and self.template is None and not self.words


def bound(
    source: Path,
    addition: Addition,
    model: Backbone,
    asked: Asked,
    method: str,
    notes: tuple[str, ...],
    *,
    before: bool = False,
) -> Prompt:
    """A prompt of what was learned and of what the user says of it.

    Args:
        before: whether the rows stand before the tokenizer's start tokens.
    """
    from dataclasses import asdict

    from softprompt.inference.objective import ObjectiveSettings
    from softprompt.prompts.prompt import Prompt
    from softprompt.text.template import parse
    from softprompt.tuning.jobs import answers_of, bind

    task, template, words = _task(source, asked, model)
    parsed = parse(template)
    count = addition.n_rows
    if not parsed.has_soft and before and model.tokenizer.start:
        own = template.removeprefix("{start}")
        parsed = parse(f"{{soft:{count}}}{{start}}{own}")
    length = count if not parsed.has_soft else parsed.explicit_length or count
    answers = answers_of(task, parsed.slot_names, words)
    applied = bind(
        model,
        task,
        parsed,
        answers,
        ObjectiveSettings(),
        n_rows=length,
        n_attended=addition.n_attended,
    ).with_addition(addition)
    table(
        [
            *_measured(addition, model),
            ("template", str(applied.renderer.template)),
            ("task", task.name),
            ("backbone", model.name),
        ]
    )
    return Prompt(
        addition=applied.addition,
        method=method,
        template=str(applied.renderer.template),
        answers=applied.answers.to_json(),
        objective=asdict(applied.objective),
        task=task.facts,
        backbone=model.identity,
        settings={"n_rows": length, "render": asdict(applied.renderer.settings)},
        notes=" ".join([f"Imported from {source.name} ({method}).", *notes]),
        backbone_parameters=model.n_parameters,
    )


def _measured(addition: Addition, model: Backbone) -> list[tuple[str, str]]:
    """What is there, and how large."""
    facts = []
    if addition.rows is not None:
        mean = float(addition.rows.norm(dim=1).mean())
        usual = model.rms * model.width**0.5
        facts += [
            ("rows", f"{addition.n_rows} of width {addition.rows.shape[1]}"),
            ("norm of a row", f"{mean:.4g} on average; of a word of the backbone {usual:.4g}"),
        ]
    for tensor in addition.attended.values():
        layers, _, length, heads, width = tensor.shape
        facts.append(
            ("keys, values", f"{length} in each of {layers} layers, {heads} heads of {width}")
        )
    return facts


def _task(source: Path, asked: Asked, model: Backbone) -> tuple[Task, str, dict[str, Any] | None]:
    """The task that is meant, its template, and its words where they are not its own."""
    from softprompt.data.registry import is_known, task_without_rows
    from softprompt.data.task import Task
    from softprompt.text.plain import PLAIN, plain_template
    from softprompt.text.template import parse

    words: dict[str, Any] | None = asked.words or None
    if asked.task is None:
        if asked.template is None or words is None:
            raise SettingsError(
                f"{source} knows neither its task nor its text: give --task (softprompt list tasks, "
                "or a run file), or --template and a --word LABEL=WORD for each label"
            )
        fields = parse(asked.template).fields
        task = Task(source.stem, fields, "label", tuple(words), {}, ("accuracy",), words=None)
        return task, asked.template, words
    if asked.task.endswith((".yaml", ".yml")):
        from softprompt.recipes.run_data import run_task
        from softprompt.recipes.run_file import read_run

        settings = read_run(Path(asked.task))
        task = run_task(settings).task
        words = words or settings.words
        template = asked.template or settings.template or task.template_for(model.family)
    elif is_known(asked.task):
        task = task_without_rows(asked.task)
        template = asked.template or task.template_for(model.family)
    else:
        raise SettingsError(
            f"--task {asked.task}: no such task; softprompt list tasks, or a run file (.yaml)"
        )
    if template == PLAIN:
        template = str(plain_template(task.fields, model.family))
    if template is None:
        raise SettingsError(f"task '{task.name}' has no template of its own: give --template")
    return task, template, words
