"""Scores of candidates and labels, and the losses on them: functions above the backbone.

Who compares the candidates of an example with each other only, and never with other tokens, needs no
normaliser over the vocabulary where they are all read at the same positions: it cancels. Then the
output head runs for their own tokens alone.
Where learned class vectors answer instead of words, a class is a token below zero: what it scores is the
state that the output head would read there. Words and classes of several prompts may share a batch.
Dimensions: B examples, C candidates of all of them together, R answer tokens read, n positions,
V vocabulary, W different tokens read, L labels of the example with the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError
from softprompt.inference.assemble import Batch, assemble
from softprompt.inference.beginnings import Beginnings
from softprompt.inference.passes import Place
from softprompt.prompts.addition import Stacked
from softprompt.prompts.readout import Readouts
from softprompt.text.rendering import Rendering

LEAST_VOCABULARY = 2_000
LARGEST_SHARE = 0.25
"""Tokens from which on, and up to which share of them, some tokens' logits alone pay. Measured on one
core (head, scores and their gradient; H 128 and 512, 8 and 32 positions): two of 4,000 tokens take 1 %
to 23 % of the time of all, a quarter of them 10 % to 62 %, half of them up to 170 %; of 1,000 tokens at
most 1 ms is saved."""


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of every candidate of a batch, in one flat row.

    Args:
        summed: Σ log p over each candidate's tokens, `[C]`; without a normaliser, and of class
            vectors, up to a constant for each example.
        tokens: how many tokens each has, `[C]`.
        squared_z: Σ log²Z over the positions of each, `[C]`; None without a normaliser.
        example: which example each belongs to, `[C]`.
        label: which of its labels each speaks for, `[C]`.
    """

    summed: Float[Tensor, " C"]
    tokens: Int[Tensor, " C"]
    squared_z: Float[Tensor, " C"] | None
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
            squared_z=None if self.squared_z is None else self.squared_z[own],
            example=self.example[own] - first,
            label=self.label[own],
        )


