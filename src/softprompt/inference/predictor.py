"""Saved prompts on one loaded backbone: single examples, mixed tasks, files of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import PromptError, UsageError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.beginnings import Beginnings
from softprompt.inference.budget import TOKEN_BUDGET, TokenBudget
from softprompt.inference.demonstrations import shots_from_json
from softprompt.inference.objective import Objective
from softprompt.inference.predict import Prediction, predict
from softprompt.inference.wearing import worn
from softprompt.prompts.addition import Addition
from softprompt.prompts.identity import check_backbone
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import answers_from_json
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import parse

Given = str | Mapping[str, Any]


class Predictor:
    """Serves one or several prompts from one backbone, mixed tasks in one batch.

    What a prompt's rows begin with is run in the first call that asks it, on a causal backbone, and kept
    (`beginnings.py`): further calls run the example alone. The backbone's weights must stay as they are.

    Args:
        backbone: loaded.
        prompts: a prompt or its folder, or a mapping from name to such.
        token_budget: padded tokens per forward pass.
    Raises:
        PromptError: a prompt that cannot be read or belongs to another backbone; several, one of which
            has weights of its own.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompts: Prompt | str | Path | Mapping[str, Prompt | str | Path],
        token_budget: TokenBudget = TOKEN_BUDGET,
    ):
        named = prompts if isinstance(prompts, Mapping) else {"": prompts}
        if not named:
            raise UsageError("no prompts given")
        self.backbone, self.token_budget = backbone, token_budget
        self.prompts = {name: _loaded(p, backbone) for name, p in named.items()}
        self._dressing = _alone(self.prompts)
        self._applied = [applied_prompt(backbone, p, worn=True) for p in self.prompts.values()]
        with self._worn():  # what is wrong with its weights is said now
            pass
        self.beginnings = Beginnings(self._applied)

    def predict(
        self, inputs: Sequence[Given | tuple[str, Given]], task: str | None = None
    ) -> list[Prediction]:
        """Predict inputs, each a text, a mapping of fields, or (prompt name, text or mapping).

        Args:
            inputs: a bare text stands for the only field of its task.
            task: the prompt for inputs that name none; needed only where there are several.
        Raises:
            UsageError: an input that names no prompt, or another one; or is no text.
            DataError: an input that lacks a field, or does not fit.
        """
        items = [self._item(number, given, task) for number, given in enumerate(inputs)]
        return self._predict(items)

    def predict_examples(
        self, examples: Iterable[Example], task: str | None = None, chunk: int = 512
    ) -> Iterator[Prediction]:
        """Predict a stream of examples in order; memory does not grow with its length."""
        name = list(self.prompts)[self._place(task)]
        source = iter(examples)
        while group := list(islice(source, chunk)):
            yield from self.predict_pairs([(name, example) for example in group])

    def predict_pairs(self, pairs: Sequence[tuple[str, Example]]) -> list[Prediction]:
        """Predict examples, each with the prompt that is named, in shared batches and in order.

        Raises:
            UsageError: a name that no prompt has.
            DataError: an example that lacks a field, or does not fit.
        """
        return self._predict([(self._place(name), example) for name, example in pairs])

    def _predict(self, items: Sequence[tuple[int, Example]]) -> list[Prediction]:
        with self._worn():
            return predict(self.backbone, self._applied, items, self.token_budget, self.beginnings)

    def _worn(self) -> AbstractContextManager[None]:
        return nullcontext() if self._dressing is None else worn(self.backbone, self._dressing)

    def _item(
        self, number: int, given: Given | tuple[str, Given], task: str | None
    ) -> tuple[int, Example]:
        name, value = given if isinstance(given, tuple) else (task, given)
        place = self._place(name)
        prompt = list(self.prompts.values())[place]
        where = f"input {number}"
        if isinstance(value, str):
            fields = tuple(prompt.task["fields"])
            if len(fields) != 1:
                raise UsageError(
                    f"{where}: a bare text, but the task has the fields {', '.join(fields)}; "
                    "give a mapping"
                )
            value = {fields[0]: value}
        if not isinstance(value, Mapping):
            raise UsageError(
                f"{where}: expected a text or a mapping of fields, got {type(value).__name__}"
            )
        texts = {name: _text(value[name], f"{where}, field '{name}'") for name in value}
        own = texts.get("candidates") if prompt.answers.get("kind") == "candidates" else None
        candidates = (own,) if isinstance(own, str) else own
        return place, Example(str(number), texts, None, candidates)

    def _place(self, name: str | None) -> int:
        names = list(self.prompts)
        if name is None and len(names) == 1:
            return 0
        if name is None:
            raise UsageError(f"which prompt? there are: {', '.join(names)}")
        if name not in names:
            raise UsageError(f"no prompt '{name}'; there are: {', '.join(names)}")
        return names.index(name)


