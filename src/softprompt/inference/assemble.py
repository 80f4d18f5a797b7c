"""Where prompts and text meet: queries become embeddings, masks and the positions to read.

Knows ids and tensors; the backbone is asked for embeddings only.
Dimensions: Q queries, B main rows, S positions, E input width, R tokens to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs, pad_ids
from softprompt.errors import PromptError
from softprompt.prompts.addition import Stacked, pick
from softprompt.text.query import Query


@dataclass(frozen=True)
class Batch:
    """What the backbone is given.

    Args:
        main: the sequence of a masked or causal model, or what the encoder reads.
        decoder: the decoder's sequences, for an encoder-decoder.
        source: the main row that each decoder row reads, `[Q]`.
    """

    main: Inputs
    decoder: Inputs | None = None
    source: Int[Tensor, " Q"] | None = None


def assemble(
    backbone: Backbone, prompts: Stacked | None, queries: Sequence[Query], prompt_of: Sequence[int]
) -> Batch:
    """One batch of queries, each with its own prompt.

    Args:
        prompts: N prompts, or None where no query has learned rows.
        queries: any mixture of tasks.
        prompt_of: which of the N prompts each query uses, `[Q]`.
    """
    if backbone.family != "encoder_decoder":
        ids, segments = [q.ids for q in queries], [q.segments for q in queries]
        return Batch(embed_rows(backbone, prompts, ids, prompt_of, segments))
    # Candidates of one example share the encoder: equal ids under one prompt run once.
    index: dict[tuple[int, tuple[int, ...]], int] = {}
    source = [
        index.setdefault((p, q.ids), len(index)) for q, p in zip(queries, prompt_of, strict=True)
    ]
    main = embed_rows(backbone, prompts, [ids for _, ids in index], [p for p, _ in index])
    decoders = [q.decoder or () for q in queries]
    decoder = embed_rows(backbone, prompts, decoders, prompt_of, decoder=True)
    return Batch(main, decoder, torch.tensor(source, device=backbone.device))


def embed_rows(
    backbone: Backbone,
    prompts: Stacked | None,
    ids: Sequence[Sequence[int]],
    prompt_of: Sequence[int],
    segments: Sequence[Sequence[int]] | None = None,
    *,
    decoder: bool = False,
) -> Inputs:
    """Embed ids, with learned rows where an id is negative.

    Args:
        ids: token ids, and −1−r for row r of the query's prompt.
        decoder: whether the decoder receives this.
    Raises:
        PromptError: learned rows are asked for and there are none.
    """
    padded, mask = pad_ids(ids)
    learned = padded < 0
    rows_wanted = bool(learned.any())  # asked on the CPU: no waiting for a device
    device = backbone.device
    padded, mask, learned = padded.to(device), mask.to(device), learned.to(device)
    embeddings = backbone.embed(padded.clamp(min=0), decoder=decoder)
    if rows_wanted:
        if prompts is None:
            raise PromptError("the template places learned rows, but no prompt brings any")
        index = torch.tensor(list(prompt_of), device=device)
        rows = pick(prompts, index, torch.where(learned, -1 - padded, -1))
        embeddings = torch.where(learned[..., None], rows.to(embeddings.dtype), embeddings)
    kinds = None if segments is None else pad_ids(segments)[0].to(device)
    return Inputs(embeddings, mask, kinds)
