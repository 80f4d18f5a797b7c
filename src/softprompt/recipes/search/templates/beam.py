"""One beam over a whole training set: the likeliest outputs that all examples share.

LM-BFF (Gao et al. 2020, arXiv 2012.15723), section 5.2: every example is run with the same decoder
prefix, what they say of the next token is combined, and the beams are extended by that. Knows token ids
and scores; who gives the scores is a protocol.
Dimensions: b beams, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Joint(Protocol):
    """What all examples together say of the next token."""

    def begin(self) -> Float[Tensor, "1 V"]:
        """Scores of the first token behind the opening sentinel; what was run before is forgotten."""

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Float[Tensor, "b V"]:
        """Scores of what follows when row `parents[i]` of the last call goes on with `tokens[i]`."""


@dataclass(frozen=True)
class Rules:
    """What an output may hold.

    Args:
        ordinary: the tokens that text is made of, `[V]`.
        stops: tokens that end a sentence; two of them never follow one another.
        sentinels: opening ones in order; the last one ends the output.
        ends: tokens that end the output wherever they stand; parts not begun are empty.
    """

    ordinary: Bool[Tensor, " V"]
    stops: Bool[Tensor, " V"]
    sentinels: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def n_parts(self) -> int:
        return len(self.sentinels) - 1

    def allowed(self, ids: Sequence[int], last: bool) -> Bool[Tensor, " V"]:
        """The tokens that may follow an unfinished output, `[V]`.

        Args:
            ids: its tokens behind the opening sentinel.
            last: whether only one token more may follow.
        """
        following = self.sentinels[1 + self.part(ids)]
        found = torch.zeros_like(self.ordinary) if last else self.ordinary.clone()
        if not last and ids and bool(self.stops[ids[-1]]):
            found &= ~self.stops
        if not last or following == self.sentinels[-1]:
            found[following] = True
        for end in self.ends:
            found[end] = True
        return found

    def part(self, ids: Sequence[int]) -> int:
        """Which part an output stands in, from 0; `n_parts`: it is finished."""
        if ids and (ids[-1] in self.ends or ids[-1] == self.sentinels[-1]):
            return self.n_parts
        return sum(token in self.sentinels for token in ids)

    def parts(self, ids: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The tokens of each part of an output."""
        found: list[list[int]] = [[]]
        for token in ids:
            if token in self.ends:
                break
            if token in self.sentinels:
                found.append([])
            else:
                found[-1].append(token)
        found += [[] for _ in range(self.n_parts)]
        return tuple(tuple(part) for part in found[: self.n_parts])


@dataclass(frozen=True)
class Output:
    """What the generator wrote for all examples alike.

    Args:
        ids: its tokens behind the opening sentinel.
        score: the sum of their scores.
    """

    ids: tuple[int, ...]
    score: float


Watch = Callable[[int, Sequence[Output]], None]
"""Is told the step, from 1, and the beam, best first."""


def beam_search(
    joint: Joint, rules: Rules, width: int, most: int, watch: Watch | None = None
) -> list[Output]:
    """The best finished outputs, best first; no more than `width`.

    Finished outputs keep their place in the beam, as in the release; an output that is not finished
    after `most` tokens is none. Equal scores are ordered by their tokens.

    Args:
        width: outputs kept after each step.
        most: tokens behind the opening sentinel, the last one, which ends the output, included.
    """
    finished: list[Output] = []
    live = [Output((), 0.0)]
    step = joint.begin()
    for number in range(1, most + 1):
        allowed = torch.stack([rules.allowed(one.ids, number == most) for one in live])
        before = torch.tensor([one.score for one in live], dtype=torch.float64)
        totals = before[:, None] + step.double().cpu()  # [b, V]
        totals = totals.masked_fill(~allowed, -torch.inf)
        beam = _best(finished, live, totals, width)
        finished = [one for _, one in beam if rules.part(one.ids) == rules.n_parts]
        going = [(row, one) for row, one in beam if rules.part(one.ids) < rules.n_parts]
        if watch is not None:
            watch(number, [one for _, one in beam])
        live = [one for _, one in going]
        if not live or number == most:
            break
        step = joint.extend([row for row, _ in going], [one.ids[-1] for one in live])
    return finished


def _best(
    finished: Sequence[Output], live: Sequence[Output], totals: Float[Tensor, "b V"], width: int
) -> list[tuple[int, Output]]:
    """The next beam: the row that each came from (finished ones: −1), and the output."""
    size = totals.shape[1]
    scores, places = totals.flatten().topk(min(width, totals.numel()))
    found = [(-1, one) for one in finished]
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        if score > -torch.inf:
            row, token = divmod(place, size)
            found.append((row, Output((*live[row].ids, token), score)))
    return sorted(found, key=lambda pair: (-pair[1].score, pair[1].ids))[:width]


def text_rules(
    pieces: Sequence[str],
    special: Iterable[int],
    sentinels: Sequence[int],
    ends: Iterable[int],
    size: int,
) -> Rules:
    """The release's rules for a vocabulary: no bare space, no run of dots, no two full stops in a row.

    Args:
        pieces: of each id; ids from there to `size` are no text.
        special: ids that are no text.
        sentinels: the opening ones and the one that ends the output.
        ends: ids that end it anywhere.
        size: V.
    """
    ordinary = torch.zeros(size, dtype=torch.bool)
    stops = torch.zeros(size, dtype=torch.bool)
    for number, piece in enumerate(pieces[:size]):
        bare = piece.lstrip(SPACE)
        ordinary[number] = bool(bare) and not is_run_of_dots(bare)
        stops[number] = bare in DOTS
    ordinary[[*special, *sentinels]] = False
    return Rules(ordinary, stops & ordinary, tuple(sentinels), tuple(dict.fromkeys(ends)))


SPACE = "▁Ġ"
DOTS = (".", "。", "．", "｡", "…", "·", "・")
"""Marks of which two in a row are a run; each alone may end a sentence."""


def is_run_of_dots(text: str) -> bool:
    """Two and more dots, of any script, and nothing else."""
    return len(text) > 1 and set(text) <= set(DOTS)
