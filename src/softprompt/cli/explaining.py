"""`softprompt explain`: what can be said of a learned prompt, and what cannot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softprompt.cli.console import say, table, warn
from softprompt.cli.using import (
    BackboneName,
    Device,
    TaskFiles,
    check_fits,
    labelled_data,
    load_prompt,
    prompt_folder,
)
from softprompt.errors import PromptError, SettingsError, UsageError

if TYPE_CHECKING:
    from softprompt.analysis.contributions import Contribution
    from softprompt.analysis.explaining import RowWords
    from softprompt.backbones.backbone import Backbone
    from softprompt.data.task import Task
    from softprompt.inference.applied import Applied
    from softprompt.prompts.prompt import Prompt

SHOWN = 12
"""Repeated words that are listed."""


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(explain)


def explain(
    prompt: Annotated[Path, typer.Argument(help="A prompt folder, or a run folder.")],
    others: Annotated[
        list[Path] | None, typer.Argument(help="Prompts of the same backbone to compare it with.")
    ] = None,
    backbone: BackboneName = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=1, help="Nearest words per row.")
    ] = 5,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            help="Data for each row's contribution: a task's name, a file, or a "
            "run file; else the run's.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Else dev if there is one.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Of a file: the column of the target.")
    ] = None,
    folder: TaskFiles = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Examples for contributions, at most.")
    ] = 200,
    contributions: Annotated[
        bool, typer.Option("--contributions/--no-contributions", help="Measure each row's.")
    ] = True,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw rows and words in a plane there (.png).")
    ] = None,
    wayward: Annotated[
        str | None,
        typer.Option(
            "--wayward",
            metavar="SENTENCE",
            help="Train another prompt whose rows stay "
            "nearest to this sentence's words, and compare.",
        ),
    ] = None,
    device: Device = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file at --picture.")
    ] = False,
) -> None:
    """Describe what a prompt's rows lie near, and what each one does.

    Nearest words, clusters and repeats, label words among them, likeness to other prompts; and what is
    lost when a row is silenced, measured on data.

    \b
    softprompt explain runs/mood
    softprompt explain runs/mood runs/topics --picture mood.png
    softprompt explain runs/mood --wayward "once upon a time there was a king"
    """
    if picture is not None and picture.exists() and not overwrite:
        raise SettingsError(f"{picture} is there already; give --overwrite to replace it")
    loaded, model = load_prompt(prompt, backbone, device)
    subject = _subject(prompt, loaded, model)
    rest = [_other(path, model) for path in others or ()]
    found = _describe(subject, model, neighbours)
    if rest:
        _compare(subject, rest)
    data = None
    if contributions or wayward is not None:
        needed = on is not None or split is not None or wayward is not None
        data = _data(subject, prompt, on, split, target, folder, needed=needed)
    if contributions and data is not None:
        _contribute(subject, model, data, limit)
    if wayward is not None and data is not None:
        from softprompt.cli.straying import go_astray

        go_astray(subject.name, subject.prompt, model, data.task, data.split, wayward)
    if picture is not None:
        _draw(picture, subject, rest, model, found)


@dataclass(frozen=True)
class _Subject:
    """A prompt that is looked at.

    Args:
        name: its folder's.
        prompt: read.
        applied: bound to the backbone.
        rows: its rows.
    """

    name: str
    prompt: Prompt
    applied: Applied
    rows: Any


@dataclass(frozen=True)
class _Data:
    task: Task
    split: str


def _subject(path: Path, prompt: Prompt, model: Backbone) -> _Subject:
    from softprompt.inference.predictor import applied_prompt

    if prompt.rows is None:
        raise PromptError(f"{path} has no learned rows, so there is nothing to explain")
    folder = prompt_folder(path).resolve()
    name = folder.parent.name if folder.name == "prompt" else folder.name
    return _Subject(name, prompt, applied_prompt(model, prompt), prompt.rows)


def _other(path: Path, model: Backbone) -> _Subject:
    from softprompt.prompts.prompt import Prompt

    return _subject(path, Prompt.load(prompt_folder(path), model.identity), model)


# --- what its rows lie near -----------------------------------------------------------------------


def _describe(subject: _Subject, model: Backbone, k: int) -> list[RowWords]:
    from softprompt.analysis.explaining import (
        clusters,
        label_words,
        repeats,
        row_words,
        spelled_labels,
        usual_tightness,
    )
    from softprompt.analysis.neighbours import CAVEAT

    found = row_words(model, subject.rows, k)
    table(
        [
            (
                f"[P{n}]",
                f"{one.tightness:.2f}",
                "  ".join(f"{w.word} {w.cosine:.2f}" for w in one.words)
                + (f"  (forms of {one.form}…)" if one.form else ""),
            )
            for n, one in enumerate(found, start=1)
        ],
        ("row", "tightness", "nearest words (cosine)"),
    )
    mean = sum(one.tightness for one in found) / len(found)
    say(
        f"tightness: mean cosine between a row's {k} words; {mean:.2f} on average, "
        f"{usual_tightness(model):.2f} between any two words"
    )
    repeated = repeats(found)
    if repeated:
        say()
        shown = list(repeated.items())[:SHOWN]
        say("words near several rows: " + ", ".join(f"{w} ({len(rows)})" for w, rows in shown))
        groups = clusters(found)
        say("rows that share words: " + "; ".join(_rows(group) for group in groups))
    words, names = spelled_labels(subject.applied)
    if words:
        labels = label_words(model, subject.rows, words, names, k)
        say()
        table(
            [
                (
                    one.label,
                    one.word,
                    f"[P{one.row + 1}]",
                    f"{one.cosine:.2f}",
                    f"{one.rank:,}",
                    "yes" if one.persists else "no",
                )
                for one in labels
            ],
            ("label", "word", "nearest row", "cosine", "rank there", f"among its {k}"),
        )
    say()
    say(CAVEAT)
    return found


def _rows(group: tuple[int, ...]) -> str:
    names = [f"P{row + 1}" for row in group]
    return " ".join(names if len(names) <= 8 else [*names[:7], f"… ({len(names)} rows)"])


def _compare(subject: _Subject, rest: list[_Subject]) -> None:
    from softprompt.analysis.explaining import similarity

    every = [subject, *rest]
    say()
    rows = []
    for number, left in enumerate(every):
        for right in every[number + 1 :]:
            found = similarity(left.rows, right.rows)
            rows.append((left.name, right.name, f"{found.mean:.3f}", f"{found.best:.3f}"))
    table(rows, ("prompt", "and", "cosine of means", "best matching rows"))


# --- what its rows do -----------------------------------------------------------------------------


def _data(
    subject: _Subject,
    path: Path,
    on: str | None,
    split: str | None,
    target: str | None,
    folder: Path | None,
    *,
    needed: bool,
) -> _Data | None:
    """The labelled data that are meant; where none were named and there are none, that is said."""
    try:
        task = labelled_data(path, subject.prompt, on, target, {}, None, folder)
        check_fits(subject.prompt, task)
    except UsageError as error:
        if needed:
            raise
        say()
        say(f"Contributions of rows: no data ({error}); give --on")
        return None
    chosen = split or next((s for s in ("dev", "test") if s in task.split_names), "train")
    if chosen not in task.split_names:
        raise SettingsError(
            f"--split {chosen}: task '{task.name}' has {', '.join(task.split_names)}"
        )
    return _Data(task, chosen)


def _contribute(subject: _Subject, model: Backbone, data: _Data, limit: int) -> None:
    from softprompt.analysis.contributions import contributions

    task, examples = data.task, data.task.examples(data.split)
    if len(examples) > limit:
        examples = task.subsample(data.split, limit).examples(data.split)
    found = contributions(
        model, subject.applied, examples, task.metrics, task.labels, parts=task.part_scores
    )
    say()
    say(f"{data.split}: {found.name} {found.value:.4f} on {found.n} examples")

    def row(one: Contribution) -> tuple[str, str, str, str]:
        name = "all rows" if one.row is None else f"[P{one.row + 1}]"
        log_p = "" if one.log_p is None else f"{one.log_p:+.4f}"
        return name, f"{one.metric:+.4f}", log_p, str(one.changed)

    head = ("silenced", f"{found.name} lost", "log p lost", "answers changed")
    table([row(one) for one in (*found.rows, found.all_rows)], head)
    say(
        "A silenced row is the mean of all words. Rows can stand in for each other, so that losses "
        f"need not add up; one example is {1 / found.n:.4f}."
    )


# --- the picture ----------------------------------------------------------------------------------


def _draw(
    path: Path,
    subject: _Subject,
    rest: list[_Subject],
    model: Backbone,
    found: list[RowWords],
) -> None:
    """Rows of all prompts, the words nearest to the first one's, and its label words."""
    from softprompt.analysis.explaining import spelled_labels
    from softprompt.analysis.prompt_map import map_groups, prompt_map
    from softprompt.prompts.folder import write_bytes
    from softprompt.recipes.run_folder import writing

    words, names = spelled_labels(subject.applied)
    spelled = {
        word: pieces
        for label, several in words.items()
        for word, pieces in zip(names[label], several, strict=True)
    }
    others = {one.name: one.rows for one in rest}
    groups = map_groups(model, subject.name, subject.rows, found, spelled, others)
    if sum(len(group.points) for group in groups) < 3:
        warn("too few points for a picture")
        return
    picture = prompt_map(groups, f"{subject.name} on {model.name}: where its rows lie among words")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, picture)
    say()
    say(f"picture: {path}")
