"""`softprompt ensemble`: several prompts, one backbone, one answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softprompt.cli.console import say, table
from softprompt.cli.using import (
    BackboneName,
    Device,
    Overwrite,
    Precision,
    PredictionsFile,
    TaskFiles,
    check_fits,
    labelled_data,
)
from softprompt.errors import SettingsError


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(ensemble)


def ensemble(
    prompts: Annotated[
        list[Path], typer.Argument(help="Run folders (all their seeds) or prompt folders.")
    ],
    data: Annotated[
        str | None, typer.Option("--on", help="A task's name or a run file; else the run's.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="What is scored.")] = "test",
    folder: TaskFiles = None,
    backbone: BackboneName = None,
    device: Device = None,
    precision: Precision = "auto",
    out: PredictionsFile = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Write a reliability plot there (png).")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Put the answers of several prompts together.

    Mean, best by dev, majority vote, mean of probabilities; how well the probabilities are calibrated.

    \b
    softprompt train run.yaml 'seeds=[0,1,2,3,4]' out=runs/five
    softprompt ensemble runs/five
    """
    from softprompt.backbones.loading import load_backbone
    from softprompt.prompts.prompt import Prompt
    from softprompt.recipes.ensemble import ensemble as put_together
    from softprompt.recipes.ensemble import member_folders
    from softprompt.recipes.predict_file import Result, json_line, output_file
    from softprompt.recipes.run_folder import write_bytes

    if picture is not None and picture.exists() and not overwrite:
        raise SettingsError(f"--picture {picture}: is there already; give --overwrite")
    places = member_folders(prompts)
    first = Prompt.load(next(iter(places.values())))
    name = backbone or (first.backbone.name if first.backbone is not None else None)
    if name is None:
        raise SettingsError(f"{prompts[0]} does not say which backbone it needs; give --backbone")
    task = labelled_data(next(iter(places.values())), first, data, None, {}, None, folder)
    model = load_backbone(name, device=device, precision=precision)
    loaded = {key: Prompt.load(place, model.identity) for key, place in places.items()}
    for one in loaded.values():
        check_fits(one, task)
    found = put_together(model, loaded, task, split)
    table(found.table.rows(), (f"{found.split} ({found.n})", found.metric))
    if found.calibrations:
        say()
        table(
            [
                (key, f"{c.accuracy:.3f}", f"{c.confidence:.3f}", f"{c.ece:.3f}", f"{c.nll:.3f}")
                for key, c in found.calibrations.items()
            ],
            ("calibration", "accuracy", "confidence", "ECE", "loss"),
        )
    if out is not None:
        with output_file(out, overwrite) as stream:
            stream.writelines(json_line(Result(p.id, p)) for p in found.predictions)
        say(f"predictions: {out}")
    if picture is not None:
        if not found.calibrations:
            raise SettingsError("--picture: the answers were generated, they have no probabilities")
        from softprompt.analysis.reliability import reliability_plot

        shown = {"one prompt": next(iter(found.calibrations.values()))}
        shown["ensemble"] = found.calibrations["ensemble"]
        write_bytes(picture, reliability_plot(shown, f"{task.name}, {len(loaded)} prompts"))
        say(f"picture: {picture}")
