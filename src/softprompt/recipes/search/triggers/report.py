"""What a search for triggers says of itself; and triggers that are no text, kept as the rows of a prompt.

Composes blocks of a page, a prompt folder and a run file; searches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from softprompt.inference.evaluate import Evaluation, evaluate
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.pages import Block, Grid, Heading, Paragraph, markdown
from softprompt.recipes.run_folder import DONE, PROMPT, REPORT, write_text
from softprompt.recipes.search.begin import Search
from softprompt.recipes.search.candidates import Candidate
from softprompt.recipes.search.finishing import Searched
from softprompt.recipes.search.folder import BEST
from softprompt.recipes.search.triggers.climb import Look, State
from softprompt.recipes.search.triggers.scene import Scene
from softprompt.recipes.search.triggers.settings import TriggerSettings
from softprompt.settings import to_yaml
from softprompt.text.template import Template
from softprompt.tuning.jobs import labelled
from softprompt.tuning.run import versions

SHOWN = 10


def found_blocks(
    scene: Scene,
    settings: TriggerSettings,
    states: Sequence[State],
    order: Sequence[Look],
    texts: Sequence[Template | None],
) -> list[Block]:
    """How the triggers were found: the search, its best triggers, what they are worth.

    Args:
        order: all looks, best first.
        texts: of the first of them, the template with the triggers as text, or None.
    """
    metric = scene.metric
    tied = [look for look in order if look.metrics[metric] == order[0].metrics[metric]]
    rows = [
        (
            f"`{' '.join(scene.pieces(look.ids))}`",
            f"{look.metrics[metric]:.3f}",
            f"{look.metrics['loss']:.4f}" if "loss" in look.metrics else "–",
            f"{look.seed}, {look.iteration}",
            "yes" if text is not None else "no",
        )
        for look, text in zip(order[:SHOWN], texts, strict=False)
    ]
    kept = sum(state.kept for state in states)
    tried = sum(state.iteration for state in states)
    n = len(scene.search.task.examples("dev"))
    blocks: list[Block] = [
        Heading("The search"),
        Paragraph(
            f"{len(scene.slots.starts)} triggers in `{scene.slots.template}`; {tried:,} swaps were tried, "
            f"{settings.top_k} candidates each of {len(scene.allowed):,} tokens, and {kept:,} were better "
            "on a fresh batch and kept."
        ),
        Paragraph(
            f"Without triggers the template has dev {metric} {scene.bare[metric]:.3f} ({n:,} rows)."
        ),
        Grid(
            (
                "triggers",
                f"dev {metric}",
                "dev cross-entropy",
                "seed, iteration",
                "reads back as text",
            ),
            rows,
            f"the first {len(rows)} of {len(order):,} that were looked at on dev",
        ),
    ]
    if len(tied) > 1:
        losses = {look.metrics.get("loss") for look in tied[:2]}
        settled = "lower dev cross-entropy" if len(losses) == 2 else "having come first"
        blocks.append(
            Paragraph(f"{len(tied)} are tied at the top of dev {metric}; {settled} decided.")
        )
    return blocks


def keep_rows(
    search: Search,
    scene: Scene,
    best: Look,
    blocks: Sequence[Block],
    candidates: Sequence[Candidate],
) -> Searched:
    """Leave triggers that are no text: `prompt/`, `best.yaml` that starts from its rows, report, `done.json`.

    Args:
        blocks: from `found_blocks`.
        candidates: those of the other triggers that are text.
    """
    home, metric = search.folder.path, scene.metric
    applied = scene.worn(best.ids)
    test = _tested(search, applied)
    prompt = _prompt(search, scene, best, test)
    prompt.save(home / PROMPT, overwrite=(home / PROMPT).is_dir())
    values = scene.run.resolved()
    del values["out"]
    values["template"] = str(scene.slots.template)
    values["method"] = {
        "name": PromptTuning.name,
        "init": "prompt",
        "init_from": str(home / PROMPT),
    }
    said = (
        f"# rows that are the embeddings of {' '.join(scene.pieces(best.ids))}: dev {metric} "
        f"{best.metrics[metric]:.3f}\n# as text they would be read as other tokens; training moves the "
        "rows away from them\n"
    )
    write_text(home / BEST, said + to_yaml(values))
    own = Candidate(
        str(scene.slots.template),
        scene.run.words,
        {f"dev {metric}": best.metrics[metric], "triggers": scene.pieces(best.ids)},
    )
    kept = (
        f"{' '.join(scene.pieces(best.ids))}, no text, kept as the rows of a prompt in {PROMPT}/; dev "
        f"{metric} {best.metrics[metric]:.3f}"
    )
    made = Searched(home, [own, *candidates], None, kept)
    scores = [(f"dev {metric}", f"{best.metrics[metric]:.3f}")]
    if test is not None:
        value = test.metrics[metric]
        scores += [
            (f"test {metric}", f"{value:.3f}"),
            ("dev − test", f"{best.metrics[metric] - value:+.3f}"),
        ]
    page: list[Block] = [
        Heading(f"Triggers: {search.task.name} on {search.backbone.name}", 1),
        *blocks,
        Heading("The best"),
        Paragraph(
            f"`{' '.join(scene.pieces(best.ids))}`. Written as text in the template these tokens would be "
            f"read as others, so they are kept as the rows of a prompt, in `{PROMPT}/`."
        ),
        Grid(("score", "the best triggers"), scores),
    ]
    write_text(home / REPORT, markdown(page))
    record = {
        "best": {"triggers": scene.pieces(best.ids), "ids": list(best.ids)},
        "scores": {"dev": dict(best.metrics), "test": {} if test is None else dict(test.metrics)},
        "versions": versions(),
    }
    write_text(home / DONE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return made


def _tested(search: Search, applied: Any) -> Evaluation | None:
    task = search.data.task
    if "test" not in task.split_names:
        return None
    rows = labelled(task, "test")
    return evaluate(
        search.backbone, applied, rows, task.metrics, task.labels, parts=task.part_scores
    )


def _prompt(search: Search, scene: Scene, best: Look, test: Evaluation | None) -> Prompt:
    task, applied, run = search.data.task, scene.worn(best.ids), scene.run
    metrics = {"dev": dict(best.metrics), "test": {} if test is None else dict(test.metrics)}
    return Prompt(
        addition=applied.addition,
        method=PromptTuning.name,
        template=str(applied.renderer.template),
        answers=applied.answers.to_json(),
        objective=asdict(applied.objective),
        task={
            **task.facts,
            "train_hash": task.content_hash("train"),
            "train_rows": len(task.examples("train")),
        },
        backbone=search.backbone.identity,
        scores=[
            {
                "split": split,
                "metric": name,
                "value": value,
                "n": len(task.examples(split)),
                "data_hash": task.content_hash(split),
                "seed": best.seed,
                "selection": "dev: the best triggers of a search",
                "step": best.iteration,
            }
            for split, values in metrics.items()
            for name, value in values.items()
        ],
        settings={
            "n_rows": applied.renderer.n_rows,
            "render": asdict(applied.renderer.settings),
            "method": PromptTuning(length=applied.renderer.total_rows).model_dump(mode="json"),
            "search": search.settings.model_dump(mode="json"),
            "triggers": scene.pieces(best.ids),
            "seed": best.seed,
            "precision": search.backbone.precision,
            "opened_weights": False,
        },
        versions=versions(),
        notes=f"Its rows are the embeddings of the tokens {' '.join(scene.pieces(best.ids))}; nothing else "
        f"was learned. Label words: {run.words or 'the task’s own'}.",
        backbone_parameters=search.backbone.n_parameters,
    )
