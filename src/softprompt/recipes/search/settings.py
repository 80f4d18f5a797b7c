"""The settings of the searches for templates and for words; their names are the commands' options.

Knows values alone; those of triggers stand in `trigger_settings.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from softprompt.settings import Settings


class SearchSettings(Settings):
    """What every kind of search has; a kind's own class adds to it."""

    fits: int = Field(default=20, ge=0, description="of the best candidates, how many are fitted")


class TemplateSettings(SearchSettings):
    """How templates are searched."""

    generator: str = Field(
        default="softprompt/tiny-t5@span", description="a T5 with sentinels: a folder or a name"
    )
    precision: Literal["auto", "float32", "float16", "bfloat16", "float64", "int8"] = Field(
        default="auto", description="of the generator"
    )
    combine: Literal["log_p", "logits"] = Field(
        default="log_p",
        description="examples together: the sum of log p (paper), or log softmax of mean logits (release)",
    )
    beam: int = Field(default=100, ge=1, description="outputs kept after each token")
    templates: int = Field(
        default=100, ge=1, description="candidates in all, evenly from each form"
    )
    max_tokens: int = Field(default=20, ge=2, description="of an output, its sentinels included")
    limit: int = Field(
        default=256, ge=4, description="tokens of an example that the generator reads"
    )
    raised: bool = Field(
        default=False,
        description="show the generator single texts with their first letter raised, as the release does",
    )
    fields: list[str] = Field(
        default=[], description="one or two; else those of the run's template, else the task's"
    )
    candidates: str | None = Field(
        default=None,
        description="a file of templates instead of a generator: LM-BFF's released notation, ours, or "
        "candidates.jsonl",
    )


class WordSettings(SearchSettings):
    """Settings of a label-word search; LM-BFF's own numbers stand in docs/search-words.md."""

    top: int = Field(default=100, ge=1, description="words of each class that are combined")
    by: Literal["log_probability", "logit"] = Field(
        default="log_probability",
        description="score of a word in a class: the sum of log p over its rows (LM-BFF's paper), or the "
        "mean logit (its code)",
    )
    neighbours: int | None = Field(
        default=None,
        ge=1,
        description="of each class's top words keep so many, the nearest to the run's own word by output "
        "embedding (LM-BFF on TREC: 30 of top 1000)",
    )
    combinations: int = Field(default=100, ge=1, description="combinations that become candidates")
    most: int = Field(
        default=1_000_000,
        ge=0,
        description="up to so many combinations all are scored; of more, those that a beam meets",
    )
    beam: int = Field(default=1_000, ge=1, description="width of the beam")
    repeats: bool = Field(default=False, description="two classes may have the same word")
    punctuation: bool = Field(default=False, description="tokens without a letter are words too")
    words: str | None = Field(
        default=None,
        description="a file of words to search among, of any number of tokens: one a line, or YAML label: "
        "[words]",
    )

    @model_validator(mode="after")
    def _one_token_each(self) -> WordSettings:
        if self.words is not None and (self.neighbours is not None or self.by == "logit"):
            raise ValueError(
                "words: neighbours and by=logit are of words of one token; leave them out, or the list"
            )
        return self
