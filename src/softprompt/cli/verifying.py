"""`softprompt verify`: a prompt on the user's own model, fed in several ways that must agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softprompt.cli.console import say, table, warn
from softprompt.cli.using import BackboneName, Device, Precision, prompt_folder
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.data.examples import Example
    from softprompt.prompts.prompt import Prompt

TEXTS = ("good", "not one dull scene in it, and the end is very funny", "a long story")
"""Texts of different lengths, where the user gives none."""


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(verify)


def verify(
    prompt: Annotated[Path, typer.Argument(help="A prompt folder, or a run folder.")],
    backbone: BackboneName = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Texts to check on; repeatable.")
    ] = None,
    device: Device = None,
    precision: Precision = "auto",
) -> None:
    """Check that a prompt gives the same numbers however it is fed to a model.

    Fingerprint, rows as words, padding, batches, mixed prompts. The exit code is 1 if a check fails.

    \b
    softprompt verify runs/mood
    softprompt verify runs/mood --backbone ./my-model --precision float32
    """
    from softprompt.analysis.verifying import fingerprint
    from softprompt.analysis.verifying import verify as checks_of
    from softprompt.backbones.loading import load_backbone
    from softprompt.inference.predictor import applied_prompt
    from softprompt.prompts.prompt import Prompt

    loaded = Prompt.load(prompt_folder(prompt))
    name = backbone or (loaded.backbone.name if loaded.backbone is not None else None)
    if name is None:
        raise SettingsError(f"{prompt} does not say which backbone it needs; give --backbone")
    model = load_backbone(name, device=device, precision=precision)
    width = None if loaded.rows is None else loaded.rows.shape[1]
    if width not in (None, model.width):  # nothing else can be run then
        found = [fingerprint(model, loaded)]
    else:
        applied = applied_prompt(model, loaded)
        found = checks_of(model, loaded, applied, _examples(loaded, text))
    table(
        [
            (
                "skipped" if one.skipped else "passed" if one.passed else "FAILED",
                "" if one.difference is None else f"{one.difference:.1e}",
                "" if one.allowed is None else f"{one.allowed:.0e}",
                one.name,
            )
            for one in found
        ],
        ("", "largest", "allowed", "check (differences of log p, in nats)"),
    )
    for one in found:
        if one.fault or one.skipped:
            warn(f"{one.name}: {one.fault or one.skipped}")
    made = [one for one in found if not one.skipped]
    failed = sum(not one.passed for one in made)
    where = f"{model.name} in {model.precision} on {model.device}"
    say(f"{where}: {len(made) - failed} of {len(made)} hold")
    if failed:
        raise typer.Exit(1)


def _examples(prompt: Prompt, texts: list[str] | None) -> list[Example]:
    """One example for each text, the same text in every field."""
    from softprompt.data.examples import Example

    given = texts or [
        *(str(e["text"]).split(" ‖ ")[0] for e in prompt.examples[:2] if e.get("text")),
        *TEXTS,
    ]
    if len({len(one) for one in given}) < 2:
        raise SettingsError("--text: give at least two texts of different lengths")
    fields = list(prompt.task["fields"])
    own = ("good", "not so good") if prompt.answers.get("kind") == "candidates" else None
    return [
        Example(str(number), dict.fromkeys(fields, one), None, own)
        for number, one in enumerate(given, start=1)
    ]
