"""The plain template: a task's fields and nothing else, so that no pattern helps whoever answers.

With class vectors (`classification_head`) this is ordinary supervised fine-tuning, the baseline that PET
(Schick and Schütze 2021, arXiv 2001.07676, table 1: supervised) and LM-BFF (Gao et al. 2021, table 3:
fine-tuning) stand beside. Knows names of fields and families, no tasks or tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence

from softprompt.text.template import Answer, FieldRef, Part, Sep, Template
from softprompt.text.tokens import Family

PLAIN = "plain"
"""What a run file writes in a template's place."""


def plain_template(fields: Sequence[str], family: Family) -> Template:
    """All fields in their order, boundaries between them, each shortened where it does not fit.

    A masked model answers directly behind the start token; a causal model behind the last field, and an
    encoder-decoder with the decoder's first position.

    Args:
        fields: one or more.
    Raises:
        TemplateError: a name that no template can hold.
    """
    parts: list[Part] = [Answer()] if family == "masked" else []
    for number, name in enumerate(fields):
        parts += [Sep(), FieldRef(name)] if number else [FieldRef(name)]
    return Template.from_parts(parts)
