"""What rows begin with in common, and the passes it makes: integers only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from softprompt.inference import passes
from softprompt.inference.passes import cut_apart, padded, plan, worth_cutting, worth_knowing

ROWS = st.lists(
    st.tuples(
        st.lists(st.integers(-3, 2), min_size=1, max_size=8), st.integers(0, 2), st.integers(0, 2)
    ),
    min_size=1,
    max_size=9,
)
Drawn = list[tuple[list[int], int, int]]


@given(ROWS, st.booleans())
def test_a_beginning_and_its_rest_are_the_row(drawn: Drawn, equal: bool) -> None:
    ids = [tuple(row) for row, _, _ in drawn]
    groups = [group for _, group, _ in drawn]
    found = cut_apart(ids, groups, equal=equal)
    assert len(found.first) == len(found.ids) == len(set(groups))
    for row, whole in enumerate(ids):
        number = found.of[row]
        assert found.ids[number] + found.rest[row] == whole
        assert groups[found.first[number]] == groups[row]
        assert found.rest[row]
    if equal:
        assert len({len(begun) for begun in found.ids}) == 1


@given(ROWS)
def test_no_longer_beginning_of_several_rows_would_do(drawn: Drawn) -> None:
    ids = [tuple(row) for row, _, _ in drawn]
    groups = [group for _, group, _ in drawn]
    found = cut_apart(ids, groups)
    for number, first in enumerate(found.first):
        own = [row for row, other in zip(ids, groups, strict=True) if other == groups[first]]
        size = len(found.ids[number])
        if len(own) > 1:
            assert size == min(map(len, own)) - 1 or len({row[: size + 1] for row in own}) > 1


@given(ROWS, st.floats(0, 5))
def test_what_is_worth_it_costs_less(drawn: Drawn, row_cost: float) -> None:
    ids = [tuple(row) * 9 for row, _, _ in drawn]
    groups = [group for _, group, _ in drawn]
    found = worth_cutting(ids, groups, row_cost=row_cost)
    assert found is None or found.cost(row_cost) < padded(ids) + row_cost * len(ids)


@given(ROWS)
def test_the_passes_of_a_row_are_the_row_and_every_place_is_in_one_of_them(drawn: Drawn) -> None:
    ids = [(-1, -2, -3) * 30 + tuple(row) * 20 for row, _, _ in drawn]
    prompts = [prompt for _, prompt, _ in drawn]
    examples = [(prompt, example) for _, prompt, example in drawn]
    made = plan(ids, [prompts, examples])
    assert len(made.passes[-1].ids) == len(ids)
    for row, whole in enumerate(ids):
        parts = [made.passes[n].ids[own] for n, own in enumerate(made.chains[row])]
        assert tuple(i for part in parts for i in part) == whole
        for column, wanted in enumerate(whole):
            number, own, there = made.place(row, column)
            assert made.passes[number].ids[own][there] == wanted
        for n in range(1, len(made.passes)):
            assert made.passes[n].before[made.chains[row][n]] == made.chains[row][n - 1]
        for n, own in enumerate(made.chains[row]):
            assert prompts[made.passes[n].source[own]] == prompts[row]


def test_rows_of_two_prompts_share_nothing_though_their_ids_agree() -> None:
    rows = [(-1, -2, 5, 6), (-1, -2, 5, 7), (-1, -2, 5, 6), (-1, -2, 8, 7)]
    found = cut_apart(rows, [4, 4, 2, 2])
    assert (found.first, found.of) == ((0, 2), (0, 0, 1, 1))
    assert found.ids == ((-1, -2, 5), (-1, -2))
    assert found.rest == ((6,), (7,), (5, 6), (8, 7))


def test_a_lone_row_is_cut_no_further_than_the_others_need() -> None:
    rows = [(1, 2, 3, 4), (1, 2, 5, 6), (9, 9, 9, 9, 9)]
    assert cut_apart(rows, [0, 0, 1]).ids == ((1, 2), (9, 9, 9))


def test_candidates_share_their_example_behind_what_all_share() -> None:
    prompt, texts = tuple(range(-1, -101, -1)), (tuple(range(40)), tuple(range(50, 95)))
    rows = [(*prompt, *text, 200 + n, 300) for text in texts for n in range(4)]
    made = plan(rows, [[0] * 8, [0] * 4 + [1] * 4])
    assert [len(one.ids) for one in made.passes] == [1, 2, 8]
    assert made.passes[0].ids == (prompt,)
    assert made.passes[1].ids == texts
    assert made.passes[1].before == (0, 0)
    assert made.passes[2].ids[5] == (201, 300)
    assert made.passes[2].before == (0, 0, 0, 0, 1, 1, 1, 1)
    assert made.place(5, 100) == (1, 1, 0)


def test_different_rows_and_few_rows_are_run_whole() -> None:
    long = tuple(range(100))
    assert worth_cutting([long], [0]) is None
    assert worth_cutting([long, long], [0, 1]) is None
    assert worth_cutting([(1, *long), (2, *long)], [0, 0]) is None
    assert worth_cutting([(1, 2, 3), (1, 2, 4)], [0, 0]) is None  # too little to pay
    assert worth_cutting([long, long], [0, 0]) is not None
    assert len(plan([(1, 2, 3)], [[0]]).passes) == 1


def test_rows_that_cost_more_than_their_positions_are_worth_sharing_sooner() -> None:
    rows = [(0, n) for n in range(1, 21)]
    assert worth_cutting(rows, [0] * 20) is None
    assert worth_cutting(rows, [0] * 20, row_cost=4.0) is not None
    assert padded(rows) / 2 < passes.LEAST_SAVED


@given(ROWS, st.data())
def test_what_is_known_is_the_first_pass_and_a_part_of_the_rows(
    drawn: Drawn, data: st.DataObject
) -> None:
    ids = [(-1, -2, -3) * 30 + tuple(row) * 20 for row, _, _ in drawn]
    prompts = [prompt for _, prompt, _ in drawn]
    examples = [(prompt, example) for _, prompt, example in drawn]
    known = [data.draw(st.integers(0, 90)) for _ in ids]
    made = plan(ids, [prompts, examples], known=known)
    cut = worth_knowing(ids, prompts, known)
    first = made.passes[0]
    assert not any(one.known for one in made.passes[1:])
    assert first.known == (any(known) and cut is not None)
    for row, whole in enumerate(ids):
        parts = [made.passes[n].ids[own] for n, own in enumerate(made.chains[row])]
        assert tuple(i for part in parts for i in part) == whole
        for n in range(1, len(made.passes)):
            assert made.passes[n].before[made.chains[row][n]] == made.chains[row][n - 1]
        for column, wanted in enumerate(whole):
            number, own, there = made.place(row, column)
            assert made.passes[number].ids[own][there] == wanted
        if first.known:
            assert len(parts[0]) == known[row]
            assert prompts[first.source[made.chains[row][0]]] == prompts[row]
            assert made.place(row, known[row])[0] > 0
    if cut is not None:
        assert padded(cut.rest) == cut.cost() < padded(ids)


def test_rows_of_which_not_equally_much_is_known_do_not_share_what_follows() -> None:
    row = (*range(-1, -101, -1), *range(50))
    rows = [(*row, n) for n in range(4)]
    made = plan(rows, [[0] * 4], known=[100, 90, 100, 90])
    assert made.passes[0].ids == (row[:100], row[:90])
    assert made.passes[1].ids == (row[100:], row[90:])
    assert made.passes[1].before == (0, 1)
    assert made.passes[2].before == (0, 1, 0, 1)


def test_a_beginning_that_is_known_pays_from_the_first_row_on() -> None:
    row = (*range(-1, -21, -1), 7, 8, 9)
    assert len(plan([row], [[0]]).passes) == 1
    made = plan([row], [[0]], known=[20])
    assert [one.known for one in made.passes] == [True, False]
    assert made.passes[0].ids == (row[:20],)
    assert made.passes[1].ids == ((7, 8, 9),)
    assert made.passes[1].before == (0,)
    assert len(plan([row], [[0]], known=[passes.LEAST_KNOWN - 1]).passes) == 1
    # Beside a row of as many positions of which nothing is known, nothing is saved.
    assert not plan([row, row], [[0, 1]], known=[20, 0]).passes[0].known
