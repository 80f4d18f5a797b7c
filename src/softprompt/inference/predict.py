"""Predictions for examples of any mixture of tasks, in batches whose cut changes no number.

Rows are sorted by length, run in micro-batches of a token budget, and handed back in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.data.examples import Example
from softprompt.inference.applied import Applied
from softprompt.inference.assemble import embed_rows
from softprompt.inference.scoring import label_scores, score
from softprompt.prompts.addition import Stacked, stack
from softprompt.text.answers import FreeText, Poles
from softprompt.text.renderer import Rendering, Source

TOKEN_BUDGET = 8192
"""Padded tokens per forward pass when predicting: memory, never numbers."""


@dataclass(frozen=True)
class Prediction:
    """What a prompt says of one example.

    Args:
        id: the example's.
        label: the predicted label or own candidate; None for an illegal or free answer.
        probabilities: label to probability; empty for free text.
        text: what was generated, if anything was.
        value: the number, for a task between two poles.
        cut: tokens of the example that did not fit.
    """

    id: str
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    value: float | None = None
    cut: int = 0

    @property
    def answer(self) -> str | float | None:
        """What a metric compares with the gold: value, label or text."""
        if self.value is not None:
            return self.value
        return self.label if self.label is not None or self.probabilities else self.text


def predict(
    backbone: Backbone,
    applied: Sequence[Applied],
    items: Sequence[tuple[int, Example]],
    token_budget: int = TOKEN_BUDGET,
) -> list[Prediction]:
    """Predict examples, each with one of several prompts, in one batch where they fit.

    Args:
        applied: prompts on this backbone.
        items: which of them, and the example.
        token_budget: padded tokens per forward pass.
    Returns:
        One prediction per item, in their order.
    """
    generated = [n for n, (which, _) in enumerate(items) if _generates(applied[which])]
    ranked = [n for n, (which, _) in enumerate(items) if not _generates(applied[which])]
    found: dict[int, Prediction] = {}
    with torch.inference_mode():
        for number, prediction in _rank(backbone, applied, items, ranked, token_budget):
            found[number] = prediction
        for number, prediction in _generate(backbone, applied, items, generated, token_budget):
            found[number] = prediction
    return [found[number] for number in range(len(items))]


def _generates(applied: Applied) -> bool:
    return applied.objective.prediction == "greedy"


def _rank(
    backbone: Backbone,
    applied: Sequence[Applied],
    items: Sequence[tuple[int, Example]],
    chosen: Sequence[int],
    token_budget: int,
) -> Iterator[tuple[int, Prediction]]:
    renderings = [applied[items[n][0]].render(items[n][1]) for n in chosen]
    prompts = _stacked(applied)
    for batch in micro_batches([r.length for r in renderings], token_budget):
        group = [renderings[i] for i in batch]
        which = [items[chosen[i]][0] for i in batch]
        tables = _label_table(backbone, prompts, applied, group, which)
        nulls = [applied[w].objective.pmi for w in which]
        if any(nulls):
            empty = [applied[w].render(_emptied(items[chosen[i]][1])) for i, w in zip(batch, which, strict=True)]
            prior = _label_table(backbone, prompts, applied, empty, which)
            keep = torch.tensor(nulls, device=tables.device)[:, None]
            finite = torch.isfinite(tables)
            tables = torch.where(keep & finite, tables - prior, tables)
        probabilities = torch.softmax(tables, dim=-1).tolist()
        for place, row, rendering, w in zip(batch, probabilities, group, which, strict=True):
            number = chosen[place]
            yield number, _judged(items[number][1], row, rendering, applied[w])


def _label_table(
    backbone: Backbone,
    prompts: Stacked | None,
    applied: Sequence[Applied],
    renderings: Sequence[Rendering],
    which: Sequence[int],
) -> Tensor:
    """Label scores `[B, L]`, each row with its own objective's sum or mean."""
    scores = score(backbone, prompts, renderings, which)
    summed = label_scores(scores, renderings, mean=False)
    mean = [applied[w].objective.mean for w in which]
    if not any(mean):
        return summed
    averaged = label_scores(scores, renderings, mean=True)
    return torch.where(torch.tensor(mean, device=summed.device)[:, None], averaged, summed)


def _judged(
    example: Example, probabilities: Sequence[float], rendering: Rendering, applied: Applied
) -> Prediction:
    own = list(probabilities[: len(rendering.labels)])
    best = max(range(len(own)), key=own.__getitem__)
    prediction = Prediction(
        id=example.id,
        label=rendering.labels[best],
        probabilities=dict(zip(rendering.labels, own, strict=True)),
        cut=rendering.cut,
    )
    if isinstance(applied.answers, Poles):
        return replace(prediction, value=applied.answers.value(own))
    return prediction


def _generate(
    backbone: Backbone,
    applied: Sequence[Applied],
    items: Sequence[tuple[int, Example]],
    chosen: Sequence[int],
    token_budget: int,
) -> Iterator[tuple[int, Prediction]]:
    sources = [applied[items[n][0]].source(items[n][1]) for n in chosen]
    longest = [applied[items[n][0]].answer_tokens(items[n][1]) for n in chosen]
    prompts = _stacked(applied)
    side = "left" if backbone.family == "causal" else "right"
    # Rows that begin their decoder alike can share a batch.
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, source in enumerate(sources):
        groups.setdefault(source.decoder, []).append(place)
    for decoder, members in groups.items():
        lengths = [len(sources[m].ids) + longest[m] for m in members]
        for batch in micro_batches(lengths, token_budget):
            rows: list[Source] = [sources[members[i]] for i in batch]
            which = [items[chosen[members[i]]][0] for i in batch]
            inputs = embed_rows(
                backbone,
                prompts,
                [r.ids for r in rows],
                which,
                [r.segments for r in rows],
                side=side,
            )
            most = max(longest[members[i]] for i in batch)
            out = backbone.generate(inputs, most, decoder_start=decoder)
            for i, row, ids, w in zip(batch, rows, out, which, strict=True):
                number = chosen[members[i]]
                text = backbone.tokenizer.decode(ids[: longest[members[i]]]).strip()
                yield number, _matched(items[number][1], text, row.cut, applied[w])


def _matched(example: Example, text: str, cut: int, applied: Applied) -> Prediction:
    """A generated text as a label: the one whose word it is, or none (an illegal output)."""
    answers = applied.answers
    if isinstance(answers, FreeText):
        return Prediction(example.id, text=text, cut=cut)
    labels = answers.labels(example.candidates)
    for candidate in answers.candidates(example.candidates):
        if text == " ".join(candidate.words).strip():
            label = labels[candidate.label]
            value = None
            if isinstance(answers, Poles):
                value = answers.value([1.0 - candidate.label, float(candidate.label)])
            return Prediction(example.id, label=label, text=text, value=value, cut=cut)
    return Prediction(example.id, label=None, text=text, cut=cut)


def _emptied(example: Example) -> Example:
    """The example with empty fields; its own candidates stay."""
    return replace(example, fields=dict.fromkeys(example.fields, ""))


def _stacked(applied: Sequence[Applied]) -> Stacked | None:
    additions = [one.addition for one in applied]
    if all(addition.rows is None for addition in additions):
        return None
    return stack(additions)

