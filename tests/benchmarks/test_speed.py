"""The speed suite runs whole at toy size: every kind of case, every family, every rival."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import speed
from benchmarks.gauges import Contender, count_operations, peak_bytes, read
from benchmarks.lengths import QUANTILES, Lengths
from benchmarks.shapes import SHAPES
from benchmarks.speed_cases import CASES, KINDS_OF_WORK, ONE_BY_ONE, chosen, expectation

CPU = torch.device("cpu")
FEW = [
    "train/gpt2/P20/sst2",
    "train/roberta/P20/equal-32",
    "seeds/t5",
    "ensemble/llama/P20",
    "mixed/bert",
    "labels/several-tokens/t5",
]


def toy(cases: list[str], out: Path) -> dict[str, object]:
    pytest.importorskip("peft")
    options = ["--toy", "--device", "cpu", "--rounds", "1", "--threads", "1", "--out", str(out)]
    speed.main([*options, "--cases", *cases])
    found: dict[str, object] = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_every_kind_of_case_runs_and_both_sides_agree(tmp_path: Path) -> None:
    found = toy(FEW, tmp_path / "speed.json")
    results = found["results"]
    assert isinstance(results, list)
    assert [one["case"]["name"] for one in results] == [n for n in CASES if n in FEW]
    for one in results:
        assert not one["failures"]
        assert len(one["readings"]) >= 2
        for reading in one["readings"]:
            assert min(reading["seconds"]) > 0
            assert reading["peak_bytes"] > 0
            assert reading["operations"] > 0
        for differences in one["agreement"].values():
            # f32 with another order of summing; measured: 3e-7
            assert all(value < 1e-5 for value in differences.values())
    trained = next(one for one in results if one["case"]["name"] == FEW[0])
    assert set(trained["agreement"]["PEFT prompt tuning"]) == {"loss", "gradient"}
    table = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in table for name in FEW)
    assert ONE_BY_ONE in table
    again = toy(["growth/P/1"], tmp_path / "speed.json")["results"]
    assert isinstance(again, list)
    assert len(again) == len(FEW) + 1  # what was measured before stays


def test_every_case_names_a_known_shape_and_kind() -> None:
    for case in CASES.values():
        assert case.shape in SHAPES
        assert case.kind in speed.KINDS
        assert case.rivals
    assert {case.kind for case in CASES.values()} == set(KINDS_OF_WORK)


def test_cases_are_chosen_by_pattern_in_the_order_of_the_table() -> None:
    names = [case.name for case in chosen(["growth/P/*", "train/gpt2/P20/*"])]
    assert names == [n for n in CASES if n.startswith(("growth/P/", "train/gpt2/P20/"))]
    assert len(chosen([])) == len(CASES)


def test_expectations_are_of_the_first_rival() -> None:
    case = CASES["train/gpt2/P100/sst2"]
    wanted = expectation(case, case.rivals[0])
    assert wanted is not None
    assert (wanted.times, wanted.memory) == (6.0, 0.3)
    assert expectation(case, case.rivals[1]) is None
    assert (
        expectation(CASES["train/t5/P100/equal-32"], CASES["train/t5/P100/equal-32"].rivals[0])
        is None
    )


def test_an_unknown_case_is_refused_with_the_names_of_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        speed.main(["--cases", "nothing/*"])
    assert "train/gpt2/P20/sst2" in capsys.readouterr().err


def test_lengths_drawn_from_the_table_have_its_mean_and_order_of_the_seed() -> None:
    lengths = Lengths().draw("sst2", 400)
    assert sum(lengths) / 400 == pytest.approx(13.8, abs=0.7)  # 5 % steps, joined by straight lines
    assert Lengths().draw("sst2", 400) == lengths
    assert Lengths().draw("equal-32", 3) == [32, 32, 32]
    assert max(Lengths().draw("boolq", 400)) <= QUANTILES["boolq"][-1]


def test_lengths_of_real_data(shared: Path) -> None:
    lengths = Lengths(shared / "data")
    assert 9 < sum(lengths.draw("sst2", 300)) / 300 < 12
    assert 100 < sum(lengths.draw("boolq", 300)) / 300 < 150


def test_peak_memory_counts_what_stands_at_the_same_time() -> None:
    def work() -> None:
        first = torch.ones(1000)
        second = first + 1
        del first
        third = second + 1
        del second, third

    assert peak_bytes(work, CPU) == pytest.approx(2 * 4000, abs=64)  # scalars come on top


def test_operations_count_products_and_attention() -> None:
    a, q = torch.ones(8, 8), torch.ones(1, 2, 16, 8)
    product = 2 * 8**3
    assert count_operations(lambda: a @ a) == product
    attention = count_operations(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert attention == 2 * (2 * 2 * 16 * 16 * 8)


def test_rounds_are_interleaved_and_the_first_one_changes() -> None:
    ran: list[str] = []
    sides = [Contender(name, lambda name=name: ran.append(name), 2) for name in "ab"]  # type: ignore[misc]
    readings = read(sides, 2, CPU)
    assert ran[-4:] == ["a", "b", "b", "a"]
    assert [len(reading.seconds) for reading in readings] == [2, 2]
    assert readings[0].median == pytest.approx(sum(readings[0].seconds) / 4)
