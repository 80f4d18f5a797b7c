"""The pool of solved examples that a job draws from at each look, and what cannot be shown any.

Knows examples and renderings, not models or steps.
"""

from __future__ import annotations

import statistics
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from softprompt.data.examples import Example
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.inference.demonstrations import POOL, balanced
from softprompt.inference.drawn import DemonstrationSettings, DrawnShots, Pool, PoolRow
from softprompt.methods.method import Method
from softprompt.text.answers import Poles, Verbalizer
from softprompt.text.parts import DecoderStart, Demo, FieldRef
from softprompt.text.spell import Demonstration, Fields
from softprompt.text.template import Template
from softprompt.text.tokens import Family, Tokenizer
from softprompt.tuning.lessons import gold_words
from softprompt.tuning.showing import LOOKED_AT, with_demonstrations


def with_drawn(template: Template, family: Family) -> Template:
    """The template with a place for demonstrations: its own, or behind the question as in LM-BFF; before it
    on a causal backbone, which answers at the end."""
    parts = template.parts
    if family == "causal" or any(isinstance(part, Demo) for part in parts):
        return with_demonstrations(template)
    decoder = (n for n, part in enumerate(parts) if isinstance(part, DecoderStart))
    end = next(decoder, len(parts))
    return Template.from_parts((*parts[:end], Demo(), *parts[end:]))


def check_drawn(applied: Applied, method: Method) -> None:
    """Refuse what cannot be shown demonstrations that are drawn.

    Args:
        applied: as `bind` gives it.
    Raises:
        SettingsError: why, and what to do instead.
    """
    if method.shows() is not None:
        raise SettingsError(
            "demonstrations: method.demonstrations shows solved examples already, the same ones for all or the "
            "nearest; give one of the two"
        )
    if method.reads_classes:
        raise SettingsError(
            f"demonstrations: they show answers as words, and {method.name} answers with class vectors, which "
            "have none; leave demonstrations out, or use a method whose words answer, such as prompt_tuning or "
            "full_tuning"
        )
    if applied.objective.prediction != "rank":
        raise SettingsError(
            "demonstrations: the scores of each answer are averaged over the draws, and an answer that is "
            "written has none; use objective.prediction: rank with label words, or for free text "
            "method.demonstrations of prompt_design"
        )
    if not isinstance(applied.answers, Verbalizer | Poles):
        raise SettingsError(
            "demonstrations: one is drawn for each label, and this task's examples have candidates of their "
            "own; use method.demonstrations of prompt_design"
        )
    if applied.objective.pmi or applied.objective.calibration != "none":
        raise SettingsError(
            "demonstrations: pmi and contextual calibration ask without content beside the demonstrations that "
            "all questions share, and here each has its own; leave them out, or use method.demonstrations of "
            "prompt_design"
        )


def draw_from(
    settings: DemonstrationSettings, applied: Applied, train: Sequence[Example], seed: int
) -> Applied:
    """The same prompt, with demonstrations drawn out of train, and a place for them in its template.

    Args:
        applied: as `bind` gives it and `check_drawn` lets it pass.
        train: labelled; of more than `POOL` rows so many are drawn evenly over the labels.
        seed: of all draws.
    Raises:
        SettingsError: the encoder is not there, or the limit leaves no room for a single demonstration.
    Warns:
        UserWarning: an answer has too few rows, or there is no room for all demonstrations.
    """
    renderer = applied.renderer
    place = with_drawn(renderer.template, renderer.frame.family)
    pool = _pool(settings, applied, train, seed)
    shots = DrawnShots(pool, settings.draws, seed)
    shown = replace(applied, renderer=replace(renderer, template=place), shots=shots)
    looked_at = train[:LOOKED_AT]
    shown.drafts(looked_at)  # an encoder that is not there is told of now
    _check_answers(applied, pool)
    _check_room(shown, looked_at)
    return shown


def _pool(
    settings: DemonstrationSettings, applied: Applied, train: Sequence[Example], seed: int
) -> Pool:
    reads = tuple(dict.fromkeys(applied.renderer.template.fields))
    kept = train if len(train) <= POOL else balanced(train, POOL, seed)
    tokenizer, template = applied.renderer.frame.tokenizer, applied.renderer.template
    rows = []
    for example in kept:
        whole = {name: example.fields[name] for name in reads if name in example.fields}
        shown = _cut(whole, settings.limit, template, tokenizer)
        rows.append(PoolRow(whole, Demonstration(shown, gold_words(example, applied))))
    order = {words: number for number, words in enumerate(_answers(applied))}
    rows.sort(key=lambda row: order[row.shown.words])
    return Pool(tuple(rows), reads, settings.nearest, settings.encoder)


def _answers(applied: Applied) -> list[tuple[str, ...]]:
    """The words that demonstrations show, in the order of the labels: of several for a label the first."""
    first: dict[int, tuple[str, ...]] = {}
    for candidate in applied.answers.candidates(None):
        first.setdefault(candidate.label, candidate.words)
    return list(dict.fromkeys(first.values()))


def _cut(fields: Fields, limit: int | None, template: Template, tokenizer: Tokenizer) -> Fields:
    """What gives the first `limit` tokens of each field once the template has filtered it; one that is not
    longer stays. Where a field stands twice, as its first place filters it."""
    if limit is None:
        return fields
    found: dict[str, str | tuple[str, ...]] = {}
    for name, value in fields.items():
        text = value if isinstance(value, str) else ", ".join(value)
        place = next(p for p in template.parts if isinstance(p, FieldRef) and p.name == name)
        spans = tokenizer.encode(place.apply(text), continues=False).spans
        found[name] = _beginning(text, place, spans[limit - 1][1]) if len(spans) > limit else value
    return found


def _beginning(text: str, place: FieldRef, most: int) -> str:
    """The longest beginning that has `most` characters once it is filtered: LM-BFF's code filters before it
    cuts, and `drop_last` would take a letter of what was cut before."""
    ends = range(1, len(text) + 1)
    return text[: bisect_right(ends, most, key=lambda end: len(place.apply(text[:end])))]


def _check_answers(applied: Applied, pool: Pool) -> None:
    counts = dict.fromkeys(_answers(applied), 0)
    for row in pool.rows:
        counts[row.shown.words] += 1
    few = [" ".join(words) for words, count in counts.items() if count < 2]
    if few:
        warnings.warn(
            f"demonstrations: train has fewer than two rows of {', '.join(few)}; a question whose own row is the "
            "only one, or all where there is none, are shown none of it",
            UserWarning,
            stacklevel=3,
        )


def _check_room(applied: Applied, examples: Sequence[Example]) -> None:
    fit = statistics.mean(applied.render(example).demonstrations for example in examples)
    offered = statistics.mean(len(applied.shown(example)) for example in examples)
    limit = applied.renderer.settings.limit
    advice = (
        "demonstrations.limit cuts the texts of each (LM-BFF keeps 50 tokens), and a larger render.limit, "
        "where the backbone has more positions, makes room"
    )
    if fit < 0.5 <= offered:
        raise SettingsError(
            f"demonstrations: the limit of {limit} positions leaves no room for a single one beside the "
            f"question; {advice}"
        )
    if fit < offered:
        warnings.warn(
            f"of {offered:.1f} demonstrations {fit:.1f} fit on average into {limit} positions, the last labels' "
            f"are left out; {advice}",
            UserWarning,
            stacklevel=3,
        )
