"""C4's cleaning rules as named filters, each a pure function of a document: `clean: [javascript]`.

Sources: the paper (Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
Text-to-Text Transformer", section 2.2), and the code that made C4 (tensorflow_datasets,
`text/c4_utils.py`), which settles what the paper leaves open. Its rules are for English; where a
script without spaces needs another reading, the filter's docstring says so. Not here: the language
detector (langdetect at 0.99: separate languages before), and the repeated three-sentence spans,
which need the whole corpus (`duplicates`).

A new filter is one entry of `FILTERS`.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from softprompt.data.normalising import UNSPACED, holds_chinese
from softprompt.errors import SettingsError
from softprompt.pretraining.documents import Document
from softprompt.pretraining.duplicates import split_sentences

Cleaner = Callable[[Document], Document | None]
"""What a filter leaves of a document; None: nothing."""

_WORD_BESIDE = re.compile(f"[{UNSPACED}]|[^\\W{UNSPACED}]+")
_CLOSING = '"”’」』»'
_MARKS = (".", "!", "?", "。", "！", "？", "．", "｡", *_CLOSING)
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


def terminal_punctuation() -> Cleaner:
    """Keep the lines that end in a period, exclamation mark, question mark or closing quote.

    Paper: "lines that ended in a terminal punctuation mark"; code: . ? ! ", but not an ellipsis
    (...), the mark of a text cut off. Here also ”’」』» and 。！？; … only behind a Chinese character
    or another …, for in Chinese …… ends sentences.
    """
    return _keeping(_ends)


def _ends(line: str) -> bool:
    if line.endswith("…"):
        before = line.rstrip("…")
        return len(line) - len(before) > 1 or holds_chinese(before[-1:])
    return line.endswith(_MARKS) and not line.endswith("...")


def min_words(least: int) -> Cleaner:
    """Keep the lines of at least so many words: 5.

    Code, and the paper as it is now; its first version (2019) says 3. Words stand between spaces;
    each Chinese character counts as one, so that 5 is a lower bar for Chinese.
    """
    return _keeping(lambda line: n_words(line) >= least)


def n_words(line: str) -> int:
    """Words between spaces; with Chinese characters, these and the words of letters or digits."""
    if holds_chinese(line):
        return len(_WORD_BESIDE.findall(line))
    return len(line.split())


def max_word_length(most: int) -> Cleaner:
    """Keep the lines without a word of more than so many characters: 1000 (code; not in the paper).

    Chinese characters end a word: a paragraph in Chinese is no long word.
    """
    too_long = re.compile(f"[^\\s{UNSPACED}]{{{most + 1}}}")
    return _keeping(lambda line: not too_long.search(line))


def javascript() -> Cleaner:
    """Drop the lines with the word Javascript, in any case: most ask to switch it on (paper)."""
    return _keeping(lambda line: "javascript" not in line.lower())


def policy() -> Cleaner:
    """Drop the lines that speak of terms of use, a privacy policy or cookies (paper; six phrases)."""
    return _keeping(lambda line: not any(phrase in line.lower() for phrase in _POLICIES))


def citations() -> Cleaner:
    """Remove the marks [1], [], [edit] and [citation needed] of Wikipedia from all lines (paper).

    The space left at the end of a line goes too. C4's code leaves it, and then drops the line
    because it does not end in a punctuation mark.
    """

    def remove(document: Document) -> Document | None:
        if not any("[" in line for line in document):
            return document
        return tuple(text for line in document if (text := _CITATION.sub("", line).strip())) or None

    return remove


def lorem_ipsum() -> Cleaner:
    """Drop documents with the placeholder text "lorem ipsum", in any case (paper)."""
    return _refusing(lambda line: "lorem ipsum" in line.lower())


def curly_brace() -> Cleaner:
    """Drop documents with a {, which stands in programs and not in natural text (paper)."""
    return _refusing(lambda line: "{" in line)


def min_sentences(least: int) -> Cleaner:
    """Keep documents of at least so many sentences: 5.

    Paper, in its first version (2019); the code and the later paper say 3, and so does `c4`. The
    code cuts sentences with NLTK's punkt; here they are counted by . ! ? before a space and by
    。！？…, so that an abbreviation ("Dr. No") counts as one.
    """

    def enough(document: Document) -> Document | None:
        return document if sum(map(n_sentences, document)) >= least else None

    return enough


def n_sentences(line: str) -> int:
    """Sentences of a line, one that does not end in a mark included."""
    return sum(1 for piece in split_sentences(line) if piece.strip())


def max_characters(most: int) -> Cleaner:
    """Drop documents of more than so many characters: 190000 (code; not in the paper).

    Meant for web pages: it drops books that are one document.
    """
    return lambda document: document if sum(map(len, document)) <= most else None


def bad_words(path: str) -> Cleaner:
    """Drop documents with a word of a list: `bad_words:FILE`, a word or phrase a line.

    Paper: the "List of Dirty, Naughty, Obscene or Otherwise Bad Words"; which list is yours to
    choose. As in the code, case is ignored, words stand alone (not inside longer ones), and those
    in Chinese, Japanese or Thai are found anywhere.

    Raises:
        SettingsError: no such file, not UTF-8, or no word in it.
    """
    words = sorted({line.strip().lower() for line in _text(path).splitlines() if line.strip()})
    if not words:
        raise SettingsError(f"clean: bad_words:{path}: the file holds no word")
    letter = f"[^\\W{UNSPACED}]"
    anywhere = re.compile(f"[{UNSPACED}\u0e00-\u0e7f]")
    alone = "|".join(re.escape(word) for word in words if not anywhere.search(word))
    inside = "|".join(re.escape(word) for word in words if anywhere.search(word))
    parts = [f"(?<!{letter})(?:{alone})(?!{letter})"] if alone else []
    pattern = re.compile("|".join([*parts, *([inside] if inside else [])]))
    return _refusing(lambda line: pattern.search(line.lower()) is not None)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"clean: bad_words:{path}: cannot be read: {reason}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"clean: bad_words:{path}: not UTF-8 at byte {error.start}") from None


def _keeping(keep: Callable[[str], bool]) -> Cleaner:
    """A filter of lines; a document that loses all of them is dropped."""
    return lambda document: tuple(line for line in document if keep(line)) or None


def _refusing(refuse: Callable[[str], bool]) -> Cleaner:
    """A filter of documents by any of their lines."""
    return lambda document: None if any(map(refuse, document)) else document


@dataclass(frozen=True)
class Filter:
    """One entry of the table.

    Args:
        make: gives the cleaner; called with the argument, if the filter takes one.
        takes: what may follow the name: nothing, a count (`min_words:5`) or a file.
        usual: the count where none is given.
    """

    make: Callable[..., Cleaner]
    takes: Literal["nothing", "count", "file"] = "nothing"
    usual: int | None = None

    @property
    def does(self) -> str:
        """One line for the manual and for messages."""
        return (self.make.__doc__ or "").splitlines()[0]


FILTERS: Mapping[str, Filter] = MappingProxyType(
    {
        "max_characters": Filter(max_characters, "count", 190_000),
        "max_word_length": Filter(max_word_length, "count", 1000),
        "citations": Filter(citations),
        "terminal_punctuation": Filter(terminal_punctuation),
        "min_words": Filter(min_words, "count", 5),
        "lorem_ipsum": Filter(lorem_ipsum),
        "javascript": Filter(javascript),
        "curly_brace": Filter(curly_brace),
        "policy": Filter(policy),
        "bad_words": Filter(bad_words, "file"),
        "min_sentences": Filter(min_sentences, "count", 5),
    }
)
"""Every filter by name, in the order in which C4's code applies them."""

SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "c4": (
            *(name for name in FILTERS if name not in ("bad_words", "min_sentences")),
            "min_sentences:3",
        )
    }
)
"""Names that stand for several filters: `c4` is all rules of C4's code but the list of bad words."""


