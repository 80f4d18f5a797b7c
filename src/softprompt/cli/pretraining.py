"""`softprompt pretrain`: a small backbone from text files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from softprompt.cli.console import Console, clock, say
from softprompt.errors import SettingsError


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(pretrain)


def pretrain(
    recipe: Annotated[str, typer.Argument(help="A recipe that ships (tiny-mlm), or a YAML file.")],
    corpus: Annotated[
        Path, typer.Option("--corpus", help="Folder of .txt, .txt.xz or .txt.gz files.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder; the model comes to OUT/model.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Overrides.")
    ] = None,
    every: Annotated[
        int, typer.Option("--every", min=1, help="Steps between lines of progress.")
    ] = 20,
) -> None:
    """Pretrain a small backbone from text.

    After an interruption the same line goes on where it stopped.

    \b
    softprompt pretrain tiny-mlm --corpus texts --out runs/tiny steps=1000
    """
    from softprompt.pretraining.run import pretrain as run
    from softprompt.pretraining.settings import PretrainSettings
    from softprompt.settings import override, read_yaml

    path = recipe_file(recipe)
    settings = PretrainSettings.read(override(read_yaml(path), overrides or []), str(path))
    if not corpus.is_dir():
        raise SettingsError(f"--corpus {corpus}: expected a folder of text files")
    with Console() as console:

        def report(record: Mapping[str, Any]) -> None:
            step, steps = int(record["step"]), int(record["steps"])
            if "validation" not in record and step % every and step != steps:
                return
            rate = float(record["tokens_per_second"])
            left = (steps - step) * settings.batch_size * settings.length / max(rate, 1.0)
            parts = [
                f"step {step}/{steps}",
                f"loss {record['loss']:.4f}",
                f"{rate:,.0f} tokens/s",
                f"{clock(left)} left",
            ]
            held_out = record.get("validation", {})
            parts += [f"validation {name} {loss:.4f}" for name, loss in held_out.items()]
            console.note("  ".join(parts))

        try:
            model = run(settings, corpus, out, report)
        except KeyboardInterrupt:
            typer.echo("interrupted; the same line goes on from the last checkpoint", err=True)
            raise typer.Exit(130) from None
    say(f"the model: {model}")
    say(f"next: softprompt show {model}")


def recipe_file(name: str) -> Path:
    """The YAML file of a recipe: as it is, or by the name of one that ships.

    Raises:
        SettingsError: neither; says which ship.
    """
    from importlib import resources

    if name.endswith((".yaml", ".yml")):
        return Path(name)
    folder = Path(str(resources.files("softprompt"))) / "assets" / "pretraining"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(entry.stem for entry in folder.glob("*.yaml"))) or "none"
        raise SettingsError(f"no recipe '{name}' ships; there: {there}; or give a YAML file")
    return path
