"""Each of C4's rules by worked examples, and what the counts say about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.errors import SettingsError
from softprompt.pretraining.cleaning import (
    FILTERS,
    SETS,
    FilterCounts,
    clean,
    n_sentences,
    n_words,
    named_filters,
)
from softprompt.pretraining.documents import Document, paragraphs


def after(name: str, *lines: str) -> Document | None:
    """What one filter leaves of a document."""
    (one,) = named_filters([name])
    return one.apply(lines)


def keeps(name: str, line: str) -> bool:
    return after(name, line) == (line,)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("The film ends.", True),
        ("Does it end?", True),
        ('He said "no"', True),
        ("He said “no.”", True),
        ("Read more...", False),  # cut off
        ("Read more…", False),
        ("Home | About | Contact", False),
        ("as follows:", False),
        ("电影很好看。", True),
        ("真的吗？", True),
        ("他说：“不。”", True),
        ("我不知道……", True),
        ("我不知道…", True),
        ("下一页", False),
        ("电影，", False),
    ],
)
def test_lines_end_in_terminal_punctuation(line: str, kept: bool) -> None:
    assert keeps("terminal_punctuation", line) is kept


def test_a_document_loses_lines_and_is_dropped_with_the_last() -> None:
    assert after("terminal_punctuation", "Menu", "It was good.", "Next") == ("It was good.",)
    assert after("terminal_punctuation", "Menu", "Next") is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("one two three four", 4),
        ("it's well-known - really", 4),
        ("电影好看。", 4),
        ("我看了 Star Wars 3 次", 7),
        ("", 0),
    ],
)
def test_words_stand_between_spaces_and_chinese_characters_are_words(line: str, words: int) -> None:
    assert n_words(line) == words


def test_short_lines_are_dropped_below_the_number_given() -> None:
    assert after("min_words", "only four words here", "here are five whole words") == (
        "here are five whole words",
    )
    assert keeps("min_words:4", "only four words here")
    assert keeps("min_words", "电影很好看")
    assert not keeps("min_words", "很好看。")


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One. Two! Three?", 3),
        ('He said "no." She left...', 2),
        ("Version 3.14 is at example.org", 1),
        ("好看。不好看！真的吗？", 3),
        ("他说：“好。”我走了", 2),
        ("no mark at all", 1),
        ("Really?! Yes.", 2),
        ("", 0),
    ],
)
def test_sentences_are_counted_by_their_ends(line: str, sentences: int) -> None:
    assert n_sentences(line) == sentences


def test_documents_need_five_sentences_or_the_number_given() -> None:
    assert after("min_sentences", "1. 2. 3.", "4. 5.") == ("1. 2. 3.", "4. 5.")
    assert after("min_sentences", "1. 2. 3.", "4.") is None
    assert after("min_sentences:2", "One. Two.") == ("One. Two.",)


def test_lines_about_javascript_and_policies_are_dropped() -> None:
    kept = "We use the privacy of our home."
    assert after("javascript", "Please enable JavaScript.", kept) == (kept,)
    policies = ("Terms of Use", "our privacy policy", "Cookie Policy", "This site uses cookies.")
    assert after("policy", *policies, "the use of cookies", "We use cookies.", kept) == (kept,)


def test_placeholders_and_programs_cost_the_whole_document() -> None:
    assert after("lorem_ipsum", "A page.", "Lorem Ipsum dolor.") is None
    assert after("curly_brace", "A page.", "if (x) { return; }") is None
    assert after("curly_brace", "A page.", "f(x) [y]") == ("A page.", "f(x) [y]")


def test_marks_of_citations_are_removed() -> None:
    assert after("citations", "It fell.[1][22] It rose. [citation needed]", "[edit]", "a[i]") == (
        "It fell. It rose.",
        "a[i]",
    )
    assert after("citations", "[3]") is None


def test_a_long_word_costs_its_line_but_chinese_has_no_long_words() -> None:
    assert keeps("max_word_length", "a" * 1000 + " b")
    assert not keeps("max_word_length", "a" * 1001 + " b")
    assert keeps("max_word_length", "很好，" * 1000)
    assert not keeps("max_word_length:3", "four")


def test_long_documents_are_dropped_whole() -> None:
    assert after("max_characters:10", "12345", "12345") is not None
    assert after("max_characters:10", "12345", "123456") is None


def test_bad_words_come_from_a_file_and_stand_alone(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("Gosh\nold boot\n讨厌\n\n", encoding="utf-8")
    name = f"bad_words:{words}"
    for bad in ("GOSH, no", "an old boot.", "“gosh”", "我讨厌它", "看gosh了"):
        assert after(name, "A page.", bad) is None
    for good in ("goshawks fly", "an old boots", "old  boot", "讨人厌"):
        assert keeps(name, good)


def test_a_list_of_bad_words_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"bad_words needs a file: bad_words:words\.txt"):
        named_filters(["bad_words"])
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        named_filters([f"bad_words:{tmp_path / 'none'}"])
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError, match="holds no word"):
        named_filters([f"bad_words:{tmp_path / 'empty'}"])
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(SettingsError, match="not UTF-8 at byte 3"):
        named_filters([f"bad_words:{tmp_path / 'latin'}"])


def test_the_digest_follows_the_list_and_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("gosh\n")
    (tmp_path / "b").write_text("gosh\n")
    first, second = named_filters([f"bad_words:{tmp_path / name}" for name in "ab"])
    assert first.digest == second.digest
    (tmp_path / "b").write_text("golly\n")
    assert named_filters([f"bad_words:{tmp_path / 'b'}"])[0].digest != first.digest


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        (["java_script"], "unknown filter 'java_script'; did you mean 'javascript'"),
        (["zzz"], "unknown filter 'zzz'; there are max_characters, .*, c4"),
        (["javascript:5"], "javascript takes no argument, got '5'"),
        (["min_words:five"], "min_words expects a whole number from 1, as min_words:5, got 'five'"),
        (["min_words:0"], "got '0'"),
        (["min_words:"], "got ''"),
        (["c4", "policy"], "policy is named twice"),
    ],
)
def test_a_filter_that_cannot_be_is_explained(spelled: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        named_filters(spelled)


def test_c4_is_every_rule_but_the_list_and_counts_add_up() -> None:
    assert {*SETS["c4"], "bad_words"} == {*FILTERS, "min_sentences:3"} - {"min_sentences"}
    page = (
        "Home | About",
        "The river rises in the hills.[1]",
        "Please enable Javascript to see this page.",
        "It runs to the sea and is quite long.",
        "Nobody has ever seen where it ends.",
    )
    short = ("There is one sentence in this one.", "Menu")
    counts: dict[str, FilterCounts] = {}
    (left,) = clean([page, short], named_filters(["c4"]), counts)
    assert left == ("The river rises in the hills.", *page[3:])
    assert counts["citations"] == FilterCounts(changed=1)
    assert counts["terminal_punctuation"] == FilterCounts(paragraphs=2)
    assert counts["javascript"] == FilterCounts(paragraphs=1)
    assert counts["min_sentences:3"] == FilterCounts(documents=1, paragraphs=1)
    assert sum(count.paragraphs for count in counts.values()) == 7 - len(left)
    assert list(counts) == [step.name for step in named_filters(["c4"])]


def test_every_filter_says_what_it_does_and_where_it_is_from() -> None:
    for name, entry in FILTERS.items():
        assert len(entry.does) > 20, name
        doc = (entry.make.__doc__ or "").lower()
        assert "paper" in doc or "code" in doc, name


@given(st.lists(st.text(max_size=40)).map(paragraphs))
def test_a_filter_leaves_a_document_or_nothing_and_does_so_again(document: Document) -> None:
    for step in named_filters(["c4"]):
        left = step.apply(document) if document else None
        if left is not None:
            assert left == paragraphs(left)
            assert step.apply(document) == left
