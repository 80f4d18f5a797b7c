"""`softprompt compare`: methods × tasks × seeds from one YAML file, with a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softprompt.cli.console import clock, say, table, warn
from softprompt.cli.training import split_arguments
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.recipes.comparison_tables import Analysed
    from softprompt.recipes.watching import Fact, Progress


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(compare)


def compare(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMPARE.yaml [KEY=VALUE]…", help="A comparison's file or folder."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Its folder (the same as out=FOLDER).")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the named tasks' files.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where a comparison stands.")
    ] = False,
) -> None:
    """Compare methods on tasks, with seeds, statistics and costs.

    After an interruption, or with more methods or tasks in the file, the same line runs what is
    missing and writes the report anew.

    \b
    softprompt compare compare.yaml
    softprompt compare compare.yaml 'seeds=[0,1,2]' training.steps=200
    """
    from softprompt.recipes.compare_file import COMPARE, read_compare
    from softprompt.recipes.comparing import compare as run_comparison
    from softprompt.recipes.comparison_folder import leave

    path, assignments = split_arguments(arguments)
    if path is None:
        raise SettingsError(
            "nothing to compare: give a YAML file with backbone, tasks and methods (docs/compare.md)"
        )
    settings = read_compare(path, [*assignments, *([f"out={out}"] if out else [])], data)
    began = time.monotonic()
    try:
        comparison = run_comparison(settings, Lines(), overwrite=overwrite)
    except KeyboardInterrupt:
        place = Path(settings.out or "")
        begun = (place / COMPARE).is_file()
        how = f"go on with: softprompt compare {_shown(place)}" if begun else "nothing was written"
        typer.echo(f"interrupted; {how}", err=True)
        raise typer.Exit(130) from None
    tables = leave(comparison)
    for one in tables:
        say()
        _show(one, several=len(comparison.plan.backbones) > 1)
    say()
    folder = _shown(comparison.folder)
    say(f"done in {clock(time.monotonic() - began)}; everything is in {folder}")
    say(f"report: {folder}/report.md and report.html; rows: {folder}/results.csv and .parquet")


class Lines:
    """A watcher of plain lines: what each cell is, and how far it is now and then."""

    def __init__(self) -> None:
        self._said: dict[str, int] = {}

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def note(self, message: str) -> None:
        say(message)

    def warning(self, message: str) -> None:
        warn(message)

    def progress(self, progress: Progress) -> None:
        """Every fifth of a cell's steps, told by the first of its fits."""
        fifth = 5 * progress.step // max(1, progress.steps)
        if progress.fit == 0 and fifth > self._said.get(progress.name, 0):
            self._said[progress.name] = fifth
            loss = progress.record.get("loss")
            shown = f"  loss {loss:.4f}" if isinstance(loss, float) else ""
            say(f"  step {progress.step}/{progress.steps}{shown}")


def _show(one: Analysed, *, several: bool) -> None:
    """A task's table, as short as a console has room for; the report has the rest."""
    from softprompt.recipes.comparison_report import score_cells, title_of

    cells = list(score_cells(one))
    metric = f"{one.shown} {one.metric}"
    n = f", n = {one.table.n}" if one.table is not None else ""
    say(f"{title_of(one.compared, several)}{n}")
    versus = f"minus {one.table.reference}" if one.table is not None else "difference"
    head = ("row", metric, "95 % interval", "majority class", versus, "p (Holm)")
    table([row[:6] for row in cells], head)
    refused = [result for result in one.compared.results if result.refused or result.failed]
    for result in refused:
        reason = " ".join((result.refused or result.failed or "").split())
        say(f"{result.label}: {'refused' if result.refused else 'failed'}: {reason}")


def _shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
