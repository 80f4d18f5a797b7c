"""How candidates are scored, trained and turned into a prediction.

`normalise: labels` is a softmax over the labels of an example (PET, LM-BFF); `vocabulary` is token
cross-entropy over the whole vocabulary at the answer's positions (T5; Lester et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from softprompt.errors import SettingsError
from softprompt.settings import Settings
from softprompt.text.layout import Masks
from softprompt.text.tokens import Family

Normalise = Literal["labels", "vocabulary"]
Prediction = Literal["rank", "greedy"]
Loss = Literal["cross_entropy", "hinge"]
Fill = Literal["parallel", "max_first", "left_to_right"]
"""In which order a masked model's candidates of several tokens are filled in (`filling.py`)."""


class ObjectiveSettings(Settings):
    """What is trained and how a prediction is made; `auto` follows the backbone's family."""

    normalise: Literal["auto", "labels", "vocabulary"] = Field(
        default="auto",
        description="softmax over the labels, or over the vocabulary at the answer's tokens; "
        "auto: vocabulary on an encoder-decoder and for free text, else labels",
    )
    prediction: Literal["auto", "rank", "greedy"] = Field(
        default="auto",
        description="the best-scored candidate, or greedy decoding matched against the words; "
        "auto: greedy for free text, else rank",
    )
    answer_score: Literal["sum", "mean"] = Field(
        default="sum", description="sum or mean of log p over an answer's tokens"
    )
    training_score: Literal["same", "sum", "mean"] = Field(
        default="same",
        description="what training adds up where it is not answer_score (mean: PET's COPA and ReCoRD)",
    )
    z_loss: float = Field(
        default=0.0,
        ge=0,
        description="weight of log²Z at the answer's tokens (T5: 1e-4); vocabulary only",
    )
    sentinel_answers: bool = Field(
        default=False,
        description="begin every decoder answer with <extra_id_0> (T5 without LM adaptation)",
    )
    answer_end: bool = Field(
        default=True,
        description="score the end of a decoder's answer too, as T5 does; false: its words alone, so that "
        "labels of one token take one look at the decoder",
    )
    pmi: bool = Field(
        default=False,
        description="subtract each candidate's score on the template with empty fields "
        "(pointwise mutual information; prediction only)",
    )
    calibration: Literal["none", "contextual"] = Field(
        default="none",
        description="contextual: divide probabilities by their mean on inputs without content (Zhao et "
        "al. 2021); prediction only",
    )
    loss: Literal["cross_entropy", "hinge"] = Field(
        default="cross_entropy",
        description="of the label scores: cross-entropy of their softmax, or a hinge of margin 1 for each "
        "wrong label (PET with words of several tokens); training only",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="T: soft targets and scores are both softened by 1/T, the loss is multiplied by T² "
        "(PET's distillation: 2); training only",
    )
    masks: Literal["own", "longest"] = Field(
        default="own",
        description="masks in the slot in training: own: a row for each length of an answer; longest: one "
        "row with as many as the longest answer has tokens, of which a shorter one reads the first (PET); "
        "masked backbones only",
    )
    fill: Literal["parallel", "max_first", "left_to_right"] = Field(
        default="parallel",
        description="how an answer of several tokens is scored, or free text written, in prediction: all "
        "masks at once, or one after the other, those before filled in: the likeliest first (PET), or from "
        "left to right; masked backbones only",
    )


CONTENT_FREE = ("N/A", "", "[MASK]")
"""Zhao et al. 2021, section 5; plain text, the last one too."""


@dataclass(frozen=True)
class Objective:
    """What `ObjectiveSettings` come to on a backbone; `mean`: of log p over an answer's tokens."""

    normalise: Normalise
    prediction: Prediction
    mean: bool
    z_loss: float
    sentinel_answers: bool
    pmi: bool
    calibration: Literal["none", "contextual"] = "none"
    answer_end: bool = True
    masks: Masks = "own"
    fill: Fill = "parallel"
    loss: Loss = "cross_entropy"
    temperature: float = 1.0
    training_score: Literal["same", "sum", "mean"] = "same"

    @property
    def training_mean(self) -> bool:
        """`mean`, of the scores that training compares."""
        return self.mean if self.training_score == "same" else self.training_score == "mean"

    @property
    def without_content(self) -> tuple[str, ...]:
        """What fields hold where a question is asked without its content, to subtract its score."""
        if self.calibration == "contextual":
            return CONTENT_FREE
        return ("",) if self.pmi else ()


