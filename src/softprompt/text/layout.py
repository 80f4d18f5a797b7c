"""From a rendered example to what a network is asked: ids, learned rows among them, what to read where.

One family, one rule: a masked model fills mask tokens, a causal model scores the answer and what
follows it, an encoder-decoder answers in its decoder or fills sentinels. Knows ids only. A negative
id −1−r stands for learned row r.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from softprompt.errors import TemplateError
from softprompt.text.query import Query, Read, Source, Words
from softprompt.text.render import Context, TokenPiece
from softprompt.text.spell import Rows, StartTokens
from softprompt.text.tokens import Encoding, Family, Tokenizer

Masks = Literal["own", "longest"]
"""Masks in a masked model's slot: as many as the candidate in it has tokens, or as the longest one has
(Schick & Schütze 2020, arXiv 2009.07118, section 3.1: one row for all candidates, in training)."""

BARE_SLOT = Context(0, "", "", False)
"""The slot of an encoder-decoder whose template leaves it out: the whole decoder."""


@dataclass(frozen=True)
class Frame:
    """The special tokens of a family: around the main sequence, and what a decoder begins with.

    Args:
        family: decides the layout.
        tokenizer: its start, end and boundary tokens.
        decoder_start: ids before a decoder's text.
        decoder_end: ids that end an answer: always in a decoder, on a causal model for free text.
        sentinel_answers: a decoder's answer stands behind the first sentinel (Lester et al.,
            section 3.2: T5 without LM adaptation).
    """

    family: Family
    tokenizer: Tokenizer
    decoder_start: tuple[int, ...] = ()
    decoder_end: tuple[int, ...] = ()
    sentinel_answers: bool = False

    @property
    def has_pairs(self) -> bool:
        """Whether `{sep}` is the tokenizer's own boundary."""
        return self.family == "masked" and bool(self.tokenizer.between)

    @property
    def reconstructs(self) -> bool:
        """Whether a slot in the text makes the decoder write the whole text (BART, mBART)."""
        return self.family == "encoder_decoder" and not self.tokenizer.sentinels


@dataclass(frozen=True)
class _Line:
    """A laid out sequence; `places` are each slot's positions."""

    ids: tuple[int, ...]
    segments: tuple[int, ...]
    places: Mapping[int, range]


def lay_out(
    main: Sequence[TokenPiece],
    decoder: Sequence[TokenPiece] | None,
    candidates: Sequence[Words],
    frame: Frame,
    *,
    final: bool = False,
    masks: Masks = "own",
) -> tuple[Query, ...]:
    """The queries that score every candidate once.

    Args:
        main: token pieces of the main sequence.
        decoder: token pieces of the decoder's, or None.
        candidates: ids for each answer slot.
        final: end a causal answer with the end token (free text).
        masks: in a masked model's slots; other families have none.
    """
    if frame.family == "masked":
        return _masked(main, candidates, frame, masks)
    if frame.family == "causal":
        return _causal(main, candidates, frame, final)
    if not _slots(main):
        return _in_decoder(main, decoder or (BARE_SLOT,), candidates, frame)
    return (_reconstructed if frame.reconstructs else _sentinels)(main, candidates, frame)


def continuation(
    main: Sequence[TokenPiece], decoder: Sequence[TokenPiece] | None, frame: Frame
) -> Source:
    """What a generator continues for an example."""
    if frame.family == "causal":
        line = _line(_before_slot(main), frame, {})
        return Source(line.ids, line.segments, ())
    line = _line(main, frame, _one_each(main, frame))
    closing = None
    if not _slots(main):
        start = frame.decoder_start + _answer_mark(frame)
        begun = _before_slot(decoder or ())
    elif frame.reconstructs:
        start, begun = frame.decoder_start, _before_slot(_text_only(main))
    else:
        start, begun = (*frame.decoder_start, _sentinel(frame, 0)), ()
        closing = _sentinel(frame, len(_slots(main)))
    opened = start + _line(begun, frame, {}, bare=True).ids
    return Source(line.ids, line.segments, opened, closing)


def check_frame(main_slots: int, frame: Frame) -> None:
    """Refuse slots in the text, or sentinels, that a tokenizer has no tokens for.

    Raises:
        TemplateError: no mask token, too few sentinels.
    """
    tokenizer = frame.tokenizer
    if frame.family == "masked" and tokenizer.mask is None:
        raise TemplateError("the tokenizer has no mask token, expected one for a masked backbone")
    if frame.family != "encoder_decoder":
        return
    if frame.sentinel_answers:
        _sentinel(frame, 0)
    if not main_slots:
        return
    if not frame.reconstructs:
        _sentinel(frame, main_slots)
    elif tokenizer.mask is None or not tokenizer.start:
        raise TemplateError(
            "this encoder-decoder has no sentinels and was not taught to fill a mask: leave "
            "{mask} out, or put it after {decoder}"
        )


