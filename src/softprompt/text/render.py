"""From spelled pieces to token pieces: runs tokenised together, answers in context, truncation.

Rules:
- the first text of a sequence, and the text after a pair boundary, is tokenised as the tokenizer
  itself begins a text; after any other break no space of its own is added;
- answer ids are ids(left context + word) minus ids(left context);
- a field is shortened at its end, where one of its tokens begins, and the run is tokenised again:
  a shortened example is rendered exactly as one that was written shorter.
Knows no family and no special tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from softprompt.text.spell import Boundary, Piece, Rows, Run, Slot, StartTokens
from softprompt.text.tokens import Encoding, Tokenizer

_CONTEXT = 16  # characters; words are shorter, and where there are no spaces no piece is longer


@dataclass(frozen=True)
class Context:
    """An answer slot with what decides how its words are tokenised.

    Args:
        number: which slot of the template.
        left: the end of the text before it, back to the last word or break.
        space: the space that belongs to the answer.
        continues: whether something stands before `left`.
    """

    number: int
    left: str
    space: str
    continues: bool


TokenPiece: TypeAlias = Encoding | Rows | Context | Boundary | StartTokens


@dataclass(frozen=True)
class _Texts:
    """A run that is to be tokenised: its texts, each with whether something stands before it."""

    wanted: tuple[tuple[str, bool], ...]


def tokenise(
    pieces: Sequence[Piece], tokenizer: Tokenizer, *, per_piece: bool = False
) -> tuple[TokenPiece, ...]:
    """Tokenise the runs of one sequence and find each slot's context; one token piece per piece.

    Args:
        pieces: of the main sequence or of the decoder's.
        per_piece: tokenise every span apart, as PET's and LM-BFF's released code does; a space at
            the end of the template's own text then begins the next span.
    """
    return tokenise_many([pieces], tokenizer, per_piece=per_piece)[0]


def tokenise_many(
    sequences: Sequence[Sequence[Piece]], tokenizer: Tokenizer, *, per_piece: bool = False
) -> list[tuple[TokenPiece, ...]]:
    """Each of the sequences as `tokenise` gives it, all their texts tokenised together."""
    planned = [_planned(pieces, per_piece) for pieces in sequences]
    runs = [piece for pieces in planned for piece in pieces if isinstance(piece, _Texts)]
    texts = [text for run in runs for text in run.wanted]
    made = iter(tokenizer.encode_many(texts))
    return [
        tuple(_taken(piece, made) if isinstance(piece, _Texts) else piece for piece in pieces)
        for pieces in planned
    ]


def _planned(pieces: Sequence[Piece], per_piece: bool) -> list[TokenPiece | _Texts]:
    """The token pieces of one sequence, its runs not tokenised yet."""
    done: list[TokenPiece | _Texts] = []
    continues = False  # whether the text goes on here, or begins
    text, text_continues = "", False  # the run right before
    for piece in pieces:
        if isinstance(piece, Run):
            text, text_continues = piece.text, continues
            texts = _parts(piece) if per_piece else [text]
            done.append(_Texts(tuple((t, continues or n > 0) for n, t in enumerate(texts))))
            continues = True
            continue
        if isinstance(piece, Slot):
            if text and not per_piece:
                left = _last_word(text)
                begins = len(left) == len(text) and not text_continues
                done.append(Context(piece.number, left, piece.space, not begins))
            else:
                done.append(Context(piece.number, "", piece.space, continues))
            continues = True
        else:
            done.append(piece)
            if isinstance(piece, Boundary):
                continues = False
        text = ""
    return done


def _taken(run: _Texts, made: Iterator[Encoding]) -> Encoding:
    """The encoding of a run, out of those of its texts, which come next."""
    if len(run.wanted) == 1:
        return next(made)
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    offset = 0
    for text, _ in run.wanted:
        encoding = next(made)
        ids += encoding.ids
        spans += ((a + offset, b + offset) for a, b in encoding.spans)
        offset += len(text)
    return Encoding(tuple(ids), tuple(spans))


def answer_ids(
    tokenizer: Tokenizer, context: Context, words: Sequence[str]
) -> list[tuple[int, ...]]:
    """Ids of each word in its slot: ids(left + space + word) minus ids(left).

    Where the word would merge with what stands before it (是 + 好 where 是好 is one piece), that is
    tokenised already, and the word is what continues it.
    """
    texts = [context.space + word for word in words]
    if not context.left:
        made = tokenizer.encode_many([(text, context.continues) for text in texts])
        return [encoding.ids for encoding in made]
    left = tokenizer.encode(context.left, continues=context.continues).ids
    whole = tokenizer.encode_many([(context.left + text, context.continues) for text in texts])
    return [
        both.ids[len(left) :]
        if both.ids[: len(left)] == left and len(both.ids) > len(left)
        else tokenizer.encode(text, continues=True).ids
        for text, both in zip(texts, whole, strict=True)
    ]


def token_count(pieces: Sequence[TokenPiece]) -> int:
    """Tokens of text, without rows, special tokens and answers."""
    return sum(len(piece.ids) for piece in pieces if isinstance(piece, Encoding))


def shorten(
    pieces: Sequence[Piece], tokens: Sequence[TokenPiece], excess: int
) -> tuple[Piece, ...] | None:
    """Cut about `excess` tokens off the ends of shortenable fields, always the longest first.

    Where pieces merge across a border a token more or less may go, so look again afterwards; every
    call takes at least a character. A character that several tokens make up goes whole.

    Args:
        pieces: as spelled.
        tokens: the same, tokenised.
        excess: tokens too many, at least 1.
    Returns:
        The shorter pieces; None: nothing is left to cut.
    """
    begins = {
        (number, place): starts
        for number, (piece, tokenised) in enumerate(zip(pieces, tokens, strict=True))
        if isinstance(piece, Run) and isinstance(tokenised, Encoding)
        for place, starts in _token_starts(piece, tokenised).items()
    }
    if not begins:
        return None
    cuts = level({key: len(starts) for key, starts in begins.items()}, excess)
    ends = {key: starts[-cuts[key]] for key, starts in begins.items() if cuts[key]}
    shorter = list[Piece]()
    for number, piece in enumerate(pieces):
        if isinstance(piece, Run):
            spans = tuple(
                replace(span, text=span.text[: ends[number, place]].rstrip())
                if (number, place) in ends
                else span
                for place, span in enumerate(piece.spans)
            )
            kept = tuple(span for span in spans if span.text)
            shorter += [Run(kept)] if kept else []
        else:
            shorter.append(piece)
    return tuple(shorter)


def level(counts: Mapping[tuple[int, int], int], excess: int) -> dict[tuple[int, int], int]:
    """How many each loses so that `excess` go in all (or everything), the longest ones first.

    Of equally long ones the last loses first.
    """
    ordered = sorted(counts.values(), reverse=True)
    height = 0
    for number in range(1, len(ordered) + 1):
        height = max(0, (sum(ordered[:number]) - excess) // number)
        if number == len(ordered) or height >= ordered[number]:
            break
    cuts = {key: max(0, count - height) for key, count in counts.items()}
    surplus = sum(cuts.values()) - excess
    for key in cuts:
        if surplus > 0 and cuts[key]:
            cuts[key] -= 1
            surplus -= 1
    return cuts


def _parts(run: Run) -> list[str]:
    """The texts of a run's spans, the spaces between them at the beginnings."""
    texts = list[str]()
    space = ""
    for number, span in enumerate(run.spans, start=1):
        text = space + span.text
        last = number == len(run.spans)
        kept = text if span.field is not None or last else text.rstrip(" ")
        space = text[len(kept) :]
        texts += [kept] if kept else []
    return texts


def _last_word(text: str) -> str:
    """The end of a text that a word after it could merge with: its last word, with the white space
    before and after; `_CONTEXT` characters where that is longer."""
    near = text[-_CONTEXT:]
    word = near.split()[-1:]
    return near[max(0, near.rindex(word[0]) - 1) :] if word else near


def _token_starts(run: Run, tokens: Encoding) -> dict[int, list[int]]:
    """Shortenable span -> where in it each of its tokens begins, 0 for one that begins before it."""
    found: dict[int, list[int]] = {}
    begin = 0
    for place, span in enumerate(run.spans):
        end = begin + len(span.text)
        if span.shortenable:
            starts = [max(0, a - begin) for a, b in tokens.spans if a < end and b > begin and a < b]
            if starts:
                found[place] = starts
        begin = end
    return found
