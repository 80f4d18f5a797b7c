"""How long the texts of a benchmark are, in tokens: equal, or as real data has them.

Where a folder of data is given, real texts are counted; otherwise a table of quantiles stands for
them. Knows no models.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import softprompt as sp
from softprompt.data.examples import Example

LONGEST = 500
"""Longer texts are cut: every shape has positions for that many tokens and its prompt."""

QUANTILES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "sst2": (1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 17, 19, 22, 26, 31, 39, 71),
        "boolq": (
            *(27, 58, 71, 80, 89, 98, 106, 113, 121, 128, 136),
            *(145, 152, 162, 173, 186, 199, 220, 243, 287, 500),
        ),
    }
)
"""Token counts at 0, 5, 10, … 100 % as T5's tokenizer counts: SST-2's training sentences (mean 13.8),
BoolQ's passages with their questions (mean 150.6, the longest 1133 cut)."""

_WORDS_AND_MARKS = re.compile(r"\w+|[^\w\s]")
Count = Callable[[str], int]


def words_and_marks(text: str) -> int:
    """About a sub-word tokenizer's count: four fifths of T5's on both sets."""
    return len(_WORDS_AND_MARKS.findall(text))


@dataclass(frozen=True)
class Lengths:
    """Where lengths come from.

    Args:
        data: folder of the data sets; None: the table of quantiles.
        count: tokens of a text.
        counted_by: its name, for the record.
        longest: longer texts are cut.
    """

    data: Path | None = None
    count: Count = words_and_marks
    counted_by: str = "words and punctuation marks"
    longest: int = LONGEST

    @property
    def source(self) -> str:
        """For the record."""
        if self.data is None:
            return "quantiles of T5 token counts, drawn evenly"
        return f"texts of the data sets, counted in {self.counted_by}"

    def draw(self, name: str, n: int, seed: int = 0) -> list[int]:
        """n lengths of a named kind, in shuffled order, at most `longest` each.

        Args:
            name: `sst2`, `boolq`, or `equal-32`: 32 tokens each.
        """
        kind, _, size = name.partition("-")
        if kind == "equal":
            return [int(size)] * n
        rng = random.Random(seed)
        if self.data is None:
            found = [_at(QUANTILES[name], (place + 0.5) / n) for place in range(n)]
        else:
            examples = READERS[name](self.data)
            found = [self.count(_text(one)) for one in rng.sample(examples, min(n, len(examples)))]
            found = [found[place % len(found)] for place in range(n)]
        rng.shuffle(found)
        return [min(max(1, length), self.longest) for length in found]


def counting_with(folder: str) -> tuple[Count, str]:
    """Counts with the tokenizer in a folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    return count, f"tokens of {type(tokenizer).__name__} with {len(tokenizer)} pieces"


def _at(quantiles: Sequence[int], share: float) -> int:
    """Between two quantiles, on a straight line."""
    marks = [step / (len(quantiles) - 1) for step in range(len(quantiles))]
    low = min(bisect_right(marks, share), len(marks) - 1) - 1
    part = (share - marks[low]) / (marks[low + 1] - marks[low])
    return round(quantiles[low] + part * (quantiles[low + 1] - quantiles[low]))


def _sst2(data: Path) -> list[Example]:
    return list(sp.load_task("sst2", folder=data).examples("train"))


def _boolq(data: Path) -> list[Example]:
    task = sp.Task.from_jsonl(
        data / "superglue" / "BoolQ" / "val.jsonl", fields=["passage", "question"], target="label"
    )
    return list(task.examples("train"))


READERS: Mapping[str, Callable[[Path], list[Example]]] = MappingProxyType(
    {"sst2": _sst2, "boolq": _boolq}
)


def _text(example: Example) -> str:
    return " ".join(str(value) for value in example.fields.values())
