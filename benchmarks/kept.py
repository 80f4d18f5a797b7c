"""What of a comparison is kept in the repository, and how parts that were run apart are put together.

A comparison's results.csv has a line per row, seed and set, its table.csv one per row with statistics. Joined
to lines that are kept already, other rows and other tasks stand beside them, and other seeds of a row go into
its mean, its sd and, where the interval is Wilson's (which needs no more than the mean), its interval; what
needs the predictions of every test row (tests against the majority class and the reference, bootstrap
intervals) is then left empty, never taken from a part.
"""

from __future__ import annotations

import csv
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from softprompt.analysis.significance import wilson

KEPT = ("results.csv", "table.csv")
Line = Mapping[str, str]
ROW = ("backbone", "task", "row")
SEED = (*ROW, "seed", "data_split", "set", "metric")
OF_PREDICTIONS = (
    *("low", "high", "interval", "majority_p_holm", "above_majority", "reference", "difference"),
    *("difference_low", "difference_high", "p_holm", "smallest_by_rows", "smallest_by_seeds"),
)
"""Columns of table.csv that a mean over joined seeds cannot give."""


def keep(run: Path, home: Path, join: bool) -> tuple[list[Line], list[Line]]:
    """Keep a finished comparison's figures in a folder.

    Args:
        run: the comparison's folder, with both files.
        home: made if need be; what it holds is replaced.
        join: what it holds stays, but for what the comparison has too.
    Returns:
        The lines of results.csv and of table.csv that are kept now.
    """
    home.mkdir(parents=True, exist_ok=True)
    if not join or not all((home / name).is_file() for name in KEPT):
        for name in KEPT:
            shutil.copyfile(run / name, home / name)
        return read_lines(home / KEPT[0]), read_lines(home / KEPT[1])
    earlier, later = ([read_lines(place / name) for name in KEPT] for place in (home, run))
    results, lines = joined((earlier[0], earlier[1]), (later[0], later[1]))
    for name, found in zip(KEPT, (results, lines), strict=True):
        write_lines(home / name, found)
    return results, lines


def joined(
    earlier: tuple[Sequence[Line], Sequence[Line]], later: tuple[Sequence[Line], Sequence[Line]]
) -> tuple[list[Line], list[Line]]:
    """Lines of results.csv and of table.csv, those of a later run laid over those of an earlier one."""
    results = over(earlier[0], later[0], SEED)
    before, after = ({_key(line, ROW): line for line in part[1]} for part in (earlier, later))
    lines: list[Line] = []
    for key, line in (before | after).items():
        both = key in before and key in after
        if both and _seeds(earlier[0], line) - _seeds(later[0], line):
            line = _together(before[key], after[key], results)
        lines.append(line)
    return results, lines


def read_lines(path: Path) -> list[Line]:
    """The rows of a csv file of a comparison."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    """A csv file with the columns of all lines, empty where a line has none."""
    columns = list(dict.fromkeys(column for line in lines for column in line))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def over(earlier: Sequence[Line], later: Sequence[Line], keys: Sequence[str]) -> list[Line]:
    """Later lines in the place of the earlier ones that they have the keys of, the others behind."""
    found = {_key(line, keys): line for line in earlier}
    return list((found | {_key(line, keys): line for line in later}).values())


def _together(before: Line, line: Line, results: Sequence[Line]) -> Line:
    """A row's line of the later run, its score over the seeds of both."""
    if not (before["mean"] and line["mean"]):
        return line if line["mean"] else before
    values = _values(results, line, line["set"])
    mean, n = statistics.fmean(values), int(line["n"])
    found = {**line, **dict.fromkeys(OF_PREDICTIONS, "")}
    found |= {"fits": str(len(values)), "mean": str(mean)}
    found["sd"] = str(statistics.stdev(values)) if len(values) > 1 else ""
    dev = _values(results, line, "dev")
    found["dev_mean"] = str(statistics.fmean(dev)) if dev else ""
    if line["interval"] == before["interval"] == "Wilson" and line["n"] == before["n"]:
        interval = wilson(round(mean * n), n)
        found |= {"low": str(interval.low), "high": str(interval.high), "interval": "Wilson"}
    return found


def _seeds(results: Sequence[Line], line: Line) -> set[tuple[str, str]]:
    own = (r for r in results if _key(r, ROW) == _key(line, ROW))
    return {(r["seed"], r["data_split"]) for r in own}


def _values(results: Sequence[Line], line: Line, name: str) -> list[float]:
    keys = (*ROW, "metric")
    own = (r for r in results if _key(r, keys) == _key(line, keys) and r["set"] == name)
    return [float(r["value"]) for r in own]


def _key(line: Line, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(line[key] for key in keys)
