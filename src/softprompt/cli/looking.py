"""`softprompt show`, `list` and `doctor`: look at things without changing any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softprompt.cli.console import say, table, warn
from softprompt.cli.using import BackboneName, Device, TaskFiles, load_prompt, prompt_folder
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.backbones.backbone import Backbone
    from softprompt.data.examples import Example
    from softprompt.data.task import Task
    from softprompt.inference.applied import Applied
    from softprompt.prompts.prompt import Prompt


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(show)
    app.command("list")(list_names)
    app.command()(doctor)


def show(
    thing: Annotated[str, typer.Argument(help="A prompt folder, run file, backbone or task.")],
    backbone: BackboneName = None,
    device: Device = None,
    render: Annotated[
        bool, typer.Option("--render", help="An example as the model sees it.")
    ] = False,
    text: Annotated[str | None, typer.Option("--text", help="The example to render.")] = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=1, help="Nearest words per row.")
    ] = 5,
    folder: TaskFiles = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Of a prompt: check it, as softprompt verify does.")
    ] = False,
) -> None:
    """Show a prompt, run, backbone or task.

    Of a run file: what `train` would say before it begins.

    \b
    softprompt show runs/mood/prompt --backbone softprompt/tiny-mlm
    softprompt show run.yaml --render
    """
    path = Path(thing)
    if verify:
        from softprompt.cli.verifying import verify as check

        check(path, backbone, None, device)
    elif (prompt_folder(path) / "prompt.json").is_file():
        _show_prompt(path, backbone, device, render, text, neighbours)
    elif path.suffix in (".yaml", ".yml") or (path / "config.yaml").is_file():
        _show_run(path, render, text)
    elif not path.exists() and _is_task(thing):
        _show_task(thing, folder)
    else:
        from softprompt.backbones.loading import load_backbone

        _show_backbone(load_backbone(thing, device=device))


def _is_task(name: str) -> bool:
    from softprompt.data.registry import is_known

    return is_known(name)


def _show_prompt(
    folder: Path, name: str | None, device: str | None, render: bool, text: str | None, k: int
) -> None:
    from softprompt.prompts.addition import described
    from softprompt.prompts.prompt import Prompt

    prompt = Prompt.load(prompt_folder(folder))
    on = prompt.backbone
    rows = prompt.rows
    learned = described({name: t.shape for name, t in prompt.addition.tensors().items()})
    facts = [
        ("task", str(prompt.task.get("name"))),
        ("method", prompt.method),
        ("backbone", f"{on.name} ({on.family.replace('_', '-')})" if on else "not named"),
        *learned.items(),
        ("learned", f"{prompt.n_parameters:,} parameters, {prompt.n_bytes:,} bytes"),
        ("template", prompt.template),
        *(("answer", f"{label} ← {_alternatives(words)}") for label, words in _words(prompt)),
        ("fields", ", ".join(prompt.task.get("fields", ()))),
        ("hash", prompt.content_hash[:23]),
    ]
    table(facts)
    if prompt.scores:
        say()
        table(
            [
                (
                    str(s["split"]),
                    str(s["metric"]),
                    str(s["n"]),
                    f"{s['value']:.4f}",
                    str(s["seed"]),
                )
                for s in prompt.scores
            ],
            ("split", "metric", "n", "score", "seed"),
        )
    if name is None and not render:
        say()
        say("Nearest words of its rows: give --backbone; an example as the model sees it: --render")
        return
    loaded, model = load_prompt(folder, name, device)
    if rows is not None:
        from softprompt.analysis.neighbours import CAVEAT, nearest_words

        say()
        table(
            [
                (f"[P{n}]", "  ".join(f"{w.word} {w.cosine:.2f}" for w in near))
                for n, near in enumerate(nearest_words(model, rows, k), start=1)
            ],
            ("row", "nearest words (cosine)"),
        )
        say(CAVEAT)
    if render:
        from softprompt.inference.predictor import applied_prompt

        say()
        _render(applied_prompt(model, loaded, worn=True), _example(loaded, text))


def _show_run(path: Path, render: bool, text: str | None) -> None:
    """What `train` would say before it begins."""
    from dataclasses import replace

    from softprompt.recipes.facts import run_facts
    from softprompt.recipes.prepare import prepare, with_demonstrations
    from softprompt.recipes.run_file import read_run

    prepared = prepare(read_run(path))
    table([(fact.name, fact.value) for fact in run_facts(prepared)])
    for warning in prepared.warnings:
        warn(warning)
    if render:
        example = prepared.task.examples("train")[0]
        if text is not None:
            first = prepared.task.fields[0]
            example = replace(example, fields={**example.fields, first: text})
        say()
        _render(with_demonstrations(prepared), example)


def _show_backbone(model: Backbone) -> None:
    from softprompt.methods.prompt_tuning import DEFAULT_LENGTH

    rows = DEFAULT_LENGTH * model.width
    table(
        [
            ("backbone", model.name),
            ("family", model.family.replace("_", "-")),
            ("type", f"{model.config.model_type} ({type(model.model).__name__})"),
            ("parameters", f"{model.n_parameters:,}"),
            ("vocabulary", f"{model.vocabulary:,}"),
            ("input width", f"{model.width} ({DEFAULT_LENGTH} rows: {rows:,} numbers)"),
            ("positions", str(model.limit or "no limit")),
            ("embeddings", f"RMS {model.rms:.4f} per element"),
            ("runs in", f"{model.precision} on {model.device}"),
            ("fingerprint", f"{model.identity.architecture} {model.identity.weights}"),
        ]
    )


def _show_task(name: str, folder: Path | None) -> None:
    from collections import Counter

    from softprompt.data.registry import find_entry, load_task, task_without_rows
    from softprompt.data.tasks.patterns import patterns_of

    entry, described = find_entry(name), task_without_rows(name)
    forms = [f"{name}:{form} ({given.source})" for form, given in entry.forms.items()]
    table(
        [
            ("task", described.name),
            ("source", described.source),
            *([("note", entry.note)] if entry.note else []),
            ("language", described.language or "not named"),
            ("fields", ", ".join(described.fields)),
            ("template", described.template or "none"),
            *((f"… {family.replace('_', '-')}", own) for family, own in entry.templates.items()),
            *(("answer", f"{k} ← {', '.join(v)}") for k, v in (described.words or {}).items()),
            ("metrics", ", ".join(described.metrics)),
            *(("form", form) for form in forms),
            *(("pattern", str(pattern)) for pattern in patterns_of(name)),
            *([("variants", ", ".join(entry.variants))] if entry.variants else []),
        ]
    )
    task: Task = load_task(name, folder)
    say()
    for split in task.split_names:
        rows = task.examples(split)
        counts = Counter(str(row.target) for row in rows) if task.kind == "label" else Counter()
        shown = ", ".join(f"{label} {n:,}" for label, n in sorted(counts.items()))
        say(f"{split}: {len(rows):,} rows" + (f" ({shown})" if shown else ""))
    say()
    first = task.examples(task.split_names[0])[:3]
    table([(str(row.target), " ‖ ".join(map(str, row.fields.values()))[:100]) for row in first])


def _render(applied: Applied, example: Example) -> None:
    """The example position by position, and how the label words are tokenised."""
    from softprompt.analysis.views import view_queries
    from softprompt.text.answers import FreeText
    from softprompt.text.checks import check_words

    if isinstance(applied.answers, FreeText):
        source = applied.source(example)
        pieces = applied.renderer.frame.tokenizer.pieces(tuple(max(0, i) for i in source.ids))
        table(
            [
                (str(n), "" if i < 0 else str(i), f"[P{-i}]" if i < 0 else piece)
                for n, (i, piece) in enumerate(zip(source.ids, pieces, strict=True))
            ],
            ("position", "id", "piece"),
        )
        return
    rendering = applied.render(example)
    for number, view in enumerate(view_queries(applied, rendering.queries), start=1):
        if len(rendering.queries) > 1:
            say(f"query {number} of {len(rendering.queries)}")
        for title, positions in (("", view.main), ("decoder", view.decoder)):
            if not positions:
                continue
            if title:
                say(title)
            table(
                [
                    (str(n), "" if p.id is None else str(p.id), p.piece, " ".join(p.reads))
                    for n, p in enumerate(positions)
                ],
                ("position", "id", "piece", "read here"),
            )
    if rendering.cut:
        warn(f"{rendering.cut} tokens did not fit and were cut")
    reports = check_words(applied.renderer, example.fields, example.candidates)
    if not reports:
        return
    say()
    table(
        [(r.label, r.word, " ".join(r.pieces), "; ".join(r.warnings)) for r in reports],
        ("label", "word", "tokens", "warnings"),
    )


def _example(prompt: Prompt, text: str | None) -> Example:
    from softprompt.data.examples import Example

    fields = list(prompt.task["fields"])
    if prompt.answers.get("kind") == "candidates":
        raise SettingsError("an example of this task has candidates of its own; show its run file")
    shown = text or next((str(e["text"]) for e in prompt.examples), "…")
    texts = shown.split(" ‖ ") if len(fields) > 1 else [shown]
    if len(texts) != len(fields):
        raise SettingsError(
            f"--text: the task has the fields {', '.join(fields)}; give their texts with ' ‖ ' between"
        )
    return Example("shown", dict(zip(fields, texts, strict=True)))


def _words(prompt: Prompt) -> list[tuple[str, object]]:
    return (
        list(prompt.answers.get("words", {}).items()) if prompt.answers["kind"] == "words" else []
    )


def _alternatives(words: object) -> str:
    rows = words if isinstance(words, list | tuple) else [words]
    return ", ".join(" … ".join(row) if isinstance(row, list | tuple) else str(row) for row in rows)


def list_names(
    what: Annotated[str | None, typer.Argument(help="One of them; all by default.")] = None,
) -> None:
    """List what can be named in a run file.

    tasks, backbones, methods, initialisers, filters, metrics, optimisers, schedules, settings

    \b
    softprompt list tasks
    """
    from softprompt.cli.catalogue import catalogue

    known = catalogue()
    if what is not None and what not in known:
        raise SettingsError(f"'{what}': expected one of {', '.join(known)}")
    chosen = [what] if what is not None else [name for name in known if name != "settings"]
    for number, name in enumerate(chosen):
        if what is None:
            say(f"{'' if number == 0 else chr(10)}{name}")
        rows = known[name]()
        table(
            [(f"  {row[0]}" if what is None else row[0], *row[1:]) for row in rows] or [("  none",)]
        )
    if what is None:
        say("\nall keys of a run file: softprompt list settings")


def doctor() -> None:
    """Show what is installed and what is missing.

    Versions, devices, memory, disk and caches.

    \b
    softprompt doctor
    """
    from softprompt.cli.examination import examine

    for title, rows in examine().items():
        say(title)
        table([(f"  {name}", value) for name, value in rows])
