"""`softprompt search words`: label words by one pass over the training rows, the best of them fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softprompt.cli.searched import carry_out

if TYPE_CHECKING:
    from softprompt.cli.console import Console
    from softprompt.recipes.schema import RunSettings
    from softprompt.recipes.search.finishing import Searched


def add_to(search: typer.Typer) -> None:
    """Add this file's commands."""
    search.command(name="words")(words)


def words(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN.yaml [KEY=VALUE]…", help="A run file or folder, overrides."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The search's folder; else runs/<task>-words.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where a search stands.")
    ] = False,
    top: Annotated[int, typer.Option("--top", help="Words of each class to combine.")] = 100,
    by: Annotated[
        str,
        typer.Option(
            "--by", help="log_probability: its sum over a class's rows; logit: the mean logit."
        ),
    ] = "log_probability",
    neighbours: Annotated[
        int | None,
        typer.Option(
            "--neighbours", help="Of the top words keep so many, nearest to the run's own word."
        ),
    ] = None,
    combinations: Annotated[
        int, typer.Option("--combinations", help="Combinations that become candidates.")
    ] = 100,
    fits: Annotated[
        int, typer.Option("--fits", help="Of the best candidates, how many are fitted.")
    ] = 20,
    most: Annotated[
        int, typer.Option("--most", help="Up to so many combinations all are scored, else a beam.")
    ] = 1_000_000,
    beam: Annotated[int, typer.Option("--beam", help="Width of the beam.")] = 1_000,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Two classes may have the same word.")
    ] = False,
    punctuation: Annotated[
        bool, typer.Option("--punctuation", help="Tokens without a letter are words too.")
    ] = False,
    words: Annotated[
        Path | None,
        typer.Option(
            "--words",
            help="Search among these, of any number of tokens: one a line, or YAML label: [words].",
        ),
    ] = None,
) -> None:
    """Search label words for a run's template.

    The words that the backbone expects at the slot of each class's training rows, all their combinations
    by zero-shot accuracy on these rows, the best of those fitted and ranked on dev. After an interruption
    the same line goes on; candidates.jsonl may be edited before.

    \b
    softprompt search words run.yaml --out found --fits 20
    softprompt train found/best.yaml
    """

    def go(run: RunSettings, folder: Path, console: Console) -> Searched:
        from softprompt.recipes.search.settings import WordSettings
        from softprompt.recipes.search.words.search import search_words

        values = {
            "top": top,
            "by": by,
            "neighbours": neighbours,
            "combinations": combinations,
            "fits": fits,
            "most": most,
            "beam": beam,
            "repeats": repeats,
            "punctuation": punctuation,
            "words": None if words is None else str(words.absolute()),
        }
        settings = WordSettings.read(values, "search words")
        return search_words(run, settings, folder, console, overwrite=overwrite)

    carry_out("words", arguments, out, go)
