"""`softprompt quickstart` and `softprompt init`: the first minute, and the first run of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from softprompt.cli.console import CHINESE, ENGLISH, Console, say, table
from softprompt.errors import SettingsError


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(quickstart)
    app.command()(init)


def quickstart(
    sentences: Annotated[
        list[str] | None, typer.Argument(metavar="[SENTENCE]…", help="To classify at the end.")
    ] = None,
    lang: Annotated[str, typer.Option("--lang", help="en or zh: data and messages.")] = "en",
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Another one, of any family.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Run folder; else runs/quickstart-LANG.")
    ] = None,
) -> None:
    """Learn and use a first prompt.

    On data that ships with the package, in about a minute, without a network.

    \b
    softprompt quickstart
    softprompt quickstart --lang zh "这家店再也不来了"
    softprompt quickstart --backbone softprompt/tiny-t5
    """
    if lang not in ("en", "zh"):
        raise SettingsError(f"--lang {lang}: expected en or zh")
    from softprompt.recipes.quickstart import QuickstartSettings, Voice
    from softprompt.recipes.quickstart import quickstart as run

    given = {"backbone": backbone, "steps": steps}
    changed = {key: value for key, value in given.items() if value is not None}
    settings = QuickstartSettings.read(changed, "quickstart")
    folder = Path(out) if out else Path("runs") / f"quickstart-{lang}"
    with Console(CHINESE if lang == "zh" else ENGLISH, facts=False) as console:

        def told(line: str) -> None:
            console.close()
            say(line)

        def rows(lines: Sequence[Sequence[str]], head: Sequence[str]) -> None:
            console.close()
            table(lines, head)

        chosen: Literal["en", "zh"] = "zh" if lang == "zh" else "en"
        run(settings, chosen, folder.absolute(), Voice(told, rows, console), sentences or ())


def init(
    data: Annotated[
        Path, typer.Argument(help="Your training file: csv, tsv, jsonl, json, parquet.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The run file to write; else DATA.yaml.")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option("--field", help="A text column; may be repeated.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="The label column.")] = None,
    dev: Annotated[Path | None, typer.Option("--dev", help="Your dev file.")] = None,
    test: Annotated[Path | None, typer.Option("--test", help="Your test file.")] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", help="Name or path.")
    ] = "softprompt/tiny-mlm",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run file that is there.")
    ] = False,
) -> None:
    """Write a run file for your own data.

    Every guess about columns, labels and words is explained in it.

    \b
    softprompt init reviews.csv --target stars
    """
    place = out if out is not None else Path(f"{data.name.split('.')[0]}.yaml")
    if place.exists() and not force:
        raise SettingsError(f"{place} is there already; give --force to replace it, or --out")
    from softprompt.recipes.task_file import write_run_file

    others = [(split, path) for split, path in (("dev", dev), ("test", test)) if path is not None]
    found = write_run_file(data, place, backbone, field or (), target, others)
    counts = ", ".join(f"{label} ({n:,})" for label, n in list(found.labels.items())[:12])
    table(
        [
            ("text", ", ".join(found.fields.values())),
            ("target", found.target),
            ("labels", counts + (", …" if len(found.labels) > 12 else "")),
            ("language", found.language),
            ("template", found.template),
            ("words", ", ".join(f"{v}: {w}" for v, w in list(found.words.items())[:12])),
        ]
    )
    if not found.sure:
        say("The words are guesses: put words there that say what the labels mean.")
    say(f"Written: {place}. Look through it, then: softprompt train {place}")