def score(
    backbone: Backbone,
    prompts: Stacked | None,
    renderings: Sequence[Rendering],
    prompt_of: Sequence[int],
    *,
    normalised: bool = True,
    beginnings: Beginnings | None = None,
) -> Scores:
    """Run one batch and score every candidate of every example.

    Args:
        prompts: N prompts, or None.
        renderings: the examples, of any mixture of tasks.
        prompt_of: which prompt each example uses.
        normalised: whether scores must be log-probabilities; otherwise the normaliser is left out
            where it cancels among an example's candidates and that saves work.
        beginnings: what is kept of these prompts from batch to batch; not used for gradients.
    """
    queries = [query for rendering in renderings for query in rendering.queries]
    owners = [p for r, p in zip(renderings, prompt_of, strict=True) for _ in r.queries]
    examples = [number for number, r in enumerate(renderings) for _ in r.queries]
    batch = assemble(backbone, prompts, queries, owners, examples, beginnings)
    first = _first_candidates(renderings)
    places: list[tuple[int, int]] = []
    tokens: list[int] = []
    candidates: list[int] = []
    asking: list[int] = []
    row = 0
    for rendering, offset, prompt in zip(renderings, first, prompt_of, strict=True):
        for query in rendering.queries:
            for read in query.reads:
                places += [(row, column) for column in read.positions]
                tokens += read.tokens
                candidates += [offset + read.candidate] * len(read.tokens)
                asking += [prompt] * len(read.tokens)
            row += 1
    only = None
    if not normalised and normaliser_cancels(renderings):
        only = _worth_picking(backbone, tokens)
    readouts = None if prompts is None else prompts.readouts
    log_p, squared_z = _read_scores(backbone, batch, places, tokens, asking, readouts, only)
    device = log_p.device
    count = first[-1] + len(renderings[-1].label_of) if renderings else 0
    home = torch.tensor(candidates, device=device)
    zeros = torch.zeros(count, device=device, dtype=log_p.dtype)
    return Scores(
        summed=zeros.index_add(0, home, log_p),
        tokens=torch.bincount(home, minlength=count),
        squared_z=None if squared_z is None else zeros.index_add(0, home, squared_z),
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


def label_loss(
    labels: Float[Tensor, "B L"], targets: Float[Tensor, "B L"], temperature: float = 1.0
) -> Float[Tensor, " B"]:
    """Cross-entropy of a softmax over the labels with a target distribution, `[B]`.

    With soft targets it is KL(target ‖ softmax) up to the target's own entropy. At a temperature T it is
    T²·KL(softmax(log target / T) ‖ softmax(labels / T)) up to the softened target's entropy (Hinton et al.
    2015; Schick & Schütze 2020, arXiv 2001.07676, section 3.3: T = 2).
    """
    if temperature != 1.0:
        softened = torch.softmax(targets.log() / temperature, dim=-1)
        return temperature**2 * label_loss(labels / temperature, softened)
    log_p = torch.log_softmax(labels, dim=-1)
    return -(targets * log_p.masked_fill(targets == 0, 0.0)).sum(dim=-1)


def hinge_loss(labels: Float[Tensor, "B L"], right: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Σ over wrong labels of max(0, 1 − score of the right one + score of this one), `[B]`.

    Schick & Schütze 2020 (arXiv 2009.07118), section 3: words of several tokens.

    Args:
        labels: scores, log-probabilities up to a constant for each example; −inf where there is no label.
        right: the right label of each.
    """
    correct = labels.gather(1, right[:, None])
    margins = torch.relu(1.0 - correct + labels)
    return margins.scatter(1, right[:, None], 0.0).sum(dim=-1)


def token_loss(scores: Scores, z_loss: float) -> Float[Tensor, " C"]:
    """Token cross-entropy over the vocabulary summed over each gold answer's tokens, with
    z_loss · log²Z added (T5's training loss), `[C]`.

    Raises:
        ValueError: scores without a normaliser.
    """
    if scores.squared_z is None:
        raise ValueError("token cross-entropy of scores that are not normalised")
    return -scores.summed + z_loss * scores.squared_z


def normaliser_cancels(renderings: Sequence[Rendering]) -> bool:
    """Whether all candidates of each example are read at the same positions of the same row.

    Label words of one token are, and those of as many tokens in as many slots of a masked model.
    Where a candidate has a row of its own, or more tokens than another, they are not.
    """
    return all(
        len({(row, r.positions) for row, q in enumerate(one.queries) for r in q.reads}) <= 1
        for one in renderings
    )


def _worth_picking(backbone: Backbone, tokens: Sequence[int]) -> Int[Tensor, " W"] | None:
    """The different tokens that are read, in order, if it pays to run the output head for them alone."""
    size = backbone.vocabulary
    different = sorted({token for token in tokens if token >= 0})
    if size < LEAST_VOCABULARY or not 0 < len(different) <= LARGEST_SHARE * size:
        return None
    return torch.tensor(different) if backbone.picks_tokens else None


def _first_candidates(renderings: Sequence[Rendering]) -> list[int]:
    first, count = [], 0
    for rendering in renderings:
        first.append(count)
        count += len(rendering.label_of)
    return first


def _read_scores(
    backbone: Backbone,
    batch: Batch,
    places: Sequence[tuple[int, int]],
    tokens: Sequence[int],
    prompt_of: Sequence[int],
    readouts: Readouts | None,
    only: Int[Tensor, " W"] | None,
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"] | None]:
    """The score of each token or class at its position, and log²Z there, of a class 0.

    Args:
        tokens: below zero, classes of the prompt that asks.
        prompt_of: which prompt asks, `[R]`.
        readouts: the class vectors of the prompts.
        only: the tokens whose logits are asked for, in order; the logits then stand for log p.
    Raises:
        PromptError: classes are read and there are no class vectors.
    """
    words = [n for n, token in enumerate(tokens) if token >= 0]
    classes = [n for n, token in enumerate(tokens) if token < 0]
    where: dict[Place, int] = {}
    below: dict[Place, int] = {}
    asking: list[int] = []
    which: list[int] = []
    for place, token, prompt in zip(places, tokens, prompt_of, strict=True):
        at, known = batch.plan.place(*place), where if token >= 0 else below
        if token < 0 and at not in below:
            asking.append(prompt)
        which.append(known.setdefault(at, len(known)))
    logits, states = batch.read(
        backbone, list(where), list(below), only
    )  # [n, V] or [n, W]; [m, H]
    log_p, squared_z = _token_scores(
        logits, [which[n] for n in words], [tokens[n] for n in words], only
    )
    if not classes:
        return log_p, squared_z
    if readouts is None:
        raise PromptError("class vectors are to answer, but no prompt brings any")
    numbers = torch.tensor([-1 - tokens[n] for n in classes], device=states.device)
    index = torch.tensor([which[n] for n in classes], device=states.device)
    found = readouts.scores(states, asking)[index, numbers]
    if not words:
        return found, None if squared_z is None else torch.zeros_like(found)
    back = torch.tensor([*words, *classes]).argsort().to(found.device)
    if squared_z is not None:
        squared_z = torch.cat([squared_z, torch.zeros_like(found)])[back]
    return torch.cat([log_p, found])[back], squared_z


def _token_scores(
    logits: Float[Tensor, "n V"],
    which: Sequence[int],
    tokens: Sequence[int],
    only: Int[Tensor, " W"] | None,
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"] | None]:
    """log p of each token, and log²Z, at the position `which` of it; each position is computed once."""
    read = torch.tensor(list(tokens), dtype=torch.long)
    index = torch.tensor(list(which), device=logits.device, dtype=torch.long)
    if only is not None:
        return logits[index, torch.searchsorted(only, read).to(logits.device)], None
    log_z = torch.logsumexp(logits, dim=-1)
    log_p = logits[index, read.to(logits.device)] - log_z[index]
    return log_p, log_z[index].square()
