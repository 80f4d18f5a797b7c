"""`softprompt pretrain`: a backbone from text, new or from a checkpoint."""

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
    out: Annotated[Path, typer.Option("--out", help="Run folder; the model comes to OUT/model.")],
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe that ships (mlm, t5, t5-lm, lm), or a YAML file.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Overrides.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", help="Folder of .txt, .jsonl (also .xz, .gz) or .parquet files."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Go on from this checkpoint: folder or name.")
    ] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", help="masked, span-corruption, prefix-lm, …")
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            "--evaluation", help="Folder of data sets whose test texts must not be learned."
        ),
    ] = None,
    every: Annotated[
        int, typer.Option("--every", min=1, help="Steps between lines of progress.")
    ] = 20,
) -> None:
    """Pretrain a backbone on text, new or from a checkpoint.

    After an interruption the same line goes on where it stopped.

    \b
    softprompt pretrain mlm size=nano --corpus texts --out runs/nano steps=1000
    softprompt pretrain --from google/t5-v1_1-small --objective prefix-lm --corpus texts --out runs/lm
    """
    from softprompt.pretraining.models import usual_layout
    from softprompt.pretraining.preparation import table
    from softprompt.pretraining.run import pretrain as run
    from softprompt.pretraining.settings import PretrainSettings
    from softprompt.settings import override, read_yaml

    assignments = list(overrides or [])
    if recipe is not None and "=" in recipe:
        assignments, recipe = [recipe, *assignments], None
    path = None if recipe is None else recipe_file(recipe)
    values: dict[str, Any] = {} if path is None else read_yaml(path)
    if evaluation is not None:
        values["preparation"] = {**values.get("preparation", {}), "evaluation": str(evaluation)}
    if objective is not None:
        values["objective"] = objective.replace("-", "_")
    if start is not None:
        values |= {"start_from": start, "architecture": {}, "sizes": {}, "size": None}
    values = override(values, assignments)
    if start is not None and "layout" not in values:
        values["layout"] = usual_layout(start, values.get("objective", "masked"))
    settings = PretrainSettings.read(values, str(path or "pretrain"))
    if corpus is not None and not corpus.is_dir():
        raise SettingsError(f"--corpus {corpus}: expected a folder of text files")
    with Console() as console:

        def report(record: Mapping[str, Any]) -> None:
            if "warning" in record:
                console.warning(record["warning"])
            elif "preparing" in record:
                console.note(f"reading {record['preparing']}: {record['documents']:,} documents")
            elif "prepared" in record:
                for line in table(record["prepared"]):
                    console.note(line)
            elif "validation" in record or not record["step"] % every or _is_last(record):
                console.note(_line(record, settings.batch_size * settings.length))

        try:
            model = run(settings, corpus, out, report)
        except KeyboardInterrupt:
            typer.echo("interrupted; the same line goes on from the last checkpoint", err=True)
            raise typer.Exit(130) from None
    say(f"the model: {model}")
    say(f"next: softprompt show {model}")


def _is_last(record: Mapping[str, Any]) -> bool:
    return bool(record["step"] == record["steps"])


def _line(record: Mapping[str, Any], tokens_per_step: int) -> str:
    step, steps = int(record["step"]), int(record["steps"])
    parts = [f"step {step}/{steps}"]
    if "averaged" in record:
        parts.append(f"mean of {record['averaged']} weights")
    if "loss" in record:
        rate = float(record["tokens_per_second"])
        parts += [
            f"loss {record['loss']:.4f}",
            f"{rate:,.0f} tokens/s",
            f"{record['share_of_matrix_rate']:.0%} of the matrix rate",
            f"{clock((steps - step) * tokens_per_step / max(rate, 1.0))} left",
        ]
    held_out = record.get("validation", {})
    parts += [f"validation {name} {loss:.4f}" for name, loss in held_out.items()]
    return "  ".join(parts)


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
