"""Where prompts and text meet: queries become embeddings, masks and the positions to read.

Knows ids and tensors; the backbone is asked for embeddings, and to run what was planned. What rows begin
with in common is run once, in a pass of its own, where that saves work (`passes.py`).
Dimensions: Q queries, B rows of the encoder, S positions, E input width, n positions to read, V
vocabulary, or W tokens of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbones.arguments import Encoded
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs, pad_ids
from softprompt.backbones.prefix import Prefix
from softprompt.errors import PromptError
from softprompt.inference.passes import Place, Plan, plan
from softprompt.prompts.addition import Stacked, pick
from softprompt.text.query import Query

READING_COST = 1 / 7
"""What a decoder row pays for each position of the encoder, in positions of its own: keys and values of
it, 2 of the 14 matrices as large as the layer is wide."""


@dataclass(frozen=True)
class Batch:
    """What the backbone is given.

    Args:
        plan: which rows run together; its last pass has a row for each query.
        inputs: the embeddings of each pass; for an encoder-decoder, the decoder's.
        encoder: what the encoder reads, for an encoder-decoder.
        source: the encoder's row that each row of the first pass reads.
    """

    plan: Plan
    inputs: tuple[Inputs, ...]
    encoder: Inputs | None = None
    source: tuple[int, ...] = ()

    def begun(self, backbone: Backbone) -> Prefix | None:
        """What the rows of the last pass of a causal model begin with, run; None: nothing."""
        prefix: Prefix | None = None
        nowhere = torch.empty(0, dtype=torch.long)
        for inputs, there in zip(self.inputs[:-1], self.plan.passes[1:], strict=True):
            prefix = backbone.prefill(inputs, nowhere, nowhere, prefix=prefix)[1].rows(there.before)
        return prefix

    def logits(
        self,
        backbone: Backbone,
        places: Sequence[Place],
        only: Int[Tensor, " W"] | None = None,
    ) -> Float[Tensor, "n V"]:
        """Logits at places of `plan`, in their order; each pass is run once.

        Args:
            only: the tokens whose logits are asked for, `[n, W]`.
        """
        found: list[Tensor] = []
        order: list[int] = []
        prefix: Prefix | None = None
        encoded: Encoded | None = None
        if self.encoder is not None:
            encoded = backbone.encode(self.encoder).rows(self.source)
        last = len(self.inputs) - 1
        for number, inputs in enumerate(self.inputs):
            before = self.plan.passes[number].before
            if prefix is not None:
                prefix, encoded = prefix.rows(before), encoded and encoded.rows(before)
            here = [n for n, (its, _, _) in enumerate(places) if its == number]
            rows = torch.tensor([places[n][1] for n in here], dtype=torch.long)
            columns = torch.tensor([places[n][2] for n in here], dtype=torch.long)
            if number < last:
                logits, prefix = backbone.prefill(
                    inputs, rows, columns, encoded, prefix=prefix, vocabulary=only
                )
            else:
                logits = backbone.logits(
                    inputs, rows, columns, encoded, prefix=prefix, vocabulary=only
                )
            found.append(logits)
            order += here
        if not last:
            return found[0]
        back = torch.tensor(order).argsort()
        return torch.cat(found)[back.to(found[0].device)]


def assemble(
    backbone: Backbone,
    prompts: Stacked | None,
    queries: Sequence[Query],
    prompt_of: Sequence[int],
    example_of: Sequence[int],
) -> Batch:
    """One batch of queries, each with its own prompt.

    Args:
        prompts: N prompts, or None where no query has learned rows.
        queries: any mixture of tasks.
        prompt_of: which of the N prompts each query uses, `[Q]`.
        example_of: which example each query is of, `[Q]`.
    """
    if backbone.family != "encoder_decoder":
        ids, segments = [q.ids for q in queries], [q.segments for q in queries]
        return embed_sequences(backbone, prompts, ids, prompt_of, segments, example_of)
    # Candidates of one example share the encoder: equal ids under one prompt run once.
    index: dict[tuple[int, tuple[int, ...]], int] = {}
    source = [
        index.setdefault((p, q.ids), len(index)) for q, p in zip(queries, prompt_of, strict=True)
    ]
    encoder = embed_rows(backbone, prompts, [ids for _, ids in index], [p for p, _ in index])
    decoders = [q.decoder or () for q in queries]
    reading = encoder.mask.shape[1] * READING_COST
    made = _planned(backbone, decoders, [source], equal=True, row_cost=reading)
    inputs = _embed_passes(backbone, prompts, made, prompt_of, decoder=True)
    return Batch(made, inputs, encoder, tuple(source[row] for row in made.passes[0].source))


def embed_sequences(
    backbone: Backbone,
    prompts: Stacked | None,
    ids: Sequence[Sequence[int]],
    prompt_of: Sequence[int],
    segments: Sequence[Sequence[int]],
    example_of: Sequence[int] = (),
) -> Batch:
    """Embed rows, what those of a causal model begin with in common apart.

    Args:
        ids, prompt_of, segments: as for `embed_rows`.
        example_of: which example each row is of; none: each is of another.
    """
    levels: list[Sequence[Hashable]] = []
    if backbone.family == "causal":
        levels.append(prompt_of)
        if example_of:
            levels.append(list(zip(prompt_of, example_of, strict=True)))
    made = _planned(backbone, ids, levels)
    return Batch(made, _embed_passes(backbone, prompts, made, prompt_of, segments))


def _planned(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    levels: Sequence[Sequence[Hashable]],
    *,
    equal: bool = False,
    row_cost: float = 0.0,
) -> Plan:
    whole = plan(ids)
    if not levels or not backbone.share_prefix:
        return whole
    found = plan(ids, levels, equal=equal, row_cost=row_cost)
    # Whether the network can is measured at the first batch that would gain by it.
    return found if len(found.passes) > 1 and backbone.shares_prefix else whole


def _embed_passes(
    backbone: Backbone,
    prompts: Stacked | None,
    made: Plan,
    prompt_of: Sequence[int],
    segments: Sequence[Sequence[int]] | None = None,
    *,
    decoder: bool = False,
) -> tuple[Inputs, ...]:
    """Every pass as the network receives it."""
    inputs = []
    for one in made.passes:
        kinds = None
        if segments is not None:
            kinds = [
                segments[row][begins : begins + len(ids)]
                for row, begins, ids in zip(one.source, one.begins, one.ids, strict=True)
            ]
        owners = [prompt_of[row] for row in one.source]
        inputs.append(embed_rows(backbone, prompts, one.ids, owners, kinds, decoder=decoder))
    return tuple(inputs)


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
