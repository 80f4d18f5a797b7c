"""All settings of `recipe: lm_bff` and `recipe: autoprompt`, with their defaults.

A recipe's file is a run's file with a few keys more: what is searched before the run is made, and how many
of what was found vote beside it. Knows values; `course.py` and `run.py` carry them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from softprompt.errors import SettingsError
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.settings import TemplateSettings, WordSettings
from softprompt.recipes.search.triggers.settings import TriggerSettings
from softprompt.recipes.sweeps import laid_over
from softprompt.tuning.settings import TrainingSettings

SEEDS = (13, 21, 42, 87, 100)
K_SHOT = 16
_OPTIMISER: dict[str, Any] = {
    "name": "adamw",
    "learning_rate": 1e-5,
    "relative": False,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
    "schedule": "linear",
    "warmup": 0,
}
_TRAINING: dict[str, Any] = {"steps": 1_000, "batch_size": 8, "evaluate_every": 100}


class TemplatesStep(TemplateSettings):
    """A search for templates; the keys of `softprompt search templates`."""

    find: Literal["templates"] = Field(default="templates", description="templates")


class WordsStep(WordSettings):
    """A search for label words; the keys of `softprompt search words`."""

    find: Literal["words"] = Field(default="words", description="words")


class TriggersStep(TriggerSettings):
    """A search for trigger tokens; the keys of `softprompt search triggers`."""

    find: Literal["triggers"] = Field(default="triggers", description="triggers")


STEPS: Mapping[str, type[TemplatesStep] | type[WordsStep] | type[TriggersStep]] = {
    "templates": TemplatesStep,
    "words": WordsStep,
    "triggers": TriggersStep,
}
"""What a search may find."""


def _kind(value: Any) -> str | None:
    """The name of a search's class; not what it finds, which is a key of some of them too."""
    found = value.get("find") if isinstance(value, Mapping) else getattr(value, "find", None)
    return STEPS[str(found)].__name__ if found in STEPS else None


def _spelled(value: Any) -> Any:
    """A bare name is a search with its defaults."""
    if not isinstance(value, list):
        raise ValueError("expected a list of searches, such as [templates]; [] is none")
    found = [{"find": one} if isinstance(one, str) else one for one in value]
    for one in found:
        if _kind(one) is None:
            raise ValueError(
                f"expected {', '.join(STEPS)}, or {{find: one of these, its keys}} for each search"
            )
    return found


if TYPE_CHECKING:
    Step = TemplatesStep | WordsStep | TriggersStep
else:
    Step = Annotated[
        Annotated[TemplatesStep, Tag("TemplatesStep")]
        | Annotated[WordsStep, Tag("WordsStep")]
        | Annotated[TriggersStep, Tag("TriggersStep")],
        Discriminator(_kind),
    ]


class LmBffSettings(RunSettings):
    """LM-BFF (arXiv 2012.15723): templates or words searched on 16 rows a label, the best one fitted."""

    method_of_paper: ClassVar[str] = "full_tuning"

    recipe: Literal["lm_bff", "autoprompt"] = Field(
        default="lm_bff", description="lm_bff or autoprompt"
    )
    search: Annotated[list[Step], BeforeValidator(_spelled)] = Field(
        default=[TemplatesStep()],
        description="templates, words, triggers, or {find: templates, its keys}: one after another, each "
        "on what the last one found; []: the prompt as it stands",
    )
    search_training: dict[str, Any] = Field(
        default={}, description="laid over training for the fits of the searches"
    )
    ensemble: int = Field(
        default=0,
        ge=0,
        description="so many of the best fits of the last search predict together (the paper: 20)",
    )
    split_seed_with_seed: bool = Field(
        default=True,
        description="each seed also draws its own train and dev: the task's variant of its name, or k_shot "
        "rows a label with it",
    )
    seeds: list[int] = Field(
        default=list(SEEDS), min_length=1, description="each searches and fits by itself"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_the_paper(cls, values: Any) -> Any:
        """The paper's own settings lie under what is given; a method other than the paper's keeps its own
        optimiser."""
        if not isinstance(values, Mapping):
            return values
        method = values.get("method", cls.method_of_paper)
        name = method.get("name") if isinstance(method, Mapping) else method
        under = {**_TRAINING, "optimiser": _OPTIMISER} if name == "full_tuning" else _TRAINING
        training, render = values.get("training", {}), values.get("render", {})
        if isinstance(training, Mapping):
            training = laid_over(under, training)
        if isinstance(render, Mapping):
            render = {"limit": 128, **render}
        return {**values, "method": method, "training": training, "render": render}

    @model_validator(mode="after")
    def _fits_together(self) -> LmBffSettings:
        try:
            self.searched_training()
        except SettingsError as error:
            raise ValueError(f"search_training: {str(error).removeprefix('training: ')}") from None
        if self.search_training and not self.search:
            raise ValueError("search_training: nothing is searched; leave it out")
        if self.ensemble == 1:
            raise ValueError("ensemble: expected at least 2 fits, or 0 for none")
        if self.ensemble and not self.search:
            raise ValueError("ensemble: nothing is searched, so there is one fit only")
        if self.ensemble and self.search[-1].fits < self.ensemble:
            raise ValueError(
                f"ensemble: the last search makes {self.search[-1].fits} fits, expected at least "
                f"{self.ensemble}; give it fits: {self.ensemble}"
            )
        return self

    def searched_training(self) -> TrainingSettings:
        """How the searches fit.

        Raises:
            SettingsError: `search_training` holds an unknown key or a value of a wrong type.
        """
        own = self.training.model_dump(mode="json")
        return TrainingSettings.read(laid_over(own, self.search_training), "training")


class AutopromptSettings(LmBffSettings):
    """AutoPrompt (arXiv 2010.15980): trigger tokens by gradient, nothing else is learned."""

    method_of_paper: ClassVar[str] = "prompt_design"

    recipe: Literal["lm_bff", "autoprompt"] = Field(
        default="autoprompt", description="lm_bff or autoprompt"
    )
    search: Annotated[list[Step], BeforeValidator(_spelled)] = Field(
        default=[TriggersStep()],
        description="as in lm_bff",
    )
