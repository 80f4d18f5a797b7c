"""An encoder-decoder asked by all examples at once: what do they together say of the next token?

Each example is read by the encoder once. Its decoder rows, one for each beam, go on from what they
remember of their beginnings where the backbone's cache is exact, else the whole beginnings run again.
Rows are cut by a token budget, examples of like length together; the cut changes rounding only.
Knows token ids, not templates.
Dimensions: N examples, b beams, n rows of one pass, S encoder positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbones.arguments import Encoded
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs, pad_ids
from softprompt.backbones.prefix import Layers, Prefix
from softprompt.inference.assemble import READING_COST
from softprompt.inference.budget import TOKEN_BUDGET

Combine = Literal["log_p", "logits"]
"""Σ log p over the examples (the paper), or log softmax of their mean logits (the release)."""

LOGITS, LOGITS_CPU = 2**26, 2**23
"""Logits of one pass at most, 256 MiB in f32, on a CPU 32 MiB. Measured on one core (32
examples, 100 beams, V = 12,000): passes of 150, 300, 600 and 1,100 rows took 2.7, 2.4, 2.4 and 3.1 s."""

KEPT = 2**32
"""Bytes of keys and values that the beams of all examples may take together, 4 GiB; above, beginnings
run again at every token."""


@dataclass
class _Group:
    """Examples that run together, and what their decoder rows remember: example by example, beam by beam."""

    encoded: Encoded
    own: Layers = ()
    crossed: Layers = ()

    @property
    def size(self) -> int:
        return len(self.encoded.mask)


class JointDecoder:
    """Implements `beam.Joint`.

    Args:
        backbone: an encoder-decoder.
        sources: what the encoder reads for each example.
        opening: the sentinel that every output begins with.
        width: beams at most.
        most: tokens of an output at most.
        combine: how examples are combined.
        token_budget: positions of a pass at most, what a row reads of the encoder counted by its cost.
        kept: bytes that may be remembered.
    """

    def __init__(
        self,
        backbone: Backbone,
        sources: Sequence[Sequence[int]],
        opening: int,
        *,
        width: int,
        most: int,
        combine: Combine = "log_p",
        token_budget: int = TOKEN_BUDGET,
        kept: int = KEPT,
    ):
        self._backbone, self._combine = backbone, combine
        self._sources = sorted(map(tuple, sources), key=len)
        self._opening = (*backbone.decoder_start, opening)
        self._width, self._budget = width, token_budget
        self._kept, self._most = kept, most
        self._groups: list[_Group] = []
        self._prefixes: list[tuple[int, ...]] = []
        self._remembers = backbone.shares_prefix

    @torch.no_grad()
    def begin(self) -> Float[Tensor, "1 V"]:
        """What the first token is, by all examples."""
        self._prefixes = [self._opening]
        self._groups = [self._read(rows) for rows in self._split()]
        total = self._nothing(1)
        for group in self._groups:
            logits, prefix = self._run(group, range(group.size), self._prefixes, None)
            self._add(total, logits, 0)
            if prefix is not None and prefix.crossed is not None:
                group.own, group.crossed = prefix.layers, prefix.crossed
        self._remembers &= self._fits()
        return self._combined(total)

    @torch.no_grad()
    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Float[Tensor, "b V"]:
        """What follows when row `parents[i]` of the last call goes on with `tokens[i]`."""
        before = len(self._prefixes)
        pairs = zip(parents, tokens, strict=True)
        self._prefixes = [(*self._prefixes[row], token) for row, token in pairs]
        count = len(parents)
        total = self._nothing(count)
        for group in self._groups:
            every = range(group.size * count)  # example by example, beam by beam
            made: list[Layers] = []
            most = self._rows_at_once(group.encoded.mask.shape[1], self._new_positions)
            for part in (every[first : first + most] for first in range(0, len(every), most)):
                examples, beams = [row // count for row in part], [row % count for row in part]
                held = None
                if self._remembers:
                    index = [e * before + parents[b] for e, b in zip(examples, beams, strict=True)]
                    held = self._held(group, torch.tensor(index), examples)
                new = [self._prefixes[beam] for beam in beams]
                logits, prefix = self._run(group, examples, new, held)
                self._add(total, logits, part[0])
                if prefix is not None:
                    made.append(prefix.layers)
            group.own = _together(made) if self._remembers else ()
        return self._combined(total)

    # --- what runs ----------------------------------------------------------------------------

    @property
    def _new_positions(self) -> int:
        return 1 if self._remembers else len(self._prefixes[0])

    def _split(self) -> list[list[tuple[int, ...]]]:
        """Examples in groups whose beams fill a pass, or one by one."""
        groups: list[list[tuple[int, ...]]] = []
        for source in self._sources:  # the longest of a group comes last
            rows = self._rows_at_once(len(source), 1)
            if groups and (len(groups[-1]) + 1) * self._width <= rows:
                groups[-1].append(source)
            else:
                groups.append([source])
        return groups

    def _rows_at_once(self, read: int, positions: int) -> int:
        cost = positions * (1 + read * READING_COST)
        most = LOGITS_CPU if self._backbone.device.type == "cpu" else LOGITS
        return max(1, min(int(self._budget / cost), most // self._backbone.vocabulary))

    def _read(self, sources: Sequence[tuple[int, ...]]) -> _Group:
        ids, mask = pad_ids(sources)
        device = self._backbone.device
        return _Group(
            self._backbone.encode(Inputs(self._backbone.embed(ids), mask.to(device))),
        )

    def _run(
        self,
        group: _Group,
        examples: Sequence[int],
        prefixes: Sequence[tuple[int, ...]],
        held: Prefix | None,
    ) -> tuple[Float[Tensor, "n V"], Prefix | None]:
        """Logits behind each row's prefix, and what is remembered of it.

        Args:
            examples: of each row.
            prefixes: of each row, or one for all.
            held: what rows remember of all but their last token; None: the whole prefixes run.
        """
        backbone = self._backbone
        whole = torch.tensor(prefixes).expand(len(examples), -1)
        ids = whole if held is None else whole[:, -1:]
        mask = torch.ones(ids.shape, dtype=torch.bool, device=backbone.device)
        inputs = Inputs(backbone.embed(ids, decoder=True), mask)
        rows = torch.arange(len(ids))
        columns = torch.full_like(rows, ids.shape[1] - 1)
        encoded = group.encoded.rows(examples)
        if not self._remembers:
            return backbone.logits(inputs, rows, columns, encoded), None
        return backbone.prefill(inputs, rows, columns, encoded, prefix=held)

    def _held(self, group: _Group, index: Tensor, examples: Sequence[int]) -> Prefix:
        place = index.to(self._backbone.device)
        own = tuple((keys[place], values[place]) for keys, values in group.own)
        length = own[0][0].shape[2]
        mask = torch.ones((len(place), length), dtype=torch.bool, device=place.device)
        # A run of rows of one example reads one expanded view (`pick_rows`).
        read = Prefix((), mask.new_ones((group.size, 0)), group.crossed).rows(examples)
        return Prefix(own, mask, read.crossed)

    def _fits(self) -> bool:
        """Whether the keys and values of all beams may be kept at their longest."""
        each = sum(
            tensor[:1, :, :1].numel() * tensor.element_size() * group.size
            for group in self._groups
            for pair in group.own
            for tensor in pair
        )
        return each * self._width * (len(self._opening) + self._most) <= self._kept

    # --- what is made of it ---------------------------------------------------------------------

    def _nothing(self, count: int) -> Float[Tensor, "b V"]:
        size, device = self._backbone.vocabulary, self._backbone.device
        wide = torch.float32 if device.type == "mps" else torch.float64
        return torch.zeros((count, size), dtype=wide, device=device)

    def _add(self, total: Float[Tensor, "b V"], logits: Float[Tensor, "n V"], first: int) -> None:
        """Add the rows of one pass to the sums of their beams.

        In runs of neighbours and not by an index: no copy in the sums' precision, and in a fixed order.

        Args:
            first: number of the first row among all of the group, beams counting fastest.
        """
        each = logits.log_softmax(dim=-1) if self._combine == "log_p" else logits
        done, beam = 0, first % len(total)
        while done < len(each):
            run = min(len(total) - beam, len(each) - done)
            total[beam : beam + run] += each[done : done + run]
            done, beam = done + run, 0

    def _combined(self, total: Float[Tensor, "b V"]) -> Float[Tensor, "b V"]:
        if self._combine == "log_p":
            return total
        return (total / len(self._sources)).log_softmax(dim=-1)


def _together(parts: Sequence[Layers]) -> Layers:
    """The rows of several passes, one after another."""
    if len(parts) == 1:
        return parts[0]
    return tuple(
        (torch.cat([keys for keys, _ in layer]), torch.cat([values for _, values in layer]))
        for layer in zip(*parts, strict=True)
    )
