"""A picture of where rows lie among words: two principal components of their directions.

All points are cut to length 1 first, because neighbours are found by cosine and learned rows are often
many times longer than words. Two of many dimensions: what is near in the picture need not be near.
Knows points with names and draws them; names that would overlap are moved, then left out.
Dimensions: n points, E width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.explaining import RowWords, unit_rows
from softprompt.analysis.figures import COLOURS, MARKERS, finished
from softprompt.backbones.backbone import Backbone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "SimHei", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB"),
    *("Arial Unicode MS", "Droid Sans Fallback"),
)
"""Fonts with Han characters, where one is installed; without, such words appear as their token id."""

FEW_ROWS = 30
"""Up to so many rows two words of each are shown, of more one."""

GREY = "#777777"
REACHES = (0.0, 4.0, 10.0, 18.0, 28.0, 40.0)
"""How far from its point's edge a name may stand, in pixels; from the third on a line leads to it."""


@dataclass(frozen=True)
class MapPoint:
    """One point.

    Args:
        name: drawn beside it.
        instead: drawn where no installed font has the name's letters.
        near: the places of points that a thin line leads to.
    """

    name: str
    instead: str = ""
    near: tuple[int, ...] = ()


@dataclass(frozen=True)
class MapGroup:
    """Points of one kind.

    Args:
        title: in the legend.
        points: their names.
        rows: where they are, `[n, E]`.
        role: `rows` of a prompt, `words` near them, or `labels`.
    """

    title: str
    points: Sequence[MapPoint]
    rows: Float[Tensor, "n E"]
    role: str