@dataclass(frozen=True)
class NamedFilter:
    """A filter with its argument, ready for documents.

    Args:
        name: as it is counted: `min_words:5`.
        apply: the function.
        digest: of all that its result depends on: the name, and the file it reads.
    """

    name: str
    apply: Cleaner
    digest: str


def named_filters(spelled: Sequence[str]) -> tuple[NamedFilter, ...]:
    """The filters of a settings list, in its order; the name of a set stands for its filters.

    Args:
        spelled: names with their arguments, as `["c4", "min_words:10", "bad_words:list.txt"]`.
    Raises:
        SettingsError: an unknown name, an argument that is missing, wrong or too much, a filter
            that is named twice, a list that cannot be read.
    """
    found: dict[str, NamedFilter] = {}
    for entry in spelled:
        for name in SETS.get(entry, (entry,)):
            made = _named_filter(name)
            if made.name in found:
                raise SettingsError(f"clean: {made.name} is named twice")
            found[made.name] = made
    return tuple(found.values())


def _named_filter(entry: str) -> NamedFilter:
    name, colon, argument = (part.strip() for part in entry.partition(":"))
    if name not in FILTERS:
        close = difflib.get_close_matches(name, [*FILTERS, *SETS], n=1)
        known = ", ".join([*FILTERS, *SETS])
        hint = f"did you mean '{close[0]}'?" if close else f"there are {known}"
        raise SettingsError(f"clean: unknown filter '{name}'; {hint}")
    entry_of = FILTERS[name]
    if entry_of.takes == "nothing":
        if colon:
            raise SettingsError(f"clean: {name} takes no argument, got '{argument}'")
        return NamedFilter(name, entry_of.make(), name)
    if entry_of.takes == "file":
        if not argument:
            raise SettingsError(f"clean: {name} needs a file: {name}:words.txt")
        content = hashlib.sha256(_text(argument).encode()).hexdigest()
        return NamedFilter(f"{name}:{argument}", entry_of.make(argument), f"{name}:{content}")
    if not colon:
        argument = str(entry_of.usual)
    # No more than nine digits: nobody's limit is that large, and a pattern must hold it.
    if not re.fullmatch("[1-9][0-9]{0,8}", argument):
        raise SettingsError(
            f"clean: {name} expects a whole number from 1, as {name}:{entry_of.usual}, "
            f"got '{argument}'"
        )
    spelled = f"{name}:{argument}"
    return NamedFilter(spelled, entry_of.make(int(argument)), spelled)


@dataclass
class FilterCounts:
    """What one filter did.

    Args:
        documents: dropped.
        paragraphs: dropped, those of dropped documents included.
        changed: paragraphs that were kept but are no longer what they were.
    """

    documents: int = 0
    paragraphs: int = 0
    changed: int = 0


def clean(
    documents: Iterable[Document], filters: Sequence[NamedFilter], counts: dict[str, FilterCounts]
) -> Iterator[Document]:
    """Put documents through filters, one after the other.

    Args:
        documents: their order is kept.
        filters: a document that one of them drops does not reach the next.
        counts: by name of filter; gets an entry for each, added to as documents go by.
    """
    steps = [(step.apply, counts.setdefault(step.name, FilterCounts())) for step in filters]
    for document in documents:
        if (left := _through(document, steps)) is not None:
            yield left


def _through(document: Document, steps: Sequence[tuple[Cleaner, FilterCounts]]) -> Document | None:
    for apply, count in steps:
        left = apply(document)
        if left is None:
            count.documents += 1
            count.paragraphs += len(document)
            return None
        if left != document:
            count.paragraphs += len(document) - len(left)
            count.changed += len(set(left) - set(document))
        document = left
    return document
