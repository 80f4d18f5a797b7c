"""Text as it is compared: the words left after NFKC and casefolding, letters and digits only.

Knows scripts written without spaces from those with them, nothing of where the text comes from.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts written without spaces: Han and kana, as a regular expression's range."""
_WORD = re.compile(f"[{UNSPACED}]+|[^\\W_{UNSPACED}]+")
_ONE = re.compile(f"[{UNSPACED}]")


def normalised_words(text: str) -> list[str]:
    """The words of a text: runs of letters and digits, or of Chinese characters."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def holds_chinese(text: str) -> bool:
    """Whether any character is Chinese (Han or kana)."""
    return _ONE.search(text) is not None


def n_chinese(words: Sequence[str]) -> int:
    """How many characters of normalised words are Chinese."""
    return sum(len(word) for word in words if _ONE.match(word))


def is_chinese(words: Sequence[str]) -> bool:
    """Whether more than half of the characters of normalised words are Chinese."""
    return 2 * n_chinese(words) > sum(map(len, words))
