"""The patterns and words of a recipe on a task: the file's, else the task's own; and their counterparts
whose words say something else.

Knows words and labels, not models' scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.data.sampling import permutation
from softprompt.data.task import Task
from softprompt.data.tasks.patterns import patterns_of
from softprompt.errors import SettingsError
from softprompt.recipes.pet.settings import Cloze, PetSettings


def clozes_of(settings: PetSettings, task: Task, backbone: Backbone) -> list[Cloze]:
    """The patterns of a recipe, each with the words that stand for the labels in it.

    The task's own are running text; with `render.per_piece` they are cut and spaced as PET's released
    code tokenises them.

    Raises:
        SettingsError: no patterns, neither in the file nor of the task.
    """
    given = list(settings.patterns)
    if not given:
        pieces = settings.render.per_piece
        given = [
            Cloze(template=(one.spaced if pieces else "") or one.template, words=_lists(one.words))
            for one in patterns_of(task.name)
        ]
    if not given:
        template = task.template_for(backbone.family)
        if template is None:
            raise SettingsError(
                f"patterns: task '{task.name}' has none of its own; give some, for example "
                f"patterns: ['{{{task.fields[0]}}} It was {{mask}}.', …]"
            )
        given = [Cloze(template=template)]
    given = given[: settings.n_patterns]
    if settings.wording == "own":
        return given
    return [_reworded(one, settings, task, backbone) for one in given]


def _reworded(cloze: Cloze, settings: PetSettings, task: Task, backbone: Backbone) -> Cloze:
    words = cloze.words or settings.words or _lists(task.words)
    if not words or not task.labels:
        raise SettingsError(
            f"wording: {settings.wording} changes label words, and '{cloze.template}' has none"
        )
    labels = list(task.labels)
    missing = [label for label in labels if label not in words]
    if missing and settings.wording == "reversed":
        raise SettingsError(
            f"wording: reversed gives each label the next one's words, and '{missing[0]}' has none in "
            f"'{cloze.template}'; give words for each label"
        )
    if settings.wording == "reversed":
        # Each label takes the next one's words: of two labels, the other's.
        found = {
            label: words[other]
            for label, other in zip(labels, labels[1:] + labels[:1], strict=True)
        }
    else:
        drawn = _unrelated(backbone, len(labels), settings.data_seed)
        found = dict(zip(labels, drawn, strict=True))
    return cloze.model_copy(update={"words": found})


def _unrelated(backbone: Backbone, count: int, seed: int) -> list[str]:
    """Words of one token, drawn from the vocabulary: letters only, as a word in running text is."""
    tokenizer = backbone.tokenizer
    found: list[str] = []
    for number in permutation(backbone.vocabulary, seed):
        word = tokenizer.decode((number,)).strip()
        whole = tokenizer.encode(f" {word}", continues=True).ids == (number,)
        if whole and word.isalpha() and word.islower() and len(word) > 3 and word not in found:
            found.append(word)
        if len(found) == count:
            return found
    raise SettingsError(
        f"wording: unrelated, but {backbone.name} has not {count} whole words of one token; give "
        "words: of your own"
    )


def _lists(words: Mapping[str, Sequence[str]] | None) -> dict[str, Any] | None:
    """Words as a file has them."""
    return None if words is None else {label: list(own) for label, own in words.items()}
