"""`softprompt train`: one YAML file or `key=value` in, one run folder out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softprompt.cli.console import Console, clock, say, table
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.recipes.schema import RunSettings
    from softprompt.recipes.train import Trained

SHOWN = 10
"""Variants of a sweep that are shown on the console; the report has all."""


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(train)


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN.yaml] [KEY=VALUE]…", help="A run file or folder, overrides."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Run folder (the same as out=FOLDER).")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where a run stands.")
    ] = False,
) -> None:
    """Learn a prompt from a run file, or carry out the recipe that it names.

    After an interruption the same line goes on where it stopped.

    \b
    softprompt train run.yaml training.steps=500 'seeds=[0,1,2]'
    softprompt train task=softprompt/reviews-en backbone=softprompt/tiny-mlm method.length=20
    softprompt train run.yaml 'sweep.method.length=[5, 20, 50]'
    softprompt train recipe=pet task=ag_news backbone=softprompt/tiny-mlm train_limit=50 unlabelled=train
    softprompt train recipe=lm_bff task=lm_bff/sst2 backbone=softprompt/tiny-mlm 'search=[templates]'

    All keys: softprompt list settings
    """
    from softprompt.recipes.recipes import recipe_of
    from softprompt.recipes.run_file import CONFIG, read_run

    path, assignments = split_arguments(arguments)
    if path is None and not assignments:
        raise SettingsError(
            "nothing to train: give a run file (softprompt init writes one), or at least "
            "task=… and backbone=…"
        )
    settings = read_run(path, [*assignments, *([f"out={out}"] if out else [])])
    began = time.monotonic()
    try:
        run = _learn if recipe_of(settings) is None else _carry_out
        prompts = run(settings, overwrite)
    except KeyboardInterrupt:
        folder = Path(settings.out or "")
        begun = (folder / CONFIG).is_file()
        how = f"go on with: softprompt train {_shown(folder)}" if begun else "nothing was written"
        typer.echo(f"interrupted; {how}", err=True)
        raise typer.Exit(130) from None
    say()
    gone = clock(time.monotonic() - began)
    say(f"done in {gone}; everything is in {_shown(Path(str(settings.out)))}")
    if prompts:
        say(f"next: softprompt predict {_shown(prompts[0])} FILE")


def _learn(settings: RunSettings, overwrite: bool) -> Sequence[Path]:
    """Train a run, and show its scores; its prompt folders."""
    from softprompt.recipes.report import score_rows
    from softprompt.recipes.train import train as train_run

    with Console() as console:
        trained = train_run(settings, console, overwrite=overwrite)
    say()
    if settings.sweep:
        _show_sweep(trained)
    rows = score_rows(trained.runs, trained.baseline, trained.prepared.task)
    spread = "mean ± sd" if len(trained.runs) > 1 else "score"
    table(
        [(split, metric, str(n), value, beside) for split, metric, n, value, beside in rows],
        ("split", "metric", "n", spread, "majority class"),
    )
    return trained.prompts


def _carry_out(settings: RunSettings, overwrite: bool) -> Sequence[Path]:
    """Carry out a recipe, and show the scores of its stages; its products' prompt folders."""
    from softprompt.recipes.recipes import recipe_of

    recipe = recipe_of(settings)
    assert recipe is not None
    with Console() as console:
        made = recipe.run(settings, console, overwrite=overwrite)
    say()
    table(list(made.grid.rows), made.grid.head)
    say()
    say(made.grid.caption)
    return made.prompts


def _show_sweep(trained: Trained) -> None:
    """The best variants on dev, which one was chosen, and its values as a run file has them."""
    from softprompt.recipes.report import how_chosen, variant_rows
    from softprompt.recipes.sweeps import nested
    from softprompt.settings import to_yaml

    metric = trained.prepared.task.metrics[0]
    rows = variant_rows(trained.tried, trained.choice, metric)
    table(rows[:SHOWN], ("variant", f"dev {metric}", "kept step", "parameters"))
    if len(rows) > SHOWN:
        say(f"… {len(rows) - SHOWN} more in report.md")
    best = trained.chosen.variant
    say()
    say(f"chosen: {best.name}, {how_chosen(trained.tried, trained.choice, metric)}")
    say("in a run file:")
    for line in to_yaml(nested(best.values)).splitlines():
        say(f"  {line}")
    say()


def split_arguments(arguments: list[str] | None) -> tuple[Path | None, list[str]]:
    """The run file, if one is named first, and the assignments.

    Raises:
        SettingsError: something that is neither.
    """
    given = list(arguments or [])
    # The folder of a sweep's variant has a = in its name, and so may any file.
    named = bool(given) and ("=" not in given[0] or Path(given[0]).exists())
    path = Path(given.pop(0)) if named else None
    for argument in given:
        if "=" not in argument:
            raise SettingsError(f"'{argument}': expected key=value, for example training.steps=50")
    return path, given


def _shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
