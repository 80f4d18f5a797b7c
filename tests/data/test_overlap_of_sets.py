"""Which examples two sets share: rules, properties, and counts on real data found another way."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.examples import Example
from softprompt.data.overlap import Matches, overlap, overlaps
from softprompt.errors import DataError, UsageError


def rows(*texts: str | tuple[str, ...], name: str = "") -> list[Example]:
    parts = [(text,) if isinstance(text, str) else text for text in texts]
    return [
        Example(f"{name}{n}", {f"field{i}": text for i, text in enumerate(fields)})
        for n, fields in enumerate(parts)
    ]


def counts(left: Sequence[Example], right: Sequence[Example], **how: float) -> tuple[int, ...]:
    found = overlap(left, right, **how)  # type: ignore[arg-type]
    return found.equal.left, found.equal.right, found.near.left, found.near.right


TEN = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It's GOOD.", "it 's good "),
        ("ca n't", "can't"),
        ("ｆｕｌｌ width", "full width"),
        ("很好，看！", "很好看"),
    ],
)
def test_case_spaces_width_and_punctuation_do_not_count(one: str, other: str) -> None:
    assert counts(rows(one), rows(other)) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("other", "near"),
    [
        (TEN.replace("ten", "x"), 1),  # 9 of 11 words: 0.82
        (TEN.replace("ten", "x").replace("nine", "y"), 0),  # 8 of 12
        (TEN.removesuffix(" nine ten"), 1),  # 8 of 10
        ("ten nine eight seven six five four three two one", 1),
    ],
)
def test_near_is_four_fifths_of_the_words(other: str, near: int) -> None:
    assert counts(rows(TEN), rows(other)) == (0, 0, near, near)


def test_chinese_is_compared_by_characters() -> None:
    assert counts(rows("这部电影真的非常好看"), rows("这部电影真的非常难看")) == (0, 0, 1, 1)


def test_a_word_that_stands_twice_counts_twice() -> None:
    assert counts(rows("no no no no"), rows("no")) == (0, 0, 0, 0)
    assert counts(rows("no no no no"), rows("no no no no no")) == (0, 0, 1, 1)


def test_every_field_must_match() -> None:
    premise = " ".join(f"w{n}" for n in range(60))
    left = rows((premise, "a man sleeps"))
    assert counts(left, rows((premise, "a dog runs"))) == (0, 0, 0, 0)
    assert overlap(left, rows((premise, "a dog runs")), fields=["field0"]).equal.left == 1


def test_two_texts_in_the_other_order_are_a_near_duplicate() -> None:
    assert counts(rows(("one two", "three")), rows(("three", "one two"))) == (0, 0, 1, 1)


def test_the_target_does_not_count() -> None:
    one, other = Example("0", {"text": "a film"}, "good"), Example("0", {"text": "a film"}, "bad")
    assert counts([one], [other]) == (1, 1, 0, 0)


def test_a_row_is_counted_once_and_as_equal_first() -> None:
    left = rows(TEN, TEN + " eleven")
    right = rows(TEN, TEN.upper(), TEN + " twelve")
    assert counts(left, right) == (1, 2, 1, 1)


def test_the_report_names_the_first_pairs_and_the_shares() -> None:
    found = overlap(rows("a", "b", "c", name="l"), rows("c", "b", name="r"), ("train", "dev"))
    assert found.equal == Matches(2, 2, (("l1", "r1"), ("l2", "r0")))
    assert (found.left_share, found.right_share) == (pytest.approx(2 / 3), 1.0)
    assert found.sentence() == (
        "dev holds 2 of the 3 rows of train, and near duplicates of 0 more; "
        "train holds 2 of the 2 rows of dev, and near duplicates of 0 more"
    )
    apart = overlap(rows("a"), rows("b"), ("train", "dev"))
    assert apart.sentence() == "train and dev share no example"


def test_rows_without_a_letter_match_nothing_and_are_counted() -> None:
    found = overlap(rows("...", "a"), rows("!", "...", "b"))
    assert (found.equal.left, found.near.left, found.empty) == (0, 0, 3)


def test_empty_sets_overlap_with_nothing() -> None:
    found = overlap([], rows("a"))
    assert (found.left_rows, found.right_rows, found.left_share, found.right_share) == (0, 1, 0, 0)


def test_each_two_of_several_sets_are_compared() -> None:
    found = overlaps({"train": rows("a", "b"), "dev": rows("b"), "test": rows("c")})
    assert [(one.left, one.right, one.equal.left) for one in found] == [
        ("train", "dev", 1),
        ("train", "test", 0),
        ("dev", "test", 0),
    ]


def test_the_larger_set_streams() -> None:
    held = 0

    def stream() -> Iterator[Example]:
        nonlocal held
        for n in range(1000):
            held = n
            yield Example(str(n), {"text": f"text {n}"})

    small = rows("text 3", "text 999")
    found = overlap(small, stream())
    assert held == 999
    assert (found.equal.left, found.right_rows) == (2, 1000)


TEXT = st.lists(st.sampled_from([*"abcde好的"]), max_size=8).map(" ".join)
SET = st.lists(st.tuples(TEXT, TEXT), max_size=8)


@given(SET, SET, st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]))
def test_swapping_the_sets_swaps_the_counts(
    left: list[tuple[str, ...]], right: list[tuple[str, ...]], similarity: float
) -> None:
    one = overlap(rows(*left), rows(*right), similarity=similarity)
    other = overlap(rows(*right), rows(*left), similarity=similarity)
    assert (one.equal.left, one.equal.right) == (other.equal.right, other.equal.left)
    assert (one.near.left, one.near.right) == (other.near.right, other.near.left)


@given(SET, SET, st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]))
def test_nothing_near_is_missed(
    left: list[tuple[str, ...]], right: list[tuple[str, ...]], similarity: float
) -> None:
    def alike(one: str, other: str) -> bool:
        a, b = Counter(one.split()), Counter(other.split())
        return (a & b).total() >= similarity * (a | b).total() - 1e-9

    def key(one: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text.replace(" ", "") for text in one)

    def near(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        return all(map(alike, one, other)) or all(map(alike, one, other[::-1]))

    sides = [[one for one in side if any(one)] for side in (left, right)]
    keys = [{key(one) for one in side} for side in sides]
    expected = [
        sum(
            key(one) not in keys[1 - n] and any(near(one, two) for two in sides[1 - n])
            for one in side
        )
        for n, side in enumerate(sides)
    ]
    found = overlap(rows(*left), rows(*right), similarity=similarity)
    assert [found.near.left, found.near.right] == expected


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="similarity"):
        overlap(rows("a"), rows("b"), similarity=0)
    with pytest.raises(DataError, match=r"'field': right, example 0: no such field.*'field0'"):
        overlap([Example("0", {"field": "a"})], rows("b"), fields=["field"])
    with pytest.raises(DataError, match=r"1 field\(s\) to compare with the 2"):
        overlap(rows(("a", "b"), ("c", "d")), rows("a", "b", "c"))


# --- real data; the counts were found with other code, as `plain` does it -----------------------


def plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def table(path: Path, *columns: str) -> list[Example]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    places = [lines[0].index(column) for column in columns]
    return rows(*(tuple(line[place] for place in places) for line in lines[1:]))


def mr(shared: Path, split: str, seed: int = 13) -> list[Example]:
    path = shared / "data" / "lm_bff_k_shot" / "mr" / f"16-{seed}" / f"{split}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return rows(*(line[1] for line in csv.reader(stream)))


def glue_sample(shared: Path, task: str, split: str) -> list[Example]:
    path = shared / "data" / "glue_samples" / task / f"{split}.json"
    found = json.loads(path.read_text(encoding="utf-8")).values()
    return rows(*((row["text_a"], row["text_b"] or "") for row in found))


def test_sst2_and_mr_share_what_is_known(shared: Path) -> None:
    sst2 = {
        name: table(shared / "data" / "sst2" / f"{file}.tsv", "sentence")
        for name, file in (("train", "train"), ("dev", "dev"), ("test", "test-labeled"))
    }
    test = mr(shared, "test")
    known = {plain(str(row.fields["field0"])) for row in sst2["train"]}
    assert sum(plain(str(row.fields["field0"])) in known for row in test) == 702
    assert counts(test, sst2["train"])[:2] == (702, 885)
    assert counts(sst2["test"], test) == (755, 755, 9, 9)
    assert counts(sst2["dev"], sst2["test"])[:2] == (0, 0)


def test_mr_shots_stand_in_the_dev_set_of_sst2(shared: Path) -> None:
    dev = table(shared / "data" / "sst2" / "dev.tsv", "sentence")
    shots = {seed: (mr(shared, "train", seed), mr(shared, "dev", seed)) for seed in (13, 42, 100)}
    found = {seed: [counts(part, dev)[0] for part in parts] for seed, parts in shots.items()}
    assert found == {13: [4, 5], 42: [5, 8], 100: [2, 6]}


def test_glue_samples_share_rows_with_k_shot_files_and_with_themselves(shared: Path) -> None:
    assert counts(glue_sample(shared, "STS-B", "train"), glue_sample(shared, "STS-B", "dev"))[
        :2
    ] == (10, 9)
    assert counts(glue_sample(shared, "CoLA", "train"), glue_sample(shared, "CoLA", "dev"))[:2] == (
        7,
        6,
    )
    folder = shared / "data" / "lm_bff_k_shot" / "RTE" / "16-13"
    parts = [
        table(folder / f"{split}.tsv", "sentence1", "sentence2")
        for split in ("train", "dev", "test")
    ]
    sample = glue_sample(shared, "RTE", "train")
    assert [counts(part, sample)[0] for part in parts] == [31, 31, 0]
