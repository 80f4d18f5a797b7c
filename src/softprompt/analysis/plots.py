"""One picture of a run: loss and dev metric over steps. Data in, PNG bytes out; knows no folders."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito 2008: told apart with any kind of colour vision."""

MARKERS = "osD^vPX"


@dataclass(frozen=True)
class Course:
    """The course of one fit.

    Args:
        name: for the legend.
        loss: (step, loss) pairs.
        dev: (step, dev metric) pairs.
        kept: the step whose parameters were kept.
    """

    name: str
    loss: Sequence[tuple[int, float]]
    dev: Sequence[tuple[int, float]]
    kept: int | None = None


def learning_curve(courses: Sequence[Course], metric: str, title: str) -> bytes:
    """Loss above, dev metric below, the kept step ringed.

    Args:
        courses: one per seed.
        metric: the name of the dev metric.
        title: above both.
    Returns:
        A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    with_dev = any(course.dev for course in courses)
    axes = figure.subplots(2 if with_dev else 1, 1, sharex=True, squeeze=False)[:, 0]
    for number, course in enumerate(courses):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        if course.loss:
            steps, losses = zip(*course.loss, strict=True)
            axes[0].plot(steps, losses, color=colour, alpha=0.2, linewidth=0.8)
            axes[0].plot(steps, _smooth(losses), color=colour, linewidth=1.6, label=course.name)
        if course.dev:
            steps, values = zip(*course.dev, strict=True)
            axes[1].plot(steps, values, color=colour, marker=marker, markersize=4, linewidth=1.4)
            kept = dict(course.dev).get(course.kept) if course.kept is not None else None
            if kept is not None:
                axes[1].plot(
                    [course.kept], [kept], "o", markersize=11, fillstyle="none", color=colour
                )
    axes[0].set_ylabel("training loss (nats)")
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if with_dev:
        axes[1].set_ylabel(f"dev {metric} (ringed: kept)")
    if len(courses) > 1 and any(course.loss for course in courses):
        axes[0].legend(frameon=False)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_latin(title))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


def _smooth(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """A running mean that is not pulled towards zero at its start."""
    smoothed, mean, mass = [], 0.0, 0.0
    for value in values:
        mean, mass = weight * mean + (1 - weight) * value, weight * mass + (1 - weight)
        smoothed.append(mean / mass)
    return smoothed


def _latin(text: str) -> str:
    """A title that matplotlib's own font can draw: other letters (and $) would be boxes or maths."""
    return "".join(c if ord(c) < 0x250 and c != "$" else "·" for c in text)
