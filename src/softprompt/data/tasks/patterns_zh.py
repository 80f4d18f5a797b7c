"""Patterns in Chinese, our own: of the tasks that ship, of FewCLUE's, of hotel reviews.

As in `patterns.py`, whose table joins them. Words of a label may have several characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from softprompt.data.tasks.chinese import TNEWS_ZH
from softprompt.data.tasks.pattern import Pattern, Words, in_order, own, words_for
from softprompt.data.tasks.shipped import TOPICS
from softprompt.data.tasks.wording import NLI_ZH


def _reviews_zh(labels: tuple[str, str], verdict: str, of: str) -> tuple[Pattern, ...]:
    """差 or 好 as a verdict, 差评 or 好评 as shops have it, 不满意 or 很满意."""
    bad, satisfied = words_for(labels, ("差", "好")), words_for(labels, ("不", "很"))
    return (
        own(f"{{text|strip_end}}。{verdict}", bad),
        own("{mask}评！{text}", bad),
        own(f"{{text|strip_end}}。我对{of}{{mask}}满意。", satisfied),
    )


def _topics_zh(words: Words) -> tuple[Pattern, ...]:
    return (
        own("这是一条关于{mask}的新闻：{text}", words),
        own("{mask}新闻：{text}", words),
        own("下面的报道来自{mask}频道：{text}", words),
    )


def _ocnli() -> tuple[Pattern, ...]:
    labels = ("entailment", "neutral", "contradiction")
    a, b = "{sentence1|strip_end}", "{sentence2|strip_end}"
    return (
        own(f"{a}？{{mask}}，{{sentence2}}", in_order(NLI_ZH, labels)),
        own(
            f"已知“{a}”，推断“{b}”，这个推断是{{mask}}的。",
            words_for(labels, ("正确", "可能", "错误")),
        ),
        own(f"{a}，{{mask}}{{sentence2}}", words_for(labels, ("因此", "也许", "并非"))),
    )


def _csl() -> tuple[Pattern, ...]:
    labels = ("others", "own")
    return (
        own(
            "{abst|strip_end}。以上摘要的关键词{mask}是：{keywords!}。",
            words_for(labels, ("不", "正")),
        ),
        own("“{keywords!}”{mask}是下文的关键词：{abst}", words_for(labels, ("不", "都"))),
        own(
            "摘要：{abst|strip_end}。关键词：{keywords!}。两者{mask}一致。",
            words_for(labels, ("不", "很")),
        ),
    )


_SHIPPED = ("negative", "positive")
_REVIEWS = ("Negative", "Positive")

PATTERNS_ZH: Mapping[str, tuple[Pattern, ...]] = MappingProxyType(
    {
        "softprompt/reviews-zh": _reviews_zh(_SHIPPED, "总体评价是{mask}的。", "此"),
        "softprompt/topics-zh": _topics_zh(words_for(TOPICS, ("体育", "财经", "科学", "美食"))),
        "eprstmt": _reviews_zh(_REVIEWS, "总体评价是{mask}的。", "这次购物"),
        "hotel_reviews": _reviews_zh(_REVIEWS, "这家酒店很{mask}。", "这家酒店"),
        "tnews": _topics_zh({label: (word,) for label, word in TNEWS_ZH.items()}),
        "ocnli": _ocnli(),
        "csl": _csl(),
    }
)
