"""Templates and words that several tasks share, each with where it comes from.

`asked` in `entry.py` makes a cloze and a question of them for all families.
"""

from __future__ import annotations

from typing import Any

from softprompt.data.tasks.entry import asked

SENTIMENT_EN = {"negative": "terrible", "positive": "great"}
"""LM-BFF (Gao et al. 2021), table 1."""
STARS_EN = ("terrible", "bad", "okay", "good", "great")
"""PET (Schick and Schütze 2021), Yelp; LM-BFF, SST-5."""
YES_NO = {"True": "Yes", "False": "No"}
ENTAILMENT_EN = {"entailment": "Yes", "not_entailment": "No"}
NLI_EN = {"entailment": "Yes", "neutral": "Maybe", "contradiction": "No"}
"""LM-BFF, table 1; PET, MNLI."""
NLI_ZH = {"entailment": "是", "neutral": "或", "contradiction": "不"}
PARAPHRASE_EN = {"not_equivalent": "No", "equivalent": "Yes"}

ITS_QUALITY_EN = {"causal": "{text} It was {mask}", "encoder_decoder": "{text} It was"}
ITS_QUALITY_ZH = {
    "causal": "{text}总体评价是{mask}",
    "encoder_decoder": "{text}{decoder}总体评价是{mask}",
}
ITS_TOPIC_ZH = {
    "causal": "{text}这是一条关于{mask}",
    "encoder_decoder": "{text}{decoder}这是一条关于{mask}",
}
"""A causal model answers at the end, an encoder-decoder in its decoder, that goes on with the text.
In Chinese the decoder is begun for it: an answer that begins a text would have a space before it."""


def quality(text: str = "text") -> dict[str, Any]:
    """`It was great.` after a text: LM-BFF, table 1 (SST-2, SST-5, MR, CR, MPQA)."""
    return asked(f"{{{text}}} It was {{mask}}.", f"{{{text}}} It was")


def entails(first: str, second: str, choices: str = "Yes or No") -> dict[str, Any]:
    """LM-BFF, table 1 (MNLI, SNLI, QNLI, RTE); the question after PET's fifth pattern for RTE."""
    return asked(
        f"{{{first}|drop_last}}? {{mask}}, {{{second}|lower_first}}",
        f"{{{first}}} Question: {{{second}}} {choices}? Answer:",
    )


def paraphrases(first: str, second: str) -> dict[str, Any]:
    """LM-BFF, table 1 (MRPC, QQP, STS-B)."""
    return asked(
        f"{{{first}}} {{mask}}, {{{second}|lower_first}}",
        f"{{{first}}} {{{second}}} Do they mean the same? Answer:",
    )
