"""The pictures of a comparison: scores by row, parameter shares, scores against a number.

In the one style of `figures`; numbers in, PNG bytes out. Each series has its own colour and marker, so
that a picture is read as well in grey or with any colour vision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softprompt.analysis.accounts import percent
from softprompt.analysis.figures import COLOURS, MARKERS, finished, latin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "0.45"
WIDER = 4
"""By how much a symbol is larger than one that lies on it."""
_NAME = 44


@dataclass(frozen=True)
class Bar:
    """A row of the table.

    Args:
        name: its label.
        mean: its score.
        low, high: interval; None where there is none.
        values: scores of its runs.
        baseline: drawn grey and open.
        marked: cannot be told from the majority class.
    """

    name: str
    mean: float
    low: float | None = None
    high: float | None = None
    values: Sequence[float] = ()
    baseline: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Point:
    """A mean at a number.

    Args:
        x, y: where.
        low, high: interval of y.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points that belong together."""

    name: str
    points: Sequence[Point]


def colour_and_marker(number: int) -> tuple[str, str]:
    """Colour and marker of a series: no two of the first 49 share both."""
    return COLOURS[number % len(COLOURS)], MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def scores_by_row(bars: Sequence[Bar], metric: str, title: str, majority: float | None) -> bytes:
    """One line per row, the best on top: mean, interval, and its runs as small dots.

    Args:
        bars: in any order.
        metric: for the axis.
        title: above.
        majority: score of the majority class, a dotted line.
    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure

    ordered = sorted(bars, key=lambda bar: bar.mean)
    figure = Figure(figsize=(7.5, 1.3 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    if majority is not None:
        axes.axvline(majority, color=GREY, linewidth=1, linestyle=":", zorder=1)
    for place, bar in enumerate(ordered):
        colour = GREY if bar.baseline else COLOURS[0]
        if bar.low is not None and bar.high is not None:
            axes.hlines(place, bar.low, bar.high, color=colour, linewidth=2, alpha=0.55, zorder=2)
        if len(bar.values) > 1:
            places = [place] * len(bar.values)
            axes.plot(bar.values, places, "|", color=colour, markersize=9, alpha=0.8, zorder=3)
        axes.plot(
            *([bar.mean], [place]),
            marker="s" if bar.baseline else "o",
            markersize=7,
            color=colour,
            markerfacecolor="white" if bar.marked or bar.baseline else colour,
            zorder=4,
        )
    axes.set_yticks(range(len(ordered)), [_short(bar.name) for bar in ordered])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    said = [f"{metric}, mean and 95 % interval"]
    if any(len(bar.values) > 1 for bar in ordered):
        said.append("| one run")
    if any(bar.baseline for bar in ordered):
        said.append("square: baseline")
    if any(bar.marked and not bar.baseline for bar in ordered):
        said.append("open: not told from the majority class")
    if majority is not None:
        said.append("dotted: majority class")
    # Below the whole figure: long names leave the axes too little width for it.
    figure.supxlabel("\n".join(latin(line) for line in _wrapped(said)), fontsize="medium")
    return finished(figure, title)


def shares_by_row(shares: Sequence[tuple[str, float]], title: str) -> bytes:
    """Learned parameters as a share of the backbone's, on a log scale (Lester et al. 2021, figure 4).

    Args:
        shares: (label, share); rows that learn nothing are left out.
        title: above.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    ordered = sorted(((n, s) for n, s in shares if s > 0), key=lambda pair: pair[1])
    figure = Figure(figsize=(7.5, 1.2 + 0.34 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    least = min((share for _, share in ordered), default=1e-4)
    for place, (_, share) in enumerate(ordered):
        axes.hlines(place, least / 4, share, color=COLOURS[0], linewidth=2, alpha=0.35)
        axes.plot([share], [place], "o", color=COLOURS[0], markersize=7)
        axes.annotate(
            percent(share), (share, place), (8, 0), textcoords="offset points", va="center"
        )
    axes.set_xlim(least / 4, 4.0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_yticks(range(len(ordered)), [_short(name) for name, _ in ordered])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlabel("learned parameters, share of the backbone's")
    return finished(figure, title)


def against(
    series: Sequence[Series],
    x: str,
    y: str,
    title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    joined: bool = True,
    majority: float | None = None,
) -> bytes:
    """Scores, or shares, against a number: a length, a backbone's size, operations.

    Args:
        series: one pair of colour and marker each; beyond seven the line style changes too.
        x, y: names of the axes.
        title: above.
        log_x, log_y: scales.
        joined: whether a series is one line; equal lone points lie on each other, all seen.
        majority: score of the majority class, a dotted line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2 + 0.1 * len(series)), layout="constrained")
    axes = figure.subplots()
    # Of equal lone points the first is the largest, so that none hides another.
    hidden: Counter[Point] = Counter(() if joined else (one.points[0] for one in series))
    for number, one in enumerate(series):
        points = sorted(one.points, key=lambda point: point.x)
        colour, marker = colour_and_marker(number)
        above = hidden[points[0]] = hidden[points[0]] - 1
        axes.plot(
            [point.x for point in points],
            [point.y for point in points],
            marker=marker,
            markersize=6 + WIDER * max(0, above),
            color=colour,
            linewidth=1.5 if joined else 0,
            linestyle=("-", "--", "-.")[number // len(COLOURS) % 3],
            label=_short(one.name),
        )
        for point in points:
            if point.low is not None and point.high is not None:
                axes.vlines(point.x, point.low, point.high, color=colour, linewidth=1, alpha=0.5)
    if majority is not None:
        axes.axhline(majority, color=GREY, linewidth=1, linestyle=":", label="majority class")
    if log_y:
        axes.set_yscale("log")
    if log_x:
        axes.set_xscale("log")
    _ticks(axes, [point.x for one in series for point in one.points], log_x, joined)
    axes.set_xlabel(latin(x))
    spans = any(point.low is not None for one in series for point in one.points)
    axes.set_ylabel(latin(f"{y}, mean and 95 % interval" if spans else y))
    if len(series) > 1 or majority is not None:
        look = {"frameon": False, "fontsize": "small", "handlelength": 3.0}
        figure.legend(loc="outside lower center", ncols=2, **look)
    return finished(figure, title)


def _ticks(axes: Axes, values: Sequence[float], log: bool, joined: bool) -> None:
    """The numbers themselves where they are few: 1, 5, 20, 100, not powers of ten."""
    from matplotlib.ticker import NullLocator

    distinct = sorted(set(values))
    if joined and len(distinct) <= 8:
        axes.set_xticks(distinct, [_number(value) for value in distinct])
        if log:
            axes.xaxis.set_minor_locator(NullLocator())


def _number(value: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:,g}" if value < 1e5 else f"{value:,.0f}"


def _short(name: str) -> str:
    plain = latin(name)
    return plain if len(plain) <= _NAME else f"{plain[: _NAME - 3]}..."


def _wrapped(parts: Sequence[str], most: int = 84) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 2 <= most:
            lines[-1] += f"; {part}"
        else:
            lines.append(part)
    return lines
