"""What is kept of texts that occur more than once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.pretraining.documents import Document
from softprompt.pretraining.duplicates import (
    DuplicateCounts,
    drop_duplicates,
    drop_repeated_spans,
    split_sentences,
)

LONG = "A paragraph of more than sixty letters and digits, which stands in the corpus twice."


def unique(*documents: Document) -> tuple[list[Document], DuplicateCounts]:
    counts = DuplicateCounts()
    return list(drop_duplicates(documents, counts, set())), counts


def spans(*documents: Document) -> tuple[list[Document], DuplicateCounts]:
    counts = DuplicateCounts()
    return list(drop_repeated_spans(documents, counts, set())), counts


def test_the_first_of_equal_paragraphs_is_kept() -> None:
    kept, counts = unique((LONG, "short"), ("other", LONG), (LONG,))
    assert kept == [(LONG, "short"), ("other",)]
    assert counts == DuplicateCounts(texts=5, dropped=2, documents=1)


def test_paragraphs_are_equal_whatever_their_case_width_and_punctuation() -> None:
    kept, _ = unique((LONG,), (LONG.upper().replace(",", " —"), "other"))
    assert kept == [(LONG,), ("other",)]


@pytest.mark.parametrize(("text", "repeats"), [("x" * 59, 2), ("x" * 60, 1)])
def test_short_paragraphs_may_stand_twice(text: str, repeats: int) -> None:
    assert len(unique((text,), (text,))[0]) == repeats


@pytest.mark.parametrize(("text", "repeats"), [("字" * 29, 2), ("字" * 30, 1)])
def test_a_chinese_character_counts_as_two(text: str, repeats: int) -> None:
    assert len(unique((text,), (text,))[0]) == repeats


def test_what_was_seen_in_one_file_is_dropped_from_the_next() -> None:
    seen: set[bytes] = set()
    assert list(drop_duplicates([(LONG,)], DuplicateCounts(), seen)) == [(LONG,)]
    assert list(drop_duplicates([(LONG,)], DuplicateCounts(), seen)) == []


def test_a_span_of_three_sentences_is_kept_once() -> None:
    kept, counts = spans(
        ("Before. One here. Two here! Three here?",), ("One here. Two here! Three here? After.",)
    )
    assert kept == [("Before. One here. Two here! Three here?",), ("After.",)]
    assert counts == DuplicateCounts(texts=8, dropped=3, documents=0)


def test_two_sentences_may_stand_twice() -> None:
    documents = (("One here. Two here. Three here.",), ("One here. Two here. Another.",))
    assert spans(*documents)[0] == list(documents)


def test_a_longer_span_goes_as_a_whole_and_its_surroundings_stay() -> None:
    middle = "第一句话。第二句话！第三句话？第四句话。"
    kept, counts = spans((middle,), (f"前面一句。{middle}后面一句。",))
    assert kept == [(middle,), ("前面一句。后面一句。",)]
    assert counts.dropped == 4


def test_spans_go_over_paragraphs_and_not_over_documents() -> None:
    kept, _ = spans(
        ("One.", "Two.", "Three."), ("One. Two.", "Three."), ("One.",), ("Two. Three.",)
    )
    assert kept == [("One.", "Two.", "Three."), ("One.",), ("Two. Three.",)]


def test_a_span_that_overlaps_with_itself_is_not_lost_altogether() -> None:
    assert spans(("Ha! Ha! Ha! Ha!",))[0] == [("Ha! Ha! Ha! Ha!",)]
    assert spans(("Ha! Ha! Ha! Ha! Ha! Ha! Ha!",))[0] == [("Ha! Ha! Ha!",)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It cost 3.14 at example.org. Why?", ["It cost 3.14 at example.org. ", "Why?"]),
        ('"Stop!" he said. "No."', ['"Stop!" ', "he said. ", '"No."']),
        ("他说：“好。”然后走了……再见", ["他说：“好。”", "然后走了……", "再见"]),
        ("no end", ["no end"]),
        ("", []),
    ],
)
def test_sentences_end_as_they_do_in_english_and_chinese(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_a_long_row_of_dots_takes_linear_time() -> None:
    assert split_sentences("." * 300_000 + "x") == ["." * 300_000 + "x"]


@given(st.text(alphabet="ab.!?。！…”' ", max_size=40))
def test_sentences_joined_give_back_the_paragraph(text: str) -> None:
    assert "".join(split_sentences(text)) == text


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), max_size=4))
def test_the_first_occurrence_of_a_sentence_is_never_dropped(documents: list[list[str]]) -> None:
    before = [tuple(f"{name}." for name in document) for document in documents]
    after, counts = spans(*before)

    def first(rows: list[Document]) -> list[str]:
        return list(dict.fromkeys(sentence for row in rows for sentence in row))

    assert first(after) == first(before)
    assert counts.texts - counts.dropped == sum(map(len, after))
