"""The settings of a search for trigger tokens; their names are the command's options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from softprompt.recipes.search.settings import SearchSettings

DEFAULT_TRIGGERS = 5
"""Where neither the template nor the method says how many (AutoPrompt's tables have 3 to 10)."""


class TriggerSettings(SearchSettings):
    """A search for trigger tokens (AutoPrompt, Shin et al. 2020, arXiv 2010.15980)."""

    fits: int = Field(
        default=5,
        ge=0,
        description="of the best triggers that are text, how many become runs and are ranked: nothing is "
        "learned in them, unless the run's method tunes weights",
    )
    iterations: int = Field(
        default=180,
        ge=1,
        description="swaps that are tried for each seed (AutoPrompt: 180 to 1000)",
    )
    top_k: int = Field(
        default=10, ge=1, description="tokens that are tried at a position (AutoPrompt: 10 to 100)"
    )
    batch_size: int = Field(
        default=24, ge=1, description="examples of a gradient, and as many fresh ones for its swap"
    )
    start: Literal["random", "mask"] = Field(
        default="random", description="what triggers start from: drawn tokens, or the mask token"
    )
    tokens: Literal["any", "text", "words"] = Field(
        default="text",
        description="what may become a trigger: any ordinary token; text: those that can be written, and "
        "only where all triggers then read back as the same tokens; words: of these, whole words of letters",
    )
    exclude: list[str] = Field(
        default=[], description="words that must not become triggers, beside the label words"
    )
    loss: Literal["words", "labels"] = Field(
        default="words",
        description="words: -log of the summed probability of the label's words in the vocabulary "
        "(AutoPrompt); labels: cross-entropy of a softmax over the labels",
    )
    label_words: Literal["own", "probe"] = Field(
        default="own",
        description="the run's own words, or found by a linear probe on the answer's hidden state",
    )
    words_per_label: int = Field(default=3, ge=1, description="of the probe (AutoPrompt: 1 to 5)")
    evaluate_every: int = Field(
        default=10, ge=1, description="iterations between looks at dev, if triggers have changed"
    )
    checkpoint_every: int = Field(default=10, ge=1, description="iterations between checkpoints")
