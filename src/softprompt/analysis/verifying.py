"""Whether a prompt is right on a user's own model: the same numbers however it is fed.

Each check runs the model twice on what must be the same, and tells the largest difference. A wrong mask
or position moves log-probabilities by 1e-2 and more; rounding by far less (`TOLERANCES`).
Knows prompts bound to a backbone, and example texts; writes nothing.
Dimensions: B examples, P rows, E width.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs, pads_first
from softprompt.data.examples import Example
from softprompt.errors import PromptError
from softprompt.inference.applied import Applied
from softprompt.inference.assemble import embed_rows
from softprompt.inference.scoring import score
from softprompt.prompts.addition import Addition, stacked
from softprompt.prompts.identity import check_backbone
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import FreeText
from softprompt.text.query import Query

TOLERANCES: Mapping[str, float] = MappingProxyType(
    {"float64": 1e-8, "float32": 1e-3, "bfloat16": 0.25, "float16": 0.05, "int8": 0.25}
)
"""Nats of log-probability, by precision: what another order of the same sums may change. A large model
in bfloat16 keeps 8 bits; there the checks find gross faults only, so try float32."""


@dataclass(frozen=True)
class Check:
    """What one check found.

    Args:
        name: what was compared.
        difference: the largest one, in nats; None where the check needs no numbers.
        allowed: its tolerance.
        fault: why it failed, or None.
        skipped: why it was not made, or None.
    """

    name: str
    difference: float | None = None
    allowed: float | None = None
    fault: str | None = None
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        return self.fault is None and (
            self.difference is None or self.allowed is None or self.difference <= self.allowed
        )


def verify(
    backbone: Backbone, prompt: Prompt, applied: Applied, examples: Sequence[Example]
) -> list[Check]:
    """Run all checks.

    Args:
        backbone: the user's own.
        prompt: as read, not yet accepted for it.
        applied: the prompt bound to it.
        examples: at least two, of different lengths, with the fields of its template.
    """
    allowed = TOLERANCES[backbone.precision]
    return [
        fingerprint(backbone, prompt),
        rows_as_text(backbone, examples, applied, allowed),
        batch_as_single(backbone, applied, examples, allowed),
        padding_sides(backbone, applied, examples, allowed),
        mixed_as_alone(backbone, applied, examples, allowed),
        rows_matter(backbone, applied, examples),
    ]


def fingerprint(backbone: Backbone, prompt: Prompt) -> Check:
    """Whether it was learned on these weights."""
    name = "fingerprint: learned on these weights"
    width = None if prompt.rows is None else prompt.rows.shape[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_backbone(prompt.backbone, backbone.identity, width)
        except PromptError as error:
            return Check(name, fault=str(error))
    if caught:
        return Check(name, skipped=str(caught[0].message))
    return Check(name)


def rows_as_text(
    backbone: Backbone, examples: Sequence[Example], applied: Applied, allowed: float
) -> Check:
    """Rows that are the embeddings of words must act as these words: mask, positions and scale."""
    name = "identity: rows equal to words act as the words"
    queries = _queries(applied, examples)
    if queries is None:
        return Check(name, skipped=_FREE)
    n_rows = applied.addition.n_rows
    if not n_rows:
        return Check(name, skipped="the prompt has no rows")
    ordinary = [n for n in range(backbone.tokenizer.size) if n not in backbone.tokenizer.special]
    step = max(1, len(ordinary) // n_rows)
    words = [ordinary[(row * step) % len(ordinary)] for row in range(n_rows)]
    # Of a decoder other rows are meant where it scales embeddings in its own way.
    decoder = any(number < 0 for query in queries for number in query.decoder or ())
    if decoder and backbone.traits.decoder_scale != backbone.traits.scale:
        return Check(name, skipped="its decoder scales embeddings in a way of its own")
    rows = Addition(backbone.rows(words))
    typed = [_typed(query, words) for query in queries]
    learned = _logits(backbone, rows, queries)
    return _compared(name, learned, _logits(backbone, None, typed), allowed)


def batch_as_single(
    backbone: Backbone, applied: Applied, examples: Sequence[Example], allowed: float
) -> Check:
    """A batch of different lengths must score as each example alone."""
    name = "padding: a batch scores as each example alone"
    if isinstance(applied.answers, FreeText):
        return Check(name, skipped=_FREE)
    together = _scores(backbone, [applied], [(0, example) for example in examples])
    alone = [_scores(backbone, [applied], [(0, example)]) for example in examples]
    return _compared(name, together, torch.cat(alone), allowed)


def padding_sides(
    backbone: Backbone, applied: Applied, examples: Sequence[Example], allowed: float
) -> Check:
    """Pads before the input must change as little as pads behind it."""
    name = "padding: pads on the left as on the right"
    queries = _queries(applied, examples)
    if queries is None:
        return Check(name, skipped=_FREE)
    if backbone.family == "encoder_decoder" and backbone.traits.limit is not None:
        return Check(name, skipped="its encoder counts pads as positions; here they stand behind")
    right = _logits(backbone, applied.addition, queries)
    left = _logits(backbone, applied.addition, queries, left=True)
    return _compared(name, left, right, allowed)


def mixed_as_alone(
    backbone: Backbone, applied: Applied, examples: Sequence[Example], allowed: float
) -> Check:
    """Two prompts in one batch must score as each in a batch of its own."""
    name = "mixing: two prompts in one batch score as each alone"
    if isinstance(applied.answers, FreeText):
        return Check(name, skipped=_FREE)
    rows = applied.addition.rows
    if rows is None:
        return Check(name, skipped="the prompt has no rows")
    other = applied.with_addition(replace(applied.addition, rows=rows.flip(0) * 0.5))
    items = [(n, example) for example in examples for n in (0, 1)]
    mixed = _scores(backbone, [applied, other], items)
    apart = [_scores(backbone, [(applied, other)[n]], [(0, example)]) for n, example in items]
    return _compared(name, mixed, torch.cat(apart), allowed)


def rows_matter(backbone: Backbone, applied: Applied, examples: Sequence[Example]) -> Check:
    """Without any effect of its rows all of the above would hold, and nothing would work."""
    name = "effect: other rows give other scores"
    if isinstance(applied.answers, FreeText):
        return Check(name, skipped=_FREE)
    rows = applied.addition.rows
    if rows is None:
        return Check(name, skipped="the prompt has no rows")
    items = [(0, example) for example in examples]
    silent = applied.with_addition(replace(applied.addition, rows=torch.zeros_like(rows)))
    moved = float(
        (_scores(backbone, [applied], items) - _scores(backbone, [silent], items)).abs().max()
    )
    return Check(name, fault=None if moved > 0 else "the scores stay the same to the last bit")


_FREE = "answers are free text, which is generated and not scored"


def _compared(name: str, found: Tensor, expected: Tensor, allowed: float) -> Check:
    difference = float((found.double().cpu() - expected.double().cpu()).abs().max())
    fault = None if difference <= allowed else "the same input gives other numbers"
    return Check(name, difference, allowed, fault)


def _queries(applied: Applied, examples: Sequence[Example]) -> list[Query] | None:
    """The first query of each example; None for free text."""
    if isinstance(applied.answers, FreeText):
        return None
    return [applied.render(example).queries[0] for example in examples]


def _typed(query: Query, words: Sequence[int]) -> Query:
    """The query with words in place of learned rows."""

    def ids(given: Sequence[int]) -> tuple[int, ...]:
        return tuple(words[-1 - number] if number < 0 else number for number in given)

    decoder = None if query.decoder is None else ids(query.decoder)
    return Query(ids(query.ids), query.segments, query.reads, decoder)


@torch.no_grad()
def _scores(
    backbone: Backbone, applied: Sequence[Applied], items: Sequence[tuple[int, Example]]
) -> Tensor:
    """log p of every candidate of every example, normalised."""
    additions = [one.addition for one in applied]
    prompts = stacked(additions)
    renderings = [applied[n].render(example) for n, example in items]
    return score(backbone, prompts, renderings, [n for n, _ in items]).summed


@torch.no_grad()
def _logits(
    backbone: Backbone, addition: Addition | None, queries: Sequence[Query], *, left: bool = False
) -> Tensor:
    """log p of the whole vocabulary where each query is read first.

    Args:
        left: pads first, on each side that has some.
    """
    prompts = None if addition is None else stacked([addition])
    owners = [0] * len(queries)
    segments = None if backbone.family == "encoder_decoder" else [q.segments for q in queries]
    inputs = embed_rows(backbone, prompts, [q.ids for q in queries], owners, segments)
    columns = torch.tensor([q.reads[0].positions[0] for q in queries])
    numbers = torch.arange(len(queries))
    if backbone.family != "encoder_decoder":
        inputs, columns = _sided(inputs, columns, left)
        return torch.log_softmax(backbone.logits(inputs, numbers, columns), dim=-1)
    decoders = [q.decoder or () for q in queries]
    decoder = embed_rows(backbone, prompts, decoders, owners, decoder=True)
    # Only the encoder's pads change sides: a decoder counts its positions itself, pads included.
    inputs, _ = _sided(inputs, columns, left)
    encoded = backbone.encode(inputs)
    return torch.log_softmax(backbone.logits(decoder, numbers, columns, encoded), dim=-1)


def _sided(inputs: Inputs, columns: Tensor, left: bool) -> tuple[Inputs, Tensor]:
    if not left:
        return inputs, columns
    pads = (~inputs.mask).sum(dim=1).to(columns.device)
    return pads_first(inputs), columns + pads
