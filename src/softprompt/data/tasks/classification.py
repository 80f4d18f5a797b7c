"""Sentiment and topics in English, and test sets for a change of domain."""

from __future__ import annotations

from collections.abc import Iterable

from softprompt.data.readers import Row
from softprompt.data.tasks.entry import TaskEntry, TaskFile
from softprompt.data.tasks.layouts import numbered
from softprompt.data.tasks.wording import (
    ITS_QUALITY_EN,
    NLI_EN,
    SENTIMENT_EN,
    STARS_EN,
    entails,
    quality,
)

USB = "as in USB (Wang et al. 2022)"
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")


def without_backslashes(text: str) -> str:
    """AG News marks line ends and dollar signs by a backslash; PET and OpenPrompt read a space."""
    return text.replace("\\", " ")


def _polar(row: Row, split: str) -> Iterable[Row]:
    """Yelp's five stars as two labels; three stars are neither, and left out."""
    return [] if str(row.get("label")) == "2" else [row]


def _usb(name: str) -> tuple[dict[str, TaskFile], dict[str, dict[str, TaskFile]]]:
    files = {
        split: TaskFile(f"reviews/{name}/{split}.json", layout=numbered, optional=split == "train")
        for split in ("train", "dev", "test")
    }
    return files, {"small": {"train": files["dev"], "test": files["test"]}}


_IMDB, _IMDB_VARIANTS = _usb("aclImdb")
_YELP, _YELP_VARIANTS = _usb("yelp_review")
_SMALL = '; variant "small" trains on the dev file, with dev out of it'


def _nli_dev(name: str, title: str) -> TaskEntry:
    return TaskEntry(
        name=f"{name}_dev",
        files={"test": TaskFile(f"nli_dev/{name}/dev.csv")},
        fields=("premise", "hypothesis"),
        target="label",
        labels=tuple(NLI_EN),
        words=NLI_EN,
        **entails("premise", "hypothesis", "Yes, No or Maybe"),
        language="en",
        source=title,
        benchmark="classification",
        note="a test set only: for prompts trained elsewhere",
    )


CLASSIFICATION = (
    TaskEntry(
        name="sst2",
        files={
            "train": TaskFile("sst2/train.tsv"),
            "dev": TaskFile("sst2/dev.tsv"),
            "test": TaskFile("sst2/test-labeled.tsv", optional=True),
        },
        fields=("text",),
        columns={"text": "sentence"},
        target="label",
        labels={"0": "negative", "1": "positive"},
        words=SENTIMENT_EN,
        template="{text} It was {mask}.",
        templates=ITS_QUALITY_EN,
        language="en",
        source="SST-2 (Socher et al. 2013), GLUE: phrases in train, sentences in dev; research use",
        hub="stanfordnlp/sst2",
        benchmark="classification",
    ),
    TaskEntry(
        name="ag_news",
        files={
            "train": TaskFile("ag_news/train.tsv", header=("text", "label"), quoting=True),
            "test": TaskFile(
                "ag_news/test.csv",
                header=("label", "title", "description"),
                columns={"text": "description"},
            ),
        },
        fields=("text",),
        target="label",
        labels={
            **{"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"},
            **{name: name for name in ("World", "Sports", "Business", "Sci/Tech")},
        },
        words={"World": "World", "Sports": "Sports", "Business": "Business", "Sci/Tech": "Tech"},
        template="[ Category: {mask} ] {text}",
        templates={"causal": "{text} Category: {mask}", "encoder_decoder": "{text} Category:"},
        language="en",
        source="AG News (Zhang et al. 2015), descriptions without titles; research use",
        hub="fancyzhx/ag_news",
        clean=without_backslashes,
        dev_fraction=0.1,
        benchmark="classification",
    ),
    TaskEntry(
        name="imdb",
        files=_IMDB,
        variants=_IMDB_VARIANTS,
        fields=("text",),
        columns={"text": "ori"},
        target="label",
        labels={"0": "positive", "1": "negative"},  # in USB's files, unlike the Hub's
        words=SENTIMENT_EN,
        **quality(),
        language="en",
        source=f"IMDb (Maas et al. 2011), {USB}; research use",
        hub="stanfordnlp/imdb",
        dev_fraction=0.1,
        benchmark="classification",
        note="files as USB has them, where 0 is positive" + _SMALL,
    ),
    TaskEntry(
        name="yelp_review",
        files=_YELP,
        variants=_YELP_VARIANTS,
        fields=("text",),
        columns={"text": "ori"},
        target="label",
        labels={str(number): name for number, name in enumerate(STARS)},
        words=dict(zip(STARS, STARS_EN, strict=True)),
        **quality(),
        language="en",
        source=f"Yelp reviews, five stars (Zhang et al. 2015), {USB}; research use",
        hub="Yelp/yelp_review_full",
        dev_fraction=0.1,
        benchmark="classification",
        note="files as USB has them" + _SMALL,
    ),
    TaskEntry(
        name="yelp_polarity",
        files=_YELP,
        variants=_YELP_VARIANTS,
        fields=("text",),
        columns={"text": "ori"},
        target="label",
        labels={"0": "negative", "1": "negative", "3": "positive", "4": "positive"},
        words=SENTIMENT_EN,
        **quality(),
        language="en",
        source=f"Yelp reviews, without three stars (Zhang et al. 2015), {USB}; research use",
        unfold=_polar,
        dev_fraction=0.1,
        benchmark="classification",
        note="the labels of sst2, for a change of domain" + _SMALL,
    ),
    _nli_dev("mnli", "MNLI dev, matched and mismatched (Williams et al. 2018)"),
    _nli_dev("snli", "SNLI dev (Bowman et al. 2015)"),
)
