"""The tasks known by name: which files they have, what is in them, how they are asked about.

Adding a task is one entry of `TASKS`. A complete one, for files that lie in `<folder>/cr/`, without
a header, label first:

    TaskEntry(
        name="cr",
        files={
            "train": TaskFile("cr/train.csv", header=("label", "text")),
            "test": TaskFile("cr/test.csv", header=("label", "text")),
        },
        fields=("text",),
        target="label",
        labels={"0": "negative", "1": "positive"},
        words={"negative": "terrible", "positive": "great"},
        template="{text} It was {mask}.",
        templates={"causal": "{text} It was {mask}", "encoder_decoder": "{text} It was"},
        language="en",
        source="Hu and Liu 2004, customer reviews; research use",
        dev_fraction=0.2,
    )

Knows no rows: `registry.py` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from softprompt.data.columns import Kind


@dataclass(frozen=True)
class TaskFile:
    """One file of a task.

    Args:
        path: below the data folder, in the layout of the official files.
        header: as in `FileSource`.
        quoting: as in `FileSource`.
        columns: field to column, where this file calls it otherwise.
        optional: a task without this file is whole.
    """

    path: str
    header: bool | tuple[str, ...] = True
    quoting: bool | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True)
class TaskEntry:
    """All that is known of a task before its files are read.

    Args:
        name: as `load_task` takes it.
        files: split to file.
        fields, target, labels, kind, bounds, metrics, template, templates, language, source: as in
            `Task`; `labels` maps the files' own values to the names used here.
        words: label to its word or words.
        columns: field to column, for all files.
        hub: the data set's name on the Hugging Face Hub, for messages.
        shipped: the files lie in the package, not in the data folder.
        clean: what to do to every field before it is read.
        dev_fraction: where there is no dev file, how much of train becomes dev.
        variants: name to other files, in place of `files`.
    """

    name: str
    files: Mapping[str, TaskFile]
    fields: tuple[str, ...]
    target: str
    labels: Mapping[str, str] | tuple[str, ...] | None = None
    words: Mapping[str, str | tuple[str, ...]] | None = None
    template: str | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    source: str = ""
    kind: Kind = "label"
    bounds: tuple[float, float] | None = None
    metrics: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    hub: str | None = None
    shipped: bool = False
    clean: Callable[[str], str] | None = None
    dev_fraction: float | None = None
    variants: Mapping[str, Mapping[str, TaskFile]] = field(default_factory=dict)


def without_backslashes(text: str) -> str:
    """AG News marks line ends and dollar signs by a backslash; PET and OpenPrompt read a space."""
    return text.replace("\\", " ")


SENTIMENT_EN = {"negative": "terrible", "positive": "great"}
TNEWS_ZH = {
    **{"story": "故事", "culture": "文化", "entertainment": "娱乐", "sports": "体育"},
    **{"finance": "财经", "house": "房产", "car": "汽车", "edu": "教育"},
    **{"tech": "科技", "military": "军事", "travel": "旅游", "world": "国际"},
    **{"stock": "股票", "agriculture": "农业", "game": "电竞"},
}
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

TOPICS = ("sports", "business", "science", "food")


def _shipped(
    name: str,
    labels: tuple[str, ...],
    words: tuple[str, ...],
    template: str,
    templates: Mapping[str, str],
) -> TaskEntry:
    files = {split: TaskFile(f"{name}/{split}.jsonl") for split in ("train", "dev", "test")}
    return TaskEntry(
        name=f"softprompt/{name}",
        files=files,
        fields=("text",),
        target="label",
        labels=labels,
        words=dict(zip(labels, words, strict=True)),
        template=template,
        templates=templates,
        language=name[-2:],
        source="written for softprompt and shipped with it, under its licence",
        shipped=True,
    )


def _fewclue(task: str, train: str, dev: str | None = None) -> dict[str, TaskFile]:
    files = {"train": train, "dev": dev, "test": "test_public"}
    made = {split: TaskFile(f"fewclue/{task}/{name}.json") for split, name in files.items() if name}
    made["unlabelled"] = TaskFile(f"fewclue/{task}/unlabeled.json", optional=True)
    return made


def _five_splits(task: str) -> dict[str, dict[str, TaskFile]]:
    return {str(n): _fewclue(task, f"train_{n}", f"dev_{n}") for n in range(5)}


_ENTRIES = (
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
    ),
    TaskEntry(
        name="eprstmt",
        files=_fewclue("eprstmt", "train_few_all"),
        fields=("text",),
        columns={"text": "sentence"},
        target="label",
        labels=("Negative", "Positive"),
        words={"Negative": "差", "Positive": "好"},
        template="{text}。总体评价是{mask}的。",
        templates={f: t.replace("{text}", "{text}。") for f, t in ITS_QUALITY_ZH.items()},
        language="zh",
        source="FewCLUE EPRSTMT (Xu et al. 2021), product reviews; research use",
        dev_fraction=0.2,
        variants=_five_splits("eprstmt"),
    ),
    TaskEntry(
        name="tnews",
        files=_fewclue("tnews", "train_few_all"),
        fields=("text",),
        columns={"text": "sentence"},
        target="label_desc",
        labels={f"news_{label}": label for label in TNEWS_ZH},
        words=TNEWS_ZH,
        template="这是一条关于{mask}的新闻：{text}",
        templates={f: t.replace("{text}", "{text}。") for f, t in ITS_TOPIC_ZH.items()},
        language="zh",
        source="FewCLUE TNEWS (Xu et al. 2021), news titles; research use",
        dev_fraction=0.2,
        variants=_five_splits("tnews"),
    ),
    _shipped(
        "reviews-en",
        ("negative", "positive"),
        ("terrible", "great"),
        "{text} It was {mask}.",
        ITS_QUALITY_EN,
    ),
    _shipped(
        "reviews-zh",
        ("negative", "positive"),
        ("差", "好"),
        "{text}总体评价是{mask}的。",
        ITS_QUALITY_ZH,
    ),
    _shipped(
        "topics-en",
        TOPICS,
        TOPICS,
        "{text} This is about {mask}.",
        {"causal": "{text} This is about {mask}", "encoder_decoder": "{text} This is about"},
    ),
    _shipped(
        "topics-zh",
        TOPICS,
        ("体育", "财经", "科学", "美食"),
        "这是一条关于{mask}的新闻：{text}",
        ITS_TOPIC_ZH,
    ),
)
TASKS: Mapping[str, TaskEntry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
