"""Where learned rows start: closures of one signature over an embedding table given to them.

Knows a table of embeddings and token ids, not tokenizers, models or tasks: whoever binds an
initialiser has already turned words into ids. Every draw comes from the generator that is passed,
and the rows lie on that generator's device, so a seed means the same rows whatever the backbone's
device. Source: Lester et al. 2021 (arXiv 2104.08691), section 2.1 and the authors' code.
Dimensions: P prompt rows, E input-embedding width, n token ids.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.errors import PromptError

Initialiser = Callable[[int, torch.Generator], Float[Tensor, "P E"]]
"""From a length P and a generator to rows `[P, E]`, float32."""


@runtime_checkable  # so that a test run that checks types can check this one
class Table(Protocol):
    """A backbone's input embeddings, as the network receives them (scaling included)."""

    @property
    def width(self) -> int:
        """E."""

    @property
    def rms(self) -> float:
        """Root mean square of one element of the embeddings."""

    def rows(self, ids: Sequence[int]) -> Float[Tensor, "n E"]:
        """The embeddings of n token ids, `[n, E]`."""


def uniform(table: Table) -> Initialiser:
    """U[−a, a] with a = √3·rms, so that a row is as long as a row of the vocabulary."""
    bound = math.sqrt(3.0) * table.rms
    return _uniform(-bound, bound, table.width)


def uniform_paper(table: Table) -> Initialiser:
    """U[−0.5, 0.5] whatever the backbone's scale (the paper, section 3.2)."""
    return _uniform(-0.5, 0.5, table.width)


def uniform_code(table: Table) -> Initialiser:
    """U[0, 0.5) whatever the backbone's scale (the authors' code)."""
    return _uniform(0.0, 0.5, table.width)


def vocabulary(table: Table, ids: Sequence[int]) -> Initialiser:
    """Embeddings of P of the candidate ids: without replacement, with it where P is larger.

    Raises:
        PromptError: no candidates.
    """
    candidates = list(dict.fromkeys(ids))
    if not candidates:
        raise PromptError("init 'vocabulary': no candidate word pieces, expected at least one")

    def initialise(length: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        if length <= len(candidates):
            drawn = torch.randperm(len(candidates), generator=generator, device=device)[:length]
        else:
            drawn = torch.randint(len(candidates), (length,), generator=generator, device=device)
        return _rows(table, [candidates[index] for index in drawn.tolist()], generator)

    return initialise


def labels(table: Table, label_ids: Sequence[Sequence[int]], rest: Initialiser) -> Initialiser:
    """Label i → row i, the mean of its pieces' embeddings; rows left over come from `rest`.

    Args:
        label_ids: the token ids of each label, in order.
        rest: fills the rows after the labels.
    Raises:
        PromptError: no labels, or a label without pieces.
    Warns:
        UserWarning: more labels than rows; the last ones are left out.
    """
    if not label_ids:
        raise PromptError("init 'labels': no labels, expected at least one; try init 'vocabulary'")
    for index, ids in enumerate(label_ids):
        if not ids:
            raise PromptError(f"init 'labels': label {index + 1} has no word pieces")

    def initialise(length: int, generator: torch.Generator) -> Tensor:
        _warn_if_cut("labels", "label", len(label_ids), length)
        means = [
            _rows(table, ids, generator).mean(dim=0, keepdim=True) for ids in label_ids[:length]
        ]
        return _filled(means, length, generator, rest)

    return initialise


def from_text(table: Table, ids: Sequence[int], rest: Initialiser) -> Initialiser:
    """Piece i of a text → row i; rows left over come from `rest`.

    Raises:
        PromptError: a text without pieces.
    Warns:
        UserWarning: more pieces than rows; the end of the text is left out.
    """
    if not ids:
        raise PromptError("init 'from_text': the text is empty, expected at least one word")

    def initialise(length: int, generator: torch.Generator) -> Tensor:
        _warn_if_cut("from_text", "piece", len(ids), length)
        start = [_rows(table, list(ids[:length]), generator)] if length else []
        return _filled(start, length, generator, rest)

    return initialise


def from_rows(table: Table, matrix: Tensor, source_name: str) -> Initialiser:
    """The given rows, which must have exactly the shape `[P, E]` (SPoT: another task's prompt).

    Args:
        matrix: the rows to start from.
        source_name: where they come from, for messages.
    Raises:
        PromptError: not of shape `[P, E]`, or not finite.
    """

    def initialise(length: int, generator: torch.Generator) -> Tensor:
        if tuple(matrix.shape) != (length, table.width):
            raise PromptError(
                f"init from {source_name}: expected {length} rows of width {table.width}, "
                f"got shape {list(matrix.shape)}; set the length to that of the source, "
                "and take a source that was learned on this backbone"
            )
        rows = matrix.detach().to(generator.device, torch.float32, copy=True)
        broken = int((~torch.isfinite(rows)).sum())
        if broken:
            raise PromptError(
                f"init from {source_name}: {broken} of {rows.numel()} numbers are not finite"
            )
        return rows

    return initialise


def _uniform(low: float, high: float, width: int) -> Initialiser:
    def initialise(length: int, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(length, width, generator=generator, device=generator.device)
        return drawn * (high - low) + low

    return initialise


def _rows(table: Table, ids: Sequence[int], generator: torch.Generator) -> Tensor:
    if not ids:  # P = 0: not every embedding layer takes an empty list
        return torch.zeros(0, table.width, device=generator.device)
    return table.rows(ids).detach().to(generator.device, torch.float32)  # [n, E]


def _filled(
    start: list[Tensor], length: int, generator: torch.Generator, rest: Initialiser
) -> Tensor:
    missing = length - sum(block.shape[0] for block in start)
    blocks = [*start, rest(missing, generator)] if missing or not start else start
    return torch.cat(blocks)


def _warn_if_cut(name: str, unit: str, given: int, length: int) -> None:
    if given > length:
        warnings.warn(
            f"init '{name}': {given} {unit}s for {length} prompt rows, "
            f"the last {given - length} are left out; a length of {given} would hold all",
            UserWarning,
            stacklevel=3,
        )