def _masked(
    main: Sequence[TokenPiece], candidates: Sequence[Words], frame: Frame, masks: Masks
) -> tuple[Query, ...]:
    """Candidates of the same lengths share one row: each slot holds as many masks as tokens. With the
    longest one's masks all share one row, and a shorter one reads the first of them."""
    mask = frame.tokenizer.mask
    assert mask is not None
    sizes = [tuple(len(word) for word in words) for words in candidates]
    if masks == "longest" and sizes:
        sizes = [tuple(map(max, zip(*sizes, strict=True)))] * len(sizes)
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, lengths in enumerate(sizes):
        groups.setdefault(lengths, []).append(number)
    queries = []
    for lengths, members in groups.items():
        line = _line(main, frame, {slot: (mask,) * n for slot, n in enumerate(lengths)})
        reads = tuple(_filling(number, candidates[number], line) for number in members)
        queries.append(Query(line.ids, line.segments, reads))
    return tuple(queries)


def _filling(number: int, words: Words, line: _Line) -> Read:
    """Each token of a candidate at the mask that it would stand for."""
    where = (p for slot, word in enumerate(words) for p in line.places[slot][: len(word)])
    return Read(number, tuple(where), tuple(token for word in words for token in word))


def _causal(
    main: Sequence[TokenPiece], candidates: Sequence[Words], frame: Frame, final: bool
) -> tuple[Query, ...]:
    """Every token from the first slot on is read; candidates with a common stem share a row."""
    tail = frame.decoder_end if final else ()
    lines = _lines(main, frame, candidates, tail)
    if lines and lines[0].places[0].start == 0:
        raise TemplateError(
            "nothing stands before the answer slot and this tokenizer has no start token: a causal "
            "backbone needs text or learned rows before {mask}"
        )
    return _stems(lines)


def _in_decoder(
    main: Sequence[TokenPiece],
    decoder: Sequence[TokenPiece],
    candidates: Sequence[Words],
    frame: Frame,
) -> tuple[Query, ...]:
    """T5's text to text: the encoder reads the text, the decoder answers and ends."""
    start = frame.decoder_start + _answer_mark(frame)
    answers = _lines(decoder, frame, candidates, frame.decoder_end, start, bare=True)
    return _decoded(_line(main, frame, {}), answers)


def _sentinels(
    main: Sequence[TokenPiece], candidates: Sequence[Words], frame: Frame
) -> tuple[Query, ...]:
    """T5's span corruption: a sentinel for each slot; the decoder gives what each stands for.

    The first sentinel is given, those between and after the answers are read: the last one is what
    ends the answer.
    """
    lines = []
    for words in candidates:
        pieces: list[TokenPiece] = []
        for slot in range(len(words)):
            mark = () if slot == 0 else (_sentinel(frame, slot),)
            pieces += [Encoding(mark, ()), Context(slot, "", "", True)]
        start = (*frame.decoder_start, _sentinel(frame, 0))
        end = (_sentinel(frame, len(words)),)
        lines.append(_line(pieces, frame, dict(enumerate(words)), end, start, bare=True))
    return _decoded(_line(main, frame, _one_each(main, frame)), lines)


def _reconstructed(
    main: Sequence[TokenPiece], candidates: Sequence[Words], frame: Frame
) -> tuple[Query, ...]:
    """BART: the encoder reads the text with a mask, the decoder writes the text with the answer."""
    start, end, text = frame.decoder_start, frame.decoder_end, _text_only(main)
    answers = _lines(text, frame, candidates, end, start, bare=True)
    return _decoded(_line(main, frame, _one_each(main, frame)), answers)


def _decoded(main: _Line, decoders: Sequence[_Line]) -> tuple[Query, ...]:
    return tuple(Query(main.ids, main.segments, q.reads, q.ids) for q in _stems(decoders))


def _stems(lines: Sequence[_Line]) -> tuple[Query, ...]:
    """One row for all candidates that differ in nothing but their last token.

    Read is every token from the first slot on; learned rows are no tokens, and rows at the very end
    have nobody to see them.
    """
    reads: dict[tuple[int, ...], list[Read]] = {}
    segments: dict[tuple[int, ...], tuple[int, ...]] = {}
    for number, line in enumerate(lines):
        every = range(line.places[0].start, len(line.ids))
        places = [place for place in every if line.ids[place] >= 0]
        stem = line.ids[: places[-1]] if places else line.ids
        read = Read(number, tuple(p - 1 for p in places), tuple(line.ids[p] for p in places))
        reads.setdefault(stem, []).append(read)
        segments[stem] = line.segments[: len(stem)]
    return tuple(Query(stem, segments[stem], tuple(found)) for stem, found in reads.items())


