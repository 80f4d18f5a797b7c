"""Scores of candidates and labels, and the losses on them: functions above the backbone.

Dimensions: B examples, C candidates of all of them together, R answer tokens read, n positions,
V vocabulary, L labels of the example with the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs
from softprompt.inference.assemble import Batch, assemble
from softprompt.prompts.addition import Stacked
from softprompt.text.renderer import Rendering


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of every candidate of a batch, in one flat row.

    Args:
        summed: Σ log p over each candidate's tokens, `[C]`.
        tokens: how many tokens each has, `[C]`.
        squared_z: Σ log²Z over the positions of each, `[C]`.
        example: which example each belongs to, `[C]`.
        label: which of its labels each speaks for, `[C]`.
    """

    summed: Float[Tensor, " C"]
    tokens: Int[Tensor, " C"]
    squared_z: Float[Tensor, " C"]
    example: Int[Tensor, " C"]
    label: Int[Tensor, " C"]

    def of_candidates(self, mean: bool) -> Float[Tensor, " C"]:
        """The score of each candidate: sum, or mean, of log p over its tokens."""
        return self.summed / self.tokens if mean else self.summed

    def of_examples(self, renderings: Sequence[Rendering], first: int, last: int) -> Scores:
        """The scores of examples first … last−1 alone, counted from 0 again.

        Args:
            renderings: of all examples, as they were scored.
        """
        starts = [*_first_candidates(renderings), len(self.summed)]
        own = slice(starts[first], starts[last])
        return Scores(
            summed=self.summed[own],
            tokens=self.tokens[own],
            squared_z=self.squared_z[own],
            example=self.example[own] - first,
            label=self.label[own],
        )


def score(
    backbone: Backbone,
    prompts: Stacked | None,
    renderings: Sequence[Rendering],
    prompt_of: Sequence[int],
) -> Scores:
    """Run one batch and score every candidate of every example.

    Args:
        prompts: N prompts, or None.
        renderings: the examples, of any mixture of tasks.
        prompt_of: which prompt each example uses.
    """
    queries = [query for rendering in renderings for query in rendering.queries]
    owners = [p for r, p in zip(renderings, prompt_of, strict=True) for _ in r.queries]
    batch = assemble(backbone, prompts, queries, owners)
    first = _first_candidates(renderings)
    rows: list[int] = []
    columns: list[int] = []
    tokens: list[int] = []
    candidates: list[int] = []
    row = 0
    for rendering, offset in zip(renderings, first, strict=True):
        for query in rendering.queries:
            for read in query.reads:
                rows += [row] * len(read.tokens)
                columns += read.positions
                tokens += read.tokens
                candidates += [offset + read.candidate] * len(read.tokens)
            row += 1
    log_p, squared_z = _token_scores(backbone, batch, rows, columns, tokens)
    device = log_p.device
    count = first[-1] + len(renderings[-1].label_of) if renderings else 0
    home = torch.tensor(candidates, device=device)
    zeros = torch.zeros(count, device=device, dtype=log_p.dtype)
    return Scores(
        summed=zeros.index_add(0, home, log_p),
        tokens=torch.bincount(home, minlength=count),
        squared_z=zeros.index_add(0, home, squared_z),
        example=torch.tensor(
            [e for e, r in enumerate(renderings) for _ in r.label_of], device=device
        ),
        label=torch.tensor([label for r in renderings for label in r.label_of], device=device),
    )


def label_scores(scores: Scores, renderings: Sequence[Rendering], mean: bool) -> Tensor:
    """The score of each label, `[B, L]`; −inf beyond an example's own labels.

    Several candidates of a label share it by their mean, as PET's code takes the mean of logits.
    """
    width = max(len(rendering.labels) for rendering in renderings)
    flat = scores.example * width + scores.label
    size = len(renderings) * width
    each = scores.of_candidates(mean)
    total = torch.zeros(size, device=each.device, dtype=each.dtype).index_add(0, flat, each)
    count = torch.bincount(flat, minlength=size)
    averaged = total / count.clamp(min=1)
    return averaged.masked_fill(count == 0, float("-inf")).view(len(renderings), width)


def label_loss(labels: Float[Tensor, "B L"], targets: Float[Tensor, "B L"]) -> Float[Tensor, " B"]:
    """Cross-entropy of a softmax over the labels with a target distribution, `[B]`.

    With soft targets it is KL(target ‖ softmax) up to the target's own entropy.
    """
    log_p = torch.log_softmax(labels, dim=-1)
    return -(targets * log_p.masked_fill(targets == 0, 0.0)).sum(dim=-1)


def token_loss(scores: Scores, z_loss: float) -> Float[Tensor, " C"]:
    """Token cross-entropy over the vocabulary summed over each gold answer's tokens, with
    z_loss · log²Z added (T5's training loss), `[C]`."""
    return -scores.summed + z_loss * scores.squared_z


def _first_candidates(renderings: Sequence[Rendering]) -> list[int]:
    first, count = [], 0
    for rendering in renderings:
        first.append(count)
        count += len(rendering.label_of)
    return first


def _token_scores(
    backbone: Backbone,
    batch: Batch,
    rows: Sequence[int],
    columns: Sequence[int],
    tokens: Sequence[int],
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """log p of each token at its position, and log²Z there; each position is computed once."""
    places: dict[tuple[int, int], int] = {}
    which = [places.setdefault(place, len(places)) for place in zip(rows, columns, strict=True)]
    row = torch.tensor([r for r, _ in places])
    column = torch.tensor([c for _, c in places])
    logits = _logits(backbone, batch, row, column)  # [n, V]
    index = torch.tensor(which, device=logits.device)
    log_z = torch.logsumexp(logits, dim=-1)
    log_p = logits[index, torch.tensor(list(tokens), device=logits.device)] - log_z[index]
    return log_p, log_z[index].square()


def _logits(backbone: Backbone, batch: Batch, rows: Tensor, columns: Tensor) -> Tensor:
    if batch.decoder is None:
        return backbone.logits(batch.main, rows, columns)
    assert batch.source is not None
    encoded = backbone.encode(batch.main).rows(batch.source)
    decoder: Inputs = batch.decoder
    return backbone.logits(decoder, rows, columns, encoded)
