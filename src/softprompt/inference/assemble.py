"""Where prompts and text meet: queries become embeddings, masks and the positions to read.

Knows ids and tensors; the backbone is asked for embeddings, and to run what was planned. What rows begin
with in common is run once, in a pass of its own, where that saves work (`passes.py`); what is kept of it
from batch to batch is not run again (`beginnings.py`).
Dimensions: Q queries, B rows of the encoder, S positions, E input width, n positions to read, V
vocabulary, or W tokens of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbones.arguments import Encoded
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Attended, Inputs, pad_ids
from softprompt.backbones.prefix import Prefix
from softprompt.errors import PromptError
from softprompt.inference.beginnings import Beginnings
from softprompt.inference.passes import Pass, Place, Plan, plan
from softprompt.inference.text_positions import ANSWER, count_text, mark_answers, text_index
from softprompt.prompts.addition import Stacked, pick
from softprompt.prompts.offset import pick_offsets
from softprompt.text.query import Query

READING_COST = 1 / 7
"""What a decoder row pays for each position of the encoder, in positions of its own: keys and values of
it, 2 of the 14 matrices as large as the layer is wide."""

NOWHERE = torch.empty(0, dtype=torch.long)
"""Rows or columns of no position: no logits are asked for."""


@dataclass(frozen=True)
class Batch:
    """What the backbone is given.

    Args:
        plan: which rows run together; its last pass has a row for each query.
        inputs: the embeddings of each pass that is run; for an encoder-decoder, the decoder's.
        known: what the first pass leaves, where it need not run.
        encoder: what the encoder reads, for an encoder-decoder.
        source: the encoder's row that each row of the first pass reads.
    """

    plan: Plan
    inputs: tuple[Inputs, ...]
    encoder: Inputs | None = None
    source: tuple[int, ...] = ()
    known: Prefix | None = None

    def begun(self, backbone: Backbone) -> Prefix | None:
        """What the rows of the last pass of a causal model begin with, run; None: nothing."""
        prefix = self.known
        *between, last = self.plan.passes[self.ran :]
        for inputs, one in zip(self.inputs, between, strict=False):
            before = prefix and prefix.rows(one.before)
            prefix = backbone.prefill(inputs, NOWHERE, NOWHERE, prefix=before)[1]
        return prefix and prefix.rows(last.before)

    @property
    def ran(self) -> int:
        """How many passes were run before: one or none."""
        return len(self.plan.passes) - len(self.inputs)

    def logits(
        self,
        backbone: Backbone,
        places: Sequence[Place],
        only: Int[Tensor, " W"] | None = None,
    ) -> Float[Tensor, "n V"]:
        """Logits at places of `plan`, in their order; each pass is run once.

        Args and raises as `read`.
        """
        return self.read(backbone, places, (), only)[0]

    def read(
        self,
        backbone: Backbone,
        places: Sequence[Place],
        below: Sequence[Place],
        only: Int[Tensor, " W"] | None = None,
    ) -> tuple[Float[Tensor, "n V"], Float[Tensor, "m H"]]:
        """Logits at places of `plan`, and what the output head reads at others, each in their order; each
        pass is run once.

        Args:
            places: of the logits.
            below: of the states that the head reads.
            only: the tokens whose logits are asked for, `[n, W]`.
        Returns:
            Both in f32, or f64 where the backbone is f64.
        Raises:
            IndexError: a place in a pass that need not run.
        """
        if any(number < self.ran for number, _, _ in (*places, *below)):
            raise IndexError("a position that was run before is to be read, expected one behind it")
        found: list[Tensor] = []
        states: list[Tensor] = []
        order: list[int] = []
        order_below: list[int] = []
        prefix = self.known
        encoded: Encoded | None = None
        if self.encoder is not None:
            encoded = backbone.encode(self.encoder).rows(self.source)
        last = len(self.plan.passes) - 1
        for number, inputs in enumerate(self.inputs, start=self.ran):
            before = self.plan.passes[number].before
            if prefix is not None:
                prefix, encoded = prefix.rows(before), encoded and encoded.rows(before)
            here, rows, columns = _in_pass(places, number)
            here_below, *under = _in_pass(below, number)
            with backbone.head.states(*under) if below else nullcontext() as heard:
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
            states += [one.to(logits.dtype) for one in heard or ()]
            order_below += here_below
        return _in_order(found, order), _in_order(states or [found[0][:0]], order_below)


def _in_pass(places: Sequence[Place], number: int) -> tuple[list[int], Tensor, Tensor]:
    """Which places are in a pass, and their rows and columns there."""
    here = [n for n, (its, _, _) in enumerate(places) if its == number]
    rows = torch.tensor([places[n][1] for n in here], dtype=torch.long)
    return here, rows, torch.tensor([places[n][2] for n in here], dtype=torch.long)


def _in_order(parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
    """What passes gave, as places were asked for."""
    if len(parts) == 1:
        return parts[0]
    back = torch.tensor(order, dtype=torch.long).argsort()
    return torch.cat(list(parts))[back.to(parts[0].device)]


def assemble(
    backbone: Backbone,
    prompts: Stacked | None,
    queries: Sequence[Query],
    prompt_of: Sequence[int],
    example_of: Sequence[int],
    beginnings: Beginnings | None = None,
) -> Batch:
    """One batch of queries, each with its own prompt.

    Args:
        prompts: N prompts, or None where no query has learned rows.
        queries: any mixture of tasks.
        prompt_of: which of the N prompts each query uses, `[Q]`.
        example_of: which example each query is of, `[Q]`.
        beginnings: what is kept of these prompts from batch to batch; not used for gradients.
    """
    if backbone.family != "encoder_decoder":
        ids, segments = [q.ids for q in queries], [q.segments for q in queries]
        until = [_first_read(query) for query in queries]
        return embed_sequences(
            backbone, prompts, ids, prompt_of, segments, example_of, beginnings, until
        )
    # Candidates of one example share the encoder: equal ids under one prompt run once.
    index: dict[tuple[int, tuple[int, ...]], int] = {}
    source = [
        index.setdefault((p, q.ids), len(index)) for q, p in zip(queries, prompt_of, strict=True)
    ]
    encoder = embed_rows(backbone, prompts, [ids for _, ids in index], [p for p, _ in index])
    decoders = [q.decoder or () for q in queries]
    reading = encoder.mask.shape[1] * READING_COST
    made = _planned(backbone, decoders, [source], equal=True, row_cost=reading)
    inputs = _embed_passes(backbone, prompts, made, decoders, prompt_of, decoder=True)
    return Batch(made, inputs, encoder, tuple(source[row] for row in made.passes[0].source))


def _first_read(query: Query) -> int:
    """The first position that is read; by default the last one."""
    places = (place for read in query.reads for place in read.positions)
    return min(places, default=len(query.ids) - 1)


def embed_sequences(
    backbone: Backbone,
    prompts: Stacked | None,
    ids: Sequence[Sequence[int]],
    prompt_of: Sequence[int],
    segments: Sequence[Sequence[int]],
    example_of: Sequence[int] = (),
    beginnings: Beginnings | None = None,
    until: Sequence[int] = (),
) -> Batch:
    """Embed rows, what those of a causal model begin with in common apart.

    Args:
        ids, prompt_of, segments: as for `embed_rows`.
        example_of: which example each row is of; none: each is of another.
        beginnings: what is kept of these prompts from batch to batch; not used for gradients.
        until: the first position of each row that is read; none: the last one.
    """
    levels: list[Sequence[Hashable]] = []
    if backbone.family == "causal":
        levels.append(prompt_of)
        if example_of:
            levels.append(list(zip(prompt_of, example_of, strict=True)))
    kept = None if torch.is_grad_enabled() or backbone.family != "causal" else beginnings
    lengths = () if kept is None or not backbone.share_prefix else kept.known(ids, prompt_of, until)
    if backbone.family == "causal" and prompts is not None and prompts.offsets is not None:
        ids = mark_answers(ids, until)
    made = _planned(backbone, ids, levels, known=lengths)
    known = None
    if kept is not None and made.passes[0].known:
        known = _recalled(backbone, prompts, kept, made.passes[0], prompt_of)
    inputs = _embed_passes(backbone, prompts, made, ids, prompt_of, segments)
    return Batch(made, inputs, known=known)


def _recalled(
    backbone: Backbone,
    prompts: Stacked | None,
    kept: Beginnings,
    first: Pass,
    prompt_of: Sequence[int],
) -> Prefix:
    """What a pass leaves that need not run: it does for a prompt that was not asked before, alone, so
    that nothing of the batch has a say in it."""

    def run(prompt: int, ids: tuple[int, ...]) -> Prefix:
        inputs = embed_rows(backbone, prompts, [ids], [prompt])
        return backbone.prefill(inputs, NOWHERE, NOWHERE)[1]

    owners, lengths = [prompt_of[row] for row in first.source], [len(ids) for ids in first.ids]
    return kept.prefix(owners, lengths, run)


def _planned(
    backbone: Backbone,
    ids: Sequence[Sequence[int]],
    levels: Sequence[Sequence[Hashable]],
    *,
    known: Sequence[int] = (),
    equal: bool = False,
    row_cost: float = 0.0,
) -> Plan:
    whole = plan(ids)
    if not levels or not backbone.share_prefix:
        return whole
    found = plan(ids, levels, known=known, equal=equal, row_cost=row_cost)
    # Whether the network can is measured at the first batch that would gain by it.
    return found if len(found.passes) > 1 and backbone.shares_prefix else whole


def _embed_passes(
    backbone: Backbone,
    prompts: Stacked | None,
    made: Plan,
    ids: Sequence[Sequence[int]],
    prompt_of: Sequence[int],
    segments: Sequence[Sequence[int]] | None = None,
    *,
    decoder: bool = False,
) -> tuple[Inputs, ...]:
    """Every pass that is run, as the network receives it.

    Args:
        ids: the whole rows that were planned.
    """
    inputs = []
    for one in made.passes[made.passes[0].known :]:
        kinds = None
        if segments is not None:
            kinds = [
                segments[row][begins : begins + len(part)]
                for row, begins, part in zip(one.source, one.begins, one.ids, strict=True)
            ]
        owners = [prompt_of[row] for row in one.source]
        before: list[int] = []
        if prompts is not None and prompts.offsets is not None:
            parts = zip(one.source, one.begins, strict=True)
            before = [count_text(ids[row][:begins]) for row, begins in parts]
        inputs.append(
            embed_rows(backbone, prompts, one.ids, owners, kinds, before, decoder=decoder)
        )
    return tuple(inputs)


def embed_rows(
    backbone: Backbone,
    prompts: Stacked | None,
    ids: Sequence[Sequence[int]],
    prompt_of: Sequence[int],
    segments: Sequence[Sequence[int]] | None = None,
    before: Sequence[int] = (),
    *,
    decoder: bool = False,
) -> Inputs:
    """Embed ids, with learned rows where an id is negative, and what is added to the text.

    Args:
        ids: token ids, and −1−r for row r of the query's prompt; of answers marked, where a prompt adds
            to the text.
        before: how much text of each row stands before these ids; none: nothing.
        decoder: whether the decoder receives this; nothing is added there.
    Raises:
        PromptError: learned rows are asked for and there are none.
    """
    padded, mask = pad_ids(ids)
    learned = padded < 0
    rows_wanted = bool(learned.any())  # asked on the CPU: no waiting for a device
    device = backbone.device
    padded, mask, learned = padded.to(device), mask.to(device), learned.to(device)
    embeddings = backbone.embed(padded.clamp(min=0) % ANSWER, decoder=decoder)
    index = torch.tensor(list(prompt_of), dtype=torch.long, device=device)
    if prompts is not None and prompts.offsets is not None and not decoder:
        added = pick_offsets(prompts.offsets, index, text_index(padded, mask, before))
        embeddings = embeddings + added.to(embeddings.dtype)
    if rows_wanted:
        if prompts is None:
            raise PromptError("the template places learned rows, but no prompt brings any")
        rows = pick(prompts, index, torch.where(learned, -1 - padded, -1))
        embeddings = torch.where(learned[..., None], rows.to(embeddings.dtype), embeddings)
    kinds = None if segments is None else pad_ids(segments)[0].to(device)
    return Inputs(embeddings, mask, kinds, _attended(backbone, prompts, prompt_of))


def _attended(
    backbone: Backbone, prompts: Stacked | None, prompt_of: Sequence[int]
) -> Attended | None:
    """The learned keys and values that each row reads; None where no prompt has any."""
    if prompts is None or not prompts.attended:
        return None
    stacks = [stack for stack in backbone.attentions.shapes if stack in prompts.attended]
    layers = {stack: prompts.attended[stack] for stack in stacks}
    return Attended.picked(layers, {s: prompts.n_attended[s] for s in stacks}, prompt_of)
