"""How every label word is tokenised where it will stand, and what may be wrong with that.

A label word that is silently split is the commonest wrong result of cloze methods; here it is said
before anything is trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from softprompt.text.renderer import Renderer
from softprompt.text.spell import Fields


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
    """Report every candidate of an example as it is tokenised in this template."""
    labels = renderer.answers.labels(candidates)
    chosen = renderer.answers.candidates(candidates)
    tokenizer = renderer.frame.tokenizer
    tokenised = [words for _, words in renderer.candidate_ids(fields, candidates)]
    reports = []
    for number, (candidate, words) in enumerate(zip(chosen, tokenised, strict=True)):
        flat = tuple(token for word in words for token in word)
        warnings = []
        split = [w for w, ids in zip(candidate.words, words, strict=True) if len(ids) > 1]
        if split:
            warnings.append(f"splits into {len(flat)} tokens")
        if tokenizer.unknown is not None and tokenizer.unknown in flat:
            warnings.append("maps to the unknown token: choose another word")
        if not flat:
            warnings.append("has no tokens at all: choose another word")
        twins = [
            labels[other.label]
            for place, (other, ids) in enumerate(zip(chosen, tokenised, strict=True))
            if place != number and ids == words and other.label != candidate.label
        ]
        if twins:
            warnings.append(f"collides with the word of {', '.join(sorted(set(twins)))}")
        reports.append(
            WordReport(
                label=labels[candidate.label],
                word=" … ".join(candidate.words),
                pieces=tuple(tokenizer.pieces(flat)),
                warnings=tuple(warnings),
            )
        )
    return reports
