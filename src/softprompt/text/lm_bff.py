"""LM-BFF's released notation: `*cls**sent-_0*?*mask*,*+sentl_1**sep+*` and its files of candidates.

Source: princeton-nlp/LM-BFF, `tokenize_multipart_input` (arXiv 2012.15723). Knows no tokenizer. The
notation is a list of pieces between asterisks; a piece that is no variable is text, with `_` for a
space. An empty piece gives nothing, so the stray `*` that T5 sometimes wrote into a template
(`_**mask*`) leaves no trace, there as here.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from softprompt.errors import DataError, TemplateError
from softprompt.text.parts import Answer, FieldRef, Filter, Literal, Part, Sep, Start
from softprompt.text.template import Template

ONE_TEXT = ("text",)
TWO_TEXTS = ("sentence1", "sentence2")
# What stands between `sent` and `_0`; in the release `l` and `u` are applied before `-`.
_CHANGES = {
    "": (),
    "l": (Filter("lower_first"),),
    "u": (Filter("upper_first"),),
    "-": (Filter("drop_last"),),
    "l-": (Filter("lower_first"), Filter("drop_last")),
    "u-": (Filter("upper_first"), Filter("drop_last")),
}


def from_lm_bff(source: str, *, fields: Sequence[str] | None = None) -> Template:
    """Read one template of the release.

    In LM-BFF the label word carries its leading space (`?*mask*,` scores " Yes"); here the template
    does, so exactly one space is written before `{mask}`, except at the very beginning. The
    `*sep+*` at the end is the end of the sequence and gives nothing, another one gives `{sep}`.

    Args:
        source: in the released notation.
        fields: names for sentence 0, 1, …; by default `text`, or `sentence1` and `sentence2` for a
            template that uses sentence 1.
    Raises:
        TemplateError: a variable that does not exist, a sentence without a name, a demonstration.
    """
    pieces = list(_pieces(source))
    if fields is None:
        pair = any(_split_sentence(piece)[1] == "1" for piece, _ in pieces)
        fields = TWO_TEXTS if pair else ONE_TEXT
    parts: list[Part] = []
    for index, (piece, column) in enumerate(pieces):
        if piece == "cls":
            parts += [Start()] if parts else []
        elif piece == "mask":
            _end_with_one_space(parts)
            parts.append(Answer())
        elif piece in ("sep", "sep+"):
            parts += [] if index == len(pieces) - 1 else [Sep()]
        elif piece.startswith(("label_", "labelx_")):
            raise TemplateError(
                f"expected a template of the query alone, found *{piece}*, the label word of a "
                "demonstration: here {demo} stands where all demonstrations go",
                source,
                column,
            )
        elif piece.startswith(("sent", "+sent")):
            parts += _sentence(piece, fields, source, column)
        else:
            parts.append(Literal(piece.replace("_", " ")))
    return Template.from_parts(parts)


def read_lm_bff_templates(
    path: str | Path, *, fields: Sequence[str] | None = None
) -> list[tuple[Template, float | None]]:
    """Templates of a released file, best first if it is sorted, with dev scores from `.score.txt`.

    Args:
        fields: names of the sentences, as `from_lm_bff` takes them.
    Raises:
        DataError: a line that is no template, with its number.
    """
    read = []
    for number, score, text in _lines(path):
        try:
            read.append((from_lm_bff(text, fields=fields), score))
        except TemplateError as error:
            raise DataError(str(error), str(path), number) from None
    return read


def read_lm_bff_label_mapping(path: str | Path) -> list[tuple[dict[str, str], float | None]]:
    """Label maps of a released file (label -> word; labels are text, also where the file has 0, 1).

    Raises:
        DataError: a line that is no map of labels to words, with its number.
    """
    read = []
    for number, score, text in _lines(path):
        try:
            words = ast.literal_eval(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            words = None
        if not isinstance(words, dict) or not all(isinstance(w, str) for w in words.values()):
            expected = 'expected labels and words, as in {"0": "bad", "1": "good"}'
            raise DataError(f"{expected}, found {text!r}", str(path), number)
        read.append(({str(label): word for label, word in words.items()}, score))
    return read


def _pieces(source: str) -> Iterator[tuple[str, int]]:
    """What stands between asterisks, with its 1-based column; empty pieces are left out."""
    column = 1
    for piece in source.split("*"):
        if piece:
            yield piece, column
        column += len(piece) + 1


def _split_sentence(piece: str) -> tuple[str, str]:
    """`+sentl_1` -> ("l", "1"); no sentence: ("", "")."""
    bare = piece.removeprefix("+")
    if not bare.startswith("sent"):
        return "", ""
    changes, _, number = bare.removeprefix("sent").partition("_")
    return changes, number


def _sentence(piece: str, fields: Sequence[str], source: str, column: int) -> list[Part]:
    changes, number = _split_sentence(piece)
    is_number = number.isascii() and number.isdigit() and len(number) < 4
    if changes not in _CHANGES or not is_number:
        raise TemplateError(
            "expected *sent_0* with l, u or - before the _ (and + in front for a space), "
            f"found *{piece}*",
            source,
            column,
        )
    if int(number) >= len(fields):
        raise TemplateError(
            f"expected a sentence that has a name in fields={tuple(fields)}, found *{piece}*",
            source,
            column,
        )
    field = FieldRef(fields[int(number)], _CHANGES[changes])
    return [Literal(" "), field] if piece[0] == "+" else [field]


def _end_with_one_space(parts: list[Part]) -> None:
    """Before the answer slot, which stands for a label word with its space."""
    if parts and isinstance(parts[-1], Literal):
        text = parts.pop().text.rstrip(" ")  # type: ignore[union-attr]
        parts += [Literal(text)] if text else []
    if parts:
        parts.append(Literal(" "))


def _lines(path: str | Path) -> Iterator[tuple[int, float | None, str]]:
    """Line number, score (None: none written) and text of each line that is not blank."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a readable UTF-8 file, found: {error}", str(path)) from None
    for number, line in enumerate(lines, start=1):
        text = line.strip("\r")
        if not text.strip():
            continue
        score = None
        first, *rest = text.split(None, 1)  # a space or a tab behind the score
        if rest and first[0] not in ("*", "{"):
            with contextlib.suppress(ValueError):
                score, text = float(first), rest[0]
        yield number, score, text
