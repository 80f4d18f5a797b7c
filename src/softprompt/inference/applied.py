"""A prompt bound to a backbone and a task's answers: what asks, what is added, how it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import DataError, TemplateError
from softprompt.inference.objective import Objective
from softprompt.prompts.addition import Addition
from softprompt.text.answers import Answers, FreeText
from softprompt.text.layout import Frame
from softprompt.text.renderer import Renderer, Rendering, RenderSettings, Source
from softprompt.text.template import Template


@dataclass(frozen=True)
class Applied:
    """Renders examples of one task for one backbone, with what is added to them.

    Args:
        renderer: template, answers and tokenizer.
        objective: how candidates are scored and judged.
        addition: what the prompt adds; an empty one for zero-shot use.
    """

    renderer: Renderer
    objective: Objective
    addition: Addition = field(default_factory=Addition)

    @property
    def answers(self) -> Answers:
        return self.renderer.answers

    def with_addition(self, addition: Addition) -> Applied:
        """The same with another addition of as many rows."""
        return replace(self, addition=addition)

    def render(self, example: Example) -> Rendering:
        """What scores the example's candidates.

        Raises:
            DataError: the example lacks a field of the template, has no candidates, or does not fit.
        """
        with _Where(example):
            return self.renderer.score(example.fields, example.candidates)

    def source(self, example: Example) -> Source:
        """What a generator continues for the example."""
        with _Where(example):
            return self.renderer.source(example.fields)

    def answer_tokens(self, example: Example) -> int:
        """How many tokens a generated answer may have, its end included."""
        if isinstance(self.answers, FreeText):
            return self.answers.max_tokens
        tokenised = self.renderer.candidate_ids(example.fields, example.candidates)
        return max(sum(len(ids) for ids in words) for _, words in tokenised) + 2

    def render_gold(self, example: Example, words: tuple[str, ...]) -> Rendering:
        """What scores one filling of the slots alone (of free text, with the end token)."""
        with _Where(example):
            return self.renderer.gold(example.fields, words)


class _Where:
    """Turns a template's complaint about one example into one that names the example."""

    def __init__(self, example: Example):
        self.example = example

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, TemplateError):
            raise DataError(f"example {self.example.id}: {error}") from None


def apply(
    backbone: Backbone,
    template: Template,
    answers: Answers,
    objective: Objective,
    *,
    n_rows: int = 0,
    addition: Addition | None = None,
    settings: RenderSettings | None = None,
) -> Applied:
    """Bind a template and answers to a backbone.

    Args:
        n_rows: rows of each bare `{soft}`, or in front of a template that has none.
        addition: what is added; its rows must be as many as the template places.
        settings: rendering; the limit is the backbone's own where none is given.
    Raises:
        TemplateError: the template does not suit the family.
    """
    chosen = settings or RenderSettings()
    if chosen.limit is None:
        chosen = replace(chosen, limit=backbone.limit)
    elif backbone.limit is not None and chosen.limit > backbone.limit:
        chosen = replace(chosen, limit=backbone.limit)
    renderer = Renderer(
        template, answers, frame_of(backbone, objective.sentinel_answers), n_rows, chosen
    )
    return Applied(renderer, objective, addition or Addition())


def frame_of(backbone: Backbone, sentinel_answers: bool = False) -> Frame:
    """The special tokens that a backbone's family puts around a sequence."""
    tokenizer = backbone.tokenizer
    end = () if tokenizer.end_of_text is None else (tokenizer.end_of_text,)
    if backbone.family == "encoder_decoder":
        return Frame(
            "encoder_decoder",
            tokenizer,
            decoder_start=backbone.decoder_start,
            decoder_end=tokenizer.end or end,
            sentinel_answers=sentinel_answers,
        )
    return Frame(backbone.family, tokenizer, decoder_end=end)


def is_free_text(answers: Answers) -> bool:
    """Whether answers are generated."""
    return isinstance(answers, FreeText)


def count_cut(renderings: Sequence[Rendering]) -> int:
    """How many examples lost tokens."""
    return sum(rendering.cut > 0 for rendering in renderings)
