"""Predictions for examples of any mixture of tasks, in batches whose cut changes no number.

Rows are sorted by length, run in micro-batches of a token budget, and handed back in order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.data.examples import Example
from softprompt.errors import RunError
from softprompt.inference.applied import Applied
from softprompt.inference.assemble import embed_rows, embed_sequences
from softprompt.inference.beginnings import Beginnings
from softprompt.inference.budget import (
    TOKEN_BUDGET,
    TokenBudget,
    out_of_memory,
    part_cost,
    retreat,
)
from softprompt.inference.filling import fill_in, rows_apart, write_in
from softprompt.inference.prediction import Prediction as Prediction
from softprompt.inference.questions import (
    TOGETHER,
    Generated,
    Question,
    Ranked,
    plain_text,
    questions,
)
from softprompt.inference.scoring import label_scores, score
from softprompt.prompts.addition import Stacked, stacked
from softprompt.text.answers import FreeText, Poles
from softprompt.text.rendering import Rendering


def predict(
    backbone: Backbone,
    applied: Sequence[Applied],
    items: Sequence[tuple[int, Example]],
    token_budget: TokenBudget = TOKEN_BUDGET,
    beginnings: Beginnings | None = None,
) -> list[Prediction]:
    """Predict examples, each with one of several prompts, in one batch where they fit.

    Args:
        applied: prompts on this backbone.
        items: which of them, and the example.
        token_budget: padded tokens per forward pass; halved where they do not fit.
        beginnings: kept of these prompts from call to call; by default within this one.
    Returns:
        One prediction per item, in their order.
    Raises:
        MemoryShortage: a single example does not fit.
        DataError: an example that lacks a field, has no candidates, or does not fit.
        RunError: scores that are not numbers.
    """
    kept = Beginnings(applied) if beginnings is None else beginnings
    # Of draws of demonstrations not all renderings would fit into the memory.
    size = TOGETHER if any(one.redrawn for one in applied) else max(1, len(items))
    made: list[Prediction] = []
    for first in range(0, len(items), size):
        asked = questions(applied, items[first : first + size])
        made += answer(backbone, applied, asked, token_budget, kept)
    return made


def answer(
    backbone: Backbone,
    applied: Sequence[Applied],
    asked: Sequence[Question],
    token_budget: TokenBudget = TOKEN_BUDGET,
    beginnings: Beginnings | None = None,
) -> list[Prediction]:
    """Predict what was made ready before.

    Args:
        applied: prompts on this backbone, the same in number and templates as when it was.
        asked: from `questions`.
        token_budget: padded tokens per forward pass; halved where they do not fit.
        beginnings: kept of these prompts from call to call; by default within this one.
    Returns:
        One prediction per question, in their order.
    Raises:
        MemoryShortage: a single example does not fit.
        RunError: scores that are not numbers.
        ValueError: beginnings of other prompts.
    """
    kept = Beginnings(applied) if beginnings is None else beginnings.checked(applied)
    additions = [one.addition for one in applied]
    prompts = stacked(additions)
    budget = TOKEN_BUDGET if token_budget == "auto" else token_budget
    found: dict[int, Prediction] = {}
    while True:
        left = {n: q for n, q in enumerate(asked) if n not in found}
        ranked = {n: q for n, q in left.items() if isinstance(q, Ranked)}
        generated = {n: q for n, q in left.items() if isinstance(q, Generated)}
        try:
            with torch.no_grad():
                found.update(_rank(backbone, applied, prompts, ranked, budget, kept))
                found.update(_generate(backbone, applied, prompts, generated, budget, kept))
            return [found[number] for number in range(len(asked))]
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        budget = retreat([n for q in left.values() for n in _apart(q, applied)], budget)


def _apart(question: Question, applied: Sequence[Applied]) -> Sequence[int]:
    """The lengths of what can be run apart of a question: whole, or each of its candidates."""
    if isinstance(question, Ranked) and applied[question.prompt].objective.fill != "parallel":
        return [n for one in question.renderings for n in rows_apart(one)]
    if isinstance(question, Ranked):
        return [one.length for one in question.renderings]
    return [question.length]


# --- ranking ----------------------------------------------------------------------------------


def _rank(
    backbone: Backbone,
    applied: Sequence[Applied],
    prompts: Stacked | None,
    asked: Mapping[int, Ranked],
    token_budget: int,
    beginnings: Beginnings,
) -> Iterator[tuple[int, Prediction]]:
    """The predictions of questions, each as soon as all its draws are scored."""
    priors = _priors(backbone, applied, prompts, asked.values(), token_budget, beginnings)
    drawn = {
        (number, draw): rendering
        for number, question in asked.items()
        for draw, rendering in enumerate(question.renderings)
    }
    scored: dict[int, dict[int, Tensor]] = {}
    for batch in _batches(drawn, token_budget, part_cost(backbone.device)):
        which = [asked[number].prompt for number, _ in batch]
        renderings = [drawn[place] for place in batch]
        table = _label_table(
            backbone, applied, prompts, renderings, which, token_budget, beginnings
        )
        whole: list[int] = []
        for (number, draw), row in zip(batch, table, strict=True):
            of_draws = scored.setdefault(number, {})
            of_draws[draw] = row
            whole += [number] if len(of_draws) == len(asked[number].renderings) else []
        if not whole:
            continue
        means = [_mean_scores(scored.pop(number), asked[number]) for number in whole]
        for mean, number in zip(means, whole, strict=True):
            prior = priors.get(_prior_key(asked[number]))
            if prior is not None:
                mean[: len(prior)] -= prior
        padded = pad_sequence(means, batch_first=True, padding_value=-torch.inf)
        rows = torch.softmax(padded.cpu().double(), dim=-1)  # in single, 1e-45 and less are 0
        for number, row in zip(whole, rows, strict=True):
            question = asked[number]
            own = row[: len(question.labels)]
            if not bool(torch.isfinite(own).all()):
                raise RunError(
                    f"example {question.example.id}: its scores are not numbers; the prompt or "
                    "the backbone overflows. Try a lower learning rate, or precision: float32"
                )
            yield number, _judged(question, own.tolist(), applied[question.prompt])


def _mean_scores(rows: Mapping[int, Tensor], question: Ranked) -> Tensor:
    """A question's label scores `[L]`, the mean over its draws, summed in their order."""
    if len(rows) == 1:
        return rows[0]
    n = len(question.labels)
    return torch.stack([rows[draw][:n] for draw in range(len(rows))]).mean(dim=0)


