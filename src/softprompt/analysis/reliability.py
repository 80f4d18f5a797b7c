"""The picture of a calibration: accuracy over confidence, and how many rows stand behind each point.

Data in, PNG bytes out, in the style of `figures`; measures nothing (`calibration` does).
"""

from __future__ import annotations

from collections.abc import Mapping

from softprompt.analysis.calibration import Calibration
from softprompt.analysis.figures import COLOURS, MARKERS, finished, latin
from softprompt.analysis.significance import wilson
from softprompt.errors import UsageError


def reliability_plot(systems: Mapping[str, Calibration], title: str) -> bytes:
    """Accuracy of each bin with its 95 % Wilson interval above, share of rows in it below.

    Points under the diagonal are too sure of themselves. Colour, marker and line style all tell the
    systems apart, so that the picture can be read in print without colour.

    Args:
        systems: name to calibration, at least one; the names stand in the legend with their error.
        title: above both panels.
    Returns:
        A PNG file.
    Raises:
        UsageError: no systems.
    """
    if not systems:
        raise UsageError("no calibration to draw; expected at least one")
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(6, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle=":", label="perfect")
    for number, (name, found) in enumerate(systems.items()):
        colour = COLOURS[number % len(COLOURS)]
        style = ("-", "--", "-.")[number % 3]
        confidence = [one.confidence for one in found.bins]
        accuracy = [one.accuracy for one in found.bins]
        ranges = [wilson(round(one.accuracy * one.n), one.n) for one in found.bins]
        upper.plot(
            confidence,
            accuracy,
            color=colour,
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            linewidth=1.4,
            linestyle=style,
            label=f"{latin(name)}: ECE {found.ece:.3f}, n = {found.n:,}",
        )
        lows, highs = [one.low for one in ranges], [one.high for one in ranges]
        upper.vlines(confidence, lows, highs, color=colour, linewidth=0.9, alpha=0.5)
        heights, edges = outline(found)
        lower.stairs(heights, edges, color=colour, linewidth=1.4, linestyle=style)
    upper.set_ylabel("accuracy")
    least = min(one.low for found in systems.values() for one in found.bins)
    upper.set_xlim(max(0.0, least - 0.05) - 0.02, 1.02)
    upper.set_ylim(-0.02, 1.02)
    lower.set_ylabel("share of rows")
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    lower.set_xlabel("confidence (highest probability)")
    lower.set_ylim(bottom=0)
    figure.legend(frameon=False, loc="outside lower center")
    return finished(figure, title)


def outline(found: Calibration) -> tuple[list[float], list[float]]:
    """The share of rows between each two edges, 0 where bins without rows were left out.

    Returns:
        Shares `[k]` and ascending edges `[k + 1]`.
    """
    heights: list[float] = []
    edges: list[float] = []
    for one in found.bins:
        if edges and edges[-1] < one.low:
            heights.append(0.0)
        if not edges or edges[-1] < one.low:
            edges.append(one.low)
        heights.append(one.n / found.n)
        edges.append(one.high)
    return heights, edges
