"""How rows of ids are run in a few passes, so that what they begin with in common is run once.

Rows of one prompt begin alike: learned rows, instruction, demonstrations. The candidates of one example
begin alike as well, text and all. Each such level that saves work becomes a pass of its own; the rows of
the next one go on from it. What a prompt's rows begin with may be known from before: then that pass need
not run. Integers only: no tensors, no models. A negative id −1−r is learned row r
of the row's own prompt, so rows of different prompts share nothing, whatever their ids.
Dimensions: Q rows, N beginnings of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

Ids = Sequence[int]
Place = tuple[int, int, int]
"""Where a position is computed: pass, row and column there."""

LEAST_SAVED = 64
LEAST_SHARE = 0.1
"""Padded positions that must be saved, and which share of all, before one more pass over the network
pays. Measured on a CPU (GPT-2, 6 × 512 and 2 × 128): the pass itself costs as much as 10 to 60
positions; 5 % fewer positions gave 0.94 to 1.03 times the speed, 13 % fewer 1.02 to 1.09."""

LEAST_KNOWN = 4
"""Padded positions that must be saved before a beginning that is known is read instead of run. Reading
costs next to nothing (GPT-2, 6 × 512, one row): behind 1, 4 and 8 known positions 20 more ran 1.04, 1.05
and 1.10 times as fast, behind 1 and 4 of them 100 more 0.99 and 1.01 times."""


@dataclass(frozen=True)
class Pass:
    """Rows that the network runs together, N of them.

    Args:
        ids: each row, from where the pass before ended.
        source: the first of the Q whole rows that each stands in.
        begins: the column of the whole row at which each begins.
        before: the row of the pass before that each goes on from; empty in the first pass.
        known: whether what it leaves is known already, so that it need not run; only the first one.
    """

    ids: tuple[tuple[int, ...], ...]
    source: tuple[int, ...]
    begins: tuple[int, ...]
    before: tuple[int, ...] = ()
    known: bool = False


@dataclass(frozen=True)
class Plan:
    """The passes of Q rows; the last one has a row for each of them.

    Args:
        passes: at least one.
        chains: of each of the Q rows, its row in every pass.
    """

    passes: tuple[Pass, ...]
    chains: tuple[tuple[int, ...], ...]

    def place(self, row: int, column: int) -> Place:
        """Where a position of a whole row is computed."""
        for number, own in reversed(list(enumerate(self.chains[row]))):
            begins = self.passes[number].begins[own]
            if column >= begins:
                return number, own, column - begins
        raise IndexError(f"column {column} of row {row}")


def plan(
    ids: Sequence[Ids],
    levels: Sequence[Sequence[Hashable]] = (),
    *,
    known: Sequence[int] = (),
    equal: bool = False,
    row_cost: float = 0.0,
) -> Plan:
    """Passes over rows, each level apart where that saves work.

    Args:
        ids: rows, `[Q]`.
        levels: which group each row is of, `[Q]`; the groups of a later level lie within those of an
            earlier one. Rows of a group may share their beginning.
        known: how much of each row the network has worked through before, `[Q]`, for its group of the
            first level, less than all of it; none: nothing.
        equal: whether all beginnings of a level must be of one length.
        row_cost: what a row costs beside its positions, in positions.
    """
    left: Sequence[tuple[int, ...]] = [tuple(row) for row in ids]
    begins = [0] * len(left)
    chains: list[tuple[int, ...]] = [()] * len(left)
    passes: list[Pass] = []
    cuts: list[tuple[Sequence[Hashable], CutOff]] = [
        (groups, partial(worth_cutting, equal=equal, row_cost=row_cost)) for groups in levels
    ]
    if any(known):
        cuts.insert(0, (levels[0], partial(worth_knowing, known=known)))
    for groups, cut_off in cuts:
        # Rows of a group go on together only from one place: not equally much may be known of them.
        cut = cut_off(left, list(zip(groups, chains, strict=True)))
        if cut is None:
            continue
        passes.append(_pass(cut.ids, cut.first, begins, chains, known=cut.known))
        begins = [begun + len(cut.ids[own]) for begun, own in zip(begins, cut.of, strict=True)]
        chains = [(*chain, own) for chain, own in zip(chains, cut.of, strict=True)]
        left = cut.rest
    everything = range(len(left))
    passes.append(_pass(left, everything, begins, chains))
    return Plan(
        tuple(passes), tuple((*chain, row) for row, chain in zip(everything, chains, strict=True))
    )


def _pass(
    ids: Sequence[tuple[int, ...]],
    source: Sequence[int],
    begins: Sequence[int],
    chains: Sequence[tuple[int, ...]],
    *,
    known: bool = False,
) -> Pass:
    """One pass over the parts of some whole rows that stand next."""
    before = tuple(chains[row][-1] for row in source if chains[row])
    return Pass(tuple(ids), tuple(source), tuple(begins[row] for row in source), before, known)


# --- one level ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Rows cut in two: N common beginnings, and what each of the Q rows goes on with.

    Args:
        first: the first row that has each beginning, `[N]`.
        ids: the beginnings, `[N]`; an empty one where a group has nothing in common.
        of: which beginning each row has, `[Q]`.
        rest: what each row goes on with, `[Q]`, none of them empty.
        known: whether the beginnings need not run.
    """

    first: tuple[int, ...]
    ids: tuple[tuple[int, ...], ...]
    of: tuple[int, ...]
    rest: tuple[tuple[int, ...], ...]
    known: bool = False

    def cost(self, row_cost: float = 0.0) -> float:
        """Padded positions that the network works through, rows counted as well."""
        return padded(self.rest) + (0.0 if self.known else _cost(self.ids, row_cost))


