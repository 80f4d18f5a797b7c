"""A prompt bound to a backbone and a task's answers: what asks, what is added, how it is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import DataError, PromptError, SettingsError, TemplateError
from softprompt.inference.demonstrations import Shots
from softprompt.inference.objective import Objective
from softprompt.prompts.addition import Addition
from softprompt.text.answers import Answers, Classes
from softprompt.text.draft import Draft
from softprompt.text.free_slot import spare_masks
from softprompt.text.layout import Frame
from softprompt.text.query import Source
from softprompt.text.renderer import Renderer
from softprompt.text.rendering import Rendering, RenderSettings
from softprompt.text.spell import Demonstration
from softprompt.text.template import Template


@dataclass(frozen=True)
class Applied:
    """Renders examples of one task for one backbone, with what is added to them.

    Args:
        renderer: template, answers and tokenizer.
        objective: how candidates are scored and judged.
        addition: what the prompt adds; an empty one for zero-shot use.
        shots: which solved examples stand beside a question; None: none.
    """

    renderer: Renderer
    objective: Objective
    addition: Addition = field(default_factory=Addition)
    shots: Shots | None = None

    @property
    def answers(self) -> Answers:
        return self.renderer.answers

    @cached_property
    def teaching(self) -> Renderer:
        """What renders examples to learn from; another one than `renderer` where `objective.masks` wants
        other rows in training than for a prediction."""
        masks = self.objective.masks
        alike = masks == self.renderer.masks
        return self.renderer if alike else replace(self.renderer, masks=masks)

    def with_addition(self, addition: Addition) -> Applied:
        """The same with another addition.

        Raises:
            PromptError: it has another number of rows than the template places, or of class vectors
                than there are labels to answer with.
        """
        if addition.n_rows != self.renderer.total_rows:
            raise PromptError(
                f"the template places {self.renderer.total_rows} rows, the prompt has "
                f"{addition.n_rows}"
            )
        classes = len(self.answers.labels(None)) if isinstance(self.answers, Classes) else 0
        vectors = 0 if addition.readout is None else addition.readout.n_classes
        if vectors != classes:
            raise PromptError(f"the prompt has {vectors} class vectors, its answers need {classes}")
        return replace(self, addition=addition)

    def shown(self, example: Example) -> tuple[Demonstration, ...]:
        """The demonstrations of an example, as many as there are, whether they fit or not."""
        return () if self.shots is None else self.shots.shown_with(example.fields)

    @property
    def redrawn(self) -> bool:
        """Whether demonstrations are drawn anew at each look at an example."""
        return self.shots is not None and self.shots.redrawn

    @cached_property
    def draws(self) -> tuple[Applied, ...]:
        """The same with the demonstrations of each draw that a prediction averages; itself alone where
        nothing is drawn."""
        count = 1 if self.shots is None else self.shots.n_draws
        return (self,) if not self.redrawn else tuple(self.at(draw) for draw in range(count))

    def at(self, draw: int) -> Applied:
        """The same with the demonstrations of a draw, those of predictions first."""
        return self if self.shots is None else replace(self, shots=self.shots.at(draw))

    def taught(self, step: int) -> Applied:
        """The same with the demonstrations of a training step, which no prediction's draw gives."""
        return self.at(-1 - step) if self.redrawn else self

    def drafts(self, examples: Iterable[Example]) -> list[Draft | None]:
        """Examples tokenised in one batch, for the methods below; they say what is wrong with one
        for which there is None."""
        asked = [example.fields for example in examples]
        if self.shots is None:
            return self.renderer.drafts(asked)
        if not self.redrawn:  # of many, which go first is seen when an example is made to fit
            return [None for _ in asked]
        self.shots.prepare(asked)
        return self.renderer.drafts(asked, [self.shots.shown_with(fields) for fields in asked])

    def render(self, example: Example, draft: Draft | None = None) -> Rendering:
        """What scores the example's candidates for a prediction.

        Args:
            draft: the example's own, where `drafts` made it; the result is the same.
        Raises:
            DataError: the example lacks a field of the template, has no candidates, or does not fit.
        """
        with _naming(example):
            shown = self.shown(example)
            return self.renderer.score(example.fields, example.candidates, shown, draft)

    def render_lesson(self, example: Example, draft: Draft | None = None) -> Rendering:
        """What scores the example's candidates in training; args and raises as `render`."""
        with _naming(example):
            shown = self.shown(example)
            return self.teaching.score(example.fields, example.candidates, shown, draft)

    def render_gold(
        self, example: Example, words: tuple[str, ...], draft: Draft | None = None
    ) -> Rendering:
        """What scores one filling of the slots alone (of free text, with what ends it)."""
        with _naming(example):
            shown, renderer = self.shown(example), self.renderer
            spare = spare_masks(example.id, renderer.template) if renderer.writes_in_masks else 0
            return renderer.gold(example.fields, words, example.candidates, shown, draft, spare)

    def source(self, example: Example, draft: Draft | None = None) -> Source:
        """What a generator continues for the example."""
        with _naming(example):
            shown = self.shown(example)
            return self.renderer.source(example.fields, example.candidates, shown, draft)

    def candidate_ids(self, example: Example, draft: Draft | None = None) -> list[tuple[int, ...]]:
        """How each candidate is tokenised in this example, its slots one after another."""
        with _naming(example):
            shown = self.shown(example)
            made = self.renderer.candidate_ids
            tokenised = made(example.fields, example.candidates, shown, draft)
        return [tuple(i for ids in words for i in ids) for _, words in tokenised]


