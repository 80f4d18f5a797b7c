"""Results of the speed suite as JSON and as a Markdown table. Knows readings, not how they came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.gauges import Reading
from benchmarks.speed_cases import Case, expectation

HEAD = (
    "case",
    "against",
    "ours",
    "theirs",
    "times as fast",
    "expected",
    "ours, floor",
    "theirs, floor",
    "memory, ours",
    "theirs",
    "share",
)


@dataclass(frozen=True)
class Result:
    """What came out of a case.

    Args:
        case: its settings.
        readings: ours first.
        agreement: by rival, how far what both sides compute differs.
        failures: rivals that could not run, and why.
    """

    case: Case
    readings: Sequence[Reading]
    agreement: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    def to_json(self, rate: float) -> dict[str, Any]:
        """With the ratios and the floors that follow."""
        ours = self.readings[0]
        return {
            "case": asdict(self.case),
            "readings": [
                {
                    **asdict(each),
                    "median_seconds_per_unit": each.median,
                    "floor_seconds_per_unit": each.operations / each.units / rate,
                    "share_of_rate": each.operations / each.units / rate / each.median,
                    "times_ours": each.median / ours.median,
                }
                for each in self.readings
            ],
            "agreement": self.agreement,
            "failures": self.failures,
        }


MUST_AGREE = ("machine", "precision", "rounds", "quick", "toy", "lengths")
"""Facts under which results may stand in one table."""


def earlier(path: Path, facts: Mapping[str, Any]) -> tuple[dict[str, Result], float]:
    """What was measured before under the same facts, by the name of the case, and the matrix rate then;
    else nothing, and 0."""
    if not path.exists():
        return {}, 0.0
    there = json.loads(path.read_text(encoding="utf-8"))
    if any(there[name] != facts[name] for name in MUST_AGREE):
        return {}, 0.0
    found = {one["case"]["name"]: _read(one) for one in there["results"]}
    return found, float(there["operations_per_second"])


def _read(one: Mapping[str, Any]) -> Result:
    case = Case(**{**one["case"], "rivals": tuple(one["case"]["rivals"])})
    own = {each.name for each in fields(Reading)}
    readings = [
        Reading(**{name: value for name, value in each.items() if name in own})
        for each in one["readings"]
    ]
    return Result(case, readings, one["agreement"], one["failures"])


def write(results: Sequence[Result], facts: Mapping[str, Any], path: Path) -> str:
    """Write `path` (.json) and the table beside it (.md), and return the table.

    Args:
        facts: machine, versions, options; `operations_per_second` is the matrix rate.
    """
    rate = float(facts["operations_per_second"])
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**facts, "results": [result.to_json(rate) for result in results]}
    _replace(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    document = f"{_preface(facts)}\n{table(results, rate)}{_notes(results)}"
    _replace(path.with_suffix(".md"), document)
    return document


def table(results: Sequence[Result], rate: float) -> str:
    """A row for each comparison."""
    rows = [row for result in results for row in _rows(result, rate)]
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _rows(result: Result, rate: float) -> Iterator[Sequence[str]]:
    ours, *others = result.readings
    for other in others:
        yield (
            result.case.name,
            other.name,
            _pace(result.case, ours.median),
            _pace(result.case, other.median),
            f"{other.median / ours.median:.2f}×",
            _expected(result.case, ours, other),
            _pace(result.case, ours.operations / ours.units / rate),
            _pace(result.case, other.operations / other.units / rate),
            _megabytes(ours.peak_bytes),
            _megabytes(other.peak_bytes),
            f"{ours.peak_bytes / max(1, other.peak_bytes):.2f}",
        )


def _expected(case: Case, ours: Reading, other: Reading) -> str:
    """What was expected, and whether it came."""
    wanted = expectation(case, other.name)
    if wanted is None:
        return ""
    met = other.median / ours.median >= wanted.times
    text = f"≥ {wanted.times:g}×"
    if wanted.memory is not None:
        text += f", memory ≤ {wanted.memory:g}"
        met = met and ours.peak_bytes <= wanted.memory * other.peak_bytes
    return f"{text}: {'met' if met else 'not met'}"


def _pace(case: Case, seconds: float) -> str:
    """Training: time of a step. Prediction: examples per second."""
    if case.kind.startswith("train"):
        return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1e3:.1f} ms"
    return f"{1 / seconds:,.1f}/s" if seconds > 0 else "–"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def _preface(facts: Mapping[str, Any]) -> str:
    where = ", ".join(f"{name} {value}" for name, value in facts["machine"].items())
    return (
        f"Measured on {where}; {facts['operations_per_second'] / 1e9:,.0f} GFLOP/s in a matrix "
        f"product. Medians of {facts['rounds']} interleaved rounds; lengths: {facts['lengths']}. "
        "Training: time of a step; prediction: examples per second, tokenising included. Floor: "
        "the operations of that side's matrix products at the measured rate. Memory: what a round "
        "adds at its peak.\n"
    )


def _notes(results: Sequence[Result]) -> str:
    loss = [a["loss"] for r in results for a in r.agreement.values() if "loss" in a]
    gradient = [a["gradient"] for r in results for a in r.agreement.values() if "gradient" in a]
    chances = [
        a["probability"] for r in results for a in r.agreement.values() if "probability" in a
    ]
    lines = []
    if loss:
        lines.append(
            f"Both sides compute the same: loss within {max(loss):.1e}, gradient of the prompt "
            f"within {max(gradient):.1e}, relative, at most over all training cases."
        )
    if chances:
        lines.append(f"Probabilities of labels within {max(chances):.1e} over all predictions.")
    for result in results:
        lines += [
            f"{result.case.name}, {rival}: not measured ({why})"
            for rival, why in result.failures.items()
        ]
    return "".join(f"\n{line}\n" for line in lines)


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
