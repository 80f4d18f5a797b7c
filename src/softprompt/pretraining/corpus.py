"""From documents to blocks of token ids: tokenised once into flat files, packed, mixed by rate.

A source's documents are joined by the end token into one long row of ids on disk, cut into blocks
without a gap, so that every position of every block holds text. Which blocks form a step depends on
the seed, the rates and the step number alone: nothing has to be replayed to resume.
Knows token ids and files, not where documents come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softprompt.errors import DataError
from softprompt.pretraining.documents import Document

AT_ONCE = 512
"""Documents tokenised together."""


@dataclass(frozen=True)
class Source:
    """One text of the corpus and how often it is drawn.

    Args:
        name: for messages, rates and validation.
        place: the file, or `hub:owner/name`.
        rate: passes over this text in one pass over the mixture (0.5: half of it, 3: three times).
        language: what the validation loss is grouped by.
    """

    name: str
    place: Path | str
    rate: float = 1.0
    language: str = "en"

    @cached_property
    def digest(self) -> str:
        """Hash of the file's bytes; of a hub data set, of its name."""
        if isinstance(self.place, str):
            return hashlib.sha256(self.place.encode()).hexdigest()
        with self.place.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class TokenFile:
    """A source as token ids: one flat array, each document closed by the end token."""

    source: Source
    ids: NDArray[np.uint16] | NDArray[np.uint32]

    def block(self, index: int, length: int) -> NDArray[np.int64]:
        """Block `index` of `length` tokens, `[length]`."""
        return self.ids[index * length : (index + 1) * length].astype(np.int64)


def token_file(source: Source, key: str, cache: Path, size: int) -> tuple[Path, Any]:
    """Where a source's ids lie, and the type they are stored in."""
    kind = np.dtype("<u2") if size <= 2**16 else np.dtype("<u4")
    return cache / f"{source.name}-{key[:16]}.{kind.str[1:]}", kind


def tokenise(
    source: Source, documents: Iterable[Document], tokenizer: Any, end: int, key: str, cache: Path
) -> TokenFile:
    """Tokenise a source, or read it back; the stream is written as it comes, never held.

    Args:
        source: which text.
        documents: its documents; not touched where the ids are there already.
        tokenizer: a `tokenizers.Tokenizer`.
        end: id put after each document.
        key: hash of whatever the ids depend on.
        cache: folder for the arrays.
    Raises:
        DataError: no text.
    """
    target, kind = token_file(source, key, cache, tokenizer.get_vocab_size())
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        with partial.open("wb") as stream:
            for group in batched_documents(documents):
                for encoding in tokenizer.encode_batch_fast(group, add_special_tokens=False):
                    np.asarray([*encoding.ids, end], dtype=kind).tofile(stream)
        if not partial.stat().st_size:
            raise DataError("holds no text", str(source.place))
        partial.rename(target)
    return TokenFile(source, np.memmap(target, dtype=kind, mode="r"))


def batched_documents(documents: Iterable[Document]) -> Iterator[list[str]]:
    """Groups of documents, each as one text with a line per paragraph."""
    texts = ("\n".join(document) for document in documents)
    while group := [text for _, text in zip(range(AT_ONCE), texts, strict=False)]:
        yield group


class Mixture:
    """Blocks of several token files, mixed by rate, in an order set by the seed alone.

    Args:
        files: the sources as ids.
        length: tokens per block.
        held_out: tokens at each file's end that are never trained on: the validation set.
        seed: of the order.
    Raises:
        DataError: a file so short that the held-out part would be half of it.
    """

    def __init__(self, files: Sequence[TokenFile], length: int, held_out: int, seed: int):
        self.files, self.length, self.held_out, self.seed = list(files), length, held_out, seed
        self._held: tuple[int, NDArray[np.int64]] = (-1, np.empty((0, 2), dtype=np.int64))
        short = [f.source.name for f in files if len(f.ids) < 2 * held_out + length]
        if short:
            raise DataError(
                f"too short for a validation set of {held_out:,} tokens: {', '.join(short)}; "
                "lower held_out or give more text"
            )
        self.epoch_blocks = len(self._epoch_order(0))

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """(file, block) of every block of an epoch, `[n, 2]`; a function of seed and epoch."""
        held, order = self._held  # read and written as one: two threads may ask for blocks
        if epoch == held:
            return order
        generator = np.random.default_rng([self.seed, epoch])
        parts = []
        for number, file in enumerate(self.files):
            blocks = (len(file.ids) - self.held_out) // self.length
            wanted = max(1, round(blocks * file.source.rate))
            rounds = [generator.permutation(blocks) for _ in range(-(-wanted // blocks))]
            chosen = np.concatenate(rounds)[:wanted]
            parts.append(np.stack([np.full(wanted, number), chosen], axis=1))
        order = np.concatenate(parts)
        generator.shuffle(order, axis=0)
        self._held = epoch, order
        return order

    def rows(self, first: int, count: int) -> NDArray[np.int64]:
        """Blocks number `first` to `first + count`, `[count, length]`, without replaying others."""
        rows = [np.empty((0, self.length), dtype=np.int64)]
        for number in range(first, first + count):
            order = self._epoch_order(number // self.epoch_blocks)
            file, block = order[number % self.epoch_blocks]
            rows.append(self.files[file].block(int(block), self.length)[None])
        return np.concatenate(rows)

    def validation(self) -> Iterator[tuple[Source, NDArray[np.int64]]]:
        """Each source with its held-out blocks, `[n, length]`."""
        for file in self.files:
            tail = np.asarray(file.ids[len(file.ids) - self.held_out :], dtype=np.int64)
            whole = len(tail) // self.length * self.length
            yield file.source, tail[:whole].reshape(-1, self.length)
