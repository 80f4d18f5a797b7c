"""What a template may do to a field's text: `{review|one_line|first_words:200|strip_end}`.

A table of pure functions of a string; knows nothing of templates, examples or tokenizers. A new
filter is one entry of `FILTERS`, and its name then works in every template and every message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

# Marks that end or divide sentences, by script; quotes and brackets are not among them, so that
# `He said "no."` and `(see below)` keep what closes them.
FINAL_MARKS = (
    ".!?;:,…‥"  # Latin, Greek, Cyrillic, Hebrew
    "。！？；：，、．｡､﹐﹑﹒﹔﹕﹖﹗"  # Chinese and Japanese, in all their widths
    "؟؛،۔"  # Arabic, Persian, Urdu
    "।॥"  # Devanagari and its neighbours
    "։՞՜"  # Armenian
    "።፣፤፥፧"  # Ethiopic
    "។៕"  # Khmer
    "၊။"  # Burmese
    "‼⁇⁈⁉¿¡"
)
_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*+)[^<>]*+>")
_WHITE = re.compile(r"\s+")
_BLOCK_TAGS = frozenset(("br", "p", "div", "li", "tr", "td", "hr", "h1", "h2", "h3", "h4"))


@dataclass(frozen=True)
class Rule:
    """One filter: called with the field's text and the argument as written, it gives the new text.

    Args:
        function: takes the text, and the argument where the filter has one (an int for a count).
        does: one line for the manual and for `softprompt list`.
        takes: what must follow the name: nothing, `:20`, or `:'some text'`.
    """

    function: Callable[..., str]
    does: str
    takes: Literal["nothing", "count", "text"] = "nothing"

    def __call__(self, text: str, argument: str | None = None) -> str:
        """The filtered text.

        Raises:
            ValueError: an argument that `expected` complains of; templates are checked when read.
        """
        if complaint := self.expected(argument):
            raise ValueError(f"expected {complaint}, found {argument!r}")
        if argument is None:
            return self.function(text)
        return self.function(text, int(argument) if self.takes == "count" else argument)

    def expected(self, argument: str | None) -> str | None:
        """What should have been written instead of this argument; None: it is right."""
        if self.takes == "nothing":
            return None if argument is None else "no argument"
        if self.takes == "text":
            return "a text in quotes after ':'" if argument is None else None
        # Ten digits and more: nobody's text is that long, and int() of thousands of digits refuses.
        is_count = (
            argument is not None
            and argument.isascii()
            and argument.isdigit()
            and len(argument) < 10
            and int(argument) > 0
        )
        return None if is_count else "a whole number from 1 after ':'"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _strip_end(text: str) -> str:
    end = len(text)
    while end and (text[end - 1] in FINAL_MARKS or text[end - 1].isspace()):
        end -= 1
    return text[:end]


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _first_words(text: str, count: int) -> str:
    """Cuts after the word, so that the white space between the words that stay is untouched."""
    pieces = text.split(maxsplit=count)
    if len(pieces) <= count:
        return text
    return text[: len(text) - len(pieces[-1])].rstrip()


def _no_tags(text: str) -> str:
    return _TAG.sub(lambda tag: " " if tag[1].lower() in _BLOCK_TAGS else "", text)


FILTERS: Mapping[str, Rule] = MappingProxyType(
    {
        "lower_first": Rule(_lower_first, "first letter in lower case"),
        "upper_first": Rule(_upper_first, "first letter in upper case"),
        "lower": Rule(str.lower, "all in lower case"),
        "upper": Rule(str.upper, "all in upper case"),
        "strip": Rule(str.strip, "no white space at either end"),
        "strip_end": Rule(_strip_end, "no final punctuation, of any script, and no space there"),
        "drop_last": Rule(lambda text: text[:-1], "without the last character, whatever it is"),
        "one_line": Rule(_one_line, "line breaks become spaces"),
        "squeeze": Rule(lambda text: _WHITE.sub(" ", text), "runs of white space become one space"),
        "no_tags": Rule(_no_tags, "HTML tags removed; <br>, <p> and the like become a space"),
        "first_words": Rule(_first_words, "the first N words: first_words:20", "count"),
        "first_chars": Rule(
            lambda text, count: text[:count], "the first N characters: first_chars:200", "count"
        ),
        "or": Rule(
            lambda text, other: text if text.strip() else other,
            "a text for a field that is blank: or:'untitled'",
            "text",
        ),
    }
)


def suggest_filter(name: str) -> str:
    """What to say about a filter name that does not exist: the closest one, or all of them."""
    close = difflib.get_close_matches(name, FILTERS, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(FILTERS)}"
