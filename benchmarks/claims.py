"""The papers' claims beside what is measured here: docs/claims.yaml in, docs/claims.md out.

    python -m benchmarks.claims

A claim names a results file, two choices of its rows and which should be higher. Rows are paired by test
set, backbone and seed; the interval is a bootstrap over sets (with their backbones), then over seeds. A
claim without a measurement names the tests that prove it, or why it cannot be tested here.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from benchmarks.cells import markdown
from benchmarks.command import RESULTS
from softprompt.errors import DataError, SoftpromptError
from softprompt.settings import Settings, read_yaml

DOCS = Path(__file__).parent.parent / "docs"
RESAMPLES = 10_000
FEWEST = 6
"""Pairs below which no interval decides: resampling four figures knows nothing of a fifth."""
Row = Mapping[str, Any]
Verdict = Literal["holds", "does not hold", "not testable here"]


class Measured(Settings):
    """Where a claim's figures are."""

    file: str = Field(description="under benchmarks/results, .jsonl or .csv")
    figure: str = Field(default="accuracy", description="column of the figure")
    first: dict[str, Any] = Field(description="column: value, of the rows on the one side")
    second: dict[str, Any] = Field(description="of the rows on the other side")
    only: dict[str, list[Any]] = Field(default_factory=dict, description="column: values kept")
    across: list[str] = Field(default=["backbone", "test"], description="what pairs the rows")
    seed: str = Field(default="seed", description="column of the seed, paired where both have it")
    expect: Literal["higher", "lower", "equal"] = Field(description="the first, says the claim")
    margin: float = Field(default=0.02, gt=0, description="what counts as equal")


class Claim(Settings):
    """One claim of a paper, in our words."""

    paper: str
    where: str = Field(description="section, table or figure")
    claim: str
    needs: str = Field(description="the size or the data that the claim is about")
    beyond: str | None = Field(default=None, description="why what is here cannot decide it")
    measured: Measured | None = None
    proved: list[str] = Field(default_factory=list, description="tests that hold it, file::name")

    @model_validator(mode="after")
    def _decided_somehow(self) -> Claim:
        if self.measured is None and not self.proved and self.beyond is None:
            raise ValueError("expected one of measured, proved and beyond")
        return self


class Claims(Settings):
    """The whole file."""

    claims: list[Claim]


@dataclass(frozen=True)
class Finding:
    """What came out for a measured claim.

    Args:
        difference: first minus second, mean over sets of the mean over seeds.
        low, high: 95 % of it.
        sets: pairs of backbone and test set.
        seeds: in the set with the fewest.
    """

    difference: float
    low: float
    high: float
    sets: int
    seeds: int