def resolve_objective(
    settings: ObjectiveSettings, family: Family, free_text: bool, classes: bool = False
) -> Objective:
    """Fill in `auto`.

    Args:
        free_text: whether any text is an answer.
        classes: whether learned class vectors answer.
    Raises:
        SettingsError: a setting at odds with free text or class vectors, or without any effect.
    """
    if classes:
        for name, wanted in (("normalise", "labels"), ("prediction", "rank")):
            given = getattr(settings, name)
            if given not in ("auto", wanted):
                raise SettingsError(
                    f"objective.{name}: {given} is of words, and class vectors score labels without "
                    f"words; use {wanted}"
                )
    if free_text:
        for name, wanted in (("normalise", "vocabulary"), ("prediction", "greedy")):
            given = getattr(settings, name)
            if given not in ("auto", wanted):
                raise SettingsError(
                    f"objective.{name}: {given} needs candidates to choose from, free text has "
                    f"none; use {wanted}"
                )
    normalise: Normalise = "labels"
    if settings.normalise != "auto":
        normalise = settings.normalise
    elif free_text or (family == "encoder_decoder" and not classes):
        normalise = "vocabulary"
    if settings.z_loss and normalise == "labels":
        raise SettingsError(
            "objective.z_loss: has no effect on a softmax over labels; leave it out, or give "
            "normalise: vocabulary"
        )
    prediction: Prediction = "greedy" if free_text else "rank"
    if settings.prediction != "auto":
        prediction = settings.prediction
    if settings.calibration != "none" and (settings.pmi or prediction != "rank"):
        raise SettingsError(
            "objective.calibration: contextual divides the probabilities of ranked answers; leave out "
            "pmi, which does so by other means, and use prediction: rank"
        )
    if not settings.answer_end and (family != "encoder_decoder" or prediction != "rank" or classes):
        raise SettingsError(
            "objective.answer_end: only an encoder-decoder that ranks words scores the end of an answer; "
            "leave it out"
        )
    _check_masks(settings, family, free_text, classes, normalise)
    _check_loss(settings, normalise)
    return Objective(
        normalise=normalise,
        prediction=prediction,
        mean=settings.answer_score == "mean",
        z_loss=settings.z_loss,
        sentinel_answers=settings.sentinel_answers,
        pmi=settings.pmi,
        calibration=settings.calibration,
        answer_end=settings.answer_end,
        masks=settings.masks,
        fill=settings.fill,
        loss=settings.loss,
        temperature=settings.temperature,
        training_score=settings.training_score,
    )


def _check_loss(settings: ObjectiveSettings, normalise: Normalise) -> None:
    """Refuse losses of label scores where there are none, and two losses at once."""
    if normalise == "vocabulary":
        for key, given, usual in (
            ("loss", settings.loss, "cross_entropy"),
            ("temperature", settings.temperature, 1.0),
            ("training_score", settings.training_score, "same"),
        ):
            if given != usual:
                raise SettingsError(
                    f"objective.{key}: {given} compares the scores of labels, and normalise: vocabulary "
                    "learns the tokens of the right answer alone; leave it out, or give normalise: labels"
                )
    if settings.loss == "hinge" and settings.temperature != 1.0:
        raise SettingsError(
            f"objective.temperature: {settings.temperature} softens distributions, and loss: hinge has "
            "none; leave it out, or use loss: cross_entropy"
        )


def _check_masks(
    settings: ObjectiveSettings,
    family: Family,
    free_text: bool,
    classes: bool,
    normalise: Normalise,
) -> None:
    """Refuse settings of masks where nothing is filled in."""
    why = None
    if family != "masked":
        why = f"a backbone of the family {family} has no masks to fill"
    elif classes:
        why = "class vectors have no tokens to fill in"
    if why and settings.fill != "parallel":
        raise SettingsError(f"objective.fill: {settings.fill} has no effect, {why}; leave it out")
    if free_text and not why:
        why = "free text has no candidates to rank, and masks to spare of its own"
    if normalise == "vocabulary" and not why:
        why = "normalise: vocabulary trains the right answer alone, with masks of its own"
    if why and settings.masks != "own":
        raise SettingsError(f"objective.masks: {settings.masks} has no effect, {why}; leave it out")
