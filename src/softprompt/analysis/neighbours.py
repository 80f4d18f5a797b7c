"""The vocabulary words nearest to each learned row, by cosine (Lester et al. 2021, section 7).

Measured against the frozen input table as the network receives it. Neighbours *describe* where a row
lies and do not *explain* what it does: Khashabi et al. 2022 find prompts that work equally well
beside any words one likes. Knows rows and a backbone's table, not tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError

CAVEAT = (
    "Neighbours describe where a row lies; they do not explain what it does (Khashabi et al. 2022)."
)
AT_A_TIME = 16_384
"""Vocabulary rows compared at once: memory, never numbers."""


@dataclass(frozen=True)
class Neighbour:
    """A vocabulary piece near a learned row.

    Args:
        id: its token id.
        piece: as the tokenizer writes it.
        cosine: between −1 and 1.
    """

    id: int
    piece: str
    cosine: float

    @property
    def word(self) -> str:
        """The piece as people read it, without the marks of word begin and continuation."""
        return self.piece.removeprefix("##").lstrip("▁Ġ") or self.piece


def nearest_words(
    backbone: Backbone, rows: Float[Tensor, "P E"], k: int = 5
) -> list[list[Neighbour]]:
    """The k nearest pieces of each row, nearest first; special tokens are left out.

    Args:
        backbone: whose input table is searched.
        rows: learned rows, `[P, E]`.
        k: how many for each.
    Raises:
        PromptError: rows of another width than the backbone's.
    """
    if rows.dim() != 2 or rows.shape[1] != backbone.width:
        raise PromptError(
            f"rows of shape {list(rows.shape)} cannot be compared with the vocabulary of "
            f"'{backbone.name}', expected width {backbone.width}"
        )
    tokenizer = backbone.tokenizer
    size = min(tokenizer.size, backbone.vocabulary)
    ids = [number for number in range(size) if number not in tokenizer.special]
    unit = _unit(rows.detach().float().to(backbone.device))
    values, places = torch.empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.long)
    for start in range(0, len(ids), AT_A_TIME):
        part = ids[start : start + AT_A_TIME]
        cosines = (unit @ _unit(backbone.rows(part)).T).cpu()  # [P, n]
        values = torch.cat([values, cosines], dim=1)
        places = torch.cat([places, torch.tensor(part).expand(len(rows), -1)], dim=1)
        values, order = values.topk(min(k, values.shape[1]), dim=1)
        places = places.gather(1, order)
    return [
        _named(backbone, found, closeness)
        for found, closeness in zip(places.tolist(), values.tolist(), strict=True)
    ]


def _named(backbone: Backbone, ids: Sequence[int], cosines: Sequence[float]) -> list[Neighbour]:
    pieces = backbone.tokenizer.pieces(tuple(ids))
    return [Neighbour(i, piece, c) for i, piece, c in zip(ids, pieces, cosines, strict=True)]


def _unit(rows: Float[Tensor, "n E"]) -> Float[Tensor, "n E"]:
    """Rows of length 1; a row of zeros stays one."""
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
