"""`softprompt search triggers`: trigger tokens by gradient-guided swaps (AutoPrompt)."""

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
    search.command(name="triggers")(triggers)


def triggers(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN.yaml [KEY=VALUE]…", help="A run file or folder, overrides."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The search's folder.")] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Swaps that are tried for each seed (default 180).")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Tokens that are tried at a position (default 10).")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Examples of a gradient, and as many fresh ones (default 24)."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="random or mask: what triggers start from (default random).")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(help="any, text or words: what may be a trigger (default text).")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A word that must be no trigger; may be repeated.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="words (AutoPrompt's) or labels (default words).")
    ] = None,
    label_words: Annotated[
        str | None, typer.Option(help="own, or probe: found by a linear probe (default own).")
    ] = None,
    words_per_label: Annotated[
        int | None, typer.Option(help="How many the probe gives each label (default 3).")
    ] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(help="Iterations between looks at dev (default 10).")
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Iterations between checkpoints (default 10).")
    ] = None,
    fits: Annotated[
        int | None, typer.Option(help="How many of the best are fitted and ranked (default 5).")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where a search stands.")
    ] = False,
) -> None:
    """Search trigger tokens in the place of the template's learned rows (AutoPrompt).

    The best on dev become plain text in the template. After an interruption the same line goes on.

    \b
    softprompt search triggers run.yaml 'template={text}{soft:3} It was {mask}.' --out triggers
    softprompt search triggers run.yaml --loss labels --top-k 20 --iterations 300
    """
    given = {
        "iterations": iterations,
        "top_k": top_k,
        "batch_size": batch_size,
        "start": start,
        "tokens": tokens,
        "exclude": exclude or None,
        "loss": loss,
        "label_words": label_words,
        "words_per_label": words_per_label,
        "evaluate_every": evaluate_every,
        "checkpoint_every": checkpoint_every,
        "fits": fits,
    }

    def go(run: RunSettings, folder: Path, console: Console) -> Searched:
        from softprompt.recipes.search.triggers.search import search_triggers
        from softprompt.recipes.search.triggers.settings import TriggerSettings

        chosen = {name: value for name, value in given.items() if value is not None}
        settings = TriggerSettings.read(chosen, "options")
        return search_triggers(run, settings, folder, console, overwrite=overwrite)

    carry_out("triggers", arguments, out, go)
