"""A finished comparison beside the figures that a paper reports: a table for each task.

    softprompt compare lm_bff --data DATA --out RUN
    python -m benchmarks.published RUN lm_bff

The second argument names a file of benchmarks/papers/: task to row to figure. Scores in per cent with ±
*population* standard deviation over the seeds, as LM-BFF reports it; 95 % intervals over splits, seeds and rows; the
mean of dev − test of what dev chose; of how many fits of a search the best dev score was, seed by seed. A figure in
brackets cannot be told from the majority class. Written to benchmarks/results/RUN's name/published.md, beside the
comparison's results.csv and table.csv, and searches.csv with the ties.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.cells import markdown
from benchmarks.command import RESULTS
from benchmarks.kept import KEPT, ROW, Line, keep, over, read_lines, write_lines
from softprompt.errors import UsageError
from softprompt.recipes.compare_file import COMPARE, read_compare
from softprompt.recipes.comparison_plan import plan
from softprompt.settings import read_yaml

FIGURES = Path(__file__).parent / "papers"
NONE = "–"
Figures = Mapping[str, Mapping[str, float]]
SEARCHES = "searches.csv"


def beside(
    lines: Sequence[Line], results: Sequence[Line], figures: Figures, searches: Sequence[Line]
) -> str:
    """A table for each task, in Markdown.

    Args:
        lines: of table.csv.
        results: of results.csv, one for each fit and set.
        figures: task to row to what the paper reports.
        searches: as of `searched`.
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
                    _ties(searches, line),
                ]
            )
        tables.append(markdown(head, rows))
    return "\n".join(tables)


def searched(run: Path) -> list[Line]:
    """How many of a search's fits had the best dev score: a line for each seed and search.

    Args:
        run: folder of a comparison.
    """
    found: list[Line] = []
    for cell in plan(read_compare(run / COMPARE)).cells:
        row = dict(zip(ROW, (cell.backbone, cell.task, cell.row.label), strict=True))
        for one in cell.runs:
            for path in sorted(one.folder.glob("[0-9]*-*/done.json")):
                done = json.loads(path.read_text(encoding="utf-8"))
                if "tied" in done:
                    own = {"data_split": str(one.split), "search": path.parent.name}
                    counts = {"tied": str(done["tied"]), "fits": str(len(done["ranked"]))}
                    found.append({**row, **own, **counts})
    return found


def _ties(searches: Sequence[Line], line: Line) -> str:
    own = (one for one in searches if all(one[key] == line[key] for key in ROW))
    return ", ".join(f"{one['tied']} of {one['fits']}" for one in own) or NONE


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
    parser.add_argument(
        "--join", action="store_true", help="beside the seeds and rows that are kept already"
    )
    options = parser.parse_args(given)
    missing = [name for name in (*KEPT, COMPARE) if not (options.run / name).is_file()]
    if missing:
        print(
            f"error: {options.run}: no {missing[0]}, expected a finished comparison",
            file=sys.stderr,
        )
        return 2
    home = options.results / options.run.resolve().name
    try:
        searches = searched(options.run)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results, lines = keep(options.run, home, options.join)
    if options.join and (home / SEARCHES).is_file():
        searches = over(read_lines(home / SEARCHES), searches, (*ROW, "data_split", "search"))
    if searches:
        write_lines(home / SEARCHES, searches)
    figures = read_yaml(FIGURES / f"{options.figures}.yaml")
    (home / "published.md").write_text(beside(lines, results, figures, searches), encoding="utf-8")
    print(home / "published.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
