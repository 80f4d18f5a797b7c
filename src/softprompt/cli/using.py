"""`softprompt evaluate` and `softprompt predict`: a saved prompt on data."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from softprompt.cli.console import say, table, warn
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.backbones.backbone import Backbone
    from softprompt.data.task import Task
    from softprompt.prompts.prompt import Prompt
    from softprompt.recipes.predict_file import Result

BackboneName = Annotated[
    str | None, typer.Option("--backbone", help="Where it is, if not where the prompt says.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, …")]
Precision = Annotated[str, typer.Option("--precision", help="auto, float32, bfloat16, …")]
TaskFiles = Annotated[Path | None, typer.Option("--data", help="Folder of a named task's files.")]
PredictionsFile = Annotated[
    Path | None, typer.Option("--out", help="Write predictions there (jsonl).")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the files that are written, where they are.")
]
FieldColumns = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="FIELD=COLUMN", help="A field's column; repeatable."),
]


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(evaluate)
    app.command()(predict)


def load_prompt(
    folder: Path, backbone: str | None, device: str | None, precision: str = "auto"
) -> tuple[Prompt, Backbone]:
    """A prompt and the backbone that it was learned on, or the one that is named.

    Raises:
        UsageError: no prompt there, no backbone named by anyone, or one that does not fit.
    """
    from softprompt.backbones.loading import load_backbone
    from softprompt.prompts.prompt import Prompt

    prompt = Prompt.load(prompt_folder(folder))
    name = backbone or (prompt.backbone.name if prompt.backbone is not None else None)
    if name is None:
        raise SettingsError(f"{folder} does not say which backbone it needs; give --backbone")
    loaded = load_backbone(name, device=device, precision=precision)
    return Prompt.load(prompt_folder(folder), loaded.identity), loaded


def prompt_folder(folder: Path) -> Path:
    """A prompt folder, or the one inside a run folder.

    Raises:
        SettingsError: the folder of a finished run that left none.
    """
    inner = folder / "prompt"
    run = folder.parent if folder.name == inner.name else folder
    if (run / "fit.json").is_file() and not (run / inner.name).exists():
        raise SettingsError(
            f"{run}: this run left no prompt; where a method trains weights as large as the model, they "
            "are kept with training.keep_weights=true only"
        )
    return inner if not (folder / "prompt.json").is_file() and inner.is_dir() else folder


def evaluate(
    prompt: Annotated[Path, typer.Argument(help="A prompt folder, or a run folder.")],
    data: Annotated[
        str | None, typer.Argument(help="A task's name, a file, or a run file; else the run's.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Else test if there is one, else dev.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Of a file: the column of the target.")
    ] = None,
    field: FieldColumns = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Of a file; repeatable.")
    ] = None,
    folder: TaskFiles = None,
    backbone: BackboneName = None,
    device: Device = None,
    precision: Precision = "auto",
    out: PredictionsFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Score a prompt on labelled data.

    \b
    softprompt evaluate runs/mood/prompt sst2 --split test
    softprompt evaluate runs/mood new.csv --target stars
    """
    from softprompt.data.mixture import rows_behind
    from softprompt.inference.evaluate import evaluate as evaluate_on
    from softprompt.inference.predictor import applied_prompt
    from softprompt.inference.wearing import worn
    from softprompt.recipes.predict_file import Result, json_line, output_file

    loaded, model = load_prompt(prompt, backbone, device, precision)
    task = labelled_data(prompt, loaded, data, target, columns_of(field), metric, folder)
    chosen = split or next((s for s in ("test", "dev") if s in task.split_names), "train")
    check_fits(loaded, task)
    applied = applied_prompt(model, loaded, worn=True)
    with worn(model, loaded):
        rows, parts = task.examples(chosen), task.part_scores
        found = evaluate_on(model, applied, rows, task.metrics, task.labels, parts=parts)
    scores = {**found.metrics, **found.beside}
    table(
        [
            (chosen, name, str(rows_behind(task, chosen, name)), f"{value:.4f}")
            for name, value in scores.items()
        ],
        ("split", "metric", "n", "score"),
    )
    if found.cut:
        warn(f"{found.cut} of {found.n} examples did not fit and lost tokens")
    if out is not None:
        with output_file(out, overwrite) as stream:
            stream.writelines(json_line(Result(p.id, p)) for p in found.predictions)
        say(f"predictions: {out}")


