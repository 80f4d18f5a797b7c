"""From a rendered example to what a network is asked: ids with learned rows among them, and what to
read where.

One family, one rule: a masked model fills mask tokens, a causal model scores the answer and what
follows it, an encoder-decoder answers in its decoder or fills sentinels.
Knows ids only. A negative id −1−r stands for learned row r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from softprompt.errors import TemplateError
from softprompt.text.render import Context, TokenPiece, Tokens
from softprompt.text.spell import Boundary, Rows, StartTokens
from softprompt.text.tokens import Family, Tokenizer

Words = tuple[tuple[int, ...], ...]
"""A candidate as token ids: one tuple for each answer slot."""


@dataclass(frozen=True)
class Read:
    """Add up log p(tokens[i] at positions[i]) for one candidate.

    Positions count in `Query.ids`, or in `Query.decoder` where there is one.
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
class Frame:
    """The special tokens of a family: around the main sequence, and what a decoder begins with."""

    family: Family
    tokenizer: Tokenizer
    decoder_start: tuple[int, ...] = ()
    decoder_end: tuple[int, ...] = ()
    sentinel_answers: bool = False


def special_count(pieces: Sequence[TokenPiece], frame: Frame) -> int:
    """How many special tokens the main sequence gets."""
    boundaries = sum(isinstance(p, Boundary) for p in pieces)
    tokenizer = frame.tokenizer
    end = () if frame.family == "causal" else tokenizer.end
    return len(tokenizer.start) + boundaries * len(tokenizer.between) + len(end)


def lay_out(
    main: Sequence[TokenPiece],
    decoder: Sequence[TokenPiece] | None,
    candidates: Sequence[Words],
    frame: Frame,
    *,
    final: bool = False,
) -> tuple[Query, ...]:
    """The queries that score every candidate once.

    Args:
        main: token pieces of the main sequence.
        decoder: token pieces of the decoder's, or None.
        candidates: ids for each answer slot.
        final: end a causal answer with the end token (free text).
    """
    if frame.family == "masked":
        return _masked(main, candidates, frame)
    if frame.family == "causal":
        return _causal(main, candidates, frame, final)
    return _encoder_decoder(main, decoder, candidates, frame)