@contextmanager
def _naming(example: Example) -> Iterator[None]:
    """Turns a template's complaint about one example into one that names the example."""
    try:
        yield
    except TemplateError as error:
        raise DataError(f"example {example.id}: {error}") from None


def apply(
    backbone: Backbone,
    template: Template,
    answers: Answers,
    objective: Objective,
    *,
    n_rows: int = 0,
    n_attended: int = 0,
    settings: RenderSettings | None = None,
) -> Applied:
    """Bind a template and answers to a backbone; what is added comes later, `with_addition`.

    Args:
        n_rows: rows of each bare `{soft}`, or in front of a template that has none.
        n_attended: learned keys and values of each layer; a causal model counts them as positions.
        settings: rendering; the limit is never above the backbone's own.
    Raises:
        TemplateError: the template does not suit the family.
        SettingsError: greedy prediction where nothing can be generated, or not be judged.
    """
    chosen = settings or RenderSettings()
    counted = n_attended if backbone.family == "causal" else 0
    own = None if backbone.limit is None else backbone.limit - counted
    limits = [limit for limit in (chosen.limit, own) if limit is not None]
    chosen = replace(chosen, limit=min(limits, default=None))
    frame = frame_of(backbone, objective.sentinel_answers, objective.answer_end)
    renderer = Renderer(template, answers, frame, n_rows, chosen)
    if objective.prediction == "greedy":
        _check_greedy(renderer)
    return Applied(renderer, objective)


def _check_greedy(renderer: Renderer) -> None:
    family, slots = renderer.frame.family, len(renderer.template.answers)
    if family == "masked" and not renderer.writes_in_masks:
        raise SettingsError(
            "objective.prediction: a masked backbone ranks candidates and writes free text alone; use rank"
        )
    if family == "causal" and slots > 1:
        raise SettingsError(
            f"objective.prediction: greedy needs one answer slot on a causal backbone, "
            f"'{renderer.template}' has {slots}; use rank"
        )


def frame_of(backbone: Backbone, sentinel_answers: bool = False, answer_end: bool = True) -> Frame:
    """The special tokens that a backbone's family puts around a sequence."""
    tokenizer = backbone.tokenizer
    end = () if tokenizer.end_of_text is None else (tokenizer.end_of_text,)
    if backbone.family == "encoder_decoder":
        return Frame(
            "encoder_decoder",
            tokenizer,
            decoder_start=backbone.decoder_start,
            decoder_end=(tokenizer.end or end) if answer_end else (),
            sentinel_answers=sentinel_answers,
        )
    return Frame(backbone.family, tokenizer, decoder_end=end)
