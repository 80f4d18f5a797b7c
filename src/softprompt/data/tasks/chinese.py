"""Chinese tasks: FewCLUE (Xu et al. 2021) with its five splits, and hotel reviews.

Variants "0" to "4" are FewCLUE's splits; without a variant the five are one training set, and dev
comes out of it (the five share rows). Test is FewCLUE's labelled public test.
"""

from __future__ import annotations

from typing import Any

from softprompt.data.tasks.entry import TaskEntry, TaskFile, asked
from softprompt.data.tasks.unfolding import chid, cluewsc, csl, filled
from softprompt.data.tasks.wording import ITS_QUALITY_ZH, ITS_TOPIC_ZH, NLI_ZH

QUALITY_ZH = {"Negative": "差", "Positive": "好"}
TNEWS_ZH = {
    **{"story": "故事", "culture": "文化", "entertainment": "娱乐", "sports": "体育"},
    **{"finance": "财经", "house": "房产", "car": "汽车", "edu": "教育"},
    **{"tech": "科技", "military": "军事", "travel": "旅游", "world": "国际"},
    **{"stock": "股票", "agriculture": "农业", "game": "电竞"},
}
NOT_OR_IS = ("不", "是")
_SENTENCES = {f: t.replace("{text}", "{text}。") for f, t in ITS_QUALITY_ZH.items()}


def _files(task: str, train: str, dev: str | None = None) -> dict[str, TaskFile]:
    files = {"train": train, "dev": dev, "test": "test_public"}
    made = {split: TaskFile(f"fewclue/{task}/{name}.json") for split, name in files.items() if name}
    made["unlabelled"] = TaskFile(f"fewclue/{task}/unlabeled.json", optional=True)
    return made


def _five_splits(task: str) -> dict[str, dict[str, TaskFile]]:
    return {str(n): _files(task, f"train_{n}", f"dev_{n}") for n in range(5)}


def _fewclue(name: str, what: str, **more: Any) -> TaskEntry:
    return TaskEntry(
        name=name,
        files=_files(name, "train_few_all"),
        language="zh",
        source=f"FewCLUE {name.upper()} (Xu et al. 2021), {what}; research use",
        dev_fraction=0.2,
        variants=_five_splits(name),
        benchmark="FewCLUE",
        **{"target": "label", **more},
    )


CHINESE = (
    _fewclue(
        "eprstmt",
        "product reviews",
        fields=("text",),
        columns={"text": "sentence"},
        labels=("Negative", "Positive"),
        words=QUALITY_ZH,
        template="{text}。总体评价是{mask}的。",
        templates=_SENTENCES,
    ),
    _fewclue(
        "tnews",
        "news titles",
        fields=("text",),
        columns={"text": "sentence"},
        target="label_desc",
        labels={f"news_{label}": label for label in TNEWS_ZH},
        words=TNEWS_ZH,
        template="这是一条关于{mask}的新闻：{text}",
        templates={f: t.replace("{text}", "{text}。") for f, t in ITS_TOPIC_ZH.items()},
    ),
    _fewclue(
        "ocnli",
        "Chinese inference",
        fields=("sentence1", "sentence2"),
        labels=("entailment", "neutral", "contradiction"),
        words=NLI_ZH,
        **asked(
            "{sentence1|strip_end}？{mask}，{sentence2}",
            "{sentence1|strip_end}？{sentence2|strip_end}，对吗？",
            "答案：",
        ),
    ),
    _fewclue(
        "csl",
        "whether keywords are an abstract's own",
        fields=("abst", "keywords"),
        labels={"0": "others", "1": "own"},
        words=dict(zip(("others", "own"), NOT_OR_IS, strict=True)),
        unfold=csl,
        **asked(
            "{abst}{sep}这些关键词{mask}对应：{keywords!}",
            "{abst}这些关键词对应吗：{keywords!}？",
            "答案：",
        ),
    ),
    _fewclue(
        "cluewsc",
        "which noun a pronoun stands for",
        fields=("text", "pronoun", "span", "marked"),
        labels=("false", "true"),
        words=dict(zip(("false", "true"), NOT_OR_IS, strict=True)),
        unfold=cluewsc,
        **asked(
            "{text}其中“{pronoun}”{mask}指“{span}”。",
            "{text}其中“{pronoun}”指“{span}”吗？",
            "答案：",
        ),
    ),
    _fewclue(
        "chid",
        "which idiom stands in the gap",
        fields=("before", "after"),
        target="answer",
        kind="text",
        candidates="candidates",
        unfold=chid,
        metrics=("accuracy",),
        template="{before}{mask}{after}",
        templates={
            "causal": "{before}{mask}{after}",
            "encoder_decoder": "{before}{mask}{after}",
        },
    ),
    _fewclue(
        "bustm",
        "whether two short texts mean the same",
        fields=("sentence1", "sentence2"),
        labels={"0": "different", "1": "same"},
        words=dict(zip(("different", "same"), NOT_OR_IS, strict=True)),
        **asked(
            "{sentence1|strip_end}？{mask}，{sentence2}",
            "{sentence1|strip_end}？{sentence2|strip_end}，意思相同吗？",
            "答案：",
        ),
    ),
    _fewclue(
        "csldcp",
        "the discipline of an abstract",
        fields=("text",),
        columns={"text": "content"},
        note="67 labels, read from train; each is its own word",
        **asked("这是一篇关于{mask}的论文：{text}", "{text}", "这是一篇论文，关于"),
    ),
    _fewclue(
        "iflytek",
        "what an app is for",
        fields=("text",),
        columns={"text": "sentence"},
        target="label_des",
        note="119 labels, read from train; each is its own word",
        **asked("这是一个关于{mask}的应用：{text}", "{text}", "这是一个应用，关于"),
    ),
    TaskEntry(
        name="hotel_reviews",
        files={"train": TaskFile("chinese_reviews/hotel.csv")},
        variants={"all": {"test": TaskFile("chinese_reviews/hotel.csv")}},
        fields=("text",),
        columns={"text": "review"},
        target="label",
        labels={"0": "Negative", "1": "Positive"},
        words=QUALITY_ZH,
        template="{text}。总体评价是{mask}的。",
        templates=_SENTENCES,
        language="zh",
        source="ChnSentiCorp hotel reviews (Tan); research use",
        unfold=filled("review"),
        dev_fraction=0.1,
        test_fraction=0.2,
        benchmark="Chinese reviews",
        note='test and dev out of the one file; variant "all": all of it as a test set, '
        "with the labels of eprstmt, for a change of domain",
    ),
)
