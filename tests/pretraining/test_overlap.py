"""What overlaps with an evaluation text, to the word and to the character."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.normalising import holds_chinese, is_chinese, normalised_words
from softprompt.pretraining.overlap import (
    EvaluationSet,
    OverlapCounts,
    OverlapIndex,
    OverlapRule,
    drop_overlaps,
)

TWELVE = "春夏秋冬东西南北上下左右"
"""Twelve Chinese characters, all different."""
LONG = "".join(chr(0x4E00 + 7 * n) for n in range(60))
"""Sixty Chinese characters, all different."""
WORDS = [f"word{n}x" for n in range(40)]


def index(*texts: str, name: str = "set") -> OverlapIndex:
    return OverlapIndex([EvaluationSet(name, texts)])


def overlaps(text: str, paragraph: str) -> bool:
    return bool(index(text).find(paragraph))


@pytest.mark.parametrize(("length", "found"), [(11, False), (12, True)])
def test_a_whole_chinese_text_counts_from_twelve_characters(length: int, found: bool) -> None:
    text = TWELVE[:length]
    assert overlaps(text, f"前面{text}后面") is found


@pytest.mark.parametrize(
    ("text", "found"),
    [("four words and so forths", False), ("four words and so forthss", True)],
)
def test_a_whole_english_text_counts_from_twenty_five_characters(text: str, found: bool) -> None:
    assert len(text) == 25 - (not found)
    assert overlaps(text, f"before {text} after") is found


@pytest.mark.parametrize(("run", "found"), [(12, False), (13, True)])
def test_a_run_of_words_counts_from_thirteen(run: int, found: bool) -> None:
    paragraph = f"before {' '.join(WORDS[5 : 5 + run])} after"
    assert overlaps(" ".join(WORDS), paragraph) is found


@pytest.mark.parametrize(("run", "found"), [(24, False), (25, True)])
def test_a_run_of_chinese_characters_counts_from_twenty_five(run: int, found: bool) -> None:
    assert overlaps(LONG, f"前{LONG[9 : 9 + run]}后") is found


def test_a_part_of_a_short_text_does_not_count() -> None:
    assert not overlaps(TWELVE + "前后", TWELVE)
    assert not overlaps("these are seven words of one text", "these are seven words of one")


def test_case_width_and_punctuation_do_not_matter() -> None:
    assert overlaps("The ﬁlm is “far” too long for me.", "THE FILM,  is: ＦＡＲ-too long FOR me!")
    assert overlaps("ＡＢＣ公司２０１９年的财务报告", "（abc 公司）2019年的，财务报告")
    assert overlaps("カタカナノブンショウデス", "ｶﾀｶﾅﾉﾌﾞﾝｼｮｳﾃﾞｽ")


def test_english_matches_end_at_word_boundaries() -> None:
    assert not overlaps("art is long and life is short", "art is long and life is shorter")
    assert not overlaps("art is long and life is short", "smart is long and life is short")
    assert overlaps("art is long and life is short", "他说art is long and life is short吧")


def test_latin_letters_of_a_chinese_text_are_no_run_by_themselves() -> None:
    name = "chronic obstructive pulmonary disease"
    text = f"{LONG[:40]}{name}{LONG[40:]}"
    assert not overlaps(text, f"{name} 慢性阻塞性肺疾病")
    assert overlaps(text, LONG[30:40] + name)


def test_runs_do_not_go_from_one_text_or_paragraph_to_the_next() -> None:
    both = index(" ".join(WORDS[:10]), " ".join(WORDS[10:20]))
    assert both.find(" ".join(WORDS[4:17])) == frozenset()
    halves = [" ".join(WORDS[:8]), " ".join(WORDS[8:16])]
    assert index(" ".join(WORDS)).find_all(halves) == [frozenset(), frozenset()]


def test_nothing_overlaps_with_nothing() -> None:
    assert OverlapIndex([]).find("any text") == frozenset()
    assert index("", "?!", "short").find_all(["", "?!", "short"]) == [frozenset()] * 3
    assert index(LONG).find_all([]) == []


def test_a_text_in_two_sets_counts_for_both() -> None:
    sets = [EvaluationSet("a", (LONG, LONG)), EvaluationSet("b", (f"「{LONG}」", "other"))]
    assert OverlapIndex(sets).find(LONG) == {"a", "b"}


def test_the_paragraph_is_dropped_and_the_document_kept() -> None:
    counts = OverlapCounts()
    documents = [("first", f"it says {TWELVE}", "last"), (TWELVE,), ("untouched",)]
    kept = list(drop_overlaps(documents, index(TWELVE), counts))
    assert kept == [("first", "last"), ("untouched",)]
    assert counts == OverlapCounts(5, 2, 1, Counter({"set": 2}))


def test_counts_name_every_set_but_a_paragraph_is_dropped_once() -> None:
    sets = [EvaluationSet("a", (TWELVE,)), EvaluationSet("b", (TWELVE + "前",))]
    counts = OverlapCounts()
    documents = [(TWELVE + "前", TWELVE), ("other",)]
    assert list(drop_overlaps(documents, OverlapIndex(sets), counts)) == [("other",)]
    assert (counts.dropped, counts.sets) == (2, Counter({"a": 2, "b": 1}))


def test_documents_beyond_one_batch_keep_their_order() -> None:
    documents = [(f"{n} " + "filling " * 20_000, f"{n} {TWELVE}") for n in range(15)]
    counts = OverlapCounts()
    kept = list(drop_overlaps(iter(documents), index(TWELVE), counts))
    assert kept == [(first,) for first, _ in documents]
    assert counts.dropped == 15


RULE = OverlapRule(words=4, characters=5, whole_text=6, whole_chinese=3)
TEXT = st.text(alphabet="ab 上下", max_size=14)


def naive(texts: Sequence[str], paragraph: str, rule: OverlapRule) -> bool:
    """The definition, read aloud."""
    words = normalised_words(paragraph)
    characters = "".join(words)
    for text in texts:
        own = normalised_words(text)
        if is_chinese(own):
            flat = "".join(own)
            wanted = [flat[n : n + rule.characters] for n in range(len(flat) - rule.characters + 1)]
            wanted = [run for run in wanted if holds_chinese(run)]
            wanted += [flat] if len(flat) >= rule.whole_chinese else []
            if any(run in characters for run in wanted):
                return True
            continue
        runs = [own[n : n + rule.words] for n in range(len(own) - rule.words + 1)]
        runs += [own] if len(" ".join(own)) >= rule.whole_text else []
        if any(f" {' '.join(run)} " in f" {' '.join(words)} " for run in runs):
            return True
    return False


@given(
    texts=st.lists(st.lists(TEXT, max_size=3), max_size=4),
    paragraphs=st.lists(TEXT, max_size=5),
)
def test_finding_equals_the_definition(texts: list[list[str]], paragraphs: list[str]) -> None:
    sets = [EvaluationSet(str(number), tuple(row)) for number, row in enumerate(texts)]
    expected = [
        {one.name for one in sets if naive(one.texts, paragraph, RULE)} for paragraph in paragraphs
    ]
    assert OverlapIndex(sets, RULE).find_all(paragraphs) == expected
