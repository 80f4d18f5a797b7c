"""A recipe's report: its scores from patterns to product, what was decided, what to be careful about.

A pure function from a finished recipe to Markdown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from softprompt.recipes.pages import Block, Grid, Heading, Lines, Paragraph, markdown
from softprompt.recipes.pet.members import Made
from softprompt.recipes.pet.results import RecipeRun, SeedOutcome
from softprompt.recipes.pet.settings import ENSEMBLE
from softprompt.recipes.report import mean_and_spread


def recipe_report(run: RecipeRun, backbone: str, notes: Sequence[str]) -> str:
    """The report of a recipe.

    Args:
        backbone: its name.
        notes: what was decided about the data.
    Returns:
        Markdown, ending in a newline.
    """
    s, task = run.settings, run.task
    title = "iPET" if s.recipe == "ipet" else "PET"
    blocks: list[Block] = [
        Heading(f"{title}: {task.name} on {backbone}", 1),
        Paragraph(_what(run)),
        Lines(notes),
        Heading("Scores"),
        score_grid(run),
        Paragraph(_selection(run)),
        Heading("Patterns"),
        *_patterns(run),
    ]
    for seed in run.seeds:
        if len(seed.generations) > 1:
            blocks += [Heading(f"Generations{_of(run, seed)}"), _generations(seed, task.metrics[0])]
    audited = [one for one in run.seeds if any(m.audit for m in one.generations[-1].made)]
    if audited:
        blocks += [Heading("What training changed"), *(_audit(run, one) for one in audited)]
    said = list(run.warnings)
    said += [
        f"{_of(run, seed).strip() or title}: {note}" for seed in run.seeds for note in seed.notes
    ]
    if run.pool is not None and run.pool.transductive:
        said.append(
            "transductive: unlabelled rows that repeat evaluation rows stayed; these scores are of "
            "texts that were read in training"
        )
    blocks += [Heading("Watch out"), Lines(said or ["Nothing caught the eye."])]
    return markdown(blocks)


def score_grid(run: RecipeRun) -> Grid:
    """Each stage's scores: the patterns untrained, the models, the ensemble, its products."""
    task = run.task
    first = run.seeds[0]
    splits = list(first.products[ENSEMBLE].metrics)
    head = ["stage", *(f"{split} {metric}" for split in splits for metric in task.metrics)]
    rows: list[list[str]] = []
    for number, generation in enumerate(first.generations):
        name = (
            "models, mean"
            if len(first.generations) == 1
            else f"models of generation {number}, mean"
        )
        row = [f"{name} of {len(generation.members)}"]
        for split in splits:
            for metric in task.metrics:
                row.append(
                    mean_and_spread(
                        [
                            fmean(m.metrics[split][metric] for m in one.generations[number].made)
                            for one in run.seeds
                            if number < len(one.generations)
                        ]
                    )
                )
        rows.append(row)
    for name in first.products:
        shown = name if name == ENSEMBLE else f"distilled into {name}"
        row = [shown]
        for split in splits:
            for metric in task.metrics:
                values = [
                    one.products[name].metrics.get(split, {}).get(metric, math.nan)
                    for one in run.seeds
                ]
                row.append(mean_and_spread(values))
        rows.append(row)
    n = {split: first.products[ENSEMBLE].n[split] for split in splits}
    sizes = ", ".join(f"{split} {count:,} rows" for split, count in n.items())
    said = f"{len(run.seeds)} seed{'s' * (len(run.seeds) > 1)}, mean ± sd; {sizes}"
    if run.pool is not None and run.settings.remark:
        said += f"; {run.settings.remark}"
    return Grid(head, rows, said)


def _what(run: RecipeRun) -> str:
    s, task = run.settings, run.task
    n = len(run.seeds[0].clozes)
    steps = s.training.steps
    text = (
        f"{len(task.examples('train')):,} labelled rows, {n} patterns × {s.repetitions}, "
        f"{s.method.name}, {steps} steps of {s.training.batch_size}"
    )
    if s.wording != "own":
        text += f"; the label words are {s.wording}"
    return text + "."


def _selection(run: RecipeRun) -> str:
    has_dev = "dev" in run.task.split_names and bool(run.task.examples("dev"))
    if run.settings.training.keep == "last" or not has_dev:
        return "selection: none; the last step of each fit is kept."
    return "selection: dev; dev chose each fit's step."


def _patterns(run: RecipeRun) -> list[Block]:
    blocks: list[Block] = []
    metric = run.task.metrics[0]
    for seed in run.seeds:
        last = seed.generations[-1]
        split = next(iter(last.made[0].metrics))
        rows = [
            [
                f"`{member.cloze.template}`",
                str(member.repetition + 1),
                _number(one.before),
                f"{weight:.2f}",
                _number(one.metrics[split].get(metric)),
            ]
            for member, one, weight in zip(last.members, last.made, last.weights, strict=True)
        ]
        values = [one.metrics[split][metric] for one in last.made]
        spread = f"; sd over models {stdev(values):.3f}" if len(values) > 1 else ""
        head = [
            "pattern",
            "repetition",
            "accuracy on train, untrained",
            "weight",
            f"{split} {metric}",
        ]
        blocks.append(Grid(head, rows, f"The models{_of(run, seed)}{spread}"))
    return blocks


def _generations(seed: SeedOutcome, metric: str) -> Grid:
    rows = []
    for generation in seed.generations:
        split = next(iter(generation.made[0].metrics))
        sizes = sorted({one.n_train for one in generation.made})
        values = [one.metrics[split][metric] for one in generation.made]
        shown = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        rows.append(
            [
                str(generation.number),
                shown,
                _number(min(values)),
                _number(fmean(values)),
                _number(max(values)),
            ]
        )
    return Grid(["generation", "rows of each model", "worst", "mean", "best"], rows, metric)


def _audit(run: RecipeRun, seed: SeedOutcome) -> Grid:
    last = seed.generations[-1]
    rows = [
        [member.name, *_audited(one)]
        for member, one in zip(last.members, last.made, strict=True)
        if one.audit
    ]
    head = ["model", "loss before", "loss after", "change, 95 %", "label words moved (1 − cosine)"]
    return Grid(head, rows, f"Language-model loss in nats per token{_of(run, seed)}")


def _audited(one: Made) -> list[str]:
    audit = one.audit
    low, high = audit["interval"]
    drift = ", ".join(f"{word} {moved:.3f}" for word, moved in audit["drift"].items())
    change = f"{audit['after'] - audit['before']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return [f"{audit['before']:.3f}", f"{audit['after']:.3f}", change, drift or "–"]


def _of(run: RecipeRun, seed: SeedOutcome) -> str:
    return f" of seed {seed.seed}" if len(run.seeds) > 1 else ""


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
