"""From text files to blocks of token ids: reading, tokenising once, mixing by rate.

A corpus file is UTF-8 text, one paragraph a line, a blank line between documents, plain or
compressed (.txt, .txt.xz, .txt.gz). It is tokenised once into a flat array beside a key of its
content; which blocks form an epoch depends on the seed and the rates alone.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from softprompt.errors import DataError

ENDINGS = (".txt", ".txt.xz", ".txt.gz")
_OPENERS: Mapping[str, Any] = MappingProxyType({".xz": lzma.open, ".gz": gzip.open, ".txt": open})


@dataclass(frozen=True)
class Source:
    """One corpus file and how often it is drawn.

    Args:
        path: the file.
        rate: passes over this file in one pass over the mixture (0.5: half of it, 3: three times).
        language: what the validation loss is grouped by.
    """

    path: Path
    rate: float = 1.0
    language: str = "en"

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return name_of(self.path)

    @cached_property
    def digest(self) -> str:
        """Hash of the file's bytes."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def name_of(path: Path) -> str:
    """A corpus file's name without its ending."""
    return next((path.name.removesuffix(e) for e in ENDINGS if path.name.endswith(e)), path.name)


def corpus_files(folder: Path) -> dict[str, Path]:
    """The corpus files of a folder by name, sorted.

    Raises:
        DataError: there are none, or two that differ in their ending only.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        if not path.name.endswith(ENDINGS):
            continue
        if name_of(path) in found:
            raise DataError(
                f"two files with one name, {found[name_of(path)].name} and {path.name}; rename one",
                str(folder),
            )
        found[name_of(path)] = path
    if not found:
        raise DataError("no corpus here: expected .txt, .txt.xz or .txt.gz files", str(folder))
    return found


def read_documents(path: Path) -> Iterator[str]:
    """Yield documents (paragraphs joined by a newline), reading the file as a stream.

    Raises:
        DataError: no such file, not UTF-8, or a damaged archive.
    """
    opener = _OPENERS.get(path.suffix)
    if opener is None:
        raise DataError("unknown ending, expected .txt, .txt.xz or .txt.gz", str(path))
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            yield from _documents(stream)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 ({error.reason}); convert it first", str(path)) from error
    except FileNotFoundError as error:
        raise DataError("no such file", str(path)) from error
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"cannot be read ({error}); is it whole?", str(path)) from error


def _documents(stream: IO[str]) -> Iterator[str]:
    paragraphs: list[str] = []
    for line in stream:
        text = line.strip()
        if text:
            paragraphs.append(text)
        elif paragraphs:
            yield "\n".join(paragraphs)
            paragraphs = []
    if paragraphs:
        yield "\n".join(paragraphs)


@dataclass(frozen=True)
class TokenFile:
    """A source as token ids: one flat array, documents joined by the separator token."""

    source: Source
    ids: NDArray[np.uint16] | NDArray[np.uint32]

    def n_blocks(self, length: int) -> int:
        return len(self.ids) // length

    def block(self, index: int, length: int) -> NDArray[np.int64]:
        """Block `index` of `length` tokens, `[length]`."""
        return self.ids[index * length : (index + 1) * length].astype(np.int64)


def tokenise_source(source: Source, tokenizer: Any, cache: Path, separator: int) -> TokenFile:
    """Tokenise a source, or read it back: the cache's key is the file's and tokenizer's content.

    Args:
        source: which file.
        tokenizer: a `tokenizers.Tokenizer`.
        cache: folder for the arrays.
        separator: id put after each document.
    Raises:
        DataError: a file without text, or one that cannot be read.
    """
    key = hashlib.sha256(f"{tokenizer.to_str()}{separator}{source.digest}".encode())
    target = cache / f"{source.name}-{key.hexdigest()[:16]}.npy"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pieces: list[NDArray[np.uint32]] = []
        for group in _groups(read_documents(source.path), 512):
            for encoding in tokenizer.encode_batch_fast(group, add_special_tokens=False):
                pieces.append(np.asarray([*encoding.ids, separator], dtype=np.uint32))
        if not pieces:
            raise DataError("holds no text", str(source.path))
        ids = np.concatenate(pieces)
        narrow = ids.astype(np.uint16) if tokenizer.get_vocab_size() < 2**16 else ids
        partial = target.with_suffix(".partial.npy")
        np.save(partial, narrow)
        partial.rename(target)
    return TokenFile(source, np.load(target, mmap_mode="r"))


def _groups(documents: Iterator[str], size: int) -> Iterator[list[str]]:
    group: list[str] = []
    for document in documents:
        group.append(document)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


class Mixture:
    """Blocks of several token files, mixed by rate, in an order set by the seed alone.

    The last `held_out` blocks of each file are never trained on: they are the validation set.
    """

    def __init__(self, files: Sequence[TokenFile], length: int, held_out: int, seed: int):
        self.files, self.length, self.held_out, self.seed = list(files), length, held_out, seed
        self._epoch, self._order = -1, np.empty((0, 2), dtype=np.int64)
        short = [f.source.name for f in files if f.n_blocks(length) <= 2 * held_out]
        if short:
            raise DataError(
                f"too short for a validation set of {held_out} blocks of {length} tokens: "
                f"{', '.join(short)}; lower held_out or give more text"
            )
        self.epoch_blocks = len(self._epoch_order(0))

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """(file, block) of every block of an epoch, `[n, 2]`; a function of seed and epoch."""
        if epoch == self._epoch:
            return self._order
        generator = np.random.default_rng([self.seed, epoch])
        parts = []
        for number, file in enumerate(self.files):
            blocks = file.n_blocks(self.length) - self.held_out
            wanted = max(1, round(blocks * file.source.rate))
            rounds = [generator.permutation(blocks) for _ in range(-(-wanted // blocks))]
            chosen = np.concatenate(rounds)[:wanted]
            parts.append(np.stack([np.full(wanted, number), chosen], axis=1))
        order = np.concatenate(parts)
        generator.shuffle(order, axis=0)
        self._epoch, self._order = epoch, order
        return order

    def step(self, step: int, batch_size: int) -> NDArray[np.int64]:
        """The token blocks of a step, `[batch_size, length]`, without replaying earlier ones."""
        first = step * batch_size
        rows = []
        for number in range(first, first + batch_size):
            order = self._epoch_order(number // self.epoch_blocks)
            file, block = order[number % self.epoch_blocks]
            rows.append(self.files[file].block(int(block), self.length))
        return np.stack(rows)

    def validation(self) -> Iterator[tuple[Source, NDArray[np.int64]]]:
        """Each source with its held-out blocks, `[held_out, length]`."""
        for file in self.files:
            last = file.n_blocks(self.length)
            blocks = [file.block(i, self.length) for i in range(last - self.held_out, last)]
            yield file.source, np.stack(blocks)
