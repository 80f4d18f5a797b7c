"""The one look of all pictures: colours, markers, grid, frame, title, and the PNG file.

Knows figures, not what they show.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito 2008: told apart with any kind of colour vision."""

MARKERS = "osD^vPX"


def finished(figure: Figure, title: str) -> bytes:
    """Put grid, frame and title on a figure and draw it: equal bytes for equal figures.

    Returns:
        A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    for axis in figure.axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(latin(title))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


def latin(text: str) -> str:
    """A title that matplotlib's own font can draw: other letters (and $) would be boxes or maths."""
    return "".join(c if ord(c) < 0x250 and c != "$" else "·" for c in text)
