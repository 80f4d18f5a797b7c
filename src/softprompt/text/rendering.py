"""What rendering is asked for and what comes of it: settings, and an example as a network will see it.

Knows queries and labels; how they are made is in `renderer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from softprompt.text.query import Query


@dataclass(frozen=True)
class RenderSettings:
    """How text becomes tokens.

    Args:
        limit: positions that fit, special tokens, rows and answer included; None: any number. An
            answer that has a decoder for itself is not counted.
        separator: what `{sep}` is where the tokenizer has no pair boundary.
        per_piece: tokenise every piece of the template apart (PET's and LM-BFF's code).
        demonstration_separator: what joins demonstrations: text, or `{sep}`, or both.
    """

    limit: int | None = None
    separator: str = "\n"
    per_piece: bool = False
    demonstration_separator: str = " "


@dataclass(frozen=True)
class Rendering:
    """An example as the network will see it.

    Args:
        queries: rows for the network; together they read every candidate once.
        labels: the example's possible labels.
        label_of: the label of each candidate.
        cut: tokens that did not fit and were cut.
        demonstrations: how many of them fitted.
    """

    queries: tuple[Query, ...]
    labels: tuple[str, ...]
    label_of: tuple[int, ...]
    cut: int = 0
    demonstrations: int = 0

    @property
    def length(self) -> int:
        """Positions of all its queries."""
        return sum(query.length for query in self.queries)