def _alone(prompts: Mapping[str, Prompt]) -> Prompt | None:
    """The prompt that has weights of its own, if there is one.

    Raises:
        PromptError: there are others beside it.
    """
    dressing = {name: prompt for name, prompt in prompts.items() if prompt.weights is not None}
    if dressing and len(prompts) > 1:
        name, prompt = next(iter(dressing.items()))
        raise PromptError(
            f"prompt '{name}' of the method '{prompt.method}' has weights of its own, so it shares no "
            f"batch with {', '.join(n for n in prompts if n != name)}; make a Predictor for it alone"
        )
    return next(iter(dressing.values()), None)


def _loaded(given: Prompt | str | Path, backbone: Backbone) -> Prompt:
    if not isinstance(given, Prompt):
        return Prompt.load(given, backbone.identity)
    width = None if given.rows is None else given.rows.shape[1]
    check_backbone(given.backbone, backbone.identity, width)
    return given


def applied_prompt(backbone: Backbone, prompt: Prompt, *, worn: bool = False) -> Applied:
    """Bind a prompt to a backbone that it was found to fit; a copy: what becomes of the prompt's tensors
    later changes nothing.

    Args:
        worn: whether the caller lets the backbone wear the prompt's own weights, where it has some.
    Raises:
        PromptError: its rows do not suit its template, or what was learned is not in it.
    """
    addition = Addition.from_tensors(
        {
            name: tensor.detach().to(backbone.device, copy=True)
            for name, tensor in prompt.addition.tensors().items()
        }
    )
    readout = addition.readout
    if readout is not None and readout.width != backbone.head.width:
        raise PromptError(
            f"class vectors of width {readout.width}, but the output head of '{backbone.name}' reads "
            f"{backbone.head.width}: they are of another backbone"
        )
    if prompt.settings.get("opened_weights") and prompt.weights is None:
        raise PromptError(
            f"this is the record of a run of '{prompt.method}', which changed the backbone's own "
            "weights; they are not in it, so it cannot predict. Train it with "
            "training.keep_weights=true"
        )
    if prompt.weights is not None and not worn:
        raise PromptError(
            f"this prompt of the method '{prompt.method}' has weights of its own (in weights/), and "
            "this works on the frozen backbone; `predict`, `evaluate` and a Predictor of it alone "
            "put them on"
        )
    try:
        objective = Objective(**prompt.objective)
        render = RenderSettings(**prompt.settings.get("render", {}))
    except TypeError as error:
        raise PromptError(
            f"the prompt's objective or render settings cannot be read ({error}); another version "
            "of softprompt may have written it"
        ) from None
    applied = apply(
        backbone,
        parse(prompt.template),
        answers_from_json(prompt.answers),
        objective,
        n_rows=int(prompt.settings.get("n_rows", addition.n_rows)),
        n_attended=addition.n_attended,
        settings=render,
    )
    shown = prompt.task.get("demonstrations")
    if shown is not None:
        applied = replace(applied, shots=shots_from_json(shown))
    return applied.with_addition(addition)


def _text(value: Any, where: str) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise UsageError(f"{where}: expected a text or a list of texts, got {value!r}")
