"""An example as the model sees it: pieces, ids, learned rows marked [P1]…, and where it is read.

Turns queries into rows to print; prints nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from softprompt.inference.applied import Applied
from softprompt.text.query import Query, Source
from softprompt.text.tokens import Tokenizer


@dataclass(frozen=True)
class Position:
    """One position of a sequence.

    Args:
        piece: the tokenizer's piece, or [P3] for the third learned row.
        id: the token id; None for a learned row.
        reads: the pieces whose probability is read at this position, in the candidates' order.
    """

    piece: str
    id: int | None
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueryView:
    """A query, position by position; the decoder's apart, for an encoder-decoder."""

    main: tuple[Position, ...]
    decoder: tuple[Position, ...] = ()

    def line(self) -> str:
        """All pieces of the main sequence in one line, long runs of learned rows shortened."""
        return _line(self.main)

    def decoder_line(self) -> str:
        """The same of the decoder's; empty without one."""
        return _line(self.decoder)


def _line(positions: Sequence[Position]) -> str:
    pieces = [position.piece for position in positions]
    learned = [n for n, position in enumerate(positions) if position.id is None]
    if len(learned) > 6 and learned == list(range(learned[0], learned[-1] + 1)):
        pieces[learned[2] : learned[-1]] = ["…"]
    return " ".join(pieces)


def view_source(applied: Applied, source: Source) -> QueryView:
    """What a generator goes on from; read is what comes next."""
    tokenizer = applied.renderer.frame.tokenizer
    return QueryView(
        _positions(tokenizer, source.ids, {}), _positions(tokenizer, source.decoder, {})
    )


def view_queries(applied: Applied, queries: Sequence[Query]) -> list[QueryView]:
    """What each query of a rendering holds and where it is read."""
    tokenizer = applied.renderer.frame.tokenizer
    views = []
    for query in queries:
        read: dict[int, list[str]] = {}
        for one in query.reads:
            for place, piece in zip(one.positions, _read_pieces(applied, one.tokens), strict=True):
                known = read.setdefault(place, [])
                known += [piece] if piece not in known else []
        if query.decoder is None:
            views.append(QueryView(_positions(tokenizer, query.ids, read)))
        else:
            main = _positions(tokenizer, query.ids, {})
            views.append(QueryView(main, _positions(tokenizer, query.decoder, read)))
    return views


def _read_pieces(applied: Applied, tokens: Sequence[int]) -> tuple[str, ...]:
    """What is read, in words: pieces, or the label of a class vector."""
    if any(token < 0 for token in tokens):
        labels = applied.answers.labels(None)
        return tuple(f"class {labels[-1 - token]}" for token in tokens)
    return tuple(applied.renderer.frame.tokenizer.pieces(tuple(tokens)))


def _positions(
    tokenizer: Tokenizer, ids: Sequence[int], read: dict[int, list[str]]
) -> tuple[Position, ...]:
    pieces = tokenizer.pieces(tuple(max(0, number) for number in ids))
    return tuple(
        Position(
            piece=f"[P{-number}]" if number < 0 else piece,  # −1−r is row r; people count from 1
            id=None if number < 0 else number,
            reads=tuple(read.get(place, ())),
        )
        for place, (number, piece) in enumerate(zip(ids, pieces, strict=True))
    )
