"""Pools of unlabelled rows: what is left out, what is drawn, and that rows are never all in memory."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.examples import Example
from softprompt.data.overlap import overlap
from softprompt.data.pool import Pool, read_pool, write_pool
from softprompt.data.sampling import permutation
from softprompt.data.sieve import row_key
from softprompt.errors import DataError, RunError, UsageError


def row(text: str, ident: str = "u", **more: str) -> Example:
    return Example(ident, {"text": text, **more})


def rows_of(pool: Pool) -> list[Example]:
    return [one for shard in pool.shards() for one in shard]


def texts(pool: Pool) -> list[str | tuple[str, ...]]:
    return [one.fields["text"] for one in rows_of(pool)]


def numbered(n: int) -> list[Example]:
    return [row(f"row {number}", str(number)) for number in range(n)]


def made(folder: Path, rows: Sequence[Example], limit: int | None = None, seed: int = 0) -> Pool:
    return write_pool(folder, rows, against={}, limit=limit, seed=seed, shard_rows=4)


# --- What is kept -----------------------------------------------------------------------------


def test_a_pool_reads_back_as_it_was_written_without_targets(tmp_path: Path) -> None:
    rows = [
        Example("1", {"text": "a\u2028line \r\n and 一行", "b": ("x", "y")}, "label"),
        Example("2", {"text": "half \ud800", "b": ("z",)}, None, ("one", "two"), "g"),
    ]
    pool = write_pool(tmp_path / "pool", rows, against={}, limit=None, seed=0)
    read = read_pool(tmp_path / "pool")
    assert read == pool
    assert rows_of(pool) == [Example("1", rows[0].fields), rows[1]]


def test_rows_that_repeat_a_labelled_one_are_left_out_and_counted_by_split(tmp_path: Path) -> None:
    against = {"train": [row("A good film.")], "dev": [row("so slow")], "test": [row("Dull!")]}
    rows = [row(t) for t in ("a good   FILM", "new", "dull", "dull", "so, slow", "good a film")]
    pool = write_pool(tmp_path, rows, against=against, limit=None, seed=0)
    assert texts(pool) == ["new", "good a film"]
    assert pool.left_out == {"train": 1, "test": 2, "dev": 1}
    assert (pool.stayed, pool.doubles) == ({}, 0)


def test_a_transductive_pool_keeps_rows_of_dev_and_test_but_not_of_train(tmp_path: Path) -> None:
    against = {"test": [row("dull"), row("both")], "dev": [row("slow")], "train": [row("both")]}
    rows = [row(text) for text in ("dull", "slow", "both", "new", "Dull.")]
    pool = write_pool(tmp_path, rows, against=against, limit=None, seed=0, transductive=True)
    assert texts(pool) == ["dull", "slow", "new"]
    assert (pool.left_out, pool.stayed, pool.doubles) == ({"train": 1}, {"test": 1, "dev": 1}, 1)
    assert pool.transductive
    assert any("stayed, repeating one of test" in note for note in pool.notes())


def test_rows_that_repeat_one_another_are_kept_once(tmp_path: Path) -> None:
    pool = made(tmp_path, [row("a b", "1"), row("A, b", "2"), row("c", "3"), row("a b.", "4")])
    assert [one.id for one in rows_of(pool)] == ["1", "3"]
    assert pool.doubles == 2


def test_all_fields_are_compared_each_with_its_own(tmp_path: Path) -> None:
    against = {"train": [row("a", b="b c")]}
    rows = [row("a b", b="c"), row("a", b="bc"), row("b c", b="a")]
    pool = write_pool(tmp_path, rows, against=against, limit=None, seed=0)
    assert len(pool) == 2
    assert pool.left_out == {"train": 1}


def test_rows_without_a_letter_or_digit_repeat_nothing(tmp_path: Path) -> None:
    against = {"train": [row("!!")]}
    pool = write_pool(tmp_path, [row("!!"), row("!!")], against=against, limit=None, seed=0)
    assert (len(pool), pool.doubles) == (2, 0)


@given(st.text(max_size=12), st.text(max_size=12))
def test_two_rows_repeat_one_another_as_overlap_has_it(one: str, other: str) -> None:
    equal = overlap([row(one)], [row(other)]).equal.left == 1
    assert (row_key(row(one)) is not None and row_key(row(one)) == row_key(row(other))) == equal


# --- What is drawn ----------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32), st.integers(1, 7))
def test_a_limit_draws_the_beginning_of_the_permutation(
    tmp_path_factory: pytest.TempPathFactory, n: int, limit: int, seed: int, shard_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("pool")
    pool = write_pool(
        folder, numbered(n), against={}, limit=limit, seed=seed, shard_rows=shard_rows
    )
    expected = sorted(permutation(n, seed)[:limit])
    assert [int(one.id) for one in rows_of(pool)] == expected
    assert len(pool) + pool.undrawn == n
    assert all(len(shard) <= shard_rows for shard in pool.shards())
    wanted = [*reversed(range(len(pool))), 0, 0]
    assert [int(one.id) for one in pool.examples(wanted)] == [expected[i] for i in wanted]


def test_the_same_rows_give_the_same_pool(tmp_path: Path) -> None:
    one, same = (made(tmp_path / name, numbered(20), 9, 3) for name in ("a", "b"))
    other = made(tmp_path / "c", numbered(20), 9, 4)
    assert one.content_hash == same.content_hash != other.content_hash
    assert (tmp_path / "a" / "pool.json").read_bytes() == (
        tmp_path / "b" / "pool.json"
    ).read_bytes()


def test_the_hash_does_not_depend_on_the_size_of_shards(tmp_path: Path) -> None:
    hashes = {
        write_pool(
            tmp_path / str(n), numbered(10), against={}, limit=None, seed=0, shard_rows=n
        ).content_hash
        for n in (1, 3, 10, 99)
    }
    assert len(hashes) == 1


# --- Memory and files -------------------------------------------------------------------------


class Tracked(Example):
    """An example whose life can be watched."""


def test_rows_stream_through_one_at_a_time_and_shards_one_by_one(tmp_path: Path) -> None:
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def source() -> Iterator[Example]:
        nonlocal alive, most
        for number in range(20_000):
            one = Tracked(str(number), {"text": f"row {number}"})
            alive += 1
            weakref.finalize(one, gone)
            most = max(most, alive)
            yield one

    pool = write_pool(tmp_path, source(), against={}, limit=15_000, seed=1)
    assert most <= 3
    assert [shard.rows for shard in pool.files] == [5_000] * 3
    shards = pool.shards()
    first = weakref.ref(next(shards)[0])
    next(shards)
    gc.collect()
    assert first() is None


def test_examples_read_only_the_shards_that_hold_them(tmp_path: Path) -> None:
    pool = made(tmp_path, numbered(10))
    (tmp_path / "rows-00001.jsonl").unlink()
    assert [one.id for one in pool.examples([9, 0])] == ["9", "0"]
    with pytest.raises(DataError, match=r"rows-00001\.jsonl"):
        pool.examples([5])
    with pytest.raises(UsageError, match="10 rows, no row 10"):
        pool.examples([10])


def test_a_damaged_shard_is_found(tmp_path: Path) -> None:
    pool = made(tmp_path, numbered(3))
    (tmp_path / "rows-00000.jsonl").write_text('{"id": "0", "fields": {"text": "other"}}\n')
    with pytest.raises(DataError, match="not the 3 rows that were written"):
        list(pool.shards())


def test_an_interrupted_pool_is_none_and_is_begun_anew(tmp_path: Path) -> None:
    def breaking() -> Iterator[Example]:
        yield row("old")
        raise DataError("bad row")

    made(tmp_path, numbered(9))
    with pytest.raises(DataError, match="bad row"):
        write_pool(tmp_path, breaking(), against={}, limit=None, seed=0)
    assert read_pool(tmp_path) is None
    pool = made(tmp_path, numbered(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool.json", "rows-00000.jsonl"]
    assert read_pool(tmp_path) == pool


def test_there_may_be_no_row_and_no_folder(tmp_path: Path) -> None:
    assert read_pool(tmp_path / "none") is None
    pool = made(tmp_path / "new" / "pool", [])
    assert (len(pool), rows_of(pool), pool.examples([])) == (0, [], [])


def test_what_is_wrong_with_a_pool_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="limit: expected at least 1, got 0"):
        made(tmp_path, [], 0)
    (tmp_path / "pool.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(DataError, match=r"delete .* to make the pool again"):
        read_pool(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="a pool cannot be written"):
        made(tmp_path / "file", [])