def cut_apart(ids: Sequence[Ids], groups: Sequence[Hashable], *, equal: bool = False) -> Cut:
    """Cut off each group's longest common beginning.

    Args:
        ids: rows, `[Q]`, none of them empty.
        groups: which group each row is of, `[Q]`.
        equal: cut no group further than the one with the shortest beginning.
    """
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    lengths = {group: _common([tuple(ids[row]) for row in rows]) for group, rows in members.items()}
    if equal:
        lengths = dict.fromkeys(lengths, min(lengths.values(), default=0))
    else:
        _spare_lone_rows(lengths, members, [len(row) for row in ids])
    number = {group: n for n, group in enumerate(members)}
    return Cut(
        first=tuple(rows[0] for rows in members.values()),
        ids=tuple(tuple(ids[rows[0]][: lengths[group]]) for group, rows in members.items()),
        of=tuple(number[group] for group in groups),
        rest=tuple(tuple(row[lengths[g] :]) for row, g in zip(ids, groups, strict=True)),
    )


def worth_cutting(
    ids: Sequence[Ids],
    groups: Sequence[Hashable],
    *,
    equal: bool = False,
    row_cost: float = 0.0,
) -> Cut | None:
    """The rows cut in two where that saves work; None where whole rows cost less.

    Args as `plan`, of one level.
    """
    if len(ids) <= len(set(groups)):  # a row for each group: nothing is shared
        return None
    found, whole = cut_apart(ids, groups, equal=equal), _cost(ids, row_cost)
    if not any(found.ids):
        return None
    saved = whole - found.cost(row_cost)
    return found if saved >= max(LEAST_SAVED, LEAST_SHARE * whole) else None


CutOff = Callable[[Sequence[Ids], Sequence[Hashable]], Cut | None]
"""How a level is cut off rows, given what group each is of."""


def worth_knowing(
    ids: Sequence[Ids], groups: Sequence[Hashable], known: Sequence[int]
) -> Cut | None:
    """The rows without what is known of them; None where whole rows cost hardly more.

    Args as `plan`, of one level. Rows of a group of which less is known have a beginning of their own.
    """
    number: dict[tuple[Hashable, int], int] = {}
    of = [number.setdefault(key, len(number)) for key in zip(groups, known, strict=True)]
    first = [of.index(one) for one in range(len(number))]
    found = Cut(
        first=tuple(first),
        ids=tuple(tuple(ids[row][: known[row]]) for row in first),
        of=tuple(of),
        rest=tuple(tuple(row[size:]) for row, size in zip(ids, known, strict=True)),
        known=True,
    )
    return found if padded(ids) - found.cost() >= LEAST_KNOWN else None


def padded(rows: Sequence[Ids]) -> int:
    """Positions of a batch of these rows, pads included."""
    return len(rows) * max((len(row) for row in rows), default=0)


def _cost(rows: Sequence[Ids], row_cost: float) -> float:
    return padded(rows) + row_cost * len(rows)


def _common(rows: Sequence[tuple[int, ...]]) -> int:
    """How long the longest common beginning is that leaves something of every row.

    That of the first and last row in alphabetical order is that of all.
    """
    first, last = min(rows), max(rows)
    most = min(map(len, rows)) - 1
    pairs = enumerate(zip(first[:most], last[:most], strict=True))
    return next((place for place, (one, other) in pairs if one != other), most)


def _spare_lone_rows(
    lengths: dict[Hashable, int], members: Mapping[Hashable, Sequence[int]], sizes: Sequence[int]
) -> None:
    """The only row of its group shares nothing: it is cut just enough to be no longer than the
    others' rest, so that it widens neither batch more than it must."""
    rests = [
        sizes[row] - lengths[group]
        for group, rows in members.items()
        for row in rows
        if len(rows) > 1
    ]
    widest = max(rests, default=0)
    for group, rows in members.items():
        if len(rows) == 1:
            lengths[group] = min(lengths[group], max(0, sizes[rows[0]] - widest))
