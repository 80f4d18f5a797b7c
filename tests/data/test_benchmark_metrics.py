"""The benchmarks' official metrics against numbers worked out by hand and against the libraries."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.known_tasks import TASKS
from softprompt.data.metrics import METRICS, overall, score
from softprompt.errors import UsageError

TRUTH = ("False", "True")


def one(name: str, predictions: list[Any], golds: list[Any], **more: Any) -> float:
    return score([name], predictions, golds, **more)[name]


def test_multirc_counts_decisions_and_whole_questions() -> None:
    golds = ["True", "False", "True", "True", "False", "False"]
    found = ["True", "False", "True", "False", "False", None]
    groups = ["1", "1", "2", "2", "3", "3"]
    both = score(["multirc_f1a", "multirc_em"], found, golds, TRUTH, groups)
    # Of the answers said True, three (None counts as True where False is right): two are; three
    # are True in all. Questions: the first is right, the second and third have a wrong answer.
    assert both["multirc_f1a"] == pytest.approx(2 * 2 / (3 + 3))
    assert both["multirc_em"] == pytest.approx(1 / 3)


def test_multirc_needs_the_questions() -> None:
    for groups in (None, ["1", None]):
        with pytest.raises(UsageError, match="every row needs the group"):
            one("multirc_em", ["True"] * 2, ["True"] * 2, labels=TRUTH, groups=groups)
    with pytest.raises(UsageError, match="1 groups for 2 golds"):
        one("multirc_em", ["True"] * 2, ["True"] * 2, labels=TRUTH, groups=["1"])


@given(st.lists(st.tuples(st.sampled_from(TRUTH), st.sampled_from(TRUTH)), min_size=1))
def test_with_every_row_a_group_multirc_em_is_accuracy(rows: list[tuple[str, str]]) -> None:
    predictions, golds = [p for p, _ in rows], [g for _, g in rows]
    groups = [str(n) for n in range(len(rows))]
    exact = one("multirc_em", predictions, golds, labels=TRUTH, groups=groups)
    assert exact == pytest.approx(one("accuracy", predictions, golds, labels=TRUTH))


@pytest.mark.parametrize(
    ("name", "predictions", "golds", "expected"),
    [
        # An entity that is one of several correct ones; then two words of three in common.
        ("record_em", ["Bobby Ann", "Ann"], [("Ann", "Bobby Ann"), ("Bo",)], 0.5),
        ("record_f1", ["Bobby Ann Lee"], [("Bobby Lee", "Bo")], 2 * 2 / (3 + 2)),
        ("accuracy", ["b", "c"], [("a", "b"), ("a", "b")], 0.5),
        ("exact_match", ["the  Rome."], [("Rome", "Italy")], 1.0),
        # Chinese by character: two of three and of four in common.
        ("token_f1", ["北京市"], [("在北京。",)], 2 * 2 / (3 + 3)),
        ("exact_match", ["北京。"], [("《北京》",)], 1.0),
        # CMRC: the longest run, 北京, not the four shared characters.
        ("cmrc_f1", ["市区北京"], [("北京市区",)], 2 * 2 / (4 + 4)),
        ("token_f1", ["市区北京"], [("北京市区",)], 1.0),
        # Numbers that a text-to-text model writes; "none" counts as the gold farthest from 4, here 5.
        ("pearson", ["1.0", "2.0", "3.0"], ["0.2", "0.4", "0.6"], 1.0),
        ("spearman", ["3.0", "none", "5.0"], ["3.0", "4.0", "5.0"], 0.75**0.5),
        # WSC: contained words are right; of a wrong span, another one is; an empty one never.
        ("wsc", ["old Ann", "Bo", "Bo", "", None], [
            "Ann", ("Ann", "True"), ("Ann", "False"), "Ann", ("Ann", "False"),
        ], 2 / 5),
    ],
)  # fmt: skip
def test_worked_examples(
    name: str, predictions: list[Any], golds: list[Any], expected: float
) -> None:
    assert one(name, predictions, golds) == pytest.approx(expected, abs=1e-12)


def test_correlations_and_matthews_are_scipys_and_scikit_learns() -> None:
    from scipy import stats
    from sklearn.metrics import f1_score, matthews_corrcoef

    found, wanted = [0.1, 2.5, 3.0, 4.9, 1.0], [0.0, 3.0, 2.8, 5.0, 2.0]
    assert one("pearson", found, wanted) == pytest.approx(stats.pearsonr(found, wanted).statistic)
    texts = [str(number) for number in found]
    assert one("spearman", texts, [str(n) for n in wanted]) == pytest.approx(
        stats.spearmanr(found, wanted).statistic
    )
    given_, gold = ["b", "a", "b", "b", "a"], ["b", "a", "a", "b", "b"]
    assert one("matthews", given_, gold, labels=("a", "b")) == pytest.approx(
        matthews_corrcoef(gold, given_)
    )
    three = ["a", "b", "c", "a", "c"]
    assert one("macro_f1", three, gold, labels=("a", "b", "c")) == pytest.approx(
        f1_score(gold, three, average="macro", labels=["a", "b", "c"], zero_division=0)
    )


def test_a_gold_that_is_no_number_is_an_error() -> None:
    with pytest.raises(UsageError, match="the gold 'high' is none"):
        one("pearson", ["1", "2"], ["1", "high"])


def test_a_benchmarks_number_is_the_mean_over_tasks_of_each_tasks_mean() -> None:
    scores = {
        "cb": {"accuracy": 0.8, "macro_f1": 0.6, "loss": 3.0},
        "copa": {"accuracy": 0.5},
        "multirc": {"multirc_f1a": 0.6, "multirc_em": 0.2},
    }
    assert overall(scores) == pytest.approx((0.7 + 0.5 + 0.4) / 3)
    assert overall(scores, ["cb", "copa"]) == pytest.approx(0.6)
    with pytest.raises(UsageError, match="no scores for 'rte', 'wsc'"):
        overall(scores, ["cb", "wsc", "rte"])
    with pytest.raises(UsageError, match="no metric among the scores of 'x'"):
        overall({"x": {"loss": 1.0}})


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("glue/cola", ("matthews",)),
        ("glue/mrpc", ("f1", "accuracy")),
        ("glue/qqp", ("f1", "accuracy")),
        ("glue/sts_b", ("pearson", "spearman")),
        ("super_glue/cb", ("accuracy", "macro_f1")),
        ("super_glue/multirc", ("multirc_f1a", "multirc_em")),
        ("super_glue/record", ("record_em", "record_f1")),
        ("squad", ("exact_match", "token_f1")),
        ("e2e", ("bleu", "rouge_l")),
    ],
)
def test_tasks_have_their_official_metrics(name: str, metrics: tuple[str, ...]) -> None:
    assert TASKS[name].metrics == metrics


def test_bleu_of_the_same_texts_is_one_and_takes_any_number_of_references() -> None:
    pytest.importorskip("sacrebleu")
    text = "the house stands on a hill"
    assert one("bleu", [text], [text]) == pytest.approx(1)
    assert one("bleu", [text, text], [("no", text), text]) == pytest.approx(1)
    assert one("bleu", [None], [text]) == 0
    # 5 of 6 words, 4 of 5 pairs, 3 of 4 triples, 2 of 3 quadruples; as long as the reference.
    other = "the house stands on a mountain"
    assert one("bleu", [other], [text]) == pytest.approx((5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)
    assert one("bleu:zh", ["他住在北京市"], ["他住在北京市"]) == pytest.approx(1)
    with pytest.raises(UsageError, match="bleu:xx: expected 13a"):
        one("bleu:xx", [text], [text])


def test_rouge_is_an_f1_of_runs_and_of_the_longest_common_subsequence() -> None:
    pytest.importorskip("rouge_score")
    found, gold = "the cats sat on mats", "a cat sat quietly on the mat"
    # Stemmed: cat sat on mat, in this order in both; with `the`, five words in common.
    assert one("rouge_l", [found], [gold]) == pytest.approx(2 * 4 / (5 + 7))
    assert one("rouge_1", [found], [gold]) == pytest.approx(2 * 5 / (5 + 7))
    assert one("rouge_2", [found], [gold]) == pytest.approx(2 * 1 / (4 + 6))
    assert one("rouge_l", [found], [("nothing", gold)]) == pytest.approx(2 * 4 / (5 + 7))
    assert one("rouge_l", [None], [gold]) == 0
    assert one("rouge_l:zh", ["北京很大"], ["北京大"]) == pytest.approx(2 * 3 / (4 + 3))


@pytest.mark.parametrize(("name", "module"), [("bleu", "sacrebleu"), ("rouge_l", "rouge_score")])
def test_a_missing_library_is_named_with_its_extra(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.rouge_scorer", None)
    with pytest.raises(UsageError, match=r"pip install 'softprompt\[text\]'"):
        one(name, ["a"], ["a"])
    assert METRICS[name].needs == module
