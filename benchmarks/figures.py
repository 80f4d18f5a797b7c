"""One figure: scores over a quantity, a line with a band for each way of tuning. PNG bytes out.

In the style of `softprompt.analysis.plots`: its colours, its markers, no chart junk.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softprompt.analysis.figures import COLOURS, MARKERS


@dataclass(frozen=True)
class Line:
    """One line of the figure.

    Args:
        name: for the legend.
        scores: x to one score for each seed, 0 to 1.
    """

    name: str
    scores: Mapping[float, Sequence[float]]


@dataclass(frozen=True)
class Axes:
    """What the figure says.

    Args:
        x, y: labels.
        title: above.
        log: whether x grows by factors.
        names: x to what is written there, instead of numbers.
        reference: a name and the score of a dashed line, if any.
    """

    x: str
    y: str
    title: str
    log: bool = False
    names: Mapping[float, str] | None = None
    reference: tuple[str, float] | None = None


def lines_with_bands(lines: Sequence[Line], axes: Axes) -> bytes:
    """Means over seeds, joined; bands of one sample standard deviation around them.

    Lines differ in colour, marker and dash, so that they can be told apart in grey too.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.subplots()
    for number, line in enumerate(lines):
        _draw(plot, line, number)
    if axes.reference is not None:
        name, value = axes.reference
        plot.axhline(100 * value, color="#666666", linewidth=1, linestyle=":", label=name)
    if axes.log:
        plot.set_xscale("log")
    if axes.names is not None:
        plot.set_xticks(list(axes.names), list(axes.names.values()))
        plot.set_xticks([], minor=True)
    plot.set_xlabel(axes.x)
    plot.set_ylabel(axes.y)
    plot.set_title(axes.title, fontsize=11)
    plot.grid(alpha=0.25)
    plot.spines[["top", "right"]].set_visible(False)
    plot.legend(frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


def _draw(plot: Any, line: Line, number: int) -> None:
    xs = sorted(line.scores)
    means = [100 * statistics.mean(line.scores[x]) for x in xs]
    sds = [100 * statistics.stdev(line.scores[x]) if len(line.scores[x]) > 1 else 0.0 for x in xs]
    colour = COLOURS[number % len(COLOURS)]
    low = [mean - sd for mean, sd in zip(means, sds, strict=True)]
    high = [mean + sd for mean, sd in zip(means, sds, strict=True)]
    plot.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)
    plot.plot(
        xs,
        means,
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        linestyle=("-", "--", "-.")[number % 3],
        linewidth=1.8,
        markersize=6,
        label=line.name,
    )


def mean_over(groups: Sequence[Sequence[float]]) -> list[float]:
    """Of scores per test set and seed, each seed's mean over the test sets.

    Seeds that a test set lacks are left out.
    """
    return [statistics.mean(seed) for seed in zip(*groups, strict=False)] if groups else []
