"""One model of an ensemble: a pattern, trained on its rows; its scores on the pool and on the test rows.

A member is an ordinary run in a folder of its own. What the recipe needs of it are scores, so tuned
weights are dropped as soon as those are safe (unless they are to be kept); a learned prompt stays.
Interrupted at any moment, the same call goes on: fits from their checkpoint, scores shard by shard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.pool import Pool
from softprompt.data.task import Task
from softprompt.inference.applied import Applied
from softprompt.inference.evaluate import Evaluation, evaluate
from softprompt.inference.predictor import applied_prompt
from softprompt.inference.wearing import worn
from softprompt.methods.method import Method
from softprompt.methods.opened_weights import WeightTuning
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.forgetting import audit
from softprompt.recipes.pet.scores import Shards, as_scores, score_pool, write_scores
from softprompt.recipes.pet.settings import Cloze, PetSettings
from softprompt.recipes.pet.texts import write_texts
from softprompt.recipes.pet.unlabelled import set_aside
from softprompt.recipes.prepare import prepare, run_answers
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_folder import PROMPT, RunFolder, remove, write_text
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.train import train
from softprompt.recipes.watching import Watcher
from softprompt.text.answers import FreeText
from softprompt.text.template import parse
from softprompt.tuning.jobs import bind

MEMBER = "member.json"
SEEDS = 2**32
"""Seeds of generators are below this."""


@dataclass(frozen=True)
class Member:
    """A model to be made.

    Args:
        pattern, repetition: which of them, from 0.
        cloze: the pattern with its words.
        seed: of its training.
        place: its folder.
    """

    pattern: int
    repetition: int
    cloze: Cloze
    seed: int
    place: Path

    @property
    def name(self) -> str:
        """As in folders and tables: `pattern 1, repetition 1`."""
        return f"pattern {self.pattern + 1}, repetition {self.repetition + 1}"

    @property
    def shards(self) -> Shards:
        """Its scores on the pool."""
        return Shards(self.place / "pool")

    def scores(self, split: str) -> Path:
        """The file of its scores on a split."""
        return self.place / f"{split.replace(' ', '-')}.npy"

    def texts(self, split: str) -> Path:
        """The file of what it wrote on a split, where answers are written."""
        return self.scores(split).with_suffix(".json")


@dataclass(frozen=True)
class Made:
    """What came of a member.

    Args:
        before: accuracy of its pattern on the labelled rows before any training, of written answers the
            task's first metric; None: there are none.
        metrics: split to metric to value.
        n_train: rows it was trained on.
        n_learned: parameters that training moved.
        audit: language-model loss, of unlabelled rows that no auxiliary loss met or else of the labelled
            ones, and label words before and after; empty unless asked for.
        cut: split to how many of its rows lost tokens.
    """

    before: float | None
    metrics: Mapping[str, Mapping[str, float]]
    n_train: int
    n_learned: int
    audit: Mapping[str, Any]
    cut: Mapping[str, int] = field(default_factory=dict)


def members_of(
    settings: PetSettings, clozes: Sequence[Cloze], seed: int, home: Path
) -> list[Member]:
    """All models of a generation: patterns × repetitions, each with a seed of its own."""
    return [
        Member(p, r, cloze, (seed * 1_000 + r) % SEEDS, home / f"pattern-{p + 1}-{r + 1}")
        for p, cloze in enumerate(clozes)
        for r in range(settings.repetitions)
    ]


def member_run(settings: PetSettings, member: Member) -> RunSettings:
    """A member as `softprompt train` would run it on its rows."""
    values = plain_values(settings)
    values |= {
        "template": member.cloze.template,
        "words": member.cloze.words or settings.words,
        "seeds": [member.seed],
        "out": str(member.place),
        "training": {**values["training"], "keep_weights": True},  # until it has scored
    }
    return RunSettings.read(values, "recipe")


def plain_values(settings: PetSettings) -> dict[str, Any]:
    """The settings of a recipe that an ordinary run has too; the rows are given to it."""
    values = {k: v for k, v in settings.resolved().items() if k in RunSettings.model_fields}
    return {**values, "train_limit": None}


def made(member: Member) -> Made | None:
    """What came of a member; None while it is not finished."""
    path = member.place / MEMBER
    if not path.is_file():
        return None
    return Made(**json.loads(path.read_text(encoding="utf-8")))


def make(
    settings: PetSettings,
    member: Member,
    backbone: Backbone,
    task: Task,
    labelled: Sequence[Example],
    pool: Pool | None,
    told: Watcher,
    splits: Sequence[str],
) -> Made:
    """Train a member and keep its scores; one that stands there is read.

    Args:
        task: its `train` is what the member is trained on; without rows it stays as it is.
        labelled: the labelled rows, on which the pattern is tried before training.
        pool: the unlabelled rows, or None.
        splits: those of the task that are scored at the end.
    """
    keep = settings.keep_members or stays(settings.method)
    known = made(member)
    if known is not None:
        _drop(member, keep)  # interrupted between the two
        return known
    run = member_run(settings, member)
    bare = untrained(run, task, backbone)
    before = None
    if labelled:
        before = _evaluated(backbone, bare, task, labelled).metrics[_metrics(bare, task)[0]]
    trained = bool(task.examples("train"))
    n_learned, audited, prompt = 0, {}, None
    if trained:
        if not RunFolder(member.place).finished:
            train(run, told, prepared=prepare(run, backbone, RunData(task, (), task.skipped)))
        prompt = Prompt.load(member.place / PROMPT, backbone.identity)
        n_learned = int(json.loads((member.place / "fit.json").read_text("utf-8"))["n_learned"])
    if prompt is None:
        scored = _score(backbone, bare, task, member, pool, splits)
    else:
        with worn(backbone, prompt):
            applied = applied_prompt(backbone, prompt, worn=True)
            scored = _score(backbone, applied, task, member, pool, splits)
        if settings.audit:
            audited = _audited(backbone, prompt, labelled if pool is None else set_aside(pool))
    metrics = {split: dict(one.metrics) for split, one in scored.items()}
    cut = {split: one.cut for split, one in scored.items()}
    found = Made(before, metrics, len(task.examples("train")), n_learned, audited, cut)
    write_text(member.place / MEMBER, json.dumps(asdict(found), indent=2) + "\n")
    _drop(member, keep)
    return found


def _score(
    backbone: Backbone,
    applied: Applied,
    task: Task,
    member: Member,
    pool: Pool | None,
    splits: Sequence[str],
) -> dict[str, Evaluation]:
    scored: dict[str, Evaluation] = {}
    for split in splits:
        found = scored[split] = _evaluated(backbone, applied, task, task.examples(split))
        if isinstance(applied.answers, FreeText):
            write_texts(member.texts(split), [one.text or "" for one in found.predictions])
        else:
            write_scores(member.scores(split), as_scores(found.predictions))
    if (rows := scored_pool(task, pool)) is not None:
        for _ in score_pool(backbone, applied, rows, member.shards):
            pass
    return scored


def scored_pool(task: Task, pool: Pool | None) -> Pool | None:
    """The unlabelled rows that models score; None where there are none, or examples have answers of their
    own, from which nothing is distilled."""
    return pool if task.labels else None


def untrained(run: RunSettings, task: Task, backbone: Backbone) -> Applied:
    """The pattern alone.

    Raises:
        UsageError: pattern and words do not suit each other, the task or the backbone.
    """
    template = parse(str(run.template))
    if not task.examples("train"):  # rows to see what their answers are like
        split = "test" if "test" in task.split_names else "dev"
        task = task.with_splits(train=task.examples(split)[:1])
    answers = run_answers(run, task, template.slot_names)
    return bind(backbone, task, template, answers, run.objective, render=run.render.resolved())


def _metrics(applied: Applied, task: Task) -> tuple[str, ...]:
    """What a member is scored by: accuracy first, by which it is weighed, unless answers are written."""
    written = isinstance(applied.answers, FreeText)
    return task.metrics if written else tuple(dict.fromkeys(("accuracy", *task.metrics)))


def _evaluated(
    backbone: Backbone, applied: Applied, task: Task, rows: Sequence[Example]
) -> Evaluation:
    names = _metrics(applied, task)
    return evaluate(backbone, applied, rows, names, task.labels, both_ways=False)


def _audited(backbone: Backbone, prompt: Prompt, rows: Sequence[Example]) -> dict[str, Any]:
    texts = [" ".join(str(v) for v in row.fields.values()) for row in rows]
    found = audit(backbone, prompt, texts)
    return {
        "objective": found.objective,
        "before": found.loss.before,
        "after": found.loss.after,
        "interval": [found.loss.interval.low, found.loss.interval.high],
        "drift": {one.word: one.moved for one in found.words},
    }


def stays(method: Method) -> bool:
    """Whether what a method learned is kept unless refused: a prompt, or weights that are small beside
    the backbone."""
    return not isinstance(method, WeightTuning) or method.small


def _drop(member: Member, keep: bool) -> None:
    """Remove what only training, and what no recipe, needs any more."""
    remove(*(member.place / name for name in ("checkpoints", *(() if keep else (PROMPT,)))))
