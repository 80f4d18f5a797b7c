"""An example on its way to the network: spelled and tokenised, with its answers, whether it fits or not.

Data only; `renderer.py` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from softprompt.text.query import Words
from softprompt.text.render import TokenPiece, token_count
from softprompt.text.spell import Spelled


@dataclass(frozen=True)
class Draft:
    """An example spelled and tokenised, whether it fits or not."""

    spelled: Spelled
    main: tuple[TokenPiece, ...]
    decoder: tuple[TokenPiece, ...] | None


@dataclass(frozen=True)
class Attempt:
    """A draft with its answers, and how far it is from fitting.

    Args:
        words: each candidate's ids in context.
        over: tokens too many in the main sequence, and in the decoder's.
    """

    draft: Draft
    words: tuple[Words, ...]
    over: tuple[int, int]
    cut: int = 0
    shown: int = 0

    @property
    def fits(self) -> bool:
        return self.over == (0, 0)

    @property
    def tokens(self) -> int:
        return token_count(self.draft.main) + token_count(self.draft.decoder or ())
