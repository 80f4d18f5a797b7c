"""What every kind of search does on the command line: read the run file, show progress, show what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from softprompt.cli.console import Console, clock, say, table
from softprompt.cli.training import split_arguments
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.recipes.schema import RunSettings
    from softprompt.recipes.search.finishing import Searched

SHOWN = 10
"""Fits or candidates that are shown on the console; the report has all."""


def carry_out(
    kind: str,
    arguments: list[str] | None,
    out: Path | None,
    go: Callable[[RunSettings, Path, Console], Searched],
) -> None:
    """Read a run file, search, show the ranking.

    Args:
        kind: `words`, `templates` or `triggers`.
        arguments: the run file and assignments, as typed.
        out: the search's folder; by default beside the run's, `runs/<task>-<kind>`.
        go: searches.
    Raises:
        UsageError: what is wrong with the run file.
    """
    from softprompt.recipes.run_file import read_run
    from softprompt.recipes.search.folder import SEARCH

    path, assignments = split_arguments(arguments)
    if path is None and not assignments:
        raise SettingsError(
            "nothing to search for: give a run file (softprompt init writes one), or at least task=… and "
            "backbone=…"
        )
    run = read_run(path, assignments)
    home = Path(str(run.out))
    folder = (out or home.with_name(f"{home.name}-{kind}")).absolute()
    began = time.monotonic()
    try:
        with Console(lines=1) as console:  # of many fits, their ends
            found = go(run, folder, console)
    except KeyboardInterrupt:
        begun = (folder / SEARCH).is_file()
        how = "the same line goes on with it" if begun else "nothing was written"
        typer.echo(f"interrupted; {how}", err=True)
        raise typer.Exit(130) from None
    _show(found)
    place = _shown(folder)
    say()
    say(f"done in {clock(time.monotonic() - began)}; everything is in {place}")
    say(f"next: softprompt train {place}/best.yaml")


def _show(found: Searched) -> None:
    from softprompt.recipes.search.candidates import titles
    from softprompt.recipes.search.finishing import fit_rows, how_chosen

    say()
    ranking = found.ranking
    if ranking is None:
        rows = [(title,) for title in titles(found.candidates)[:SHOWN]]
        table(rows, ("candidate",))
        more = len(found.candidates) - len(rows)
        where = "candidates.jsonl"
    else:
        fits = fit_rows(ranking)
        table(fits[:SHOWN], ("candidate", f"dev {ranking.metric}", "dev cross-entropy", "folder"))
        more = len(fits) - SHOWN
        where = "report.md"
    if more > 0:
        say(f"… {more} more in {where}")
    if ranking is not None:
        say()
        say(f"chosen: {found.best.title}, {how_chosen(ranking)}")
    elif found.kept:
        say()
        say(f"chosen: {found.kept}")


def _shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
