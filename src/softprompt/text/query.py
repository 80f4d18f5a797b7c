"""What a network is asked about an example: rows of ids, and what is read off them.

Data only: `layout.py` makes them, `inference/` runs them. A negative id −1−r stands for learned row r.
"""

from __future__ import annotations

from dataclasses import dataclass

Words = tuple[tuple[int, ...], ...]
"""A candidate as token ids: one tuple for each answer slot."""


@dataclass(frozen=True)
class Read:
    """Add up log p(tokens[i] at positions[i]) for one candidate.

    Positions count in `Query.ids`, or in `Query.decoder` where there is one. A negative token −1−c is
    class vector c of the row's own prompt.
    """

    candidate: int
    positions: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Query:
    """One row for the network, and what is read off it.

    Args:
        ids: token ids, and −1−r for learned row r.
        segments: segment id of each.
        reads: what to read, for one or several candidates.
        decoder: the decoder's ids, for an encoder-decoder.
    """

    ids: tuple[int, ...]
    segments: tuple[int, ...]
    reads: tuple[Read, ...]
    decoder: tuple[int, ...] | None = None

    @property
    def length(self) -> int:
        """Positions that the network works through for this row."""
        return len(self.ids) + len(self.decoder or ())


@dataclass(frozen=True)
class Source:
    """What a generator starts from.

    Args:
        ids: the main sequence.
        segments: segment id of each.
        decoder: what the decoder begins with.
        closing: the sentinel that ends the answer, where a decoder fills slots of the text.
        cut: tokens that did not fit and were cut.
        demonstrations: how many of them fitted.
        masks: on a masked backbone, the positions of the masks that the answer is written into.
    """

    ids: tuple[int, ...]
    segments: tuple[int, ...]
    decoder: tuple[int, ...]
    closing: int | None = None
    cut: int = 0
    demonstrations: int = 0
    masks: tuple[int, ...] = ()
