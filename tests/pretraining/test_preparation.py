"""The chain from files to what is kept: in order, counted, and the same however often interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import DataError, SettingsError
from softprompt.pretraining.documents import Document, corpus_files
from softprompt.pretraining.preparation import (
    COUNTS_FILE,
    Preparation,
    PreparationSettings,
    table,
)

TWICE = "A paragraph of more than sixty letters that stands in both files of this corpus."
TESTED = "This sentence of a review is a test of what was learned and must not be learned by heart."
COOKIES = "This page uses cookies, as all pages do."


@dataclass(frozen=True)
class Text:
    """A source as the chain sees it."""

    name: str
    place: Path | str


@pytest.fixture
def sources(tmp_path: Path) -> list[Text]:
    folder = tmp_path / "corpus"
    folder.mkdir()
    first = [["A first one.", TWICE], [COOKIES], ["A second one."]]
    (folder / "a.txt").write_text("\n\n".join("\n".join(lines) for lines in first))
    second = [
        ["Here it is again.", TWICE, COOKIES],
        [TWICE],
        ["He wrote: " + TESTED, "A last one."],
    ]
    (folder / "b.jsonl").write_text("\n".join(json.dumps({"text": lines}) for lines in second))
    return [Text(name, path) for name, path in corpus_files(folder).items()]


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    folder = tmp_path / "evaluation"
    (folder / "reviews").mkdir(parents=True)
    (folder / "reviews" / "test.tsv").write_text(f"text\tlabel\n{TESTED}\tgood\n")
    (folder / "other.txt").write_text("A line of another set, found nowhere else.\n")
    (folder / "reviews" / "train.tsv").write_text(f"text\tlabel\n{TWICE}\tgood\n")
    return folder


def settings(**changes: Any) -> PreparationSettings:
    return PreparationSettings.read({"clean": ["policy"], **changes})


def prepared(preparation: Preparation, source: Text) -> list[Document]:
    return list(preparation.documents_of(source))


def test_every_filter_has_its_turn_and_duplicates_are_found_across_sources(
    tmp_path: Path, sources: list[Text], evaluation: Path
) -> None:
    told: list[Mapping[str, Any]] = []
    chosen = settings(evaluation=str(evaluation))
    preparation = Preparation(chosen, tmp_path / "out", told.append)
    a, b = sources
    assert prepared(preparation, a) == [("A first one.", TWICE), ("A second one.",)]
    assert prepared(preparation, b) == [("Here it is again.",), ("A last one.",)]
    preparation.finish()
    counts = json.loads((tmp_path / "out" / COUNTS_FILE).read_text())
    assert list(counts) == ["a", "b"]
    assert counts["b"]["read"] == {"documents": 3, "paragraphs": 6}
    assert counts["a"]["cleaned"] == {"policy": {"documents": 1, "paragraphs": 1, "changed": 0}}
    assert counts["b"]["cleaned"] == {"policy": {"documents": 0, "paragraphs": 1, "changed": 0}}
    assert counts["b"]["duplicates"] == {"texts": 5, "dropped": 2, "documents": 1}
    assert counts["b"]["overlaps"]["dropped"] == 1
    assert counts["b"]["overlaps"]["sets"] == {"reviews/test": 1}
    assert counts["b"]["kept"] == {"documents": 2, "paragraphs": 2}
    assert told == [{"prepared": {name: counts[name]}} for name in "ab"]


def test_the_table_says_what_became_of_the_text(
    tmp_path: Path, sources: list[Text], evaluation: Path
) -> None:
    preparation = Preparation(settings(evaluation=str(evaluation)), tmp_path)
    for source in sources:
        prepared(preparation, source)
    lines = table({name: counts.as_json() for name, counts in preparation.counts.items()})
    assert [line.split() for line in lines[-7:]] == [
        ["b", "documents", "paragraphs"],
        ["read", "3", "6"],
        ["-", "policy", "1"],
        ["-", "duplicates", "1", "2"],
        ["-", "held", "by", "evaluation", "sets", "1"],
        ["reviews/test", "1"],
        ["kept", "2", "2"],
    ]
    assert len({len(line) for line in lines[-7:]}) == 1


def test_a_source_whose_tokens_are_there_is_still_seen(tmp_path: Path, sources: list[Text]) -> None:
    a, b = sources
    whole = Preparation(settings(), tmp_path)
    prepared(whole, a)
    wanted = prepared(whole, b)
    resumed = Preparation(settings(), tmp_path)
    resumed.documents_of(a)  # asked for, and not needed
    assert prepared(resumed, b) == wanted
    assert resumed.counts["a"] == whole.counts["a"]
    assert prepared(Preparation(settings(), tmp_path), b) != wanted


def test_nothing_is_read_or_written_where_nothing_is_needed(
    tmp_path: Path, sources: list[Text]
) -> None:
    first = Preparation(settings(), tmp_path)
    prepared(first, sources[0])
    first.finish()
    before = (tmp_path / COUNTS_FILE).read_bytes()
    idle = Preparation(settings(), tmp_path)
    idle.documents_of(sources[0])
    idle.finish()
    assert not idle.counts
    assert (tmp_path / COUNTS_FILE).read_bytes() == before


def test_filters_without_memory_need_no_earlier_source(tmp_path: Path, sources: list[Text]) -> None:
    a, b = sources
    resumed = Preparation(settings(deduplicate=False), tmp_path)
    resumed.documents_of(a)
    prepared(resumed, b)
    assert list(resumed.counts) == ["b"]


def test_counts_outlive_an_interruption_between_sources(
    tmp_path: Path, sources: list[Text]
) -> None:
    a, b = sources
    prepared(Preparation(settings(deduplicate=False), tmp_path), a)  # and no `finish`
    resumed = Preparation(settings(deduplicate=False), tmp_path)
    resumed.documents_of(a)
    prepared(resumed, b)
    resumed.finish()
    assert list(json.loads((tmp_path / COUNTS_FILE).read_text())) == ["a", "b"]
    assert [path.name for path in tmp_path.glob("corpus.json*")] == [COUNTS_FILE]


def test_what_is_wrong_with_the_evaluation_folder_is_said_before_anything_is_read(
    tmp_path: Path, evaluation: Path
) -> None:
    with pytest.raises(DataError, match="expected a folder of evaluation data"):
        Preparation(settings(evaluation=str(tmp_path / "none")), tmp_path)
    chosen = settings(evaluation=str(evaluation), evaluation_without=["revues"])
    with pytest.raises(DataError, match="'revues' is to be left out but is not there"):
        Preparation(chosen, tmp_path)


def test_lines_for_the_tokenizer_are_raw_and_use_nothing_up(
    tmp_path: Path, sources: list[Text]
) -> None:
    preparation = Preparation(settings(), tmp_path)
    lines = preparation.lines_of(sources[0])
    assert list(lines()) == list(lines()) == ["A first one.", TWICE, COOKIES, "A second one."]
    assert prepared(preparation, sources[0])[0] == ("A first one.", TWICE)


def test_filters_that_are_off_drop_nothing(tmp_path: Path, sources: list[Text]) -> None:
    preparation = Preparation(settings(clean=[], deduplicate=False), tmp_path)
    assert prepared(preparation, sources[1])[0] == ("Here it is again.", TWICE, COOKIES)
    counts = preparation.counts["b"]
    assert counts.read == counts.kept


def test_spans_of_three_sentences_are_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One was here. Two was here. Three was here.\n" * 2 + "Four was here.\n")
    preparation = Preparation(settings(deduplicate=False, repeated_spans=True), tmp_path)
    (document,) = prepared(preparation, Text("a", path))
    assert document == ("One was here. Two was here. Three was here.", "Four was here.")
    assert preparation.counts["a"].spans.dropped == 3


def test_what_is_damaged_stops_or_is_left_out_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n{"text"\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 3"):
        prepared(Preparation(settings(), tmp_path), Text("a", path))
    told: list[Mapping[str, Any]] = []
    preparation = Preparation(settings(damaged="skip"), tmp_path, told.append)
    assert prepared(preparation, Text("a", path)) == [("one",), ("two",)]
    assert "line 3" in told[0]["warning"]
    assert preparation.counts["a"].left_out == [told[0]["warning"]]
    assert told[0]["warning"] in table({"a": preparation.counts["a"].as_json()})[-1]


def test_the_digest_follows_what_decides_and_not_where_it_lies(
    tmp_path: Path, evaluation: Path
) -> None:
    def digest(**changes: Any) -> str:
        return Preparation(settings(**changes), tmp_path).digest

    different = [
        digest(),
        digest(clean=["policy", "javascript"]),
        digest(deduplicate=False),
        digest(text_field="body"),
        digest(evaluation=str(evaluation)),
        digest(evaluation=str(evaluation), evaluation_without=["reviews"]),
    ]
    assert len(set(different)) == len(different)
    moved = evaluation.rename(tmp_path / "elsewhere")
    assert digest(evaluation=str(moved)) == different[4]
    (moved / "reviews" / "train.tsv").write_text("text\tlabel\n")  # is not for evaluation
    assert digest(evaluation=str(moved)) == different[4]
    (moved / "reviews" / "test.tsv").write_text(f"text\tlabel\n{TWICE}\tgood\n")
    assert digest(evaluation=str(moved)) != different[4]


def test_settings_name_a_filter_that_does_not_exist() -> None:
    with pytest.raises(SettingsError, match="'clean': unknown filter 'javascrip'; did you mean"):
        settings(clean=["javascrip"])
    with pytest.raises(SettingsError, match="'damaged'"):
        settings(damaged="maybe")