def predict(
    prompt: Annotated[Path, typer.Argument(help="A prompt folder, or a run folder.")],
    file: Annotated[
        str | None, typer.Argument(help="csv, tsv, jsonl, json, parquet, txt; - reads stdin.")
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Single texts instead; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write there (.jsonl or .tsv), else to stdout.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="jsonl or tsv; else by the name of --out.")
    ] = None,
    read_as: Annotated[
        str | None, typer.Option("--format", help="Of the input; stdin: jsonl by default.")
    ] = None,
    field: FieldColumns = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column of ids; else line numbers.")
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Report them in place.")
    ] = False,
    backbone: BackboneName = None,
    device: Device = None,
    precision: Precision = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Predict rows with a prompt.

    Rows of any number are streamed in and out, in order, in constant memory.

    \b
    softprompt predict runs/mood/prompt new.csv --out moods.tsv
    cat new.jsonl | softprompt predict runs/mood/prompt -
    softprompt predict runs/mood/prompt --text "a lovely film"
    """
    if bool(text) == (file is not None):
        raise SettingsError("give either a file (- for standard input) or --text")
    kind = to or ("tsv" if out is not None and out.suffix == ".tsv" else "jsonl")
    if kind not in ("jsonl", "tsv"):
        raise SettingsError(f"--to {kind}: expected jsonl or tsv")
    from softprompt.inference.predictor import Predictor
    from softprompt.recipes.predict_file import STDIN, RowFile, output_file, predict_file

    columns = columns_of(field)
    path = STDIN if file == "-" else Path(file or "")
    suffix = f".{read_as.lstrip('.')}" if read_as else (".jsonl" if file == "-" else None)
    source = RowFile(path, suffix, id_column, skip_bad_rows)
    if file not in (None, "-"):
        from softprompt.data.lines import check_file

        check_file(path)
    loaded, model = load_prompt(prompt, backbone, device, precision)
    predictor = Predictor(model, loaded)
    if text:
        for sentence, found in zip(text, predictor.predict(list(text)), strict=True):
            shares = "  ".join(f"{k} {p:.3f}" for k, p in found.probabilities.items())
            say(f"{found.answer}\t{sentence}" + (f"\t{shares}" if shares else ""))
        return
    results = predict_file(predictor, loaded, source, columns)
    if out is not None:
        with output_file(out, overwrite) as stream:
            bad = _write(results, loaded, kind, stream.write)
    else:
        try:
            bad = _write(results, loaded, kind, sys.stdout.write)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read along has seen enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit() from None
    if bad:
        warn(f"{bad} bad rows have no prediction; each says why in its place")


def _write(
    results: Iterable[Result], prompt: Prompt, kind: str, write: Callable[[str], object]
) -> int:
    """Write results as they come; return how many rows were bad."""
    from softprompt.recipes.predict_file import json_line, tsv_lines

    head, line = "", cast("Callable[[Result], str]", json_line)
    if kind == "tsv":
        head, line = tsv_lines(list(prompt.answers.get("words", {})))
    bad = 0
    write(head)
    for result in results:
        bad += result.prediction is None
        write(line(result))
    return bad


def columns_of(pairs: list[str] | None) -> dict[str, str]:
    """`--field review=text` as a mapping.

    Raises:
        SettingsError: one without `=`.
    """
    found: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise SettingsError(f"--field {pair}: expected FIELD=COLUMN, for example text=review")
        found[name] = column
    return found


def labelled_data(
    folder: Path,
    prompt: Prompt,
    data: str | None,
    target: str | None,
    columns: Mapping[str, str],
    metrics: list[str] | None,
    files: Path | None,
) -> Task:
    """The labelled data that are meant: a task's name, a run file, a file, or the run's beside a prompt.

    Raises:
        UsageError: none of them, or one that cannot be read.
    """
    from softprompt.data.registry import is_known, load_task
    from softprompt.recipes.run_data import file_task, run_task
    from softprompt.recipes.run_file import CONFIG, read_run
    from softprompt.recipes.task_schema import FileTask

    if data is None:
        places = [folder.resolve(), *folder.resolve().parents[:2]]
        run = next((place / CONFIG for place in places if (place / CONFIG).is_file()), None)
        if run is None:
            raise SettingsError(
                f"no data given, and no run file beside {folder}; name a task, a file or a run file"
            )
        return run_task(read_run(run)).task
    if data.endswith((".yaml", ".yml")):
        return run_task(read_run(Path(data))).task
    if is_known(data):
        return load_task(data, files)
    if target is None:
        raise SettingsError(
            f"'{data}' is no task (softprompt list tasks); of a file, name the column of the "
            "target: --target COLUMN"
        )
    names = list(prompt.task["fields"])
    kind = prompt.task.get("kind", "label")
    bounds = prompt.answers.get("bounds")
    given = {
        "test": data,
        "fields": {name: columns.get(name, name) for name in names},
        "target": target,
        "kind": kind,
        "labels": list(prompt.task["labels"]) if kind == "label" else None,
        "bounds": tuple(bounds) if bounds else None,
        "metrics": metrics or None,
    }
    return file_task(FileTask.read(given, "evaluate"))


def check_fits(prompt: Prompt, task: Task) -> None:
    """Refuse a task whose fields or labels are not the prompt's.

    Raises:
        SettingsError: which field or label.
    """
    missing = [name for name in prompt.task["fields"] if name not in task.fields]
    if missing:
        raise SettingsError(
            f"the prompt reads the field '{missing[0]}', task '{task.name}' has "
            f"{', '.join(task.fields)}"
        )
    labels = list(prompt.task.get("labels") or ())
    if task.kind == "label" and labels and set(labels) != set(task.labels):
        raise SettingsError(
            f"the prompt tells {', '.join(labels)} apart, task '{task.name}' has the labels "
            f"{', '.join(task.labels)}"
        )
