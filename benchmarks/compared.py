"""One table of a finished comparison: rows × tasks, with what each row costs.

    softprompt compare benchmarks/comparisons/methods.yaml --data DATA --out RUN
    python -m benchmarks.compared RUN

Keeps the comparison's results.csv and table.csv in benchmarks/results/NAME/, and writes table.md there.
Scores in per cent, mean ± sd over seeds, or with their 95 % intervals. A figure in brackets cannot be told from the majority class
(paired bootstrap, Holm's adjustment within the task's table).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import PLUS_MINUS, markdown
from benchmarks.command import RESULTS
from benchmarks.kept import KEPT, Line, keep


def pivot(lines: Sequence[Line], intervals: bool = False, corner: str = "") -> str:
    """The table, in Markdown.

    Args:
        lines: of table.csv, and of other sets.
        intervals: 95 % intervals over splits, seeds and rows in place of the standard deviations.
        corner: above the rows' names.
    """
    shown = [line for line in lines if line["set"] != "dev"]
    tasks = list(dict.fromkeys(line["task"] for line in shown))
    columns = sorted(  # a task's other sets behind its own
        dict.fromkeys((line["task"], line["set"]) for line in shown if line["set"]),
        key=lambda column: tasks.index(column[0]),
    )
    trained = {task: f"{task}, " if len(tasks) > 1 else "" for task in tasks}
    head = [corner, *(task if name == "test" else trained[task] + name for task, name in columns)]
    head += ["learned", "stored, KB", "GFLOPs an example", "seconds a fit"]
    rows = []
    for row in dict.fromkeys(line["row"] for line in lines):
        own = {(line["task"], line["set"]): line for line in shown if line["row"] == row}
        refused = {line["task"] for line in lines if line["row"] == row and line["refused"]}
        cells = [_score(own.get(column), column[0] in refused, intervals) for column in columns]
        first = next(iter(own.values()), None)
        rows.append([row, *cells, *_costs(first)])
    return markdown(head, rows)


def measured_by(lines: Sequence[Line], results: Sequence[Line], metric: str | None) -> list[Line]:
    """Lines as in table.csv of another metric; a row that has none of it stays.

    Args:
        lines: of table.csv.
        results: of results.csv, one for each seed.
        metric: its name; None for each task's first one.
    """
    found: list[Line] = []
    for line in lines:
        own = (r for r in results if all(r[k] == line[k] for k in ("task", "row", "set")))
        values = [float(r["value"]) for r in own if r["metric"] == metric]
        if not values or line["metric"] == metric:
            found.append(line)
            continue
        untold = dict.fromkeys(("low", "high", "above_majority"), "")  # they are of the first one
        found.append({**line, **untold, "metric": str(metric), **_spread(values)})
    return found


def elsewhere(lines: Sequence[Line], results: Sequence[Line]) -> list[Line]:
    """Lines as in table.csv for the sets that nothing was trained on.

    Args:
        lines: of table.csv.
        results: of results.csv, one for each seed.
    """
    found: list[Line] = []
    for line in lines:
        own = [r for r in results if all(r[k] == line[k] for k in ("task", "row", "metric"))]
        for name in dict.fromkeys(r["set"] for r in own if r["set"].startswith("on ")):
            values = [float(r["value"]) for r in own if r["set"] == name]
            found.append({**line, "set": name, **_spread(values)})
    return found


def _spread(values: Sequence[float]) -> dict[str, str]:
    sd = str(statistics.stdev(values)) if len(values) > 1 else ""
    return {"mean": str(statistics.mean(values)), "sd": sd}


def _score(line: Line | None, refused: bool, intervals: bool) -> str:
    if line is None or not line["mean"]:
        return "refused" if refused or (line is not None and line["refused"]) else "–"
    text = f"{100 * float(line['mean']):.1f}"
    if intervals and line["low"]:
        text += f" [{100 * float(line['low']):.0f}, {100 * float(line['high']):.0f}]"
    elif line["sd"]:
        text += f"{PLUS_MINUS}{100 * float(line['sd']):.1f}"
    told = line["above_majority"] != "False"  # free text has no majority class
    return text if told or line["set"] != "test" else f"({text})"


def _costs(line: Line | None) -> tuple[str, str, str, str]:
    if line is None or not line["learned"]:
        return ("–",) * 4
    kilobytes = f"{float(line['bytes']) / 1e3:,.1f}" if line["bytes"] else "–"
    operations = (
        f"{float(line['flops_per_example']) / 1e9:.2f}" if line["flops_per_example"] else "–"
    )
    seconds = f"{float(line['seconds_per_fit']):.0f}" if line["seconds_per_fit"] else "–"
    return f"{int(float(line['learned'])):,}", kilobytes, operations, seconds


def main(given: Sequence[str] | None = None) -> int:
    """Keep a comparison's figures and write its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a comparison")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--shift", action="store_true", help="columns for sets of test_on too")
    parser.add_argument(
        "--metrics", nargs="+", help="a table of each; else one of each task's first"
    )
    parser.add_argument("--intervals", action="store_true", help="in place of ± sd")
    parser.add_argument(
        "--join", action="store_true", help="beside the seeds and rows that are kept already"
    )
    options = parser.parse_args(given)
    missing = [name for name in KEPT if not (options.run / name).is_file()]
    if missing:
        print(
            f"error: {options.run}: no {missing[0]}, expected a finished comparison",
            file=sys.stderr,
        )
        return 2
    home = options.results / options.run.resolve().name
    results, lines = keep(options.run, home, options.join)
    tables = []
    for metric in options.metrics or [None]:
        own = measured_by(lines, results, metric)
        more = elsewhere(own, results) if options.shift else []
        tables.append(pivot([*own, *more], options.intervals, metric or ""))
    (home / "table.md").write_text("\n".join(tables), encoding="utf-8")
    print(home / "table.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
