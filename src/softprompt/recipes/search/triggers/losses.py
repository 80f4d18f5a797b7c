"""The loss of trigger tokens on a batch: its gradient by their embeddings, and many triggers at once.

Triggers enter as the rows of a prompt whose values are embeddings, so that the ordinary engine scores
them; k trial prompts on B examples are k·B rows of one batch, cut by the token budget.
Dimensions: N trigger prompts, P triggers, E input width, B examples, L labels of the one with the most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.data.examples import Example
from softprompt.errors import DataError, RunError
from softprompt.inference.applied import Applied
from softprompt.inference.budget import TOKEN_BUDGET, TokenBudget, out_of_memory, part_cost, retreat
from softprompt.inference.scoring import Scores, label_loss, label_scores, score
from softprompt.methods.method import learned_dtype
from softprompt.prompts.addition import Addition, Stacked, stack
from softprompt.text.answers import FreeText
from softprompt.text.draft import Draft
from softprompt.text.rendering import Rendering
from softprompt.tuning.lessons import Lesson, gold_words, lesson

Kind = Literal["words", "labels"]
Ids = Sequence[int]
T = TypeVar("T")


def trigger_lesson(example: Example, applied: Applied, draft: Draft | None = None) -> Lesson:
    """An example with all that its loss compares: every label, of free text the gold alone.

    Raises:
        DataError: no target, or one that is none of the answers.
    """
    if not isinstance(applied.answers, FreeText):
        # Label by label, also where a fit would learn the right answer's tokens alone.
        objective = replace(
            applied.objective, normalise="labels", masks="own", loss="cross_entropy"
        )
        return lesson(example, replace(applied, objective=objective), draft)
    if example.target is None:
        raise DataError(f"example {example.id} has no target, so nothing can be learned from it")
    return Lesson(applied.render_gold(example, gold_words(example, applied), draft), (1.0,))


def trigger_rows(backbone: Backbone, ids: Ids) -> Float[Tensor, "P E"]:
    """The embeddings of triggers as the network receives them, as learned rows are held."""
    rows = backbone.rows(ids)
    return rows.to(backbone.device, learned_dtype(backbone))


def label_log_p(
    scores: Scores, renderings: Sequence[Rendering], mean: bool
) -> Float[Tensor, "B L"]:
    """log Σ p over the words of each label; −inf beyond an example's own labels.

    Shin et al. 2020, equation 1: a label's probability is the sum of its words'.

    Args:
        scores: normalised over the vocabulary.
        mean: whether a word's log p is the mean over its tokens.
    """
    width = max(len(rendering.labels) for rendering in renderings)
    flat = scores.example * width + scores.label
    each = scores.of_candidates(mean)
    top = each.new_full((len(renderings) * width,), float("-inf"))
    top = top.scatter_reduce(0, flat, each.detach(), "amax")
    level = top.masked_fill(top == float("-inf"), 0.0)
    total = torch.zeros_like(level).index_add(0, flat, (each - level[flat]).exp())
    return (total.log() + level).view(len(renderings), width)


@dataclass(frozen=True)
class TriggerLoss:
    """What a search makes small.

    Args:
        backbone: frozen.
        applied: template and answers, with P rows in the place of the triggers.
        kind: `words`: −log of the summed probability of the right label's words, over the vocabulary;
            `labels`: cross-entropy of a softmax over the labels.
        token_budget: padded positions of a forward pass.
    """

    backbone: Backbone
    applied: Applied
    kind: Kind
    token_budget: TokenBudget = TOKEN_BUDGET

    def gradient(self, ids: Ids, lessons: Sequence[Lesson]) -> tuple[float, Float[Tensor, "P E"]]:
        """The mean loss over a batch, and its gradient by the triggers' embeddings.

        Raises:
            RunError: the loss is not a number.
        """
        start = trigger_rows(self.backbone, ids)
        lengths = [one.rendering.length for one in lessons]

        def run(parts: list[list[int]]) -> tuple[float, Tensor]:
            rows = start.clone().requires_grad_()
            total, gradient = 0.0, torch.zeros_like(start)
            for part in parts:
                loss = self._each(stack_of([rows]), [lessons[n] for n in part], [0] * len(part))
                summed = loss.sum() / len(lessons)
                (own,) = torch.autograd.grad(summed, rows)
                total, gradient = total + float(summed.detach()), gradient + own
            return total, gradient

        loss, gradient = self._in_parts(lengths, None, run)
        if not (torch.isfinite(torch.tensor(loss)) and bool(torch.isfinite(gradient).all())):
            raise RunError("the loss of the triggers is not a number; try precision: float32")
        return loss, gradient

    @torch.no_grad()
    def of(self, several: Sequence[Ids], lessons: Sequence[Lesson]) -> list[float]:
        """The mean loss over a batch of each of N trigger prompts, all in shared forward passes."""
        prompts = stack_of([trigger_rows(self.backbone, ids) for ids in several])
        pairs = [(n, m) for n in range(len(several)) for m in range(len(lessons))]
        lengths = [lessons[m].rendering.length for _, m in pairs]
        cost = part_cost(self.backbone.device)

        def run(parts: list[list[int]]) -> list[float]:
            table = torch.zeros(len(several), len(lessons), dtype=torch.float64)
            for part in parts:
                chosen = [pairs[place] for place in part]
                loss = self._each(prompts, [lessons[m] for _, m in chosen], [n for n, _ in chosen])
                owners, rows = torch.tensor(chosen).T
                table[owners, rows] = loss.double().cpu()
            means: list[float] = table.mean(dim=1).tolist()
            return means

        return self._in_parts(lengths, cost, run)

    def _each(
        self, prompts: Stacked, lessons: Sequence[Lesson], prompt_of: Sequence[int]
    ) -> Float[Tensor, " B"]:
        """The loss of each lesson under its prompt."""
        renderings = [one.rendering for one in lessons]
        words = self.kind == "words" or isinstance(self.applied.answers, FreeText)
        scores = score(self.backbone, prompts, renderings, prompt_of, normalised=words)
        mean = self.applied.objective.mean
        table = (
            label_log_p(scores, renderings, mean)
            if words
            else label_scores(scores, renderings, mean)
        )
        shares = [[*each.wanted, *[0.0] * (table.shape[1] - len(each.wanted))] for each in lessons]
        wanted = torch.tensor(shares, device=table.device, dtype=table.dtype)
        if not words:
            return label_loss(table, wanted)
        return -(wanted * table.masked_fill(wanted == 0, 0.0)).sum(dim=1)

    def _in_parts(
        self, lengths: Sequence[int], cost: int | None, run: Callable[[list[list[int]]], T]
    ) -> T:
        """Work cut by the token budget; a smaller one where the memory does not hold it.

        Raises:
            MemoryShortage: a single row does not fit.
        """
        budget = TOKEN_BUDGET if self.token_budget == "auto" else self.token_budget
        while True:
            try:
                return run(micro_batches(lengths, budget, cost))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            budget = retreat(lengths, budget)


def stack_of(rows: Sequence[Float[Tensor, "P E"]]) -> Stacked:
    """Trigger prompts side by side."""
    return stack([Addition(one) for one in rows])
