"""A finished comparison beside the figures that a paper reports: a table for each task.

    softprompt compare lm_bff --data DATA --out RUN
    python -m benchmarks.published RUN lm_bff

The second argument names a file of benchmarks/papers/: task to row to figure. Scores in per cent with ±
*population* standard deviation over the seeds, as LM-BFF reports it; 95 % intervals over splits, seeds and rows; the
mean of dev − test of what dev chose; of how many fits of a search the best dev score was, seed by seed. A figure in
brackets cannot be told from the majority class. Written to benchmarks/results/RUN's name/published.md, beside the
comparison's results.csv and table.csv.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.cells import markdown
from benchmarks.command import RESULTS
from benchmarks.compared import KEPT, Line, read_lines
from softprompt.errors import UsageError
from softprompt.recipes.compare_file import COMPARE, read_compare
from softprompt.recipes.comparison_plan import plan
from softprompt.settings import read_yaml

FIGURES = Path(__file__).parent / "papers"
NONE = "–"
Figures = Mapping[str, Mapping[str, float]]
Ties = Mapping[tuple[str, str], Sequence[str]]


def beside(lines: Sequence[Line], results: Sequence[Line], figures: Figures, ties: Ties) -> str:
    """A table for each task, in Markdown.

    Args:
        lines: of table.csv.
        results: of results.csv, one for each fit and set.
        figures: task to row to what the paper reports.
        ties: task and row to how many fits of a search had the best dev score, one for each seed.
    """
    tables = []
    for task in dict.fromkeys(line["task"] for line in lines):
        own = [line for line in lines if line["task"] == task]
        metric = own[0]["metric"]
        head = [task, "published", metric, "95 % interval", "dev − test", "tied on dev"]
        rows = []
        for line in own:
            row, tested = line["row"], line["set"] in ("test", "")
            told = line["above_majority"] != "False"
            score = _score(_values(results, line)) if tested else NONE
            known = figures.get(task, {}).get(row)
            rows.append(
                [
                    row,
                    NONE if known is None else f"{known:.1f}",
                    score if told or score == NONE else f"({score})",
                    _interval(line),
                    _gap(results, line),
                    ", ".join(ties.get((task, row), ())) or NONE,
                ]
            )
        tables.append(markdown(head, rows))
    return "\n".join(tables)


def searched_ties(run: Path) -> dict[tuple[str, str], list[str]]:
    """How many fits of each search had the best dev score: `3 of 10`, one for each seed.

    Args:
        run: folder of a comparison.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for cell in plan(read_compare(run / COMPARE)).cells:
        for one in cell.runs:
            for path in sorted(one.folder.glob("[0-9]*-*/done.json")):
                done = json.loads(path.read_text(encoding="utf-8"))
                if "tied" in done:
                    said = f"{done['tied']} of {len(done['ranked'])}"
                    found.setdefault((cell.task, cell.row.label), []).append(said)
    return found


def _values(results: Sequence[Line], line: Line, name: str = "test") -> list[float]:
    keys = ("task", "row", "metric")
    own = [r for r in results if all(r[key] == line[key] for key in keys)]
    return [float(r["value"]) for r in own if r["set"] == name]


def _score(values: Sequence[float]) -> str:
    if not values:
        return NONE
    spread = f" ± {100 * statistics.pstdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"


def _interval(line: Line) -> str:
    if not line["low"]:
        return NONE
    return f"{100 * float(line['low']):.0f} to {100 * float(line['high']):.0f}"


def _gap(results: Sequence[Line], line: Line) -> str:
    dev, test = _values(results, line, "dev"), _values(results, line)
    if line["selection"] != "dev" or not dev or len(dev) != len(test):
        return NONE
    return f"{100 * statistics.fmean(d - t for d, t in zip(dev, test, strict=True)):+.1f}"


def main(given: Sequence[str] | None = None) -> int:
    """Keep a comparison's figures and write its table beside a paper's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a comparison")
    parser.add_argument("figures", choices=sorted(path.stem for path in FIGURES.glob("*.yaml")))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(given)
    missing = [name for name in (*KEPT, COMPARE) if not (options.run / name).is_file()]
    if missing:
        print(
            f"error: {options.run}: no {missing[0]}, expected a finished comparison",
            file=sys.stderr,
        )
        return 2
    home = options.results / options.run.resolve().name
    home.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(options.run / name, home / name)
    try:
        ties = searched_ties(options.run)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results, lines = (read_lines(home / name) for name in KEPT)
    figures = read_yaml(FIGURES / f"{options.figures}.yaml")
    (home / "published.md").write_text(beside(lines, results, figures, ties), encoding="utf-8")
    print(home / "published.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
