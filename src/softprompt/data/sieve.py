"""Which rows of a stream repeat a labelled row or one another.

Two rows repeat one another if every field has the same letters and digits in a row, as "equal" is in
`overlap.py`. Knows examples, not tasks or where the rows come from.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from softprompt.data.examples import Example
from softprompt.data.normalising import normalised_words


def row_key(row: Example) -> bytes | None:
    """What two rows share that repeat one another: the letters and digits of each field.

    None for a row without any: it repeats nothing.
    """
    fields = [row.fields[name] for name in sorted(row.fields)]
    texts = [value if isinstance(value, str) else " ".join(value) for value in fields]
    keys = ["".join(normalised_words(text)) for text in texts]
    if not any(keys):
        return None
    text = "\0".join(keys)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Sieve:
    """Passes the rows on that repeat nothing, and counts the others. Memory: a hash of each row.

    Args:
        against: split to labelled rows.
        staying: splits whose repeats pass all the same.
    """

    def __init__(self, against: Mapping[str, Sequence[Example]], staying: Sequence[str]):
        self.left_out: Counter[str] = Counter()
        self.stayed: Counter[str] = Counter()
        self.doubles = self.n_kept = 0
        self._staying = staying
        self._labelled: dict[bytes, str] = {}
        # What must go is looked for first: a row of both train and test goes in any case.
        for split in sorted(against, key=lambda name: name in staying):
            for row in against[split]:
                key = row_key(row)
                if key is not None:
                    self._labelled.setdefault(key, split)
        self._before: set[bytes] = set()

    def kept(self, rows: Iterable[Example]) -> Iterator[Example]:
        for row in rows:
            if self._passes(row_key(row)):
                self.n_kept += 1
                yield row

    def _passes(self, key: bytes | None) -> bool:
        if key is None:
            return True
        split = self._labelled.get(key)
        if split is not None and split not in self._staying:
            self.left_out[split] += 1
            return False
        if key in self._before:
            self.doubles += 1
            return False
        self._before.add(key)
        if split is not None:
            self.stayed[split] += 1
        return True
