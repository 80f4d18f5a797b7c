"""PET's patterns as its papers print them: `_ News: a b`, `"a" ? ‖ _ , "b"`.

Source: the patterns of arXiv 2001.07676 and 2009.07118. Knows no tokenizer and no verbalizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from softprompt.errors import TemplateError
from softprompt.text.parts import Answer, FieldRef, Literal, Part, Sep
from softprompt.text.template import Template, parse


def from_pet(pattern: str, fields: Mapping[str, str]) -> Template:
    r"""Read one pattern.

    `_` standing alone is the answer slot and `‖` the boundary between the two texts (white space
    around it says nothing). A word that is a key of `fields` is that field wherever it stands
    alone; every other word is text. A backslash keeps a word or `_` as text:
    `Sense (1) (\a) "a" ( _ )`. Other spaces stay as they are, also the one before a full stop,
    which PET's tokenisation has.

    Args:
        pattern: for example `It was _ . a`.
        fields: word of the pattern -> field of the task, filters allowed:
            `{"a": "premise|strip_end", "b": "hypothesis"}`.
    Raises:
        TemplateError: no `_`, a key that is not in the pattern, a field that cannot be read.
    """
    slots = {word: _field(word, inside) for word, inside in fields.items()}
    missing, parts = set(slots), list[Part]()
    for text, escaped in _words(pattern):
        if text == "_" and not escaped:
            parts.append(Answer())
        elif text == "‖" and not escaped:
            parts.append(Sep())
        elif text in slots and not escaped:
            parts.append(slots[text])
            missing.discard(text)
        else:
            parts.append(Literal(text))
    if Answer() not in parts:
        raise TemplateError("expected a _ standing alone, for the answer, found none", pattern, 1)
    if missing:
        names = ", ".join(sorted(missing))
        raise TemplateError(f"expected the words {names} in the pattern, found none", pattern, 1)
    return Template.from_parts(_without_space_at_boundaries(Template.from_parts(parts).parts))


def _field(word: str, inside: str) -> FieldRef:
    parts = parse(f"{{{inside}}}").parts
    if len(parts) != 1 or not isinstance(parts[0], FieldRef):
        raise TemplateError(
            f"expected a field for '{word}', found '{inside}'; "
            "a field with a reserved name is written field:mask"
        )
    return parts[0]


def _words(pattern: str) -> Iterator[tuple[str, bool]]:
    """Runs of letters, digits and `_`, and the single characters between them; escaped or not."""
    at = 0
    while at < len(pattern):
        escaped = pattern[at] == "\\" and at + 1 < len(pattern)
        begin = at = at + escaped
        at += 1
        if _in_word(pattern[begin]):
            while at < len(pattern) and _in_word(pattern[at]):
                at += 1
        yield pattern[begin:at], escaped


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _without_space_at_boundaries(parts: tuple[Part, ...]) -> Iterator[Part]:
    for before, part, after in zip((None, *parts), parts, (*parts[1:], None), strict=False):
        if isinstance(part, Literal):
            text = part.text.lstrip() if isinstance(before, Sep) else part.text
            part = Literal(text.rstrip() if isinstance(after, Sep) else text)
        yield part
