"""Seeded orders and splits, and LM-BFF's published k-shot files as the proof of the k-shot law.

What can be proved with the files at hand:
- MRPC: its source is here, so train and dev are drawn anew and compared row for row, in order.
- RTE, QNLI, MNLI, SNLI, STS-B: the rows carry their place in the source, so the published files are
  held against the shuffled places, without the source's texts.
- SST-2: not possible. LM-BFF drew from a file of 6,920 whole sentences, which GLUE's 67,349 phrases
  do not contain in that order. CoLA, QQP, MR, SST-5: their rows carry no place, their sources are
  absent.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.sampling import (
    balanced,
    draw,
    k_shot,
    permutation,
    shares,
    stratified_split,
)
from softprompt.data.task import Task
from softprompt.errors import UsageError

SEEDS = (13, 21, 42, 87, 100)
SOURCE_ROWS = {"RTE": 2_490, "QNLI": 104_743, "MNLI": 392_702, "SNLI": 549_367, "STS-B": 5_749}


@given(st.integers(0, 200), st.integers(0, 2**32), st.integers(0, 10))
def test_a_permutation_holds_each_number_once(n: int, seed: int, epoch: int) -> None:
    assert sorted(permutation(n, seed, epoch)) == list(range(n))
    assert permutation(n, seed, epoch) == permutation(n, seed, epoch)


def test_a_permutation_is_the_same_on_every_machine() -> None:
    assert permutation(8, 0) == [3, 2, 1, 6, 0, 7, 4, 5]
    assert permutation(8, 0, 1) == [7, 4, 5, 1, 6, 2, 0, 3]
    with pytest.raises(UsageError, match="whole numbers from 0, got -1"):
        permutation(8, -1)


@given(st.integers(0, 60), st.integers(0, 70), st.integers(0, 2**32))
def test_a_draw_from_a_stream_is_the_beginning_of_the_permutation(
    rows: int, n: int, seed: int
) -> None:
    assert draw(iter(range(rows)), n, seed) == sorted(permutation(rows, seed)[:n])


def test_a_draw_goes_on_as_the_permutation_does_behind_its_first_words() -> None:
    assert draw(iter(range(10_000)), 9, 3, 1) == sorted(permutation(10_000, 3, 1)[:9])


def test_a_draw_of_nothing_reads_nothing_and_one_of_less_is_refused() -> None:
    rows = iter(range(3))
    assert draw(rows, 0, 5) == []
    assert list(rows) == [0, 1, 2]
    with pytest.raises(UsageError, match="expected at least 0, got -1"):
        draw(rows, -1, 5)


def test_all_rows_are_as_likely_to_be_drawn() -> None:
    counts = Counter(place for seed in range(2_000) for place in draw(range(10), 3, seed))
    # 600 expected of each; the standard deviation is sqrt(2000 · 0.3 · 0.7) = 20.5.
    assert all(abs(counts[place] - 600) < 5 * 20.5 for place in range(10))


LABELS = st.lists(st.sampled_from("abcd"), max_size=40)


@given(LABELS, st.integers(0, 45), st.integers(0, 2**32))
def test_balanced_rows_differ_by_one_at_most_while_no_label_has_run_out(
    labels: list[str], n: int, seed: int
) -> None:
    kept = balanced(labels, n, seed)
    assert kept == sorted(set(kept))
    assert len(kept) == min(n, len(labels))
    there, taken = Counter(labels), Counter(labels[place] for place in kept)
    left_over = [taken[label] for label in there if taken[label] < there[label]]
    assert all(taken[label] <= least + 1 for label in there for least in left_over)


@given(LABELS, st.integers(0, 45), st.integers(0, 45), st.integers(0, 2**32))
def test_fewer_balanced_rows_are_a_part_of_more(
    labels: list[str], one: int, other: int, seed: int
) -> None:
    fewer, more = sorted((one, other))
    assert set(balanced(labels, fewer, seed)) <= set(balanced(labels, more, seed))


def test_the_seed_says_which_labels_have_one_row_more_and_which_rows() -> None:
    labels = list("abc" * 10)
    odd = {labels[place] for seed in range(20) for place in balanced(labels, 1, seed)}
    assert odd == set("abc")
    assert len({tuple(balanced(labels, 6, seed)) for seed in range(10)}) == 10


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_shares_add_up_and_leave_one_of_each(counts: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, sum(counts) - len(counts)))
    taken = shares(counts, size)
    assert sum(taken) == size
    assert all(0 <= share < count for share, count in zip(taken, counts, strict=True))


def test_clusters_stay_together() -> None:
    stay, gone = stratified_split("aabbaabb", [0, 0, 1, 1, 2, 2, 3, 3], size=4, seed=0)
    assert len(gone) == 4
    assert sorted(stay + gone) == list(range(8))
    assert {place // 2 for place in stay}.isdisjoint(place // 2 for place in gone)


def test_k_shot_takes_k_of_each_label_twice_in_order_of_first_appearance() -> None:
    rows = [(n, "abc"[n % 3]) for n in range(60)]
    train, dev = k_shot(rows, 4, seed=13, label=lambda row: row[1])
    assert Counter(label for _, label in train) == Counter(label for _, label in dev)
    assert Counter(label for _, label in train) == {"a": 4, "b": 4, "c": 4}
    assert not {n for n, _ in train} & {n for n, _ in dev}
    blocks = [label for n, (_, label) in enumerate(train) if n % 4 == 0]
    assert len(set(blocks)) == 3  # one block of rows per label
    with pytest.raises(UsageError, match=r"label 'a' has 20 row\(s\); k=11 takes 22.*k=10 or less"):
        k_shot([(n, "ab"[n % 2]) for n in range(40)], 11, seed=0, label=lambda row: row[1])


def test_few_shot_keeps_the_test_split_and_splits_numbers_at_the_middle() -> None:
    rows = [Example(str(n), {"text": str(n)}, n % 6 * 1.0) for n in range(60)]
    splits = {"train": Split.of(rows), "dev": Split.of(rows[:5]), "test": Split.of(rows[5:7])}
    task = Task("n", ("text",), "number", (), splits, ("pearson",), bounds=(0.0, 5.0))
    shot = task.few_shot(4, seed=21)
    high = [row.target >= 2.5 for row in shot.examples("train") if isinstance(row.target, float)]
    assert Counter(high) == {True: 4, False: 4}
    assert len(shot.examples("dev")) == 8
    assert shot.examples("test") == rows[5:7]
    assert task.few_shot(4, seed=21, test="dev").examples("test") == rows[:5]


def table(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    return [line.split("\t") for line in text.split("\n")[1:] if line]


def kind(task: str, row: list[str]) -> str:
    return str(float(row[-1]) >= 2.5) if task == "STS-B" else row[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_lm_bff_mrpc_is_reproduced_row_for_row(shared: Path, seed: int) -> None:
    source = shared / "data" / "mrpc" / "msr_paraphrase_train.txt"
    folder = shared / "data" / "lm_bff_k_shot" / "MRPC" / f"16-{seed}"
    if not (source.is_file() and folder.is_dir()):
        pytest.skip("MRPC's source or LM-BFF's splits are not in the shared folder")
    held_out = {tuple(row[1:3]) for row in table(folder / "test.tsv")}
    rows = [row for row in table(source) if tuple(row[1:3]) not in held_out]
    assert len(rows) == 3_668  # GLUE's train: the published pairs without GLUE's dev
    train, dev = k_shot(rows, 16, seed, label=lambda row: row[0])
    for drawn, name in ((train, "train"), (dev, "dev")):
        published = table(folder / f"{name}.tsv")
        # Quality and both sentence ids; the texts differ in spelling of accents between releases.
        assert [row[:3] for row in drawn] == [row[:3] for row in published]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", SOURCE_ROWS)
def test_lm_bff_splits_follow_the_law_by_their_places(shared: Path, task: str, seed: int) -> None:
    folder = shared / "data" / "lm_bff_k_shot" / task / f"16-{seed}"
    if not folder.is_dir():
        pytest.skip(f"LM-BFF's splits of {task} are not in the shared folder")
    dev = folder / ("dev_matched.tsv" if task == "MNLI" else "dev.tsv")
    train_rows, dev_rows = table(folder / "train.tsv"), table(dev)
    label_at = {int(row[0]): kind(task, row) for row in train_rows + dev_rows}
    train, held = k_shot(range(SOURCE_ROWS[task]), 16, seed, lambda place: label_at.get(place, "?"))
    assert [place for place in train if place in label_at] == [int(row[0]) for row in train_rows]
    assert [place for place in held if place in label_at] == [int(row[0]) for row in dev_rows]

    # And nothing was passed over that should have been taken: a place that LM-BFF left out comes
    # only after some label has its 32 rows.
    order = np.arange(SOURCE_ROWS[task])
    np.random.RandomState(seed).shuffle(order)
    count: Counter[str] = Counter()
    for place in order.tolist():
        if place not in label_at:
            assert max(count.values()) == 32
            break
        count[label_at[place]] += 1
