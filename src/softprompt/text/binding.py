"""Whether a template, answers and a family of backbones go together, and what is added to the template.

Knows what each family can fill; knows no example.
"""

from __future__ import annotations

from collections.abc import Callable

from softprompt.errors import TemplateError
from softprompt.text.answers import Answers, FreeText
from softprompt.text.free_slot import sizing_field
from softprompt.text.layout import Frame, check_frame
from softprompt.text.spell import Rows, touches
from softprompt.text.template import Answer, DecoderStart, Literal, Sep, Start, Template, parse


def with_slot(template: Template, family: str) -> Template:
    """A template that leaves its slot out gets it where the family answers, behind a space."""
    decoder = any(isinstance(part, DecoderStart) for part in template.parts)
    if template.answers or not (family == "causal" or decoder):
        return template
    space = [Literal(" ")] if touches(template.parts[::-1], -1) else []
    return Template.from_parts((*template.parts, *space, Answer()))


def place_rows(
    template: Template, n_rows: int, text_length: Callable[[str], int]
) -> tuple[dict[int, Rows], Rows | None, int]:
    """Where learned rows go: by index of each soft slot's part, in front, and how many in all.

    Args:
        template: with soft slots, or without: then all rows go in front.
        n_rows: rows of each bare `{soft}`, or in front; 0: a method without rows.
        text_length: tokens of the words that a slot starts from.
    """
    if n_rows == 0:
        return {}, None, 0
    if not template.has_soft:
        return {}, Rows(0, n_rows), n_rows
    placed: dict[int, Rows] = {}
    total = 0
    for group in template.soft_groups(n_rows, text_length):
        assert group.length is not None
        placed |= dict.fromkeys(group.slots, Rows(total, group.length))
        total += group.length
    return placed, None, total


def read_joint(source: str) -> tuple[Literal | Sep, ...]:
    """What joins demonstrations, from its setting: text, `{sep}`, or both.

    Raises:
        TemplateError: it holds anything else.
    """
    parts = parse(source).parts
    if any(not isinstance(part, Literal | Sep) for part in parts):
        raise TemplateError(
            f"demonstration_separator '{source}': expected text and {{sep}}, nothing else"
        )
    return tuple(part for part in parts if isinstance(part, Literal | Sep))


def check_binding(template: Template, answers: Answers, frame: Frame) -> None:
    """Refuse what cannot go together, before any example is seen.

    Raises:
        TemplateError: no slot for a masked backbone, a slot that the family cannot fill, words
            that do not fill the slots, free text that would have to stop in the middle.
    """
    family, slots = frame.family, len(template.answers)
    decoder = next((i for i, p in enumerate(template.parts) if isinstance(p, DecoderStart)), None)
    if family == "masked" and slots == 0:
        raise TemplateError(
            f"no answer slot: expected {{mask}} in '{template}', because a masked backbone answers "
            "by filling it; for example '{text} It was {mask}.'"
        )
    if decoder is not None and family != "encoder_decoder":
        raise TemplateError(
            f"{{decoder}} in '{template}': only an encoder-decoder backbone has a decoder to start"
        )
    slot = next(
        (i for i, p in enumerate(template.parts) if isinstance(p, Answer)), len(template.parts)
    )
    if family == "causal" and any(isinstance(p, Start) for p in template.parts[slot:]):
        raise TemplateError(
            f"{{start}} behind {{mask}} in '{template}': expected it before, because a causal "
            "backbone reads from left to right"
        )
    in_text = sum(isinstance(part, Answer) for part in template.parts[:decoder])
    if decoder is not None and in_text:
        raise TemplateError(
            f"an answer slot before {{decoder}} in '{template}': expected it after {{decoder}}, or "
            "no {decoder}, because a slot in the text is filled by the decoder"
        )
    check_frame(in_text, frame)
    _check_words(template, answers)
    if isinstance(answers, FreeText):
        _check_free_text(template, frame, in_text)


def _check_words(template: Template, answers: Answers) -> None:
    """Whether the answers fill all slots of the template."""
    slots = max(1, len(template.answers))
    if answers.kind != "words":
        if slots > 1 and answers.kind == "classes":
            raise TemplateError(
                f"{slots} answer slots in '{template}': expected one, where class vectors read"
            )
        if slots > 1:
            raise TemplateError(
                f"{slots} answer slots in '{template}' need label words, one for each"
            )
        return
    for candidate in answers.candidates(None):
        if len(candidate.words) != slots:
            raise TemplateError(
                f"{len(candidate.words)} word(s) {list(candidate.words)} for {slots} answer slot(s) "
                f"in '{template}'"
            )


def _check_free_text(template: Template, frame: Frame, in_text: int) -> None:
    """Free text can be generated only where nothing of the same sequence follows it, or in masks whose
    number is known."""
    if frame.family == "masked":
        sizing_field(template)
        if frame.tokenizer.pad is None:
            raise TemplateError(
                "the tokenizer has no padding token, expected one: it ends a free text in masks"
            )
        return
    anywhere = frame.family == "encoder_decoder" and not frame.reconstructs and in_text
    if template.answers and not anywhere and not isinstance(template.parts[-1], Answer):
        raise TemplateError(
            f"free text needs {{mask}} at the end, because a backbone of this family writes on to "
            f"the end; found '{template}'"
        )
