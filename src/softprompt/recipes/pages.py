"""A page of headings, paragraphs, tables and pictures, as Markdown and as one HTML file.

Knows how a page is written, nothing of what it says. Everything that enters HTML is escaped.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain sentences."""

    text: str


@dataclass(frozen=True)
class Lines:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table; the first column is text, the others stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG file, beside the page and inside the HTML.

    Args:
        name: of the file, relative to the page.
        content: its bytes.
        text: what it shows, for whoever cannot see it.
    """

    name: str
    content: bytes
    text: str


Block = Heading | Paragraph | Lines | Grid | Picture


def markdown(blocks: Sequence[Block]) -> str:
    """The page as Markdown, ending in a newline."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def page(blocks: Sequence[Block], title: str) -> str:
    """The page as one HTML file that needs no other: pictures and style are inside."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_line(text)}"
        case Paragraph(text):
            return _line(text)
        case Lines(items):
            return "\n".join(f"- {_line(item)}" for item in items)
        case Grid(head, rows, caption):
            lines = [f"| {' | '.join(map(_cell, row))} |" for row in (head, *rows)]
            lines.insert(1, "|---" + "|---:" * (len(head) - 1) + "|")
            return "\n".join([*([f"*{_line(caption)}*", ""] if caption else []), *lines])
        case Picture(name, _, text):
            return f"![{_line(text)}]({name})"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_escaped(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_escaped(text)}</p>"
        case Lines(items):
            return f"<ul>{''.join(f'<li>{_escaped(item)}</li>' for item in items)}</ul>"
        case Grid(head, rows, caption):
            top = "".join(f'<th scope="col">{_escaped(cell)}</th>' for cell in head)
            body = "".join(_html_row(row) for row in rows)
            said = f"<caption>{_escaped(caption)}</caption>" if caption else ""
            return (
                f'<div class="wide"><table>{said}<thead><tr>{top}</tr></thead>'
                f"<tbody>{body}</tbody></table></div>"
            )
        case Picture(_, content, text):
            data = base64.b64encode(content).decode("ascii")
            return (
                f'<figure><img alt="{_escaped(text)}" src="data:image/png;base64,{data}"></figure>'
            )


def _html_row(row: Sequence[str]) -> str:
    first, *rest = row
    cells = "".join(f"<td>{_escaped(cell)}</td>" for cell in rest)
    return f'<tr><th scope="row">{_escaped(first)}</th>{cells}</tr>'


def _escaped(text: str) -> str:
    return html.escape(_line(text), quote=True)


def _cell(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#111;background:#fff;margin:0}"
    "main{max-width:72rem;margin:0 auto;padding:1rem}"
    "table{border-collapse:collapse;margin:.5rem 0;font-size:.9rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:right;vertical-align:top}"
    "th[scope=row],thead th:first-child{text-align:left;font-weight:normal}"
    "thead th{border-bottom:2px solid #111;font-weight:600}"
    "caption{text-align:left;font-style:italic;padding:.3rem 0}"
    ".wide{overflow-x:auto}img{max-width:100%;height:auto}figure{margin:1rem 0}"
    "@media print{main{max-width:none}table{font-size:.75rem}h2{break-before:auto}}"
)
