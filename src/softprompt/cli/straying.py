"""`softprompt explain --wayward`: a prompt bound to any sentence one likes, beside the free one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softprompt.cli.console import say, table
from softprompt.errors import SettingsError

if TYPE_CHECKING:
    from softprompt.backbones.backbone import Backbone
    from softprompt.data.task import Task
    from softprompt.inference.objective import ObjectiveSettings
    from softprompt.prompts.prompt import Prompt


def go_astray(
    name: str, prompt: Prompt, model: Backbone, task: Task, split: str, sentence: str
) -> None:
    """Train a prompt whose rows stay nearest to a sentence's words, and compare (Khashabi et al. 2022).

    Args:
        name: the prompt's, for the table.
        prompt: the free one; the other is trained with its template, answers and settings.
        task: with a train split.
        split: what both are scored on.
        sentence: any words.
    Raises:
        SettingsError: no train split, or a sentence without words.
    """
    from softprompt.analysis.neighbours import nearest_words
    from softprompt.inference.evaluate import evaluate
    from softprompt.inference.predictor import applied_prompt
    from softprompt.methods.wayward import Wayward
    from softprompt.text.answers import answers_from_json
    from softprompt.tuning.jobs import training_settings
    from softprompt.tuning.run import Job, fit_many

    if "train" not in task.split_names:
        raise SettingsError(
            f"--wayward trains a prompt, and task '{task.name}' has no train split here; name a run "
            "file or a task with --on"
        )
    free = applied_prompt(model, prompt)
    length = int(prompt.settings.get("n_rows", free.addition.n_rows))
    explicit = free.renderer.template.explicit_length
    method = Wayward(sentence=sentence, length=None if explicit else length)
    job = Job(
        task,
        method,
        seed=int(prompt.settings.get("seed", 0)),
        template=prompt.template,
        answers=answers_from_json(prompt.answers),
        objective=_objective(prompt),
        training=training_settings(method, prompt.settings.get("training", {})),
        render=free.renderer.settings,
        test=None,
    )
    run = fit_many(model, [job])[0]
    examples = task.examples(split)
    scored = []
    for applied in (free, applied_prompt(model, run.prompt)):
        found = evaluate(
            model,
            applied,
            examples,
            task.metrics[:1],
            task.labels,
            both_ways=False,
            parts=task.part_scores,
        )
        scored.append(found.metrics[task.metrics[0]])

    def nearest(one: Prompt) -> str:
        assert one.rows is not None  # asked before; a wayward prompt is made of rows
        return " ".join(row[0].word for row in nearest_words(model, one.rows, 1))

    say()
    say(f"{split}: {task.metrics[0]} on {len(examples)} examples")
    table(
        [
            (name, f"{scored[0]:.4f}", nearest(prompt)),
            ("wayward", f"{scored[1]:.4f}", nearest(run.prompt)),
        ],
        ("prompt", task.metrics[0], "nearest words of its rows"),
    )
    say("The second was trained with its rows held nearest to the words of your sentence.")
    gap = scored[0] - scored[1]
    say(
        f"It is {gap:.4f} behind; on large backbones the gap nearly closes (Khashabi et al. 2022)."
        if gap > 0
        else "It is no worse: what lies near a row does not tell what the row does."
    )


def _objective(prompt: Prompt) -> ObjectiveSettings:
    """The settings that a prompt's objective came of."""
    from softprompt.inference.objective import ObjectiveSettings

    given = dict(prompt.objective)
    given["answer_score"] = "mean" if given.pop("mean", False) else "sum"
    return ObjectiveSettings.read(given, "the prompt's objective")