def _lines(
    pieces: Sequence[TokenPiece],
    frame: Frame,
    candidates: Sequence[Words],
    tail: tuple[int, ...] = (),
    head: tuple[int, ...] = (),
    *,
    bare: bool = False,
) -> list[_Line]:
    """Lay pieces out for each candidate: once, with one id in each slot, and cut open there."""
    stand_in = {slot: (0,) for words in candidates[:1] for slot in range(len(words))}
    base = _line(pieces, frame, stand_in, tail, head, bare=bare)
    cuts = sorted((place.start, slot) for slot, place in base.places.items() if place)
    lines = []
    for words in candidates:
        ids: tuple[int, ...] = ()
        segments: tuple[int, ...] = ()
        places = {slot: range(0) for slot in base.places}
        done = 0
        for cut, slot in cuts:
            ids += base.ids[done:cut]
            places[slot] = range(len(ids), len(ids) + len(words[slot]))
            ids += words[slot]
            segments += base.segments[done:cut] + base.segments[cut : cut + 1] * len(words[slot])
            done = cut + 1
        lines.append(_Line(ids + base.ids[done:], segments + base.segments[done:], places))
    return lines


def _line(
    pieces: Sequence[TokenPiece],
    frame: Frame,
    fill: Mapping[int, tuple[int, ...]],
    tail: tuple[int, ...] = (),
    head: tuple[int, ...] = (),
    *,
    bare: bool = False,
) -> _Line:
    """Lay pieces out.

    Args:
        fill: ids for each slot; a slot without an entry is left out.
        tail: ids after everything.
        head: ids before everything.
        bare: without start, boundary and end tokens (a decoder's sequence).
    """
    tokenizer = frame.tokenizer
    start = () if bare else tokenizer.start
    end = () if bare or frame.family == "causal" else tokenizer.end
    placed = any(isinstance(piece, StartTokens) for piece in pieces)
    ids = [*head, *(() if placed else start)]
    segments: list[int] = []
    places: dict[int, range] = {}
    segment = 0
    for piece in pieces:
        if isinstance(piece, Encoding):
            ids += piece.ids
        elif isinstance(piece, Rows):
            ids += range(-1 - piece.first, -1 - piece.first - piece.count, -1)
        elif isinstance(piece, Context):
            begin = len(ids)
            ids += fill.get(piece.number, ())
            places[piece.number] = range(begin, len(ids))
        elif isinstance(piece, StartTokens):
            ids += start
        elif not bare:
            ids += tokenizer.between
            segments += [segment] * (len(ids) - len(segments))
            segment += 1
    ids += end
    ids += tail
    segments += [segment] * (len(ids) - len(segments))
    return _Line(tuple(ids), tuple(segments), places)


def _slots(pieces: Sequence[TokenPiece]) -> list[int]:
    return [piece.number for piece in pieces if isinstance(piece, Context)]


def _before_slot(pieces: Sequence[TokenPiece]) -> Sequence[TokenPiece]:
    at = (n for n, piece in enumerate(pieces) if isinstance(piece, Context))
    return pieces[: next(at, len(pieces))]


def _text_only(pieces: Sequence[TokenPiece]) -> tuple[TokenPiece, ...]:
    return tuple(piece for piece in pieces if not isinstance(piece, Rows))


def _one_each(pieces: Sequence[TokenPiece], frame: Frame) -> dict[int, tuple[int, ...]]:
    """What an encoder reads in the slots: sentinels in their order, or a mask in each."""
    mask = frame.tokenizer.mask
    if frame.reconstructs and mask is not None:
        return dict.fromkeys(_slots(pieces), (mask,))
    return {slot: (_sentinel(frame, slot),) for slot in _slots(pieces)}


def _answer_mark(frame: Frame) -> tuple[int, ...]:
    return (_sentinel(frame, 0),) if frame.sentinel_answers else ()


def _sentinel(frame: Frame, number: int) -> int:
    sentinels = frame.tokenizer.sentinels
    if number >= len(sentinels):
        raise TemplateError(
            f"expected a tokenizer with {number + 1} sentinels (<extra_id_0>, …), found "
            f"{len(sentinels)}"
        )
    return sentinels[number]
