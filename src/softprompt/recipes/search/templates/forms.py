"""Where a template is to grow: what a generator reads for each example, and what its output becomes.

LM-BFF (Gao et al. 2020, arXiv 2012.15723), section 5.2, and its released `tools/generate_template.py`:
the label word stands in place between two blanks, the generator fills the blanks, and the fillings
become the template's text. Knows a tokenizer by its protocol; no model, no task.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from softprompt.errors import SettingsError
from softprompt.text.parts import Answer, FieldRef, Filter, Literal, Part
from softprompt.text.template import Template
from softprompt.text.tokens import Tokenizer

PARTS = 2
"""Blanks of every form: before the label word and behind it."""


@dataclass(frozen=True)
class Blank:
    """Where the generator writes part `number`, from 0."""

    number: int


@dataclass(frozen=True)
class Word:
    """The example's label word for the generator, the answer slot in the template."""


Piece: TypeAlias = Literal | FieldRef | Blank | Word


@dataclass(frozen=True)
class Form:
    """One way of showing examples to a generator.

    Args:
        name: `after` (the template follows the text; LM-BFF's form A), `before` (B) or `between`.
        shown: what the generator reads, from left to right.
        kept: what of it the template keeps.
    """

    name: str
    shown: tuple[Piece, ...]
    kept: tuple[Piece, ...]


def forms(fields: Sequence[str], *, spaced: bool = True, raised: bool = False) -> tuple[Form, ...]:
    """The forms for a single text (`after` and `before`) or for two (`between`).

    Args:
        fields: names of one or two fields.
        spaced: whether words are parted by spaces; Chinese and Japanese ones are not.
        raised: show the generator single texts with their first letter raised, as the release does; the
            template keeps them as they are.
    Raises:
        SettingsError: not one or two fields.
    """
    space, stop = (Literal(" "), Literal(".")) if spaced else (Literal(""), Literal("。"))
    before, behind = Blank(0), Blank(1)
    blanks = (before, space, Word(), behind)
    if len(fields) == 2:
        first = FieldRef(fields[0], (Filter("drop_last"),))
        second = FieldRef(fields[1], (Filter("lower_first"),))
        pair = (first, *blanks, space, second)
        return (Form("between", pair, pair),)
    if len(fields) != 1:
        names = ", ".join(fields) or "none"
        raise SettingsError(
            f"fields: a template is grown around one text or between two, found {names}; name one or two "
            "of the task's fields"
        )
    text = FieldRef(fields[0])
    seen = FieldRef(fields[0], (Filter("upper_first"),)) if raised else text
    return (
        Form("after", (seen, *blanks), (text, *blanks)),
        Form("before", (stop, *blanks, space, seen), (*blanks, space, text)),
    )


def is_spaced(words: Iterable[str]) -> bool:
    """Whether label words stand in text with a space before them: any of them has a letter of a script
    that parts words."""
    letters = [letter for word in words for letter in word if letter.isalpha()]
    unspaced = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
    return not letters or any(
        not unicodedata.name(letter, "").startswith(unspaced) for letter in letters
    )


def source_ids(
    form: Form,
    fields: Mapping[str, str | tuple[str, ...]],
    word: str,
    tokenizer: Tokenizer,
    limit: int | None = None,
) -> tuple[int, ...]:
    """What the generator reads for one example, `[S]`, its end token included.

    Args:
        fields: the example's.
        word: its label word.
        limit: tokens at most. Texts lose what is furthest from the blanks, the longest one first: a text
            before them its beginning, one behind them its end (the release cuts so too, at 256).
    Raises:
        SettingsError: a limit that leaves no room for any text; a tokenizer with too few sentinels.
    """
    if len(tokenizer.sentinels) <= PARTS:
        raise SettingsError(
            f"generator: templates need {PARTS + 1} sentinels (<extra_id_0>, …), as T5's tokenizers have; "
            f"this one has {len(tokenizer.sentinels)}"
        )
    pieces: list[list[int]] = []
    texts: list[int] = []  # numbers of the pieces that are fields
    blank = next(n for n, piece in enumerate(form.shown) if isinstance(piece, Blank))
    space = ""
    for number, piece in enumerate(form.shown):
        if isinstance(piece, Blank):
            pieces.append([tokenizer.sentinels[piece.number]])
            continue
        if isinstance(piece, Literal) and not piece.text.strip():
            space += piece.text
            pieces.append([])
            continue
        text = _text(piece, fields, word)
        if isinstance(piece, FieldRef):
            texts.append(number)
        # The lone full stop of `before` has no space of its own, as in the release.
        begins = number == 0 and isinstance(piece, FieldRef)
        pieces.append(list(tokenizer.encode(space + text, continues=not begins).ids))
        space = ""
    framed = len(tokenizer.end)
    if limit is not None:
        _cut(pieces, texts, blank, limit - framed)
    return (*(i for piece in pieces for i in piece), *tokenizer.end)


def grown(form: Form, written: Sequence[str], *, spaced: bool = True) -> Template:
    """The template that an output stands for.

    Args:
        written: the text of each blank, spaces included, as the generator wrote them.
        spaced: whether the label word has a space before it; exactly one then stands there, except at the
            very beginning.
    Raises:
        TemplateError: a text that no template can hold.
    """
    parts: list[Part] = []
    for piece in form.kept:
        match piece:
            case Blank(number):
                parts.append(Literal(written[number]))
            case Word():
                before = _taken(parts).rstrip(" ")
                slot = " " if spaced and (parts or before) else ""
                parts += [Literal(before + slot), Answer()]
            case _:
                parts.append(piece)
    return Template.from_parts(parts)


def _taken(parts: list[Part]) -> str:
    """The text that stands last, taken away."""
    text = ""
    while parts and isinstance(last := parts[-1], Literal):
        text = last.text + text
        parts.pop()
    return text


def _text(
    piece: Literal | FieldRef | Word, fields: Mapping[str, str | tuple[str, ...]], word: str
) -> str:
    if isinstance(piece, Word):
        return word
    if isinstance(piece, Literal):
        return piece.text
    given = fields[piece.name]
    return piece.apply(given if isinstance(given, str) else " ".join(given))


def _cut(pieces: list[list[int]], texts: Sequence[int], blank: int, room: int) -> None:
    """Shorten texts in place until all fits."""
    over = sum(map(len, pieces)) - room
    if over > 0 and over >= sum(len(pieces[n]) for n in texts):
        raise SettingsError(
            f"limit: {room + over} tokens of an example do not fit, and no text would be left; expected "
            "a larger limit"
        )
    for _ in range(max(0, over)):
        longest = max(texts, key=lambda n: len(pieces[n]))
        pieces[longest].pop(0 if longest < blank else -1)
