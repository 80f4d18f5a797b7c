"""The tasks that ship in the package: short reviews and news written for it, English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from softprompt.data.tasks.entry import TaskEntry, TaskFile
from softprompt.data.tasks.wording import ITS_QUALITY_EN, ITS_QUALITY_ZH, ITS_TOPIC_ZH

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
        benchmark="shipped",
    )


SHIPPED = (
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
