"""How many masks stand in the slot of a masked backbone that writes free text: it cannot stop, so its room
is known beforehand.

PET asks Winograd schemas so (Schick & Schütze 2020, arXiv 2009.07118, section 4, and its released code). The
slot is named after a field, `{mask:span}`: to predict, it has as many masks as that field's text has tokens
there, and one more; to learn, as many as the gold text has, and none to three more. What is left of the room
is padding, which is learned too and dropped from what was written. Knows words and ids, no model.
"""

from __future__ import annotations

import zlib

from softprompt.errors import TemplateError
from softprompt.text.query import Words
from softprompt.text.spell import Fields
from softprompt.text.template import Template

SPARE = 1
"""Masks beyond the field's own tokens, in prediction."""

MOST_SPARE = 3
"""At most so many beyond the gold text's own tokens, in training."""


def spare_masks(example: str, template: Template) -> int:
    """Masks beyond the gold text's own, 0 to `MOST_SPARE`: drawn once for each row and pattern, as in PET's
    code, from nothing but their names, so that a run repeats itself.

    Args:
        example: the row's id.
    """
    return zlib.crc32(f"{example}|{template}".encode()) % (MOST_SPARE + 1)


def sizing_field(template: Template) -> str:
    """The field that the one slot is named after.

    Raises:
        TemplateError: several slots, or one without a name.
    """
    names = template.slot_names
    if len(names) != 1 or names[0] is None:
        raise TemplateError(
            "a masked backbone writes free text into masks, whose number it must know: name the one slot "
            f"after a field of that length, such as {{mask:span}}, in '{template}'; or give label words or "
            "candidates, or use an encoder-decoder or causal backbone"
        )
    return names[0]


def sizing_text(template: Template, fields: Fields) -> str:
    """The text whose tokens are counted.

    Raises:
        TemplateError: the row lacks the field, or it is empty or a list.
    """
    name = sizing_field(template)
    text = fields.get(name)
    if not isinstance(text, str) or not text.strip():
        raise TemplateError(
            f"field '{name}', after which {{mask:{name}}} is named, gives the number of masks: expected a "
            f"text, got {text!r}"
        )
    return text


def with_spare(words: Words, spare: int, pad: int, most: int) -> Words:
    """The ids of a text with padding for its spare masks.

    Args:
        words: of the one slot.
        most: tokens that an answer may have.
    Raises:
        TemplateError: they are more.
    """
    ids = (*words[0], *(pad,) * spare)
    if len(ids) > most:
        raise TemplateError(
            f"an answer of {len(words[0])} tokens and {spare} to spare, expected at most {most} in all; give "
            "a larger max_answer_tokens"
        )
    return (ids,)
