"""The first minute: a shipped backbone, a shipped data set, a prompt learned and used.

Tells the walk-through of prompt tuning as it happens, on a backbone of any family. Prints nothing:
each line goes to `say`, each step to the watcher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from softprompt.analysis.accounts import n_bytes, percent
from softprompt.analysis.baselines import bag_of_words, majority
from softprompt.analysis.neighbours import nearest_words
from softprompt.analysis.views import QueryView, view_queries, view_source
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.data.registry import load_task
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import Evaluation, evaluate
from softprompt.inference.predictor import Predictor
from softprompt.recipes.prepare import Prepared, prepare
from softprompt.recipes.quickstart_courses import course_for
from softprompt.recipes.quickstart_words import SENTENCES, WORDS, Words
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.train import Trained, train
from softprompt.recipes.watching import Watcher
from softprompt.settings import Settings
from softprompt.text.template import parse
from softprompt.tuning.run import bind

Say = Callable[[str], None]
Table = Callable[[Sequence[Sequence[str]], Sequence[str]], None]


class QuickstartSettings(Settings):
    """All numbers of the quickstart."""

    backbone: str = "softprompt/tiny-mlm"
    data: dict[str, str] = Field(
        default={"en": "softprompt/topics-en", "zh": "softprompt/reviews-zh"},
        description="language to task",
    )
    length: int = Field(default=20, description="learned rows")
    init: str | None = Field(default=None, description="else as in COURSES; so the next ones")
    steps: int | None = None
    batch_size: int | None = None
    evaluate_every: int | None = None
    optimiser: dict[str, Any] | None = Field(default=None, description="as in a run file")
    seed: int = 0
    shown_rows: int = Field(default=4, description="data rows to show")
    shown_neighbours: int = Field(
        default=5, description="learned rows whose nearest words are shown"
    )
    bag_of_words: bool = True


@dataclass(frozen=True)
class Voice:
    """How the quickstart speaks.

    Args:
        say: takes a line.
        table: takes rows and a head.
        watcher: is shown the training.
    """

    say: Say
    table: Table
    watcher: Watcher


def quickstart(
    settings: QuickstartSettings,
    lang: Literal["en", "zh"],
    folder: Path,
    voice: Voice,
    sentences: Sequence[str] = (),
) -> Trained:
    """Run the quickstart.

    Args:
        settings: its numbers.
        lang: language of data and messages.
        folder: the run folder; an earlier quickstart there is replaced.
        voice: where everything is said.
        sentences: to classify at the end; examples of the data set's kind if none are given.
    Returns:
        The run.
    """
    words, say = WORDS[lang], voice.say
    began = time.monotonic()
    say(words.greeting)
    say(words.loading.format(backbone=settings.backbone))
    backbone = load_backbone(settings.backbone)
    prepared = prepare(run_settings(settings, lang, folder, backbone), backbone)
    _introduce(prepared, settings, words, voice)
    zero = _zero_shot(prepared)
    metric = prepared.task.metrics[0]
    say(words.zero_shot.format(**{s: f"{found.metrics[metric]:.3f}" for s, found in zero.items()}))
    say("")
    training = prepared.settings.training
    say(words.training.format(steps=training.steps, batch=training.batch_size))
    trained = train(prepared.settings, voice.watcher, overwrite=True, prepared=prepared)
    say("")
    _results(trained, zero, settings, words, voice)
    _predictions(trained, sentences or SENTENCES.get(prepared.task.name, ()), words, voice)
    _nearest(trained, settings, words, voice)
    _goodbye(trained, words, say, time.monotonic() - began)
    return trained


def run_settings(
    settings: QuickstartSettings, lang: str, folder: Path, backbone: Backbone
) -> RunSettings:
    """The run behind the quickstart: its config.yaml can be changed and trained again."""
    course = course_for(backbone.name, backbone.family)
    task = load_task(settings.data[lang])
    return RunSettings.read(
        {
            "backbone": backbone.name,
            "task": task.name,
            "template": task.template_for(course.asked_as or backbone.family),
            "method": {
                "name": "prompt_tuning",
                "length": settings.length,
                "init": settings.init or course.init,
            },
            "training": {
                "steps": settings.steps or course.steps,
                "batch_size": settings.batch_size or course.batch_size,
                "evaluate_every": settings.evaluate_every or course.evaluate_every,
                "optimiser": settings.optimiser or dict(course.optimiser),
            },
            "objective": dict(course.objective),
            "seeds": [settings.seed],
            "out": str(folder.absolute()),
        },
        "quickstart",
    )


def _introduce(
    prepared: Prepared, settings: QuickstartSettings, words: Words, voice: Voice
) -> None:
    task, backbone, account = prepared.task, prepared.backbone, prepared.first.account
    voice.say(
        words.backbone.format(
            backbone=backbone.name,
            parameters=f"{backbone.n_parameters:,}",
            rows=prepared.first.applied.renderer.total_rows,
            width=backbone.width,
            learned=f"{account.learned:,}",
            share=percent(account.share),
        )
    )
    voice.say("")
    counts = {split: len(task.examples(split)) for split in task.split_names}
    voice.say(words.data.format(task=task.name, **counts))
    train_rows = task.examples("train")
    voice.table(
        [
            (f"  {row.target}", _short(" ".join(map(str, row.fields.values()))))
            for row in train_rows[: settings.shown_rows]
        ],
        (),
    )
    voice.say("")
    shortest = min(train_rows, key=lambda row: sum(len(str(v)) for v in row.fields.values()))
    view = _view(prepared.first.applied, shortest)
    voice.say(words.sees.format(rows=prepared.first.applied.renderer.total_rows))
    voice.say(f"  {view.line()}")
    if view.decoder:
        voice.say(f"  {words.decoder.format(begun=view.decoder_line())}")
    pairs = "  ".join(f"{w.word} → {w.label}" for w in prepared.first.words)
    voice.say(f"  {words.candidates[backbone.family].format(words=pairs)}")
    for warning in prepared.warnings:
        voice.watcher.warning(warning)
    voice.say("")


def _view(applied: Applied, example: Example) -> QueryView:
    """The example with its slot to fill, or up to where the answer begins."""
    if applied.renderer.frame.family == "masked":
        return view_queries(applied, applied.render(example).queries)[0]
    return view_source(applied, applied.source(example))


def _zero_shot(prepared: Prepared) -> dict[str, Evaluation]:
    """The template alone, on dev and test."""
    task, s = prepared.task, prepared.settings
    applied = bind(
        prepared.backbone,
        task,
        parse(prepared.first.template),
        prepared.first.answers,
        s.objective,
        render=s.render.resolved(),
    )
    return {
        split: evaluate(prepared.backbone, applied, task.examples(split), task.metrics, task.labels)
        for split in ("dev", "test")
    }


def _results(
    trained: Trained,
    zero: Mapping[str, Evaluation],
    settings: QuickstartSettings,
    words: Words,
    voice: Voice,
) -> None:
    task, run = trained.prepared.task, trained.runs[0]
    metric = task.metrics[0]
    beside = {"majority": majority(task)}
    if settings.bag_of_words:
        beside = {"words": bag_of_words(task), **beside}
    rows = [
        ("prompt", {split: run.metrics[split][metric] for split in ("dev", "test")}),
        ("zero", {split: found.metrics[metric] for split, found in zero.items()}),
        *((name, {s: b.metrics[s][metric] for s in ("dev", "test")}) for name, b in beside.items()),
    ]
    counts = {split: len(task.examples(split)) for split in ("dev", "test")}
    voice.say(words.results)
    voice.table(
        [
            (f"  {words.rows[name]}", f"{scores['dev']:.3f}", f"{scores['test']:.3f}")
            for name, scores in rows
        ],
        [title.format(**counts) for title in words.head],
    )
    voice.say("")
    asked = {"prompt": run.metrics["test"], "zero": zero["test"].beside}
    if zero["test"].beside:
        names = (f"rank_{metric}", f"greedy_{metric}", "illegal")
        voice.say(words.ways)
        voice.table(
            [
                (f"  {words.rows[row]}", *(f"{beside[name]:.3f}" for name in names))
                for row, beside in asked.items()
            ],
            words.ways_head,
        )
        voice.say("")


def _predictions(trained: Trained, sentences: Sequence[str], words: Words, voice: Voice) -> None:
    if not sentences:
        return
    prepared = trained.prepared
    shown = {report.label: report.word for report in reversed(prepared.first.words)}
    predictor = Predictor(prepared.backbone, trained.prompts[0])
    voice.say(words.predictions)
    for sentence, found in zip(sentences, predictor.predict(list(sentences)), strict=True):
        ranked = sorted(found.probabilities.items(), key=lambda pair: -pair[1])[:3]
        shares = "  ".join(f"p({shown.get(label, label)})={p:.2f}" for label, p in ranked)
        voice.say(f"  {sentence}")
        voice.say(f"    → {found.label}  {shares}")
    voice.say("")


def _nearest(trained: Trained, settings: QuickstartSettings, words: Words, voice: Voice) -> None:
    rows = trained.runs[0].prompt.rows
    if rows is None:
        return
    voice.say(words.nearest)
    found = nearest_words(trained.prepared.backbone, rows[: settings.shown_neighbours])
    voice.table(
        [
            (f"  [P{number}]", "  ".join(f"{n.word} {n.cosine:.2f}" for n in neighbours))
            for number, neighbours in enumerate(found, start=1)
        ],
        (),
    )
    voice.say(f"  {words.caveat}")
    voice.say("")


def _goodbye(trained: Trained, words: Words, say: Say, seconds: float) -> None:
    folder = _relative(trained.folder)
    prompt = _relative(trained.prompts[0])
    size = n_bytes(trained.runs[0].prompt.n_bytes)
    say(words.saved.format(folder=folder, size=size, time=f"{seconds:.0f} s"))
    say(words.next_steps)
    sentence = (SENTENCES.get(trained.prepared.task.name) or ("…",))[0]
    say(f'  softprompt predict {prompt} --text "{sentence}"')
    say(f"  softprompt show {prompt}")
    say(f"  softprompt train {folder}/config.yaml method.length=5 out=runs/shorter")
    say("  softprompt init reviews.csv")


def _short(text: str, most: int = 90) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
