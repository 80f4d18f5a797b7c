"""What one pattern is: a cloze, its words for the labels, and the same cloze as PET's code spaces it.

PET tokenises every piece of a pattern apart, each with a space before it, so that a full stop behind
a field is " .". A pattern's template is running text, as one writes it (and as LM-BFF has it);
`spaced` is PET's: rendered with `per_piece`, it gives PET's row of tokens. Scores differ by points.

Knows templates, not tasks or tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from softprompt.text.template import Literal, Part, Sep, Template, parse

Words = Mapping[str, tuple[str, ...]]
OWN = "softprompt"
"""The source of a pattern of ours."""


@dataclass(frozen=True)
class Pattern:
    """One cloze of a task.

    Args:
        template: running text.
        words: label to its words, in the order of the task's labels; None where an example has
            candidates of its own.
        source: the paper, or softprompt.
        spaced: the template with PET's spaces, to be rendered with `per_piece`; None for our own.
    """

    template: str
    words: Words | None
    source: str
    spaced: str | None = None

    def __str__(self) -> str:
        words = (" or ".join(words) for words in (self.words or {}).values())
        return f"{self.template} ← {' / '.join(words) or 'own candidates'}"


def with_pet_spaces(template: str) -> str:
    """A template with one space before each of its pieces, as PET's code tokenises them.

    Args:
        template: of text, fields, answer slots and `{sep}`.
    """
    parts: list[Part] = []
    for part in parse(template).parts:
        if isinstance(part, Literal):
            if text := part.text.strip():
                parts.append(Literal(f" {text}"))
        elif isinstance(part, Sep):
            parts.append(part)
        else:
            parts += [Literal(" "), part]
    return str(Template.from_parts(parts))


def words_for(labels: tuple[str, ...], words: tuple[str, ...]) -> Words:
    """A word for each label."""
    return {label: (word,) for label, word in zip(labels, words, strict=True)}


def in_order(words: Mapping[str, str], labels: tuple[str, ...]) -> Words:
    """The words of some labels, in the labels' order."""
    return {label: (words[label],) for label in labels}


def own(template: str, words: Words | None, source: str = OWN) -> Pattern:
    """A pattern of no paper's."""
    return Pattern(template, words, source)
