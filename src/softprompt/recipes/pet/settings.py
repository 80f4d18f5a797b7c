"""All settings of `recipe: pet` and `recipe: ipet`, with their defaults.

A recipe's file is a run's file with a few keys more: patterns in place of one template, and what becomes
of their models. Knows values; `members.py` and `run.py` carry them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from softprompt.recipes.schema import RunSettings
from softprompt.recipes.task_schema import text_keys
from softprompt.settings import Settings

ENSEMBLE = "ensemble"
"""The product that needs no training."""

PRODUCTS = "products"
"""The folder of the others."""


def product_place(home: Path, product: str) -> Path:
    """Where a product lies in the folder of a recipe's seed."""
    return home / ENSEMBLE if product == ENSEMBLE else home / PRODUCTS / product


def _spelled(value: Any) -> Any:
    """A bare template is a pattern with the task's words."""
    if value is not None and not isinstance(value, list | tuple):
        raise ValueError("expected a list of templates, or of {template: …, words: …}")
    return [{"template": one} if isinstance(one, str) else one for one in value or ()]


class Cloze(Settings):
    """A pattern-verbalizer pair (arXiv 2001.07676, section 3.1)."""

    template: str = Field(description="the pattern, with {mask}")
    words: Annotated[dict[str, Any] | None, BeforeValidator(text_keys)] = Field(
        default=None, description="label: word or [words]; else the recipe's, else the task's"
    )


class Product(Settings):
    """What the ensemble is distilled into: any method, on soft labels of unlabelled rows alone."""

    name: str | None = Field(default=None, description="in tables and folders; else the method's")
    method: Any = Field(
        default="classification_head", description="as in a run: a name, or {name: …, its keys}"
    )
    template: str | None = Field(
        default=None,
        description="plain: no pattern, the default of a classification head; else the first pattern",
    )
    words: Annotated[dict[str, Any] | None, BeforeValidator(text_keys)] = Field(
        default=None, description="of that template"
    )
    training: dict[str, Any] = Field(
        default={}, description="laid over 5000 steps of 16, as in the paper"
    )
    temperature: float = Field(default=2.0, gt=0, description="T of the soft labels; loss · T²")
    backbone: str | None = Field(default=None, description="another one, such as a smaller one")
    rows: int | None = Field(default=None, ge=1, description="at most so many unlabelled rows")

    @property
    def method_name(self) -> str:
        """The method's name."""
        return str(self.method.get("name") if isinstance(self.method, Mapping) else self.method)

    @property
    def title(self) -> str:
        """Its name, else the method's."""
        return self.name or self.method_name


class PetSettings(RunSettings):
    """PET (arXiv 2001.07676): a model per pattern, an ensemble on unlabelled rows, a product of it."""

    recipe: Literal["pet", "ipet"] = Field(default="pet", description="pet or ipet")
    patterns: Annotated[list[Cloze], BeforeValidator(_spelled)] = Field(
        default=[], description="templates, or {template: …, words: …}; else the task's own"
    )
    n_patterns: int | None = Field(
        default=None, ge=1, description="the first so many of the patterns"
    )
    repetitions: int = Field(default=1, ge=1, description="models per pattern (the paper: 3)")
    weights: Literal["accuracy", "uniform"] = Field(
        default="accuracy",
        description="of the models: each pattern's accuracy on train before training, or equal",
    )
    distil: list[Product] = Field(
        default=[Product()], description="what the ensemble becomes; []: it stays an ensemble"
    )
    transductive: bool = Field(
        default=False,
        description="keep unlabelled rows that repeat evaluation rows; said beside the scores",
    )
    keep_members: bool = Field(
        default=False, description="keep the models' tuned weights (a copy of the backbone each)"
    )
    audit: bool = Field(
        default=False,
        description="measure each model's language-model loss and label-word drift before and after",
    )
    wording: Literal["own", "reversed", "unrelated"] = Field(
        default="own",
        description="label words as they are, each label with the next one's, or words drawn from "
        "the vocabulary: does their meaning matter?",
    )
    train_limit: int | None = Field(
        default=None, ge=0, description="use at most so many rows of train; 0: none at all"
    )
    dev_size: int | None = Field(
        default=0, ge=0, description="rows of train that become dev; nothing is chosen by default"
    )

    @property
    def remark(self) -> str | None:
        return "transductive: unlabelled rows may repeat test rows" if self.transductive else None

    @model_validator(mode="before")
    @classmethod
    def _fixed_steps(cls, values: Any) -> Any:
        """PET's own defaults lie under what is given: fixed steps, the last one kept."""
        if not isinstance(values, Mapping):
            return values
        training = values.get("training", {})
        if isinstance(training, Mapping):
            training = {"steps": 250, "batch_size": 16, "keep": "last", **training}
        return {"method": "full_tuning", **values, "training": training}

    @model_validator(mode="after")
    def _patterns_only(self) -> PetSettings:
        if self.template is not None:
            raise ValueError("template: a recipe has patterns: [template, …] in its place")
        if self.sweep:
            raise ValueError(
                "sweep: a recipe is not swept; compare several with softprompt compare"
            )
        titles = [one.title for one in self.distil]
        if len(set(titles)) < len(titles):
            raise ValueError("distil: two are called alike; give each a name: of its own")
        if any(Path(title).name != title or title == ENSEMBLE for title in titles):
            raise ValueError(f"distil: a name becomes a folder's, and {ENSEMBLE} is taken")
        return self


class IpetSettings(PetSettings):
    """iPET (section 3.4): generations of models that label for each other, then as PET."""

    recipe: Literal["pet", "ipet"] = Field(default="ipet", description="pet or ipet")
    generations: int | None = Field(
        default=None, ge=1, description="else ⌈log_growth(1000 / labelled rows)⌉, as in the paper"
    )
    growth: float = Field(default=5.0, gt=1, description="d: rows of a generation over the last's")
    share: float = Field(
        default=0.25, gt=0, le=1, description="λ: of the other models label for one, at least one"
    )
    first: int = Field(
        default=10, ge=1, description="zero-shot: rows of the first generation in all"
    )
    likeliest: int = Field(
        default=100, ge=1, description="zero-shot: drawn from so many per label, the likeliest"
    )