def rows_of(path: Path) -> list[Row]:
    """The rows of a results file, one mapping each.

    Raises:
        DataError: there is no such file, or a line that is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", str(path)) from None
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    found: list[Row] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            cell = json.loads(line)
            found.append({**cell["record"], **cell["place"]})
        except (ValueError, KeyError, TypeError):
            raise DataError("no measured cell", str(path), number) from None
    return found


def compare(rows: Sequence[Row], asked: Measured, where: str) -> Finding:
    """The paired difference and its interval.

    Raises:
        DataError: no rows on one side, or none that pair.
    """
    sides = []
    for choice in (asked.first, asked.second):
        chosen = [row for row in rows if _is(row, choice) and _kept(row, asked.only)]
        if not chosen:
            raise DataError(f"no row with {choice}", where)
        sides.append(chosen)
    groups = []
    for key in dict.fromkeys(_key(row, asked.across) for row in sides[0]):
        own = [[row for row in side if _key(row, asked.across) == key] for side in sides]
        differences = _paired(own[0], own[1], asked)
        if differences:
            groups.append(np.array(differences))
    if not groups:
        raise DataError(f"no rows of {asked.first} and {asked.second} pair", where)
    means = _resampled(groups, np.random.default_rng(0))
    low, high = np.quantile(means, [0.025, 0.975])
    centre = float(np.mean([group.mean() for group in groups]))
    return Finding(centre, float(low), float(high), len(groups), min(map(len, groups)))


def verdict(claim: Claim, finding: Finding | None) -> tuple[Verdict, str]:
    """What becomes of a claim, and why."""
    if claim.beyond is not None:
        return "not testable here", claim.beyond
    if claim.measured is None or finding is None:
        return "holds", "proved by " + ", ".join(f"`{name}`" for name in claim.proved)
    if finding.sets * finding.seeds < FEWEST:
        return "not testable here", f"fewer than {FEWEST} pairs were measured"
    asked = claim.measured
    if asked.expect == "equal":
        if -asked.margin <= finding.low and finding.high <= asked.margin:
            return "holds", ""
        apart = finding.low > asked.margin or finding.high < -asked.margin
    else:
        low, high = finding.low, finding.high
        if asked.expect == "lower":
            low, high = -high, -low
        if low > 0:
            return "holds", ""
        apart = high < 0
    if apart:
        return "does not hold", ""
    return "not testable here", "the interval leaves both open"


def page(claims: Sequence[Claim], findings: Sequence[Finding | None]) -> str:
    """The page, in Markdown."""
    parts = [
        "# The papers' claims\n\n"
        "Made from [claims.yaml](claims.yaml) and [benchmarks/results](../benchmarks/results/):\n\n"
        "```sh\npython -m benchmarks.claims\n```\n\n"
        "Differences are in points of per cent, with the 95 % interval of a bootstrap over backbones and test "
        "sets, then seeds; the figures themselves, and what was seen and how long, are in "
        "[results.md](results.md). *Not testable here* says why: most of the claims are about backbones a "
        "hundred to a thousand times as large.\n"
    ]
    for paper in dict.fromkeys(claim.paper for claim in claims):
        rows = [
            _line(claim, finding)
            for claim, finding in zip(claims, findings, strict=True)
            if claim.paper == paper
        ]
        head = ("claim", "where", "needs", "here", "verdict")
        parts.append(f"## {paper}\n\n{markdown(head, rows)}")
    return "\n".join(parts)


def main(given: Sequence[str] | None = None) -> int:
    """Read, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, default=DOCS / "claims.yaml")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=DOCS / "claims.md")
    options = parser.parse_args(given)
    try:
        claims = Claims.read(read_yaml(options.claims), str(options.claims)).claims
        findings = [_finding(claim, options.results) for claim in claims]
    except SoftpromptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.out.write_text(page(claims, findings), encoding="utf-8")
    print(f"{len(claims)} claims: {options.out}")
    return 0


def _finding(claim: Claim, results: Path) -> Finding | None:
    if claim.measured is None:
        return None
    path = results / claim.measured.file
    return compare(rows_of(path), claim.measured, f"{path}, claim '{claim.claim}'")


def _line(claim: Claim, finding: Finding | None) -> tuple[str, ...]:
    here = "–"
    if finding is not None:
        here = (
            f"{100 * finding.difference:+.1f} [{100 * finding.low:+.1f}, {100 * finding.high:+.1f}], "
            f"{finding.sets} sets × {finding.seeds} seeds"
        )
    word, why = verdict(claim, finding)
    return claim.claim, claim.where, claim.needs, here, f"*{word}*" + (f": {why}" if why else "")


def _is(row: Row, choice: Mapping[str, Any]) -> bool:
    return all(str(row.get(column)) == str(value) for column, value in choice.items())


def _kept(row: Row, only: Mapping[str, Sequence[Any]]) -> bool:
    return all(str(row.get(column)) in map(str, values) for column, values in only.items())


def _key(row: Row, across: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row.get(column)) for column in across)


def _paired(first: Sequence[Row], second: Sequence[Row], asked: Measured) -> list[float]:
    """Differences seed by seed; a side without seeds (zero-shot) stands against every seed."""
    values: list[dict[str, float]] = []
    for side in (first, second):
        values.append({str(row.get(asked.seed)): float(row[asked.figure]) for row in side})
    one, other = values
    if len(other) == 1 and "None" in other:
        return [value - other["None"] for value in one.values()]
    return [value - other[seed] for seed, value in one.items() if seed in other]


def _resampled(groups: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Mean differences of resampled sets and seeds, `[RESAMPLES]`."""
    inner = [
        group[rng.integers(len(group), size=(RESAMPLES, len(group)))].mean(axis=1)
        for group in groups
    ]
    drawn = rng.integers(len(groups), size=(RESAMPLES, len(groups)))
    return np.stack(inner, axis=1)[np.arange(RESAMPLES)[:, None], drawn].mean(axis=1)


if __name__ == "__main__":
    sys.exit(main())
