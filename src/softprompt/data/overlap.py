"""Which examples of one set stand in another: the same text, or almost the same.

Knows examples and their fields, not tasks, files or models. What is compared is the text of all
fields (or of those named), never the target; `pretraining.overlap` looks for evaluation texts
*inside* the long paragraphs of a corpus, this file compares like with like.

equal: every field has the same letters and digits in a row, after NFKC and casefolding. Spaces and
    punctuation do not count, so "it's good." equals "it 's good ".
near: every field shares at least 0.8 of its words with the other's (Jaccard index of the two bags
    of words; Chinese is compared by characters), in the same order of fields or, where there are
    two, in the other. The order of words is not looked at. 0.8 is the threshold of Lee et al. 2022
    (Deduplicating Training Data Makes Language Models Better), of 5-grams in far longer texts.

Near duplicates are found exactly, without a hash: two bags with Jaccard index t or more share one
of their rarest words (prefix filtering, Bayardo et al. 2007, Scaling Up All Pairs Similarity).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from softprompt.data.columns import did_you_mean, listed
from softprompt.data.examples import Example
from softprompt.data.normalising import is_chinese, normalised_words
from softprompt.errors import DataError, UsageError

SIMILARITY = 0.8
SHOWN = 5

Bag = frozenset[str]
"""A bag of words as a set: the second "the" is "the 1", the third "the 2" (no word has a space)."""


@dataclass(frozen=True)
class Matches:
    """The rows of two sets that match in one way.

    Args:
        left, right: rows of each set with at least one match in the other.
        ids: the first few pairs (left id, right id), in the order of the larger set.
    """

    left: int
    right: int
    ids: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Overlap:
    """What two sets of examples share.

    Args:
        left, right: the sets' names.
        left_rows, right_rows: their sizes.
        equal: rows with an equal one in the other set.
        near: rows with no equal one, but with a near duplicate.
        empty: rows of both sets without any letter or digit; they match nothing.
    """

    left: str
    right: str
    left_rows: int
    right_rows: int
    equal: Matches
    near: Matches
    empty: int = 0

    @property
    def left_share(self) -> float:
        """Share of the left set with an equal or near duplicate in the right one."""
        return (self.equal.left + self.near.left) / self.left_rows if self.left_rows else 0.0

    @property
    def right_share(self) -> float:
        """Share of the right set with an equal or near duplicate in the left one."""
        return (self.equal.right + self.near.right) / self.right_rows if self.right_rows else 0.0

    def sentence(self) -> str:
        """One line for a report."""
        if not (self.equal.left or self.near.left):
            return f"{self.left} and {self.right} share no example"
        return (
            f"{self.right} holds {self.equal.left:,} of the {self.left_rows:,} rows of {self.left}"
            f", and near duplicates of {self.near.left:,} more; "
            f"{self.left} holds {self.equal.right:,} of the {self.right_rows:,} rows of "
            f"{self.right}, and near duplicates of {self.near.right:,} more"
        )


def overlap(
    left: Iterable[Example],
    right: Iterable[Example],
    names: tuple[str, str] = ("left", "right"),
    fields: Sequence[str] | None = None,
    similarity: float = SIMILARITY,
) -> Overlap:
    """Compare two sets of examples; swapping them swaps the counts.

    Both are read once, in turns until the smaller one ends; then that one is indexed and the rest
    of the larger one streams by. Memory: about twice the smaller set.

    Args:
        left, right: examples with equally many fields; the fields' names may differ.
        names: of the sets, for the report.
        fields: the fields to compare, in both sets; by default all, in their order. Rows that share
            a passage but not the question are no duplicates: name the passage to find those.
        similarity: least Jaccard index of near duplicates, above 0; 1 takes the same words only.
    Raises:
        UsageError: similarity out of range.
        DataError: a field that an example lacks, or examples with different numbers of fields.
    """
    if not 0 < similarity <= 1:
        raise UsageError(f"similarity: expected above 0 and at most 1, got {similarity}")
    texts = [_texts(rows, name, fields) for rows, name in zip((left, right), names, strict=True)]
    read: tuple[list[_Text], list[_Text]] = ([], [])
    ended = _read_in_turns(texts, read)
    index = _Index(read[ended], Fraction(similarity).limit_denominator(1_000_000))
    other = 1 - ended
    tally = _Tally()
    for text in _chain(read[other], texts[other]):
        index.match(text, tally)
    equal, near = tally.matches(swap=ended == 0)
    sizes = {ended: len(read[ended]), other: tally.rows}
    empty = sum(not any(text.keys) for text in read[ended]) + tally.empty
    return Overlap(*names, sizes[0], sizes[1], equal, near, empty)


def overlaps(
    sets: Mapping[str, Sequence[Example]],
    fields: Sequence[str] | None = None,
    similarity: float = SIMILARITY,
) -> list[Overlap]:
    """Compare each two of several sets, as train, dev and test; in the order they are given in.

    Args:
        sets: name to examples.
        fields, similarity: as in `overlap`.
    Raises:
        UsageError, DataError: as `overlap`.
    """
    return [
        overlap(sets[one], sets[other], (one, other), fields, similarity)
        for one, other in combinations(sets, 2)
    ]


@dataclass(frozen=True, eq=False)
class _Text:
    """One example as it is compared: a key of letters and digits, and a bag of words, per field."""

    id: str
    keys: tuple[str, ...]
    bags: tuple[Bag, ...]
    whole: Bag


def _texts(examples: Iterable[Example], name: str, fields: Sequence[str] | None) -> Iterator[_Text]:
    for example in examples:
        names = tuple(example.fields) if fields is None else tuple(fields)
        for field in names:
            if field not in example.fields:
                hint = did_you_mean(field, example.fields)
                there = listed(example.fields)
                message = f"{name}, example {example.id}: no such field; it has {there}{hint}"
                raise DataError(message, field=field)
        values = [example.fields[field] for field in names]
        words = [normalised_words(v if isinstance(v, str) else " ".join(v)) for v in values]
        units = [_units(one) for one in words]
        bags = [_bag(one) for one in units]
        whole = bags[0] if len(bags) == 1 else _bag([unit for one in units for unit in one])
        yield _Text(example.id, tuple("".join(one) for one in words), tuple(bags), whole)


def _units(words: Sequence[str]) -> Sequence[str]:
    """What is counted: words, or the characters of a text that is mostly Chinese."""
    return "".join(words) if is_chinese(words) else words


def _bag(units: Sequence[str]) -> Bag:
    once = frozenset(units)
    if len(once) == len(units):
        return once
    more = (f"{unit} {n}" for unit, count in Counter(units).items() for n in range(1, count))
    return once.union(more)


def _read_in_turns(texts: Sequence[Iterator[_Text]], read: tuple[list[_Text], list[_Text]]) -> int:
    """Read one row of each set in turn until one ends: the number of that one, the smaller."""
    while True:
        for number, rows in enumerate(texts):
            text = next(rows, None)
            if text is None:
                return number
            read[number].append(text)


def _chain(begun: Sequence[_Text], rest: Iterator[_Text]) -> Iterator[_Text]:
    yield from begun
    yield from rest


class _Tally:
    """Which rows of the indexed set (by place) and of the stream (by count) have matched."""

    def __init__(self) -> None:
        self.rows = self.empty = 0
        self.streamed = {"equal": 0, "near": 0}
        self.indexed: dict[str, set[int]] = {"equal": set(), "near": set()}
        self.ids: dict[str, list[tuple[str, str]]] = {"equal": [], "near": []}

    def add(self, text: _Text, index: Sequence[_Text], equal: list[int], near: list[int]) -> None:
        self.indexed["equal"].update(equal)
        self.indexed["near"].update(near)
        kind, places = ("equal", equal) if equal else ("near", near)
        if places:
            self.streamed[kind] += 1
            if len(self.ids[kind]) < SHOWN:
                self.ids[kind].append((index[min(places)].id, text.id))

    def matches(self, swap: bool) -> tuple[Matches, Matches]:
        """Equal and near; `swap` where the indexed set is the left one (as `ids` have it)."""
        self.indexed["near"] -= self.indexed["equal"]
        made = []
        for kind in ("equal", "near"):
            indexed, streamed = len(self.indexed[kind]), self.streamed[kind]
            if swap:
                made.append(Matches(indexed, streamed, tuple(self.ids[kind])))
            else:
                turned = tuple((there, here) for here, there in self.ids[kind])
                made.append(Matches(streamed, indexed, turned))
        return made[0], made[1]


class _Index:
    """The smaller set, by its keys and by the rarest words of each row.

    Args:
        texts: its rows.
        similarity: least Jaccard index t. A bag of m words can only reach t with one that holds one
            of its m - ceil(t m) + 1 rarest words among its own rarest, rare in the index's count.
    """

    def __init__(self, texts: Sequence[_Text], similarity: Fraction):
        self._texts = texts
        self._share, self._of = similarity.as_integer_ratio()
        counts = Counter(word for text in texts for word in text.whole)
        ordered = sorted(counts, key=lambda word: (counts[word], word))
        self._rank = {word: rank for rank, word in enumerate(ordered)}
        self._by_keys: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._by_word: dict[int, list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            if any(text.keys):
                self._by_keys[text.keys].append(place)
                for rank in self._rarest(text.whole):
                    self._by_word[rank].append(place)

    def match(self, text: _Text, tally: _Tally) -> None:
        """Find a row of the other set in this one."""
        if self._texts and len(text.keys) != len(self._texts[0].keys):
            message = (
                f"example {text.id} has {len(text.keys)} field(s) to compare with the "
                f"{len(self._texts[0].keys)} of example {self._texts[0].id}; name `fields` that "
                "both sets have"
            )
            raise DataError(message)
        tally.rows += 1
        if not any(text.keys):
            tally.empty += 1
            return
        equal = self._by_keys.get(text.keys, [])
        places = {p for rank in self._rarest(text.whole) for p in self._by_word.get(rank, ())}
        near = [place for place in places.difference(equal) if self._is_near(place, text)]
        tally.add(text, self._texts, equal, near)

    def _rarest(self, bag: Bag) -> list[int]:
        """The ranks of a bag's prefix; words that the index does not hold come first in it."""
        rank = self._rank
        known = [rank[word] for word in bag if word in rank]
        prefix = len(bag) - -(-self._share * len(bag) // self._of) + 1
        first = prefix - (len(bag) - len(known))
        return sorted(known)[:first] if first > 0 else []

    def _is_near(self, place: int, text: _Text) -> bool:
        here = self._texts[place]
        if not self._alike(here.whole, text.whole):
            return False
        orders = (here.bags, here.bags[::-1]) if len(here.bags) == 2 else (here.bags,)
        return any(all(map(self._alike, order, text.bags)) for order in orders)

    def _alike(self, one: Bag, other: Bag) -> bool:
        shared = len(one & other)
        return self._of * shared >= self._share * (len(one) + len(other) - shared)
