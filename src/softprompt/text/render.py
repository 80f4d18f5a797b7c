"""From spelled pieces to token pieces: each run tokenised once, answers in context, truncation.

Rules (docs/decisions/002-text-and-tokens.md):
- the first text of a sequence, and the text after a pair boundary, is tokenised as the tokenizer
  itself begins a text; after any other break no space of its own is added;
- answer ids are ids(left context + word) minus ids(left context);
- an answer slot and a `!` field are never cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from softprompt.errors import TemplateError
from softprompt.text.spell import Boundary, Piece, Rows, Run, Slot, Span, StartTokens
from softprompt.text.tokens import Encoding, Tokenizer

_CONTEXT = 16  # characters of a field's end that a slot right behind the field sees


@dataclass(frozen=True)
class Tokens:
    """Token ids of a run; `owners[i]` is the shortenable span that token i lies in, or −1."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    owners: tuple[int, ...]


@dataclass(frozen=True)
class Context:
    """An answer slot with what decides how its words are tokenised.

    Args:
        number: which slot of the template.
        left: the text before it, back to the last break or field.
        space: the space that belongs to the answer.
        continues: whether `left` continues a text.
    """

    number: int
    left: str
    space: str
    continues: bool


TokenPiece: TypeAlias = Tokens | Rows | Context | Boundary | StartTokens


def tokenise(
    pieces: Sequence[Piece], tokenizer: Tokenizer, *, per_piece: bool = False
) -> tuple[TokenPiece, ...]:
    """Tokenise the runs of one sequence and find each slot's context.

    Args:
        pieces: of the main sequence or of the decoder's.
        per_piece: tokenise every span apart, as PET's and LM-BFF's released code does.
    """
    done: list[TokenPiece] = []
    continues = False
    owners = 0
    for number, piece in enumerate(pieces):
        if isinstance(piece, Run):
            done.append(_tokens(piece, tokenizer, continues, per_piece, owners))
            owners += len(piece.spans)
            continues = True
        elif isinstance(piece, Slot):
            before = pieces[number - 1] if number else None
            done.append(_context(piece, before, continues, _begins(pieces, number - 1)))
            continues = True
        else:
            done.append(piece)
            if isinstance(piece, Boundary):
                continues = False
    return tuple(done)


def answer_ids(tokenizer: Tokenizer, context: Context, word: str) -> tuple[int, ...]:
    """Ids of a word in its slot: ids(left + space + word) minus ids(left).

    Where the word would merge with what stands before it, the word is tokenised as the
    continuation that the slot makes of it.
    """
    text = context.space + word
    if not context.left:
        return tokenizer.encode(text, continues=context.continues).ids
    left = tokenizer.encode(context.left, continues=context.continues).ids
    both = tokenizer.encode(context.left + text, continues=context.continues).ids
    if both[: len(left)] == left and len(both) > len(left):
        return both[len(left) :]
    return tokenizer.encode(text, continues=True).ids


def token_count(pieces: Sequence[TokenPiece]) -> int:
    """Tokens and learned rows, without special tokens and answers."""
    lengths = (
        len(p.ids) if isinstance(p, Tokens) else p.count if isinstance(p, Rows) else 0
        for p in pieces
    )
    return sum(lengths)


def shorten(pieces: Sequence[TokenPiece], excess: int) -> tuple[tuple[TokenPiece, ...], int]:
    """Cut `excess` tokens off the ends of shortenable fields, always the longest first.

    A character that several tokens make up is cut whole, so a token more may go.

    Returns:
        The shorter pieces and how many tokens could not be cut (0: it fits).
    """
    counts: dict[int, int] = {}
    for piece in pieces:
        if isinstance(piece, Tokens):
            for owner in piece.owners:
                if owner >= 0:
                    counts[owner] = counts.get(owner, 0) + 1
    cuts = _cuts(counts, excess)
    missing = excess - sum(cuts.values())
    return tuple(_cut(p, cuts) if isinstance(p, Tokens) else p for p in pieces), missing


