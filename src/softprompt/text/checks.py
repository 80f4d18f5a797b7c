"""How every label word is tokenised where it will stand, and what may be wrong with that.

A label word that is silently split is the commonest wrong result of cloze methods; here it is said
before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from softprompt.text.answers import Classes
from softprompt.text.query import Words
from softprompt.text.renderer import Renderer
from softprompt.text.spell import Fields
from softprompt.text.tokens import Tokenizer


@dataclass(frozen=True)
class WordReport:
    """A label word in context.

    Args:
        label: the label it stands for.
        word: the word (several slots: joined by " … ").
        pieces: its tokens.
        warnings: what a user should know.
    """

    label: str
    word: str
    pieces: tuple[str, ...]
    warnings: tuple[str, ...]


def check_words(
    renderer: Renderer, fields: Fields, candidates: tuple[str, ...] | None = None
) -> list[WordReport]:
    """Report every candidate of an example as it is tokenised in this template; class vectors, which
    are no words, are passed over.

    Raises:
        TemplateError: a word that has no tokens at all.
    """
    if isinstance(renderer.answers, Classes):
        return []  # vectors, not words
    labels = renderer.answers.labels(candidates)
    chosen = renderer.answers.candidates(candidates)
    tokenised = [ids for _, ids in renderer.candidate_ids(fields, candidates)]
    tokenizer = renderer.frame.tokenizer
    reports = []
    for candidate, ids in zip(chosen, tokenised, strict=True):
        rivals = {
            labels[other.label]
            for other, same in zip(chosen, tokenised, strict=True)
            if same == ids and other.label != candidate.label
        }
        warnings = _of_tokens(candidate.words, ids, tokenizer)
        if rivals:
            warnings.append(f"collides with the word of {', '.join(sorted(rivals))}")
        flat = tuple(token for word in ids for token in word)
        reports.append(
            WordReport(
                label=labels[candidate.label],
                word=" … ".join(candidate.words),
                pieces=tuple(tokenizer.pieces(flat)),
                warnings=tuple(warnings),
            )
        )
    return reports


def _of_tokens(words: Sequence[str], ids: Words, tokenizer: Tokenizer) -> list[str]:
    """What is odd about the words of one candidate, each by itself."""
    warnings = []
    for word, tokens in zip(words, ids, strict=True):
        which = f"'{word}' " if len(words) > 1 else ""
        if len(tokens) > 1:
            warnings.append(f"{which}splits into {len(tokens)} tokens")
        if tokenizer.unknown in tokens:
            warnings.append(f"{which}maps to the unknown token: choose another word")
        if word != word.strip():
            warnings.append(
                f"{which}has a space of its own: the one before {{mask}} in the template is enough"
            )
    return warnings