def _label_table(
    backbone: Backbone,
    applied: Sequence[Applied],
    prompts: Stacked | None,
    renderings: Sequence[Rendering],
    which: Sequence[int],
    token_budget: int,
    beginnings: Beginnings,
) -> Tensor:
    """Label scores `[B, L]`, each row with its own objective's sum or mean, up to a constant."""
    fills = [applied[number].objective.fill for number in which]
    if all(fill == "parallel" for fill in fills):
        scores = score(
            backbone, prompts, renderings, which, normalised=False, beginnings=beginnings
        )
    else:
        scores = fill_in(backbone, prompts, renderings, which, fills, token_budget)
    summed = label_scores(scores, renderings, mean=False)
    mean = [applied[number].objective.mean for number in which]
    if not any(mean):
        return summed
    averaged = label_scores(scores, renderings, mean=True)
    return torch.where(torch.tensor(mean, device=summed.device)[:, None], averaged, summed)


PriorKey = tuple[int, tuple[str, ...] | None]


def _prior_key(question: Ranked) -> PriorKey:
    """Examples of one prompt with the same candidates share their scores on empty fields."""
    return question.prompt, question.example.candidates


def _priors(
    backbone: Backbone,
    applied: Sequence[Applied],
    prompts: Stacked | None,
    asked: Iterable[Ranked],
    token_budget: int,
    beginnings: Beginnings,
) -> dict[PriorKey, Tensor]:
    """Label scores `[L]` without a question: on empty fields, for objectives with `pmi`; the log of the
    mean probability on `CONTENT_FREE` fields, for contextual calibration (Zhao et al. 2021, section 5).

    A constant that they, or what they are subtracted from, lack cancels in the softmax over labels.
    """
    empty: dict[tuple[PriorKey, str], Rendering] = {}
    for question in asked:
        key, one = _prior_key(question), applied[question.prompt]
        for text in one.objective.without_content:
            if (key, text) not in empty:
                fields = dict.fromkeys(question.example.fields, text)
                empty[key, text] = one.render(replace(question.example, fields=fields))
    found: dict[PriorKey, dict[str, Tensor]] = {}
    for batch in _batches(empty, token_budget, part_cost(backbone.device)):
        renderings = [empty[place] for place in batch]
        which = [key[0] for key, _ in batch]
        table = _label_table(
            backbone, applied, prompts, renderings, which, token_budget, beginnings
        )
        for (key, text), row, rendering in zip(batch, table, renderings, strict=True):
            scores = row[: len(rendering.labels)]
            found.setdefault(key, {})[text] = torch.log_softmax(scores, dim=-1)
    # In the order of the texts, not of the batches: their sum is the same however they were cut.
    return {
        key: torch.stack([each[text] for text in sorted(each)]).logsumexp(dim=0)
        for key, each in found.items()
    }


