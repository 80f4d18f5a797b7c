"""What the models of an ensemble become: the ensemble itself, and what it is distilled into.

Each is a folder as `train` leaves it, so that it can be predicted with, compared and explained like any
run. Knows scores and rows, not how the models were made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.columns import did_you_mean
from softprompt.data.examples import Example
from softprompt.data.metrics import score as score_metrics
from softprompt.data.pool import Pool
from softprompt.data.sampling import permutation
from softprompt.data.task import Task
from softprompt.errors import SettingsError, UsageError
from softprompt.inference.predict import Prediction
from softprompt.methods.registry import METHODS
from softprompt.recipes.outcomes import Outcome, leave_outcome, read_outcome
from softprompt.recipes.pet.members import Made, Member, plain_values
from softprompt.recipes.pet.scores import Shards, as_predictions, read_scores, write_scores
from softprompt.recipes.pet.settings import ENSEMBLE, Cloze, PetSettings, Product
from softprompt.recipes.pet.texts import read_texts, voted
from softprompt.recipes.pet.unlabelled import met
from softprompt.recipes.pet.votes import combined, softmax
from softprompt.recipes.prepare import prepare
from softprompt.recipes.run_data import RunData
from softprompt.recipes.run_folder import DONE, RunFolder, remove, write_text
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.train import train
from softprompt.recipes.watching import Watcher
from softprompt.tuning.run import versions


def products_of(given: Mapping[str, Any], family: str) -> dict[str, str]:
    """What a comparison's entry makes: name to what stands behind its row's label.

    Raises:
        SettingsError: a product with an unknown key or method.
    """
    if "distil" not in given:
        found: Sequence[Product] = PetSettings.model_fields["distil"].default
    elif not isinstance(given["distil"], list):
        raise SettingsError(f"methods, '{family}': distil: expected a list of products")
    else:
        found = [Product.read(one, f"methods, '{family}': distil") for one in given["distil"]]
    titles = {ENSEMBLE: ENSEMBLE}
    for one in found:
        if one.method_name not in METHODS:
            hint = did_you_mean(one.method_name, METHODS) or f"; known: {', '.join(METHODS)}"
            raise SettingsError(f"methods, '{family}': no such method '{one.method_name}'{hint}")
        titles[one.title] = METHODS[one.method_name].title or one.title.replace("_", " ")
        if one.name is not None:
            titles[one.title] = one.name
    return titles


STEPS, BATCH = 5_000, 16
"""Of the paper's final classifier."""

ASKED: Mapping[str, Callable[[Backbone], bool]] = {
    "answer_score": lambda _: True,
    "training_score": lambda _: True,
    "masks": lambda own: own.family == "masked",
    "fill": lambda own: own.family == "masked",
    "answer_end": lambda own: own.family == "encoder_decoder",
    "sentinel_answers": lambda own: (
        own.family == "encoder_decoder" and bool(own.tokenizer.sentinels)
    ),
}
"""What a product whose words answer has of the models' objective, how words of several tokens are taught and
asked: key to whether it has an effect on the product's backbone."""


def leave_ensemble(
    place: Path,
    members: Sequence[Member],
    made: Sequence[Made],
    weights: Sequence[float],
    task: Task,
    pool: Pool | None,
    splits: Sequence[str],
    seed: int,
) -> Outcome:
    """Write what the models say together: predictions and scores on the task's splits, and, shard by
    shard, the weighted mean of their scores on the pool."""
    known = read_outcome(place)
    if known is not None and (place / DONE).is_file():
        return known
    predictions, metrics = {}, {}
    for split in splits:
        rows = task.examples(split)
        predictions[split] = _together(members, weights, split, rows, task)
        given = [one.answer for one in predictions[split]]
        golds, groups = [row.target for row in rows], [row.group for row in rows]
        metrics[split] = dict(score_metrics(task.metrics, given, golds, task.labels, groups))
    soft = soft_scores(place)
    for number, parts in enumerate(zip(*(m.shards for m in members), strict=True) if pool else ()):
        if not soft.at(number).is_file():
            write_scores(soft.at(number), combined(parts, weights))
    outcome = Outcome(
        place=place,
        seed=seed,
        metrics=metrics,
        n={split: len(task.examples(split)) for split in splits},
        cut={split: max(one.cut.get(split, 0) for one in made) for split in splits},
        step=0,
        looks=0,
        n_learned=sum(one.n_learned for one in made),
        alarms=[],
    )
    leave_outcome(outcome, predictions, task)
    _finish(place, outcome)
    return outcome