def source_ids(
    main: Sequence[TokenPiece], decoder: Sequence[TokenPiece] | None, frame: Frame
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """What a generator continues: main ids, their segments, and the decoder's beginning."""
    if frame.family == "encoder_decoder":
        ids, segments, _ = _sequence(main, (), frame, _sentinel_fill(main, frame))
        start = frame.decoder_start + _sentinel(frame, 0)
        begun, _, _ = _sequence(_before_slot(decoder or ()), (), frame, {}, bare=True)
        return ids, segments, start + begun
    ids, segments, _ = _sequence(_before_slot(main), (), frame, {})
    return ids, segments, ()


def _masked(
    main: Sequence[TokenPiece], candidates: Sequence[Words], frame: Frame
) -> tuple[Query, ...]:
    """Candidates of the same lengths share one row: each slot holds as many masks as tokens."""
    mask = frame.tokenizer.mask
    if mask is None:
        raise TemplateError("the tokenizer has no mask token, expected one for a masked backbone")
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, words in enumerate(candidates):
        groups.setdefault(tuple(len(word) for word in words), []).append(number)
    queries = []
    for lengths, members in groups.items():
        fill = {slot: (mask,) * length for slot, length in enumerate(lengths)}
        ids, segments, places = _sequence(main, (), frame, fill)
        where = tuple(p for slot in range(len(lengths)) for p in places[slot])
        reads = tuple(Read(n, where, tuple(t for w in candidates[n] for t in w)) for n in members)
        queries.append(Query(ids, segments, reads))
    return tuple(queries)


def _causal(
    main: Sequence[TokenPiece], candidates: Sequence[Words], frame: Frame, final: bool
) -> tuple[Query, ...]:
    """Every token from the first slot on is read; candidates with a common stem share a row."""
    end = frame.decoder_end if final else ()
    filled = []
    for words in candidates:
        fill = dict(enumerate(words))
        ids, segments, places = _sequence(main, end, frame, fill)
        filled.append((ids, segments, places[0][0]))
    if filled and filled[0][2] == 0:
        raise TemplateError(
            "nothing stands before the answer slot and this tokenizer has no start token: a causal "
            "backbone needs text or learned rows before {mask}"
        )
    return _share_stems(filled)


def _share_stems(
    filled: Sequence[tuple[tuple[int, ...], tuple[int, ...], int]],
) -> tuple[Query, ...]:
    """One row for all candidates that differ in nothing but their last token."""
    stems: dict[tuple[int, ...], list[Read]] = {}
    segments_of: dict[tuple[int, ...], tuple[int, ...]] = {}
    for number, (ids, segments, first) in enumerate(filled):
        stem = ids[:-1]
        positions = tuple(range(first - 1, len(stem)))
        stems.setdefault(stem, []).append(Read(number, positions, ids[first:]))
        segments_of[stem] = segments[:-1]
    return tuple(Query(stem, segments_of[stem], tuple(reads)) for stem, reads in stems.items())


def _encoder_decoder(
    main: Sequence[TokenPiece],
    decoder: Sequence[TokenPiece] | None,
    candidates: Sequence[Words],
    frame: Frame,
) -> tuple[Query, ...]:
    in_text = _slots(main)
    if in_text and not frame.tokenizer.sentinels:
        if frame.tokenizer.mask is None or not frame.tokenizer.start:
            raise TemplateError(
                "this encoder-decoder has no sentinels and was not taught to fill a mask: leave "
                "{mask} out, or put it after {decoder}"
            )
        return _reconstruct(main, candidates, frame)
    ids, segments, _ = _sequence(main, (), frame, _sentinel_fill(main, frame))
    filled = []
    for words in candidates:
        head = frame.decoder_start
        if in_text:
            answer: list[int] = []
            for slot, word in enumerate(words):
                answer += [*_nth_sentinel(frame, slot), *word]
            row = (*head, *answer, *_nth_sentinel(frame, len(words)))
            first = len(head) + 1
        else:
            head = head + _sentinel(frame, 0)
            body, _, places = _sequence(
                decoder or (Context(0, "", "", False),), (), frame, dict(enumerate(words)), bare=True
            )
            row = (*head, *body, *frame.decoder_end)
            first = len(head) + places[0][0]
        filled.append((row, (0,) * len(row), first))
    return tuple(Query(ids, segments, q.reads, q.ids) for q in _share_stems(filled))


def _reconstruct(
    main: Sequence[TokenPiece], candidates: Sequence[Words], frame: Frame
) -> tuple[Query, ...]:
    """BART: the encoder reads the text with a mask, the decoder writes the text with the answer."""
    mask = frame.tokenizer.mask
    assert mask is not None
    slots = range(len(_slots(main)))
    ids, segments, _ = _sequence(main, (), frame, {slot: (mask,) for slot in slots})
    text = tuple(p for p in main if not isinstance(p, Rows))
    filled = []
    for words in candidates:
        body, _, places = _sequence(text, (), frame, dict(enumerate(words)), bare=True)
        row = (*frame.decoder_start, *body, *frame.decoder_end)
        filled.append((row, (0,) * len(row), len(frame.decoder_start) + places[0][0]))
    return tuple(Query(ids, segments, q.reads, q.ids) for q in _share_stems(filled))


def _sequence(
    pieces: Sequence[TokenPiece],
    tail: tuple[int, ...],
    frame: Frame,
    fill: dict[int, tuple[int, ...]],
    *,
    bare: bool = False,
) -> tuple[tuple[int, ...], tuple[int, ...], dict[int, tuple[int, ...]]]:
    """Ids, segments, and the places of each slot's tokens.

    Args:
        tail: ids after everything.
        fill: ids for each slot; a slot without an entry is left out.
        bare: without start, boundary and end tokens (a decoder's sequence).
    """
    tokenizer = frame.tokenizer
    ids: list[int] = []
    segments: list[int] = []
    places: dict[int, tuple[int, ...]] = {}
    segment = 0
    start = () if bare else tokenizer.start
    if not any(isinstance(piece, StartTokens) for piece in pieces):
        ids += start
        segments += [segment] * len(start)
    for piece in pieces:
        added: Sequence[int] = ()
        following = segment
        if isinstance(piece, Tokens):
            added = piece.ids
        elif isinstance(piece, Rows):
            added = [-1 - row for row in range(piece.first, piece.first + piece.count)]
        elif isinstance(piece, Context):
            added = fill.get(piece.number, ())
            places[piece.number] = tuple(range(len(ids), len(ids) + len(added)))
        elif isinstance(piece, StartTokens):
            added = start
        elif isinstance(piece, Boundary) and not bare:
            added, following = tokenizer.between, segment + 1
        ids += added
        segments += [segment] * len(added)
        segment = following
    end = () if bare or frame.family == "causal" else tokenizer.end
    for extra in (end, tail):
        ids += extra
        segments += [segment] * len(extra)
    return tuple(ids), tuple(segments), places


def _slots(pieces: Sequence[TokenPiece]) -> list[int]:
    return [piece.number for piece in pieces if isinstance(piece, Context)]


def _before_slot(pieces: Sequence[TokenPiece]) -> tuple[TokenPiece, ...]:
    kept: list[TokenPiece] = []
    for piece in pieces:
        if isinstance(piece, Context):
            break
        kept.append(piece)
    return tuple(kept)


def _sentinel_fill(pieces: Sequence[TokenPiece], frame: Frame) -> dict[int, tuple[int, ...]]:
    return {slot: _nth_sentinel(frame, slot) for slot in _slots(pieces)}


def _nth_sentinel(frame: Frame, number: int) -> tuple[int, ...]:
    sentinels = frame.tokenizer.sentinels
    if number >= len(sentinels):
        raise TemplateError(
            f"{number + 1} sentinels needed, the tokenizer has {len(sentinels)}"
        )
    return (sentinels[number],)


def _sentinel(frame: Frame, number: int) -> tuple[int, ...]:
    """The sentinel before an answer that stands in the decoder alone (Lester et al., section 3.2)."""
    return _nth_sentinel(frame, number) if frame.sentinel_answers else ()
