"""Which pictures a comparison has, from its tables: the blocks of a page that show them.

One per table: scores by row, parameter shares, scores against what varies, scores against operations;
over several backbones: scores and shares against their size.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from softprompt.analysis.comparison_plots import (
    Bar,
    Point,
    Series,
    against,
    scores_by_row,
    shares_by_row,
)
from softprompt.recipes.comparison_results import Result
from softprompt.recipes.comparison_tables import MAJORITY, Analysed
from softprompt.recipes.pages import Block, Heading, Picture

FIGURES = "figures"


def table_pictures(one: Analysed, several: bool) -> list[Block]:
    """The pictures of one backbone and task; none where no score may be shown."""
    if one.table is None:
        return []
    compared = one.compared
    title = f"{compared.task} on {compared.backbone}" if several else compared.task
    stem = _stem(f"{compared.backbone}-{compared.task}")
    blocks: list[Block] = [
        Picture(
            f"{FIGURES}/{stem}-scores.png",
            scores_by_row(_bars(one), one.metric, title, _majority(one)),
            f"{one.metric} of each row on {title}, with intervals",
        )
    ]
    with_costs = [r for r in compared.results if r.costs is not None and r.costs.learned]
    shares = [(r.label, r.costs.share) for r in with_costs if r.costs is not None]
    if len(shares) > 1:
        text = f"learned parameters by row, {compared.backbone}"
        picture = shares_by_row(shares, text)
        blocks.append(Picture(f"{FIGURES}/{stem}-parameters.png", picture, text))
    for key, series in _varied(one).items():
        name = key.rsplit(".", 1)[-1]
        picture = against(
            series,
            key,
            one.metric,
            f"{title}: {name}",
            log_x=_spans(series),
            majority=_majority(one),
        )
        text = f"{one.metric} against {key} on {title}"
        blocks.append(Picture(f"{FIGURES}/{stem}-{_stem(name)}.png", picture, text))
    costs = _by_operations(one)
    if len({series.points[0].x for series in costs}) > 1:
        picture = against(
            costs,
            "floating-point operations per example (millions)",
            one.metric,
            f"{title}: score and cost of a prediction",
            joined=False,
            majority=_majority(one),
        )
        text = f"{one.metric} against operations per example on {title}"
        blocks.append(Picture(f"{FIGURES}/{stem}-operations.png", picture, text))
    return blocks


def overview_pictures(tables: Sequence[Analysed]) -> list[Block]:
    """Where there are several backbones: scores and shares against their size."""
    blocks: list[Block] = []
    for task in dict.fromkeys(one.compared.task for one in tables):
        own = [one for one in tables if one.compared.task == task and one.table is not None]
        scores: dict[str, list[Point]] = defaultdict(list)
        shares: dict[str, list[Point]] = defaultdict(list)
        for one in own:
            for result in one.compared.results:
                if result.costs is None:
                    continue
                size = float(result.costs.backbone)
                if (point := _point(one, result, size)) is not None:
                    scores[result.label].append(point)
                if result.costs.learned:
                    shares[result.label].append(Point(size, 100 * result.costs.share))
        if len({point.x for points in scores.values() for point in points}) < 2:
            continue
        metric, sizes = own[0].metric, "parameters of the backbone"
        stem = _stem(task)
        title = f"{task}: score against the size of the backbone"
        picture = against(_series(scores), sizes, metric, title, log_x=True)
        blocks += [
            Heading(f"{task} over backbones"),
            Picture(f"{FIGURES}/{stem}-sizes.png", picture, title),
        ]
        title = f"{task}: share of learned parameters"
        drawn = _series(shares)
        picture = against(drawn, sizes, "learned parameters (%)", title, log_x=True, log_y=True)
        blocks.append(Picture(f"{FIGURES}/{stem}-shares.png", picture, title))
    return blocks


def _bars(one: Analysed) -> list[Bar]:
    bars: list[Bar] = []
    for result in one.compared.results:
        row = one.row(result)
        if row is None or result.label == MAJORITY:
            continue
        bars.append(
            Bar(
                name=result.label,
                mean=row.spread.mean,
                low=row.interval.low if row.interval else None,
                high=row.interval.high if row.interval else None,
                values=result.values(one.shown, one.metric),
                baseline=result.kind == "baseline",
                marked=row.above_majority is False,
            )
        )
    return bars


def _majority(one: Analysed) -> float | None:
    known = [row for row in one.table.rows if row.name == MAJORITY] if one.table else []
    return known[0].spread.mean if known else None


def _varied(one: Analysed) -> dict[str, list[Series]]:
    """By varied key whose values are numbers: a series for each row family, and for each combination of
    what else varies."""
    found: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for result in one.compared.results:
        for key, value in result.varied.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            rest = {k.rsplit(".", 1)[-1]: v for k, v in result.varied.items() if k != key}
            name = ", ".join([result.family, *(f"{k}={_shown(v)}" for k, v in rest.items())])
            if (point := _point(one, result, float(value))) is not None:
                found[key][name].append(point)
    kept = {key: _series(points) for key, points in found.items()}
    return {
        key: series
        for key, series in kept.items()
        if any(len(drawn.points) > 1 for drawn in series)
    }


def _by_operations(one: Analysed) -> list[Series]:
    series: list[Series] = []
    for result in one.compared.results:
        if result.costs is None or result.costs.operations is None:
            continue
        point = _point(one, result, result.costs.operations / 1e6)
        if point is not None:
            series.append(Series(result.label, [point]))
    return series


def _point(one: Analysed, result: Result, x: float) -> Point | None:
    row = one.row(result)
    if row is None:
        return None
    interval = row.interval
    return Point(
        x, row.spread.mean, interval.low if interval else None, interval.high if interval else None
    )


def _series(points: dict[str, list[Point]]) -> list[Series]:
    return [Series(name, found) for name, found in points.items()]


def _spans(series: Sequence[Series]) -> bool:
    """Whether numbers lie so far apart that a log scale tells them apart better."""
    numbers = [point.x for drawn in series for point in drawn.points]
    return min(numbers) > 0 and max(numbers) / min(numbers) >= 10


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value}"


def _stem(text: str) -> str:
    """A file name: letters and digits, joined by dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or "table"
