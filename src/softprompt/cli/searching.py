"""`softprompt search`: candidates for what stands around a text, found on train and ranked on dev."""

from __future__ import annotations

import typer

from softprompt.cli import search_templates, search_triggers, search_words

search = typer.Typer(
    name="search",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Search label words, templates or trigger tokens on train; rank them on dev.",
)
for kind in (search_words, search_templates, search_triggers):
    kind.add_to(search)


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.add_typer(search)