def _together(
    members: Sequence[Member],
    weights: Sequence[float],
    split: str,
    rows: Sequence[Example],
    task: Task,
) -> list[Prediction]:
    """What the models predict together: the mean of their scores, or, of written answers, a vote."""
    if all(member.texts(split).is_file() for member in members):
        texts = voted([read_texts(member.texts(split)) for member in members], weights)
        return [
            Prediction(row.id, text=text, free=True) for row, text in zip(rows, texts, strict=True)
        ]
    joint = combined([read_scores(member.scores(split)) for member in members], weights)
    return as_predictions(joint, rows, task.labels)


def soft_scores(place: Path) -> Shards:
    """The ensemble's scores on the pool."""
    return Shards(place / "pool")


def product_run(
    settings: PetSettings,
    product: Product,
    clozes: Sequence[Cloze],
    seed: int,
    place: Path,
    backbone: Backbone | None = None,
) -> RunSettings:
    """A product as `softprompt train` would run it on softly labelled rows.

    Args:
        backbone: from `backbone_of`; None: not loaded yet, and how words are asked is left open.
    """
    values = plain_values(settings)
    plain = product.template is None and product.method_name == "classification_head"
    values |= {
        "backbone": product.backbone or settings.backbone,
        "template": "plain" if plain else product.template or clozes[0].template,
        "words": product.words or (None if plain else clozes[0].words or settings.words),
        "method": product.method,
        "training": {
            "steps": STEPS,
            "batch_size": BATCH,
            "keep": "last",
            "keep_weights": True,
            **product.training,
        },
        "objective": {"normalise": "labels", "temperature": product.temperature},
        "seeds": [seed],
        "out": str(place),
    }
    run = _read(values, product)
    if backbone is None or run.method.reads_classes:
        return run
    kept = {key for key, matters in ASKED.items() if matters(backbone)}
    asked = settings.objective.model_dump(mode="json", include=kept)
    values["objective"] = {**asked, **values["objective"]}
    return _read(values, product)


def _read(values: Mapping[str, Any], product: Product) -> RunSettings:
    with named(product):
        return RunSettings.read(values, f"distil, {product.title}")


@contextmanager
def named(product: Product) -> Iterator[None]:
    """A refusal says, once, of which product it is."""
    where = f"distil, {product.title}"
    try:
        yield
    except UsageError as error:
        said = str(error)
        raise SettingsError(said if said.startswith(where) else f"{where}: {said}") from None


def backbone_of(
    product: Product,
    settings: PetSettings,
    backbone: Backbone,
    others: dict[str, Backbone],
) -> Backbone:
    """What a product is learned on: the recipe's backbone, or the one that it names.

    Args:
        others: those that were loaded already, by name; what is loaded here joins them.
    """
    if product.backbone is None or product.backbone == backbone.name:
        return backbone
    if product.backbone not in others:
        others[product.backbone] = load_backbone(
            product.backbone, precision=settings.precision, device=settings.device
        )
    return others[product.backbone]


def distil(
    run: RunSettings,
    product: Product,
    backbone: Backbone,
    task: Task,
    pool: Pool,
    ensemble: Path,
    told: Watcher,
) -> Outcome:
    """Teach a product what the ensemble says of the pool, on the pool's rows alone.

    T²·KL(softmax(target / T) ‖ softmax(prediction / T)) (arXiv 2001.07676, section 3.3).

    Args:
        run: from `product_run`.
        backbone: from `backbone_of`.
        task: its evaluation splits.
        ensemble: the ensemble's folder.
    """
    place = Path(str(run.out))
    if not RunFolder(place).finished:
        looks = run.training.steps * run.training.batch_size
        most = min(looks, product.rows or looks)
        rows = _softly_labelled(task, pool, soft_scores(ensemble), most, run.seeds[0])
        taught = task.with_splits(train=rows, **met(pool, run.training, run.seeds[0]))
        prepared = prepare(run, backbone, RunData(taught, (), task.skipped))
        for warning in prepared.of_data:
            told.warning(warning)
        train(run, told, prepared=prepared)
    remove(place / "checkpoints")  # training alone needs them
    outcome = read_outcome(place)
    assert outcome is not None
    return outcome


def _softly_labelled(task: Task, pool: Pool, soft: Shards, most: int, seed: int) -> list[Example]:
    """At most so many rows of the pool with the ensemble's shares for targets."""
    chosen: Sequence[int] = range(len(pool))
    if most < len(pool):
        chosen = sorted(permutation(len(pool), seed)[:most])
    shares = softmax(soft.rows(chosen))
    return [
        Example(row.id, row.fields, dict(zip(task.labels, own.tolist(), strict=True)))
        for row, own in zip(pool.examples(chosen), shares, strict=True)
    ]


def _finish(place: Path, outcome: Outcome) -> None:
    done: Mapping[str, Any] = {
        "scores": {f"seed {outcome.seed}": outcome.metrics},
        "versions": versions(),
    }
    write_text(place / DONE, json.dumps(done, indent=2, ensure_ascii=False) + "\n")
