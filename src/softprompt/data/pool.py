"""A pool of unlabelled rows on disk: made once, read in shards, never whole in memory.

Rows that repeat a labelled row are left out when the pool is made, and so are rows that repeat one
another (`sieve.py`); both are counted.

    pool.json           what is in it; written last, so a folder without it is begun anew
    rows-00000.jsonl    the rows, one a line, without targets

Knows examples, not tasks, models or where the rows come from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from softprompt.data.examples import Example
from softprompt.data.sampling import draw
from softprompt.data.sieve import Sieve
from softprompt.errors import DataError, RunError, UsageError

RECORD = "pool.json"
SHARD_ROWS = 5_000
LEARNED = "train"
"""The split whose rows leave even a transductive pool: their labels are known."""
_SPILL = "rows.partial"
_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """One file of a pool.

    Args:
        file: its name.
        rows: how many.
        hash: SHA-256 of its bytes.
    """

    file: str
    rows: int
    hash: str


@dataclass(frozen=True)
class Pool:
    """Unlabelled rows in a folder; a row's index is its place, from 0.

    Args:
        folder: where it lies.
        files: its shards in order.
        left_out: by split, how many rows were left out because they repeat one of its rows; a row
            that repeats rows of several splits counts for the first of them.
        stayed: the same of rows that stayed although they repeat one (transductive).
        doubles: how many rows repeat an earlier row of the pool, and were left out.
        undrawn: how many rows were left out because there is a limit.
        transductive: whether rows of evaluation splits could stay.
        limit, seed: what it was drawn with.
        content_hash: 16 hex digits that change with any row and their order.
        source_hash: the same of all rows that it was made of; empty of an earlier version's pool.
    """

    folder: Path
    files: tuple[Shard, ...]
    left_out: Mapping[str, int]
    stayed: Mapping[str, int] = field(default_factory=dict)
    doubles: int = 0
    undrawn: int = 0
    transductive: bool = False
    limit: int | None = None
    seed: int = 0
    content_hash: str = ""
    source_hash: str = ""

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.files)

    def moved(self, folder: Path) -> Pool:
        """The same pool in another place."""
        return replace(self, folder=folder)

    def shards(self) -> Iterator[list[Example]]:
        """The rows, one shard at a time.

        Raises:
            DataError: a file is missing or is not what was written.
        """
        for shard in self.files:
            yield [_example(line) for line in self._lines(shard)]

    def examples(self, indices: Iterable[int]) -> list[Example]:
        """The rows of these indices, in their order and as often as they are named.

        Reads each shard that holds one of them, once.

        Raises:
            UsageError: an index beyond the pool.
            DataError: as `shards`.
        """
        wanted = [int(index) for index in indices]
        for index in wanted:
            if not 0 <= index < len(self):
                raise UsageError(
                    f"the pool in {self.folder} has {len(self):,} rows, no row {index}"
                )
        rest, found, first = sorted(set(wanted)), dict[int, Example](), 0
        for shard in self.files:
            here = [index for index in rest if first <= index < first + shard.rows]
            if here:
                lines = self._lines(shard)
                found |= {index: _example(lines[index - first]) for index in here}
            first += shard.rows
        return [found[index] for index in wanted]

    def notes(self) -> tuple[str, ...]:
        """What was left out and what stayed, in sentences."""
        said = [f"unlabelled rows: {len(self):,}"]
        said += [f"left out, repeating one of {s}: {n:,}" for s, n in self.left_out.items()]
        said += [f"stayed, repeating one of {s}: {n:,}" for s, n in self.stayed.items()]
        said += [f"left out, repeating an earlier one: {self.doubles:,}"] if self.doubles else []
        said += [f"not drawn (limit): {self.undrawn:,}"] if self.undrawn else []
        return tuple(said)

    def _lines(self, shard: Shard) -> list[bytes]:
        path = self.folder / shard.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"a pool's rows cannot be read: {error}", file=str(path)) from None
        if hashlib.sha256(content).hexdigest() != shard.hash:
            raise DataError(
                f"not the {shard.rows:,} rows that were written; delete {self.folder} to make the "
                "pool again",
                file=str(path),
            )
        return content.splitlines()


def write_pool(
    folder: Path,
    rows: Iterable[Example],
    *,
    against: Mapping[str, Sequence[Example]],
    limit: int | None,
    seed: int,
    transductive: bool = False,
    shard_rows: int = SHARD_ROWS,
) -> Pool:
    """Make a pool of a stream of rows, in place of any that is in the folder.

    Memory: a hash of each row, and one row at a time.

    Args:
        folder: made where it is not there.
        rows: read once; what target they have is dropped.
        against: split to labelled rows; a row that repeats several counts for the first, but one
            that has to go goes, whatever else it repeats.
        limit: at most so many, every set of them as likely, fewer a part of more; None keeps all.
        seed: of the limit.
        transductive: rows that repeat one of a split other than train stay (and are counted): the texts
            that are predicted are then learned from, which a report must say.
        shard_rows: rows of a file.
    Raises:
        UsageError: limit or shard_rows below 1.
        RunError: it cannot be written.
    """
    for name, value in (("limit", limit), ("shard_rows", shard_rows)):
        if value is not None and value < 1:
            raise UsageError(f"{name}: expected at least 1, got {value}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        staying = [name for name in against if name != LEARNED] if transductive else []
        sieve, source = Sieve(against, staying), _Hashed(rows)
        spill = folder / _SPILL
        with spill.open("wb") as file:
            for row in sieve.kept(source):
                file.write(_line(row))
        drawn = _drawn(sieve.n_kept, limit, seed)
        with spill.open("rb") as file:
            shards, content_hash = _write_shards(folder, file, drawn, shard_rows)
        spill.unlink()
        pool = Pool(
            folder=folder,
            files=tuple(shards),
            left_out=dict(sieve.left_out),
            stayed=dict(sieve.stayed),
            doubles=sieve.doubles,
            undrawn=sieve.n_kept - sum(shard.rows for shard in shards),
            transductive=transductive,
            limit=limit,
            seed=seed,
            content_hash=content_hash,
            source_hash=source.hexdigest(),
        )
        _write_record(pool)
    except OSError as error:
        raise RunError(f"{folder}: a pool cannot be written: {error}") from None
    return pool


def read_pool(folder: Path) -> Pool | None:
    """The pool in a folder; None where there is none, or one that was not finished.

    Raises:
        DataError: its record cannot be read.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("version") != _VERSION:
            raise ValueError("of another version")
        files = tuple(Shard(**shard) for shard in record.pop("files"))
        return Pool(folder=folder, files=files, **record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"not a pool's record ({error!r}); delete {folder} to make the pool again"
        raise DataError(message, file=str(path)) from None


def source_hash(rows: Iterable[Example]) -> str:
    """16 hex digits that change with any row of a stream and their order; reads it, holds none."""
    source = _Hashed(rows)
    for _ in source:
        pass
    return source.hexdigest()


class _Hashed:
    """Passes rows on, and has the hash of those that were."""

    def __init__(self, rows: Iterable[Example]):
        self._rows, self._hash = rows, hashlib.sha256()

    def __iter__(self) -> Iterator[Example]:
        for row in self._rows:
            self._hash.update(_line(row))
            yield row

    def hexdigest(self) -> str:
        return self._hash.hexdigest()[:16]


def _drawn(n_rows: int, limit: int | None, seed: int) -> frozenset[int] | None:
    """The places of `permutation(n_rows, seed)[:limit]`; None for all."""
    if limit is None or limit >= n_rows:
        return None
    return frozenset(draw(range(n_rows), limit, seed))


def _write_shards(
    folder: Path, lines: IO[bytes], drawn: frozenset[int] | None, shard_rows: int
) -> tuple[list[Shard], str]:
    """Copy the drawn lines into shards; the shards, and the hash of all of them."""
    shards: list[Shard] = []
    whole = hashlib.sha256()
    kept = (line for place, line in enumerate(lines) if drawn is None or place in drawn)
    numbered = groupby(enumerate(kept), key=lambda pair: pair[0] // shard_rows)
    for number, group in numbered:
        digest, rows, name = hashlib.sha256(), 0, f"rows-{number:05d}.jsonl"
        with (folder / name).open("wb") as file:
            for _, line in group:
                file.write(line)
                digest.update(line)
                whole.update(line)
                rows += 1
        shards.append(Shard(name, rows, digest.hexdigest()))
    return shards, whole.hexdigest()[:16]


def _clear(folder: Path) -> None:
    """Take away a pool, its record first, or what an interrupted one has left."""
    (folder / RECORD).unlink(missing_ok=True)
    for path in (folder / _SPILL, *folder.glob("rows-*.jsonl")):
        path.unlink(missing_ok=True)


def _write_record(pool: Pool) -> None:
    record = {"version": _VERSION, **asdict(pool)}
    del record["folder"]
    text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
    partial = pool.folder / f".{RECORD}.partial"
    with contextlib.ExitStack() as stack:
        stack.callback(partial.unlink, missing_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, pool.folder / RECORD)


def _line(row: Example) -> bytes:
    cells: dict[str, Any] = {"id": row.id, "fields": dict(row.fields)}
    if row.candidates is not None:
        cells["candidates"] = row.candidates
    if row.group is not None:
        cells["group"] = row.group
    text = json.dumps(cells, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _example(line: bytes) -> Example:
    cells = json.loads(line.decode("utf-8", "surrogatepass"))
    fields = {k: v if isinstance(v, str) else tuple(v) for k, v in cells["fields"].items()}
    own = cells.get("candidates")
    return Example(
        cells["id"], fields, None, None if own is None else tuple(own), cells.get("group")
    )
