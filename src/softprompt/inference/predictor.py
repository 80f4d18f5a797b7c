"""Saved prompts on one loaded backbone: single examples, mixed tasks, files of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import PromptError, UsageError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.objective import Objective
from softprompt.inference.predict import TOKEN_BUDGET, Prediction, predict
from softprompt.prompts.addition import Addition
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import answers_from_json
from softprompt.text.renderer import RenderSettings
from softprompt.text.template import parse

Given = str | Mapping[str, Any]


class Predictor:
    """Serves one or several prompts from one backbone, mixed tasks in one batch.

    Args:
        backbone: loaded.
        prompts: a prompt or its folder, or a mapping from name to such.
        token_budget: padded tokens per forward pass.
    Raises:
        PromptError: a prompt that cannot be read or belongs to another backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompts: Prompt | str | Path | Mapping[str, Prompt | str | Path],
        token_budget: int = TOKEN_BUDGET,
    ):
        named = prompts if isinstance(prompts, Mapping) else {"": prompts}
        if not named:
            raise UsageError("no prompts given")
        self.backbone, self.token_budget = backbone, token_budget
        self.prompts = {
            name: p if isinstance(p, Prompt) else Prompt.load(p, backbone.identity)
            for name, p in named.items()
        }
        self._index = {name: number for number, name in enumerate(self.prompts)}
        self._applied = [applied_prompt(backbone, p) for p in self.prompts.values()]

    def predict(
        self, inputs: Sequence[Given | tuple[str, Given]], task: str | None = None
    ) -> list[Prediction]:
        """Predict inputs, each a text, a mapping of fields, or (prompt name, text or mapping).

        Args:
            inputs: a bare text stands for the only field of its task.
            task: the prompt for inputs that name none; needed only where there are several.
        """
        items = [self._item(number, given, task) for number, given in enumerate(inputs)]
        return predict(self.backbone, self._applied, items, self.token_budget)

    def predict_examples(
        self, examples: Iterable[Example], task: str | None = None, chunk: int = 512
    ) -> Iterator[Prediction]:
        """Predict a stream of examples in order; memory does not grow with its length."""
        which = self._which(task)
        source = iter(examples)
        while group := list(islice(source, chunk)):
            items = [(which, example) for example in group]
            yield from predict(self.backbone, self._applied, items, self.token_budget)

    def _item(
        self, number: int, given: Given | tuple[str, Given], task: str | None
    ) -> tuple[int, Example]:
        name, value = given if isinstance(given, tuple) else (task, given)
        which = self._which(name)
        prompt = list(self.prompts.values())[which]
        fields = tuple(prompt.task["fields"])
        if isinstance(value, str):
            if len(fields) != 1:
                raise UsageError(
                    f"input {number}: a bare text, but the task has the fields {', '.join(fields)}; "
                    "give a mapping"
                )
            value = {fields[0]: value}
        own = value.get("candidates")
        candidates = tuple(str(c) for c in own) if own is not None else None
        return which, Example(str(number), {k: v for k, v in value.items()}, None, candidates)

    def _which(self, name: str | None) -> int:
        if name is None:
            if len(self._index) > 1:
                raise UsageError(f"which prompt? there are: {', '.join(self._index)}")
            return 0
        if name not in self._index:
            raise UsageError(f"no prompt '{name}'; there are: {', '.join(self._index)}")
        return self._index[name]


def applied_prompt(backbone: Backbone, prompt: Prompt) -> Applied:
    """Bind a prompt to a backbone.

    Raises:
        PromptError: its rows do not suit its template, or the backbone's width.
    """
    addition = Addition.from_tensors(
        {n: tensor.to(backbone.device) for n, tensor in prompt.addition.tensors().items()}
    )
    settings = prompt.settings.get("render", {})
    applied = apply(
        backbone,
        parse(prompt.template),
        answers_from_json(prompt.answers),
        Objective(**prompt.objective),
        n_rows=int(prompt.settings.get("n_rows", addition.n_rows)),
        settings=RenderSettings(**settings),
    )
    if applied.renderer.total_rows != addition.n_rows:
        raise PromptError(
            f"the template places {applied.renderer.total_rows} rows, the prompt has "
            f"{addition.n_rows}"
        )
    return applied.with_addition(addition)
