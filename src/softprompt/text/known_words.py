"""How answers are tokenised in their slots, remembered: label words come back with every example.

Knows a tokenizer and contexts, no template.
"""

from __future__ import annotations

from collections.abc import Sequence

from softprompt.errors import TemplateError
from softprompt.text.render import Context, answer_ids
from softprompt.text.tokens import Tokenizer

REMEMBERED = 4096
"""Answers in context whose ids are kept."""


class KnownWords:
    """Ids of answers in their contexts.

    Args:
        tokenizer: whose.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._known: dict[tuple[Context, str], tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def ids(self, context: Context, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of each word; new ones are tokenised together.

        Raises:
            TemplateError: a word without tokens.
        """
        fresh = [word for word in dict.fromkeys(words) if (context, word) not in self._known]
        if len(self._known) + len(fresh) > REMEMBERED:
            self._known.clear()
            fresh = list(dict.fromkeys(words))
        made = answer_ids(self._tokenizer, context, fresh)
        for word, ids in zip(fresh, made, strict=True):
            if not ids:
                raise TemplateError(
                    f"the answer '{word}' has no tokens for this tokenizer, expected at least one"
                )
            self._known[context, word] = ids
        return [self._known[context, word] for word in words]
