"""How candidates are scored, trained and turned into a prediction.

`normalise: labels` is a softmax over the labels of an example (PET, LM-BFF); `vocabulary` is token
cross-entropy over the whole vocabulary at the answer's positions (T5; Lester et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from softprompt.settings import Settings
from softprompt.text.tokens import Family

Normalise = Literal["labels", "vocabulary"]
Prediction = Literal["rank", "greedy"]


class ObjectiveSettings(Settings):
    """What is trained and how a prediction is made; `auto` follows the backbone's family."""

    normalise: Literal["auto", "labels", "vocabulary"] = Field(
        "auto",
        description="softmax over the labels, or over the vocabulary at the answer's tokens; "
        "auto: vocabulary on an encoder-decoder and for free text, else labels",
    )
    prediction: Literal["auto", "rank", "greedy"] = Field(
        "auto",
        description="the best-scored candidate, or greedy decoding matched against the words; "
        "auto: greedy for free text, else rank",
    )
    answer_score: Literal["sum", "mean"] = Field(
        "sum", description="sum or mean of log p over an answer's tokens"
    )
    z_loss: float = Field(
        0.0, ge=0, description="weight of log²Z at the answer's tokens (T5: 1e-4); vocabulary only"
    )
    sentinel_answers: bool = Field(
        False, description="begin every decoder answer with <extra_id_0> (T5 without LM adaptation)"
    )
    pmi: bool = Field(
        False,
        description="subtract each candidate's score on the template with empty fields "
        "(pointwise mutual information; prediction only)",
    )


@dataclass(frozen=True)
class Objective:
    """Resolved settings."""

    normalise: Normalise
    prediction: Prediction
    mean: bool
    z_loss: float
    sentinel_answers: bool
    pmi: bool


def resolve_objective(settings: ObjectiveSettings, family: Family, free_text: bool) -> Objective:
    """Fill in `auto`."""
    normalise: Normalise = "labels"
    if settings.normalise != "auto":
        normalise = settings.normalise
    elif free_text or family == "encoder_decoder":
        normalise = "vocabulary"
    prediction: Prediction = "greedy" if free_text else "rank"
    if settings.prediction != "auto" and not free_text:
        prediction = settings.prediction
    return Objective(
        normalise="vocabulary" if free_text else normalise,
        prediction=prediction,
        mean=settings.answer_score == "mean",
        z_loss=settings.z_loss,
        sentinel_answers=settings.sentinel_answers,
        pmi=settings.pmi,
    )