def _cuts(counts: dict[int, int], excess: int) -> dict[int, int]:
    """How many tokens each field loses so that the longest ones become equally long."""
    left = dict(counts)
    cuts = dict.fromkeys(counts, 0)
    while excess > 0 and any(left.values()):
        longest = max(left.values())
        longest_owners = [owner for owner, count in left.items() if count == longest]
        below = max((c for c in left.values() if c < longest), default=0)
        each = max(1, min(longest - below, excess // len(longest_owners)))
        for owner in longest_owners:
            step = min(each, excess, left[owner])
            cuts[owner] += step
            left[owner] -= step
            excess -= step
    return cuts


def _cut(tokens: Tokens, cuts: dict[int, int]) -> Tokens:
    keep = [True] * len(tokens.ids)
    for owner in set(tokens.owners) & {o for o, n in cuts.items() if n}:
        places = [i for i, o in enumerate(tokens.owners) if o == owner]
        kept = len(places) - cuts[owner]
        while 0 < kept < len(places) and tokens.spans[places[kept - 1]] == tokens.spans[places[kept]]:
            kept -= 1
        for place in places[kept:]:
            keep[place] = False
    chosen = [i for i, k in enumerate(keep) if k]
    return Tokens(
        tuple(tokens.ids[i] for i in chosen),
        tuple(tokens.spans[i] for i in chosen),
        tuple(tokens.owners[i] for i in chosen),
    )


def _tokens(run: Run, tokenizer: Tokenizer, continues: bool, per_piece: bool, first: int) -> Tokens:
    if per_piece:
        encodings = []
        offset = 0
        for number, span in enumerate(run.spans):
            encoding = tokenizer.encode(span.text, continues=continues or number > 0)
            encodings.append(
                Encoding(encoding.ids, tuple((a + offset, b + offset) for a, b in encoding.spans))
            )
            offset += len(span.text)
        whole = Encoding(
            tuple(i for e in encodings for i in e.ids), tuple(s for e in encodings for s in e.spans)
        )
    else:
        whole = tokenizer.encode(run.text, continues=continues)
    return Tokens(whole.ids, whole.spans, _owners(run.spans, whole, first))


def _owners(spans: Sequence[Span], encoding: Encoding, first: int) -> tuple[int, ...]:
    """The shortenable span that each token lies in wholly; −1 for all that must stay."""
    borders = []
    offset = 0
    for number, span in enumerate(spans):
        if span.shortenable:
            borders.append((offset, offset + len(span.text), first + number))
        offset += len(span.text)
    return tuple(
        next((owner for begin, end, owner in borders if begin <= a and b <= end), -1)
        for a, b in encoding.spans
    )


def _begins(pieces: Sequence[Piece], number: int) -> bool:
    """Whether piece `number` is at the beginning of a text (nothing but rows before it)."""
    for piece in reversed(pieces[: max(0, number)]):
        if isinstance(piece, Run | Slot):
            return False
        if isinstance(piece, Boundary):
            return True
    return True


def _context(slot: Slot, before: Piece | None, continues: bool, run_begins: bool) -> Context:
    if not isinstance(before, Run):
        return Context(slot.number, "", slot.space, continues)
    literal = ""
    whole = True
    for span in reversed(before.spans):
        if span.field is not None:
            whole = False
            break
        literal = span.text + literal
    if literal.strip():
        return Context(slot.number, literal, slot.space, not (whole and run_begins))
    text = before.text
    near = text[-_CONTEXT:]
    return Context(slot.number, near, slot.space, len(near) < len(text) or not run_begins)


def check_fits(missing: int, limit: int, source: str) -> None:
    """Refuse an example that does not fit even with every shortenable field cut to nothing."""
    if missing > 0:
        raise TemplateError(
            f"{missing} tokens too long for the limit of {limit} even with every shortenable field "
            f"cut to nothing; shorten the template, the prompt or the `!` fields of: {source}"
        )

