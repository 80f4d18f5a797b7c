"""What the rows of loaded prompts begin with, run once and kept: for as long as nothing changes them.

Learned rows and instruction stand before the first field, so they are the same in every example, in
every batch and in every call. What a prompt's template says of them is compared with each row: as far as
the ids agree, the row goes on from the keys and values that were kept. Nothing that was asked before has
a say in that, so that an example gets the same numbers in the first call and in the last.
Knows ids and keeps what a network left; it does not run one. Memory: one beginning for each prompt that
was asked, 2 · layers · heads of keys · positions · width of a head numbers.
Dimensions: Q rows, N beginnings of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from softprompt.backbones.prefix import Prefix
from softprompt.data.examples import Example
from softprompt.errors import DataError
from softprompt.inference.applied import Applied

PROBES = ("0", "the")
"""Two texts that hardly begin alike in any tokenizer."""

Run = Callable[[int, tuple[int, ...]], Prefix]
"""Runs ids of a prompt, given by its number, from the beginning."""


class Beginnings:
    """What the rows of N prompts begin with.

    Args:
        applied: the prompts. Neither their rows nor the network's weights may change as long as this is
            used: gradients are never taken through it.
    """

    def __init__(self, applied: Sequence[Applied]):
        self.applied = tuple(applied)
        self._ids: dict[int, tuple[int, ...]] = {}
        self._kept: dict[int, Prefix] = {}

    def checked(self, applied: Sequence[Applied]) -> Beginnings:
        """This, if it is of these very prompts.

        Raises:
            ValueError: it is of others.
        """
        if len(applied) != len(self.applied) or any(
            one is not other for one, other in zip(applied, self.applied, strict=True)
        ):
            raise ValueError("beginnings that are kept of other prompts than those that are asked")
        return self

    def known(
        self, ids: Sequence[Sequence[int]], prompt_of: Sequence[int], until: Sequence[int] = ()
    ) -> list[int]:
        """How much of each row's beginning need not be run again, `[Q]`.

        Args:
            ids: rows, none of them empty.
            prompt_of: which prompt each uses.
            until: the first position of each row that must be run, since it is read; by default the
                last one.
        """
        ends = until or [len(row) - 1 for row in ids]
        return [
            _agreeing(self.ids(prompt), row[:end])
            for row, prompt, end in zip(ids, prompt_of, ends, strict=True)
        ]

    def ids(self, prompt: int) -> tuple[int, ...]:
        """What the rows of a prompt begin with, as far as its template says."""
        if prompt not in self._ids:
            self._ids[prompt] = fixed_beginning(self.applied[prompt])
        return self._ids[prompt]

    def prefix(self, prompts: Sequence[int], lengths: Sequence[int], run: Run) -> Prefix:
        """Keys and values of N beginnings as one batch, pads on the left.

        Args:
            prompts: the prompt of each.
            lengths: how much of that prompt's beginning each is, not all of them 0.
            run: called for a prompt that was not asked before.
        """
        for prompt, length in zip(prompts, lengths, strict=True):
            if length and prompt not in self._kept:
                self._kept[prompt] = run(prompt, self.ids(prompt))
        some = self._kept[next(p for p, n in zip(prompts, lengths, strict=True) if n)]
        return Prefix.together(
            [self._kept.get(p, some).first(n) for p, n in zip(prompts, lengths, strict=True)]
        )

    @property
    def nbytes(self) -> int:
        """What is kept, in bytes."""
        return sum(one.nbytes for one in self._kept.values())


def fixed_beginning(applied: Applied) -> tuple[int, ...]:
    """The ids before the first field or answer slot; where a tokenizer merges what meets, those that
    stay. Negative ones are learned rows. None where the template cannot be rendered so.

    Two examples are rendered that agree in nothing.
    """
    fields = applied.renderer.template.fields
    try:
        one, other = (
            applied.source(Example("", dict.fromkeys(fields, probe))).ids for probe in PROBES
        )
    except DataError:
        return ()
    return one[: _agreeing(one, other)]


def _agreeing(one: Sequence[int], other: Sequence[int]) -> int:
    """How long the longest common beginning is."""
    most = min(len(one), len(other))
    if tuple(one[:most]) == tuple(other[:most]):
        return most
    return next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