def prompt_map(groups: Sequence[MapGroup], title: str) -> bytes:
    """Draw all groups in one plane.

    Args:
        groups: at least three points in all; lines lead from a point to others by their places in
            the order of all groups.
        title: above.
    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    places, shares = _plane(groups)
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots()
    lines = [(start, end) for start, one in enumerate(_points(groups)) for end in one.near]
    for start, end in lines:
        axes.plot(*places[[start, end]].T, color=GREY, alpha=0.25, linewidth=0.6, zorder=1)
    first, colour = 0, 0
    styles: list[dict[str, Any]] = []
    for group in groups:
        style = _style(group.role, colour)
        colour += group.role == "rows"
        own = places[first : first + len(group.points)]
        axes.scatter(*own.T, label=group.title, **style["dot"])
        styles += [style] * len(group.points)
        first += len(group.points)
    axes.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second principal component ({shares[1]:.0%})")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
    axes.margins(0.08)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("\n")  # room for it while the names are placed
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    _name(figure, axes, places, _points(groups), styles)
    return finished(figure, title)


def map_groups(
    backbone: Backbone,
    name: str,
    rows: Float[Tensor, "P E"],
    found: Sequence[RowWords],
    labels: Mapping[str, Sequence[int]],
    others: Mapping[str, Tensor],
) -> list[MapGroup]:
    """A prompt's rows, the words nearest to them, its label words, and the rows of other prompts.

    Args:
        name: the prompt's.
        found: the words near each of its rows, in order.
        labels: label word to its pieces; of several pieces the mean is drawn.
        others: name to rows of further prompts.
    """
    per_row = 2 if len(found) <= FEW_ROWS else 1
    near = [[w for w in one.words[:per_row] if w.word.strip() not in labels] for one in found]
    words = {word.id: word.word for several in near for word in several}
    place = {number: len(found) + n for n, number in enumerate(words)}
    points = [
        MapPoint(f"P{n}", near=tuple(place[word.id] for word in several))
        for n, several in enumerate(near, start=1)
    ]
    groups = [MapGroup(f"rows of {name}", points, rows, "rows")]
    if words:
        points = [MapPoint(word, f"#{number}") for number, word in words.items()]
        groups.append(MapGroup("words near them", points, backbone.rows(list(words)), "words"))
    if labels:
        means = [backbone.rows(list(ids)).mean(dim=0, keepdim=True) for ids in labels.values()]
        points = [MapPoint(word, f"#{ids[0]}") for word, ids in labels.items()]
        groups.append(MapGroup("label words", points, torch.cat(means), "labels"))
    for other, its_rows in others.items():
        points = [MapPoint("")] * len(its_rows)
        groups.append(MapGroup(f"rows of {other}", points, its_rows, "rows"))
    return groups


def _points(groups: Sequence[MapGroup]) -> list[MapPoint]:
    return [point for group in groups for point in group.points]


def _plane(groups: Sequence[MapGroup]) -> tuple[Any, Any]:
    """The points in two dimensions `[n, 2]`, and what share of the variance each one holds."""
    from sklearn.decomposition import PCA

    matrix = np.concatenate([unit_rows(group.rows.float().cpu()).numpy() for group in groups])
    with np.errstate(invalid="ignore"):  # all points in one: no variance to share
        found = PCA(n_components=2, svd_solver="full").fit(matrix)
    places = found.transform(matrix)
    # Signs are arbitrary: the largest entry of each component is made positive, for equal pictures.
    largest = np.abs(found.components_).argmax(axis=1)
    signs = np.sign(found.components_[np.arange(2), largest])
    return places * signs, np.nan_to_num(found.explained_variance_ratio_)


def _style(role: str, colour: int) -> dict[str, Any]:
    if role == "rows":
        shade, marker = COLOURS[colour % len(COLOURS)], MARKERS[colour % len(MARKERS)]
        dot = {"color": shade, "marker": marker, "s": 42, "zorder": 4}
        return {"dot": dot, "text": {"color": shade, "fontsize": 8}, "rank": 2, "size": 5.0}
    if role == "labels":
        dot = {"color": "black", "marker": "*", "s": 130, "zorder": 5}
        text = {"color": "black", "fontsize": 11, "fontweight": "bold"}
        return {"dot": dot, "text": text, "rank": 0, "size": 9.0}
    dot = {"color": GREY, "marker": ".", "s": 30, "zorder": 2}
    return {"dot": dot, "text": {"color": "#333333", "fontsize": 9}, "rank": 1, "size": 3.0}


def _name(
    figure: Figure,
    axes: Axes,
    places: Any,
    points: Sequence[MapPoint],
    styles: Sequence[dict[str, Any]],
) -> None:
    """Write every name where it covers no point and no other name; the least important are left out
    first where there is no such place."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    families, draws = _fonts()
    pixels = axes.transData.transform(places)
    left, low, right, high = axes.bbox.extents
    sizes = [style["size"] for style in styles]
    taken = [(x - s, y - s, x + s, y + s) for (x, y), s in zip(pixels, sizes, strict=True)]
    order = sorted(range(len(points)), key=lambda n: (styles[n]["rank"], n))
    for number in order:
        point, style = points[number], styles[number]["text"]
        name = point.name if all(draws(letter) for letter in point.name) else point.instead
        if not name:
            continue
        written = axes.text(0, 0, name, parse_math=False, fontfamily=families, **style)
        size = written.get_window_extent(renderer)
        written.remove()
        x, y = pixels[number]
        for reach, dx, dy in _offsets(size.width, size.height, sizes[number]):
            box = (x + dx, y + dy, x + dx + size.width, y + dy + size.height)
            inside = left < box[0] and box[2] < right and low < box[1] and box[3] < high
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                to_data = axes.transData.inverted().transform
                corner = to_data(box[:2])
                axes.text(
                    float(corner[0]),
                    float(corner[1]),
                    name,
                    parse_math=False,
                    fontfamily=families,
                    zorder=6,
                    **style,
                )
                if reach > sizes[number] + REACHES[1] + 1:
                    end = (np.clip(x, box[0], box[2]), np.clip(y, box[1], box[3]))
                    axes.plot(
                        *np.array([places[number], to_data(end)]).T,
                        color=style["color"],
                        linewidth=0.5,
                        alpha=0.6,
                        zorder=3,
                    )
                break


def _offsets(width: float, height: float, least: float) -> list[tuple[float, float, float]]:
    """Where a name's lower left corner may stand from its point: nearest first, the right side first."""
    found = []
    for reach in (least + 1 + further for further in REACHES):
        for turn in range(16):
            angle = math.pi / 8 * ((turn + 1) // 2) * (-1) ** turn
            across, up = math.cos(angle), math.sin(angle)
            dx = reach * across - width * (1 - across) / 2
            dy = reach * up - height * (1 - up) / 2
            found.append((reach, dx, dy))
    return found


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _fonts() -> tuple[list[str], Any]:
    """Families to draw names with, and whether they have a letter."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in CJK_FONTS if name in installed)][:2]
    fonts = [
        font_manager.get_font(font_manager.findfont(name, fallback_to_default=True))
        for name in families
    ]
    return families, lambda letter: any(font.get_char_index(ord(letter)) for font in fonts)
