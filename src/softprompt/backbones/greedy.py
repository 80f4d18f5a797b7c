"""Greedy generation, nothing else: what a checkpoint recommends for sampling or beams has no say.

A checkpoint's generation config may ask for a minimum length, forbidden repetitions, beams or a
forced last token (BART's default), and transformers lays it under every call. Answers must not
depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor


def greedy_config(declared: Any, config: Any, end_of_text: int | None, pad: int | None) -> Any:
    """A transformers generation config that knows special ids only.

    Args:
        declared: the checkpoint's own.
        config: the model's config, for the decoder's start.
        end_of_text: the tokenizer's end token, which also ends an answer.
        pad: what finished rows are filled with; the end token, or id 0, where there is none.
    """
    from transformers import GenerationConfig

    ends = declared.eos_token_id
    ends = list(ends) if isinstance(ends, list | tuple) else [ends]
    ends = sorted({i for i in (*ends, end_of_text) if i is not None})
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=ends or None,
        pad_token_id=pad if pad is not None else (ends[0] if ends else 0),
        bos_token_id=declared.bos_token_id,
        decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
    )


def decode(
    step: Callable[[Tensor | None], Tensor], ends: Int[Tensor, " e"], most: int
) -> Int[Tensor, "B n"]:
    """The likeliest token after each token, `n` ≤ `most` of them; what follows an end is garbage.

    Args:
        step: the last tokens `[B]`, or None at the beginning, to logits `[B, V]` of the next.
        ends: ids that end a row; when all rows have ended, nothing more is asked.
        most: from 1.
    """
    made = [step(None).argmax(dim=-1)]
    ended = torch.isin(made[-1], ends)
    while len(made) < most and not bool(ended.all()):
        made.append(step(made[-1]).argmax(dim=-1))
        ended = ended | torch.isin(made[-1], ends)
    return torch.stack(made, dim=1)


def until(ids: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """The ids before the first of `ends`."""
    for place, token in enumerate(ids):
        if token in ends:
            return tuple(ids[:place])
    return tuple(ids)
