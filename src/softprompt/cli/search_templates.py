"""`softprompt search templates`: a T5 writes templates, or a list has them; the best are fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softprompt.cli.console import Console
from softprompt.cli.searched import carry_out

if TYPE_CHECKING:
    from softprompt.recipes.schema import RunSettings
    from softprompt.recipes.search.finishing import Searched


def add_to(search: typer.Typer) -> None:
    """Add this file's commands."""
    search.command(name="templates")(templates)


def templates(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN.yaml [KEY=VALUE]…", help="A run file or folder, overrides."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The search's folder.")] = None,
    generator: Annotated[
        str | None, typer.Option(help="A T5 with sentinels; softprompt/tiny-t5@span ships.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the generator: auto, float32, …")
    ] = None,
    combine: Annotated[
        str | None,
        typer.Option(help="log_p: summed over examples (paper); logits: averaged (release)."),
    ] = None,
    beam: Annotated[int | None, typer.Option(help="Outputs kept after each token: 100.")] = None,
    templates: Annotated[int | None, typer.Option(help="Candidates in all: 100.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Of an output: 20.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Tokens of an example that the generator reads: 256.")
    ] = None,
    raised: Annotated[
        bool | None, typer.Option("--raised", help="First letters raised for the generator.")
    ] = None,
    fields: Annotated[
        str | None, typer.Option(help="One field, or two with a comma; else the template's.")
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option(help="Templates from a file: LM-BFF's notation, ours, candidates.jsonl."),
    ] = None,
    fits: Annotated[int | None, typer.Option(help="Of the best, how many are fitted: 20.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew.")] = False,
) -> None:
    """Search templates around a text, or between two, and rank them on dev.

    After an interruption the same line goes on where it stopped.

    \b
    softprompt search templates run.yaml --fits 10
    softprompt search templates run.yaml --generator google/t5-v1_1-large --beam 100
    softprompt search templates run.yaml --candidates 16-42.sort.txt
    """
    from softprompt.recipes.search.settings import TemplateSettings
    from softprompt.recipes.search.templates.search import search_templates

    names = None if fields is None else [name.strip() for name in fields.split(",")]
    given = {
        "generator": generator,
        "precision": precision,
        "combine": combine,
        "beam": beam,
        "templates": templates,
        "max_tokens": max_tokens,
        "limit": limit,
        "raised": raised,
        "fields": names,
        "candidates": None if candidates is None else str(candidates.absolute()),
        "fits": fits,
    }
    settings = TemplateSettings.read(
        {key: value for key, value in given.items() if value is not None}, "options"
    )

    def go(run: RunSettings, folder: Path, console: Console) -> Searched:
        return search_templates(run, settings, folder, console, overwrite=overwrite)

    carry_out("templates", arguments, out, go)
