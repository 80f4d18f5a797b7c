from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch

from softprompt.errors import PromptError
from softprompt.prompts import initialisers
from softprompt.prompts.initialisers import Initialiser


@dataclass
class FakeTable:
    """V = 50 embeddings of width 4; row i is (i, i + 0.25, i + 0.5, i + 0.75)."""

    width: int = 4
    rms: float = 0.05

    def rows(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(ids), dtype=torch.float32)[:, None] + torch.arange(4) / 4


@pytest.fixture
def table() -> FakeTable:
    return FakeTable()


REST: Initialiser = lambda length, generator: torch.full((length, 4), -9.0)  # noqa: E731


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _everyone(table: FakeTable) -> dict[str, Initialiser]:
    return {
        "uniform": initialisers.uniform(table),
        "uniform_paper": initialisers.uniform_paper(table),
        "uniform_code": initialisers.uniform_code(table),
        "vocabulary": initialisers.vocabulary(table, range(50)),
        "labels": initialisers.labels(table, [[1]], initialisers.uniform(table)),
        "from_text": initialisers.from_text(table, [1, 2], initialisers.uniform(table)),
        "from_rows": initialisers.from_rows(table, torch.ones(5, 4), "a matrix"),
    }


@pytest.mark.parametrize(
    "name",
    ["uniform", "uniform_paper", "uniform_code", "vocabulary", "labels", "from_text", "from_rows"],
)
def test_every_initialiser_gives_the_same_float32_rows_for_the_same_seed(
    name: str, table: FakeTable
) -> None:
    initialise = _everyone(table)[name]
    first, again = initialise(5, _generator()), initialise(5, _generator())
    assert first.shape == (5, 4)
    assert first.dtype == torch.float32
    assert not first.requires_grad
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ["uniform", "uniform_paper", "uniform_code", "vocabulary"])
def test_another_seed_gives_other_rows(name: str, table: FakeTable) -> None:
    initialise = _everyone(table)[name]
    assert not torch.equal(initialise(5, _generator(0)), initialise(5, _generator(1)))


@pytest.mark.parametrize("rms", [0.05, 10.7])
def test_uniform_has_the_backbones_scale(rms: float) -> None:
    rows = initialisers.uniform(FakeTable(rms=rms))(20_000, _generator())
    # 80,000 draws: the standard error of the RMS is rms · √(1/5) / √80,000 ≈ 0.16 %
    assert rows.pow(2).mean().sqrt().item() == pytest.approx(rms, rel=0.01)
    assert rows.abs().max().item() <= 3**0.5 * rms * (1 + 1e-6)
    assert rows.mean().item() == pytest.approx(0.0, abs=0.02 * rms)


@pytest.mark.parametrize(("name", "low", "high"), [("paper", -0.5, 0.5), ("code", 0.0, 0.5)])
def test_absolute_uniform_initialisers_ignore_the_backbones_scale(
    name: str, low: float, high: float
) -> None:
    make: Callable[[FakeTable], Initialiser] = getattr(initialisers, f"uniform_{name}")
    rows = make(FakeTable(rms=10.7))(5_000, _generator())
    assert low <= rows.min().item() < low + 0.01
    assert high - 0.01 < rows.max().item() <= high


def test_vocabulary_draws_without_replacement_from_the_candidates(table: FakeTable) -> None:
    rows = initialisers.vocabulary(table, [30, 31, 32, 33, 33])(4, _generator())
    assert sorted(rows[:, 0].tolist()) == [30.0, 31.0, 32.0, 33.0]


def test_vocabulary_draws_with_replacement_where_the_prompt_is_longer(table: FakeTable) -> None:
    rows = initialisers.vocabulary(table, [7, 8])(40, _generator())
    assert set(rows[:, 0].tolist()) == {7.0, 8.0}


def test_labels_are_the_means_of_their_pieces_in_order(table: FakeTable) -> None:
    rows = initialisers.labels(table, [[10], [1, 2, 6]], REST)(4, _generator())
    # (1 + 2 + 6) / 3 = 3; column j adds j/4
    expected = [[10.0, 10.25, 10.5, 10.75], [3.0, 3.25, 3.5, 3.75], [-9.0] * 4, [-9.0] * 4]
    assert torch.allclose(rows, torch.tensor(expected))


def test_labels_that_fill_the_prompt_ask_nothing_of_the_rest(table: FakeTable) -> None:
    def forbidden(length: int, generator: torch.Generator) -> torch.Tensor:
        raise AssertionError("the rest was asked")

    rows = initialisers.labels(table, [[1], [2]], forbidden)(2, _generator())
    assert rows[:, 0].tolist() == [1.0, 2.0]


def test_more_labels_than_rows_are_cut_with_the_numbers_named(table: FakeTable) -> None:
    initialise = initialisers.labels(table, [[1], [2], [3]], REST)
    with pytest.warns(UserWarning, match=r"3 labels for 2 prompt rows, the last 1 are left out"):
        rows = initialise(2, _generator())
    assert rows[:, 0].tolist() == [1.0, 2.0]


def test_a_text_goes_piece_by_piece_and_the_rest_follows(table: FakeTable) -> None:
    rows = initialisers.from_text(table, [4, 9, 4], REST)(5, _generator())
    assert rows[:, 0].tolist() == [4.0, 9.0, 4.0, -9.0, -9.0]


def test_a_longer_text_is_cut_with_the_numbers_named(table: FakeTable) -> None:
    with pytest.warns(UserWarning, match=r"3 pieces for 2 prompt rows"):
        rows = initialisers.from_text(table, [4, 9, 5], REST)(2, _generator())
    assert rows[:, 0].tolist() == [4.0, 9.0]


def test_from_rows_copies_so_that_training_leaves_the_source_alone(table: FakeTable) -> None:
    source = torch.ones(2, 4)
    rows = initialisers.from_rows(table, source, "rte.npy")(2, _generator())
    rows.zero_()
    assert source.sum() == 8


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (4,), (1, 2, 4)])
def test_from_rows_says_what_was_expected_and_what_came(
    shape: tuple[int, ...], table: FakeTable
) -> None:
    initialise = initialisers.from_rows(table, torch.ones(shape), "rte.npy")
    with pytest.raises(PromptError, match=r"rte\.npy: expected 2 rows of width 4, got shape \["):
        initialise(2, _generator())


def test_from_rows_refuses_numbers_that_are_not_finite(table: FakeTable) -> None:
    matrix = torch.ones(2, 4)
    matrix[0, 1:3] = torch.tensor([float("nan"), float("inf")])
    with pytest.raises(PromptError, match=r"rte\.npy: 2 of 8 numbers are not finite"):
        initialisers.from_rows(table, matrix, "rte.npy")(2, _generator())


def test_empty_material_is_refused_when_the_initialiser_is_made(table: FakeTable) -> None:
    with pytest.raises(PromptError, match="no candidate"):
        initialisers.vocabulary(table, [])
    with pytest.raises(PromptError, match="no labels"):
        initialisers.labels(table, [], REST)
    with pytest.raises(PromptError, match="label 2 has no word pieces"):
        initialisers.labels(table, [[1], []], REST)
    with pytest.raises(PromptError, match="text is empty"):
        initialisers.from_text(table, [], REST)


def test_no_rows_are_a_length_too(table: FakeTable) -> None:
    everyone = _everyone(table)
    everyone["from_rows"] = initialisers.from_rows(table, torch.ones(0, 4), "nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cut labels and text are another test
        for initialise in everyone.values():
            assert initialise(0, _generator()).shape == (0, 4)
