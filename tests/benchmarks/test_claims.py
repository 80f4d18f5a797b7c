"""The claims page: what pairs, what interval comes out, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.claims import DOCS, Claim, Claims, Finding, compare, main, page, rows_of, verdict
from softprompt.errors import DataError
from softprompt.settings import read_yaml

ROOT = Path(__file__).parents[2]
SIDES: dict[str, Any] = {"first": {"method": "new"}, "second": {"method": "old"}}


def claim(expect: str = "higher", **changes: Any) -> Claim:
    values: dict[str, Any] = {
        "paper": "A 2020",
        "where": "table 1",
        "claim": "New beats old",
        "needs": "any size",
        "measured": {"file": "x.jsonl", "expect": expect, **SIDES},
    }
    return Claim.read({**values, **changes}, "claims")


def rows(method: str, values: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [
        {"method": method, "backbone": "b", "test": test, "seed": seed, "accuracy": value}
        for test, figures in values.items()
        for seed, value in enumerate(figures)
    ]


def test_the_difference_is_a_mean_over_sets_of_means_over_seeds() -> None:
    asked = claim().measured
    assert asked is not None
    given = rows("new", {"x": [0.6, 0.8], "y": [0.5]}) + rows("old", {"x": [0.5, 0.5], "y": [0.6]})
    finding = compare(given, asked, "here")
    assert finding.difference == pytest.approx((0.2 - 0.1) / 2)
    assert (finding.sets, finding.seeds) == (2, 1)
    assert finding.low == pytest.approx(-0.1)  # both draws the second set
    assert finding.high == pytest.approx(0.3)  # the first set's better seed, twice


def test_a_side_without_seeds_stands_against_every_seed() -> None:
    asked = claim().measured
    assert asked is not None
    old = {"method": "old", "backbone": "b", "test": "x", "accuracy": 0.5}
    finding = compare([*rows("new", {"x": [0.6, 0.8]}), old], asked, "here")
    assert finding.difference == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("expect", "low", "high", "said"),
    [
        ("higher", 0.01, 0.2, "holds"),
        ("higher", -0.2, -0.01, "does not hold"),
        ("higher", -0.01, 0.2, "not testable here"),
        ("lower", -0.2, -0.01, "holds"),
        ("lower", 0.01, 0.2, "does not hold"),
        ("equal", -0.01, 0.01, "holds"),
        ("equal", 0.03, 0.2, "does not hold"),
        ("equal", -0.01, 0.2, "not testable here"),
    ],
)
def test_the_verdict_is_the_intervals(expect: str, low: float, high: float, said: str) -> None:
    assert verdict(claim(expect), Finding((low + high) / 2, low, high, 3, 2))[0] == said


def test_a_handful_of_figures_decides_nothing() -> None:
    assert verdict(claim(), Finding(0.1, 0.05, 0.2, 2, 2)) == (
        "not testable here",
        "fewer than 6 pairs were measured",
    )


def test_what_is_beyond_reach_is_not_decided_by_what_is_shown() -> None:
    beyond = claim(beyond="needs 11 B parameters")
    finding = Finding(0.1, 0.05, 0.2, 2, 2)
    assert verdict(beyond, finding) == ("not testable here", "needs 11 B parameters")
    assert "+10.0 [+5.0, +20.0], 2 sets × 2 seeds" in page([beyond], [finding])


def test_the_command_writes_the_page_or_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [
        {"place": {k: row[k] for k in ("method", "backbone", "test", "seed")}, "settings": {},
         "record": {"accuracy": row["accuracy"]}, "machine": {}}
        for row in rows("new", {"x": [0.6, 0.7]}) + rows("old", {"x": [0.5, 0.5]})
    ]  # fmt: skip
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    claims = tmp_path / "claims.yaml"
    claims.write_text(
        "claims:\n- {paper: A, where: t, claim: New beats old, needs: any, measured: {file: x.jsonl, "
        "expect: higher, first: {method: new}, second: {method: old}}}\n"
    )
    arguments = [
        "--claims",
        str(claims),
        "--results",
        str(tmp_path),
        "--out",
        str(tmp_path / "o.md"),
    ]
    assert main(arguments) == 0
    assert "+15.0" in (tmp_path / "o.md").read_text()
    claims.write_text(claims.read_text().replace("method: old", "method: odl"))
    assert main(arguments) == 2
    assert "no row with {'method': 'odl'}" in capsys.readouterr().err


def test_a_claim_is_decided_somehow() -> None:
    with pytest.raises(Exception, match="one of measured, proved and beyond"):
        claim(measured=None)


def test_the_page_in_the_docs_is_the_one_the_command_makes(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "claims.md")]) == 0
    assert (tmp_path / "claims.md").read_text() == (DOCS / "claims.md").read_text()


def test_proofs_are_tests_that_are_there() -> None:
    for one in Claims.read(read_yaml(DOCS / "claims.yaml"), "claims.yaml").claims:
        for name in one.proved:
            assert (ROOT / name.partition("::")[0]).is_file(), name


def test_a_broken_results_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"x\.jsonl, line 1"):
        rows_of(tmp_path / "x.jsonl")
    with pytest.raises(DataError, match=r"missing\.jsonl"):
        rows_of(tmp_path / "missing.jsonl")
