"""One picture of a run: loss and dev metric over steps. Data in, PNG bytes out; knows no folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from softprompt.analysis.figures import COLOURS, MARKERS, finished, latin

NAMED = len(COLOURS)
"""Lines beyond so many are grey and without a name: nobody tells more colours apart."""

GREY = "#BBBBBB"
Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Course:
    """The course of one fit, or the mean course of several.

    Args:
        name: for the legend.
        loss: (step, loss) pairs.
        dev: (step, dev metric) pairs.
        kept: the step whose parameters were kept.
    """

    name: str
    loss: Points
    dev: Points
    kept: int | None = None


@dataclass(frozen=True)
class _Style:
    """How a line is drawn."""

    colour: str
    marker: str
    width: float
    height: int
    label: str | None


def learning_curve(
    courses: Sequence[Course], metric: str, title: str, emphasised: int | None = None
) -> bytes:
    """Loss above, dev metric below, the kept step ringed.

    Args:
        courses: one per seed, or per variant; the first `NAMED` of them have a colour and a name.
        metric: the name of the dev metric.
        title: above both.
        emphasised: the place of the one that was chosen.
    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    chosen = emphasised is not None
    figure = Figure(figsize=(8.5, 6.5) if chosen else (7, 5.5), layout="constrained")
    with_dev = any(course.dev for course in courses)
    axes = figure.subplots(2 if with_dev else 1, 1, sharex=True, squeeze=False)[:, 0]
    for number, course in enumerate(courses):
        style = _style(number, len(courses), course.name, emphasised)
        line = {"color": style.colour, "zorder": style.height}
        if course.loss:
            steps, losses = zip(*course.loss, strict=True)
            if len(courses) <= NAMED and not chosen:
                axes[0].plot(steps, losses, alpha=0.2, linewidth=0.8, **line)
            smooth = _smooth(losses)
            axes[0].plot(steps, smooth, linewidth=style.width, label=style.label, **line)
        if course.dev:
            steps, values = zip(*course.dev, strict=True)
            axes[1].plot(
                *(steps, values),
                marker=style.marker,
                markersize=4,
                linewidth=style.width,
                label=style.label,
                **line,
            )
            kept = dict(course.dev).get(course.kept) if course.kept is not None else None
            if kept is not None and style.colour != GREY:
                axes[1].plot([course.kept], [kept], "o", markersize=11, fillstyle="none", **line)
    axes[0].set_ylabel("training loss (nats)")
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if with_dev:
        ringed = any(course.kept is not None for course in courses)
        axes[1].set_ylabel(f"dev {metric}" + " (ringed: kept)" * ringed)
    if chosen:
        handles, labels = axes[-1].get_legend_handles_labels()
        # Below the axes: beside them, long names would leave no room.
        figure.legend(
            handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize="small"
        )
    elif len(courses) > 1 and any(course.loss for course in courses):
        axes[0].legend(frameon=False)
    return finished(figure, title)


def _style(number: int, count: int, name: str, emphasised: int | None) -> _Style:
    """Colour and name for the first lines, grey for the others; the chosen one thick and on top."""
    if number >= NAMED and number != emphasised:
        rest = f"{count - NAMED} others" if number == NAMED else None
        return _Style(GREY, "", 0.8, 1, rest)
    place = number % NAMED
    width, height = (3.0, 4) if number == emphasised else (1.4, 3)
    label = f"{_short(name)} (chosen)" if number == emphasised else _short(name)
    return _Style(COLOURS[place], MARKERS[place], width, height, label)


def _short(name: str, most: int = 44) -> str:
    """A name for a legend; a comma may end its line."""
    lines, line = [], ""
    for part in latin(name).split(","):
        if line and len(line) + len(part) > most:
            lines.append(line)
            line = part
        else:
            line = f"{line},{part}" if line else part
    return "\n".join([*lines, line[: 2 * most]])


def _smooth(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """A running mean that is not pulled towards zero at its start."""
    smoothed, mean, mass = [], 0.0, 0.0
    for value in values:
        mean, mass = weight * mean + (1 - weight) * value, weight * mass + (1 - weight)
        smoothed.append(mean / mass)
    return smoothed
