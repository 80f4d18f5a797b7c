"""No paragraph of the corpus may give away an evaluation text: which ones do, and their counts.

A paragraph overlaps with an evaluation text where it holds that text whole, or shares a long run
with it. Knows texts and the names of their sets, no files (`evaluation_texts` reads those).

Texts are compared after NFKC and casefolding, letters and digits only. Two views follow:

words: runs of letters and digits; a run of Chinese characters counts as one word. Texts that are
    not Chinese are compared by words, so that a match begins and ends at word boundaries.
characters: all letters and digits in a row. Chinese texts (more than half of their characters are
    Chinese) are compared by these. English texts are not: twenty-five letters are four or five
    words, as many as idioms have, where thirteen words (GPT-3, appendix C) are hardly chance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softprompt.data.normalising import holds_chinese, is_chinese, normalised_words
from softprompt.pretraining.documents import Document
from softprompt.pretraining.windows import NOTHING, Ids, Places, Stream, WindowTable

_BATCH = 1 << 20
"""Characters of corpus that are compared at once."""


@dataclass(frozen=True)
class EvaluationSet:
    """The texts of one evaluation file.

    Args:
        name: what its count is printed under.
        texts: as they stand in the file.
    """

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class OverlapRule:
    """What counts as an overlap.

    Args:
        words: a shared run of this many words, with texts that are not Chinese.
        characters: a shared run of this many characters, of which at least one is Chinese, with
            Chinese texts.
        whole_text: an evaluation text held whole, if it has at least this many characters as words
            with single spaces between them.
        whole_chinese: the same for a Chinese text, in characters.
    """

    words: int = 13
    characters: int = 25
    whole_text: int = 25
    whole_chinese: int = 12


@dataclass
class OverlapCounts:
    """What `drop_overlaps` saw and did.

    Args:
        paragraphs: all that came by.
        dropped: those that overlap with any set.
        documents: those that lost their last paragraph.
        sets: dropped paragraphs by name of evaluation set; one that overlaps with two counts twice.
    """

    paragraphs: int = 0
    dropped: int = 0
    documents: int = 0
    sets: Counter[str] = field(default_factory=Counter)


class OverlapIndex:
    """All evaluation texts, ready to be found in paragraphs.

    A whole text as long as a run is found by that run, so only shorter ones have tables of their
    own, one for each length. Memory: some 30 bytes for each word or Chinese character.

    Args:
        sets: the evaluation sets.
        rule: what counts as an overlap.
    """

    def __init__(self, sets: Iterable[EvaluationSet], rule: OverlapRule | None = None):
        rule = rule or OverlapRule()
        owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for evaluation in sets:
            for text in evaluation.texts:
                owners[tuple(normalised_words(text))].add(evaluation.name)
        spaced: dict[tuple[str, ...], set[str]] = {}
        unspaced: dict[str, set[str]] = defaultdict(set)
        for words, names in owners.items():
            if not is_chinese(words):
                spaced[words] = names
            else:
                unspaced["".join(words)] |= names
        self._numbers: dict[str, int] = {}
        for words in spaced:
            for word in words:
                self._numbers.setdefault(word, len(self._numbers) + 1)
        self._words = _View(
            [self._word_ids(words) for words in spaced],
            list(spaced.values()),
            [len(" ".join(words)) >= rule.whole_text for words in spaced],
            rule.words,
        )
        self._characters = _View(
            [_character_ids(text) for text in unspaced],
            list(unspaced.values()),
            [len(text) >= rule.whole_chinese for text in unspaced],
            rule.characters,
            chinese_only=True,
        )

    def find(self, paragraph: str) -> frozenset[str]:
        """Names of the evaluation sets with which a paragraph overlaps."""
        return self.find_all([paragraph])[0]

    def find_all(self, paragraphs: Sequence[str]) -> list[frozenset[str]]:
        """For each paragraph the names of the sets with which it overlaps; quicker than `find`."""
        words = [normalised_words(paragraph) for paragraph in paragraphs]
        found: list[set[str]] = [set() for _ in paragraphs]
        self._words.mark([self._word_ids(row) for row in words], found)
        joined = ["".join(row) for row in words]
        chinese = [number for number, text in enumerate(joined) if holds_chinese(text)]
        self._characters.mark(
            [_character_ids(joined[number]) for number in chinese],
            [found[number] for number in chinese],
        )
        return [frozenset(names) for names in found]

    def _word_ids(self, words: Sequence[str]) -> Ids:
        numbers = self._numbers
        return np.fromiter(
            (numbers.get(word, NOTHING) for word in words), dtype=np.uint32, count=len(words)
        )


class _View:
    """Evaluation texts as rows of ids, with a table for runs and one for each shorter length.

    Args:
        texts: ids of each text.
        owners: names of the sets that hold each text.
        whole: whether each text is long enough to be looked for as a whole.
        run: ids in a shared run.
        chinese_only: ids are code points, and a run counts only with a Chinese one among them.
    """

    def __init__(
        self,
        texts: Sequence[Ids],
        owners: Sequence[set[str]],
        whole: Sequence[bool],
        run: int,
        chinese_only: bool = False,
    ):
        self._owners = [frozenset(names) for names in owners]
        ids, self._starts = _joined(texts)
        stream = Stream(ids)
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        places = _run_places(self._starts, lengths, run)
        if chinese_only:
            places = places[_chinese_within(ids, places, run)]
        self._tables = [WindowTable(stream, run, places)] if len(places) else []
        short = np.array(whole, dtype=np.bool_) & (lengths < run)
        self._tables += [
            WindowTable(stream, int(width), self._starts[short & (lengths == width)])
            for width in np.unique(lengths[short])
        ]

    def mark(self, paragraphs: Sequence[Ids], found: Sequence[set[str]]) -> None:
        """Add to `found` the names of the sets with which each paragraph overlaps."""
        if not paragraphs or not self._tables:
            return
        ids, starts = _joined(paragraphs)
        stream = Stream(ids)
        for table in self._tables:
            here, there = table.find(stream)
            paragraph = np.searchsorted(starts, here, side="right") - 1
            text = np.searchsorted(self._starts, there, side="right") - 1
            pairs = np.unique(np.stack([paragraph, text], axis=1), axis=0)
            for number, owner in pairs.tolist():
                found[number].update(self._owners[owner])


def drop_overlaps(
    documents: Iterable[Document], index: OverlapIndex, counts: OverlapCounts
) -> Iterator[Document]:
    """Drop the paragraphs that overlap with evaluation texts and keep the rest of each document.

    Reads ahead by about a million characters, which are compared at once.

    Args:
        documents: their order is kept; one that loses every paragraph is dropped.
        index: the evaluation texts.
        counts: added to as paragraphs go by.
    """
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += sum(map(len, document))
        if size >= _BATCH:
            yield from _without_overlaps(batch, index, counts)
            batch, size = [], 0
    yield from _without_overlaps(batch, index, counts)


def _without_overlaps(
    documents: Sequence[Document], index: OverlapIndex, counts: OverlapCounts
) -> Iterator[Document]:
    found = iter(index.find_all([text for document in documents for text in document]))
    for document in documents:
        kept: list[str] = []
        for paragraph in document:
            names = next(found)
            if names:
                counts.dropped += 1
                counts.sets.update(names)
            else:
                kept.append(paragraph)
        counts.paragraphs += len(document)
        if kept:
            yield tuple(kept)
        else:
            counts.documents += 1


def _joined(texts: Sequence[Ids]) -> tuple[Ids, Places]:
    """Texts in one row with a gap behind each, and where each starts, `[texts]`."""
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    ids = np.full(int(ends[-1]) if len(ends) else 0, NOTHING, dtype=np.uint32)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]]) if len(ends) else ends
    for start, text in zip(starts.tolist(), texts, strict=True):
        ids[start : start + len(text)] = text
    return ids, starts


def _run_places(starts: Places, lengths: Places, run: int) -> Places:
    """Where a run of `run` ids can start without leaving its text."""
    counts = np.maximum(lengths - run + 1, 0)
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()), dtype=np.int64)


def _chinese_within(ids: Ids, places: Places, run: int) -> NDArray[np.bool_]:
    """Whether each run of code points holds a Chinese one, `[places]`."""
    known = np.unique(ids)
    chinese = known[[holds_chinese(chr(code)) for code in known.tolist()]]
    sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.isin(ids, chinese))])
    return sums[places + run] > sums[places]


def _character_ids(text: str) -> Ids:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
