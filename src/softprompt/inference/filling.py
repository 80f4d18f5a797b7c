"""Candidates of several tokens scored by filling them in, token by token (Schick & Schütze 2020, arXiv
2009.07118, section 3.1, inference).

A candidate begins as many masks as it has tokens. Round after round one of its open tokens is scored where
it stands and then filled in, until none is open; its score is the sum of their log p. The authors' code
runs one example at a time. Here a round is one batch of all examples, candidates and prompts; candidates
that have filled in the same so far share a row, so that those of one length share the first round.
Free text is written the same way, each mask taking the likeliest token of the vocabulary.
Knows renderings and a masked backbone, not labels or predictions.
Dimensions: C candidates of all examples, n positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.inference.assemble import assemble
from softprompt.inference.budget import part_cost
from softprompt.inference.objective import Fill
from softprompt.inference.scoring import Scores
from softprompt.prompts.addition import Stacked
from softprompt.text.query import Query, Source
from softprompt.text.rendering import Rendering


@dataclass(frozen=True)
class _Order:
    """What a round does with the open tokens of a candidate.

    Args:
        looks: at which of them, left to right.
        best: take the likeliest of those looked at; otherwise all of them.
    """

    looks: slice
    best: bool


_ORDERS: Mapping[Fill, _Order] = {
    "parallel": _Order(slice(None), best=False),
    "max_first": _Order(slice(None), best=True),
    "left_to_right": _Order(slice(1), best=False),
}


@dataclass(frozen=True)
class _Begun:
    """A candidate that is being filled in.

    Args:
        prompt: which prompt it is of.
        row: what the network is asked, without what is read off it.
        order: in which its tokens are filled in.
        open: position and token of those that are left, left to right.
        log_p: of those that were taken, summed.
    """

    prompt: int
    row: Query
    order: _Order
    open: tuple[tuple[int, int], ...]
    log_p: float = 0.0

    @property
    def looked_at(self) -> tuple[tuple[int, int], ...]:
        return self.open[self.order.looks]

    def after(self, log_p: Sequence[float]) -> _Begun:
        """It, with a token more filled in.

        Args:
            log_p: of each token that was looked at. Of equally likely ones the first is taken.
        """
        taken = range(len(log_p))
        if self.order.best:
            taken = range(first := max(taken, key=log_p.__getitem__), first + 1)
        ids = list(self.row.ids)
        for number in taken:
            place, token = self.looked_at[number]
            ids[place] = token
        return replace(
            self,
            row=replace(self.row, ids=tuple(ids)),
            open=tuple(one for number, one in enumerate(self.open) if number not in taken),
            log_p=self.log_p + sum(log_p[number] for number in taken),
        )


def fill_in(
    backbone: Backbone,
    prompts: Stacked | None,
    renderings: Sequence[Rendering],
    prompt_of: Sequence[int],
    fills: Sequence[Fill],
    token_budget: int,
) -> Scores:
    """Score every candidate of every example, each example in the order of its own prompt.

    Which of two tokens goes first is decided by their log p; where those are equal but for rounding, what
    else is in a batch may decide.

    Args:
        prompts: N prompts, or None.
        renderings: the examples, of any mixture of tasks.
        prompt_of: which prompt each example uses.
        fills: the order of each example.
        token_budget: padded positions of a forward pass.
    Returns:
        Log-probabilities over the vocabulary, without `squared_z`.
    """
    begun: list[_Begun] = []
    homes: list[int] = []
    first = 0
    for rendering, prompt, fill in zip(renderings, prompt_of, fills, strict=True):
        for query in rendering.queries:
            row = replace(query, reads=())
            for read in query.reads:
                left = tuple(sorted(zip(read.positions, read.tokens, strict=True)))
                begun.append(_Begun(prompt, row, _ORDERS[fill], left))
                homes.append(first + read.candidate)
        first += len(rendering.label_of)
    sizes = [len(one.open) for one in begun]
    while any(one.open for one in begun):
        _take_round(backbone, prompts, begun, token_budget)
    device = backbone.device
    wide = torch.float64 if backbone.dtype == torch.float64 else torch.float32
    summed = torch.zeros(first, dtype=wide)
    summed[homes] = torch.tensor([one.log_p for one in begun], dtype=wide)
    tokens = torch.zeros(first, dtype=torch.long)
    tokens[homes] = torch.tensor(sizes)
    example = [number for number, r in enumerate(renderings) for _ in r.label_of]
    return Scores(
        summed=summed.to(device),
        tokens=tokens.to(device),
        squared_z=None,
        example=torch.tensor(example, device=device),
        label=torch.tensor([label for r in renderings for label in r.label_of], device=device),
    )


def rows_apart(rendering: Rendering) -> list[int]:
    """The lengths of an example's rows when every candidate has one of its own: what a round may have to
    run, and in how many parts."""
    return [query.length for query in rendering.queries for _ in query.reads]


def _take_round(
    backbone: Backbone, prompts: Stacked | None, begun: list[_Begun], token_budget: int
) -> None:
    """Fill in one more token of every candidate that has open ones; rows that are equal run once."""
    asking: dict[tuple[int, Query], list[int]] = {}
    for number, one in enumerate(begun):
        if one.open:
            asking.setdefault((one.prompt, one.row), []).append(number)
    rows = list(asking)
    lengths = [row.length for _, row in rows]
    for part in micro_batches(lengths, token_budget, part_cost(backbone.device)):
        queries = [rows[place][1] for place in part]
        owners = [rows[place][0] for place in part]
        members = [asking[rows[place]] for place in part]
        batch = assemble(backbone, prompts, queries, owners, part)
        where: dict[tuple[int, int], int] = {}
        which: list[int] = []
        tokens: list[int] = []
        for row, numbers in enumerate(members):
            for number in numbers:
                for column, token in begun[number].looked_at:
                    which.append(where.setdefault((row, column), len(where)))
                    tokens.append(token)
        logits = batch.logits(backbone, [batch.plan.place(*place) for place in where])  # [n, V]
        index = torch.tensor(which, device=logits.device)
        read = torch.tensor(tokens, device=logits.device)
        log_p = (logits[index, read] - torch.logsumexp(logits, dim=-1)[index]).tolist()
        done = 0
        for number in (number for numbers in members for number in numbers):
            count = len(begun[number].looked_at)
            begun[number] = begun[number].after(log_p[done : done + count])
            done += count


# --- free text --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Written:
    """A text that is being written.

    Args:
        prompt: which prompt it is of.
        row: what the network is asked.
        order: in which its masks are filled.
        open: positions of those that are left, left to right.
    """

    prompt: int
    row: Query
    order: _Order
    open: tuple[int, ...]

    @property
    def looked_at(self) -> tuple[int, ...]:
        return self.open[self.order.looks]

    def after(self, log_p: Sequence[float], tokens: Sequence[int]) -> _Written:
        """It, with one mask more filled, or all of them.

        Args:
            log_p, tokens: of the likeliest token at each position that was looked at. Of equally likely
                ones the first is taken.
        """
        taken = range(len(log_p))
        if self.order.best:
            taken = range(first := max(taken, key=log_p.__getitem__), first + 1)
        ids, done = list(self.row.ids), set()
        for number in taken:
            ids[self.looked_at[number]] = tokens[number]
            done.add(self.looked_at[number])
        left = tuple(place for place in self.open if place not in done)
        return replace(self, row=replace(self.row, ids=tuple(ids)), open=left)


def write_in(
    backbone: Backbone,
    prompts: Stacked | None,
    sources: Sequence[Source],
    prompt_of: Sequence[int],
    fills: Sequence[Fill],
    token_budget: int,
) -> list[tuple[int, ...]]:
    """Write a text into the masks of every source, each in the order of its own prompt.

    Args:
        prompts: N prompts, or None.
        sources: with masks, of any mixture of tasks.
        prompt_of: which prompt each uses.
        fills: the order of each.
        token_budget: padded positions of a forward pass.
    Returns:
        The ids in the masks of each, special tokens among them.
    """
    written = [
        _Written(prompt, Query(source.ids, source.segments, ()), _ORDERS[fill], source.masks)
        for source, prompt, fill in zip(sources, prompt_of, fills, strict=True)
    ]
    while left := [number for number, one in enumerate(written) if one.open]:
        lengths = [written[number].row.length for number in left]
        for part in micro_batches(lengths, token_budget, part_cost(backbone.device)):
            numbers = [left[place] for place in part]
            asked = [written[number] for number in numbers]
            batch = assemble(
                backbone,
                prompts,
                [one.row for one in asked],
                [one.prompt for one in asked],
                numbers,
            )
            places = [(row, place) for row, one in enumerate(asked) for place in one.looked_at]
            logits = batch.logits(
                backbone, [batch.plan.place(*place) for place in places]
            )  # [n, V]
            most, token = logits.max(dim=-1)
            log_p = iter((most - torch.logsumexp(logits, dim=-1)).tolist())
            tokens = iter(token.tolist())
            for number, one in zip(numbers, asked, strict=True):
                count = range(len(one.looked_at))
                written[number] = one.after(
                    [next(log_p) for _ in count], [next(tokens) for _ in count]
                )
    return [
        tuple(one.row.ids[place] for place in source.masks)
        for one, source in zip(written, sources, strict=True)
    ]