def _judged(question: Ranked, probabilities: Sequence[float], applied: Applied) -> Prediction:
    labels = question.labels
    own = list(probabilities[: len(labels)])
    best = max(range(len(own)), key=own.__getitem__)
    answers = applied.answers
    return Prediction(
        id=question.example.id,
        label=labels[best],
        probabilities=dict(zip(labels, own, strict=True)),
        value=answers.value(own) if isinstance(answers, Poles) else None,
        cut=question.cut,
    )


# --- generating -------------------------------------------------------------------------------


def _generate(
    backbone: Backbone,
    applied: Sequence[Applied],
    prompts: Stacked | None,
    asked: Mapping[int, Generated],
    token_budget: int,
    beginnings: Beginnings,
) -> Iterator[tuple[int, Prediction]]:
    if backbone.family == "masked":
        which = [row.prompt for row in asked.values()]
        sources = [row.source for row in asked.values()]
        fills = [applied[number].objective.fill for number in which]
        written = write_in(backbone, prompts, sources, which, fills, token_budget)
        for (number, row), out in zip(asked.items(), written, strict=True):
            yield number, _matched(row, out, backbone, applied[row.prompt])
        return
    # Rows that begin their decoder equally long can share a batch.
    groups: dict[int, dict[int, Generated]] = {}
    for number, question in asked.items():
        groups.setdefault(len(question.source.decoder), {})[number] = question
    for begun, members in groups.items():
        for batch in _batches(members, token_budget, part_cost(backbone.device)):
            rows = [members[number] for number in batch]
            which = [row.prompt for row in rows]
            sources = [row.source for row in rows]
            ids, segments = [s.ids for s in sources], [s.segments for s in sources]
            whole = embed_sequences(backbone, prompts, ids, which, segments, beginnings=beginnings)
            decoder = None
            if begun:
                starts = [s.decoder for s in sources]
                decoder = embed_rows(backbone, prompts, starts, which, decoder=True)
            prefix = whole.begun(backbone)
            most = max(row.most for row in rows)
            made = backbone.generate(whole.inputs[-1], most, decoder, prefix=prefix)
            for number, row, out in zip(batch, rows, made, strict=True):
                yield number, _matched(row, out[: row.most], backbone, applied[row.prompt])


def _matched(
    question: Generated, ids: tuple[int, ...], backbone: Backbone, applied: Applied
) -> Prediction:
    """A generated answer as a label: the one whose words it is, or none (an illegal output)."""
    example, answers = question.example, applied.answers
    closing = question.source.closing
    if closing in ids:
        ids = ids[: ids.index(closing)]
    text = plain_text(ids, backbone)
    made = Prediction(example.id, text=text, cut=question.source.cut)
    if isinstance(answers, FreeText):
        return replace(made, free=True)
    number = question.answered(ids, backbone)
    if number is None:
        return made
    chosen = answers.candidates(example.candidates)[number].label
    value = None
    if isinstance(answers, Poles):
        value = answers.value([1.0 - chosen, float(chosen)])
    return replace(made, label=answers.labels(example.candidates)[chosen], value=value)


class Sized(Protocol):
    """Something that costs positions."""

    @property
    def length(self) -> int: ...


Key = TypeVar("Key", bound=Hashable)


def _batches(asked: Mapping[Key, Sized], token_budget: int, cost: int) -> Iterator[list[Key]]:
    """The keys of what is asked, in groups that fit a budget of padded positions.

    Args:
        cost: of one more group, in positions.
    """
    keys = list(asked)
    for batch in micro_batches([asked[key].length for key in keys], token_budget, cost):
        yield [keys[place] for place in batch]
