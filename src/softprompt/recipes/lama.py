"""LAMA probing (Petroni et al. 2019): which facts does a backbone fill in by itself, nothing learned?

The rank of a fact's object among all tokens of the vocabulary at the gap; P@1, P@10 and the mean
reciprocal rank by relation, and their mean. Special tokens are no answers; facts whose object is more
than one token are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.lama import OBJECT, Relation, averaged, precision_and_rank
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.assemble import assemble
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.text.answers import Verbalizer
from softprompt.text.query import Query
from softprompt.text.template import Literal, Template, parse

SLOT = "{mask}"
AT_ONCE = 64
FINAL = " .?!"


@dataclass(frozen=True)
class Probed:
    """What a backbone knows of one relation.

    Args:
        relation: its name.
        n: facts asked for.
        skipped: facts whose object is several tokens.
        ranks: of each fact asked for, from 1, by the fact's id.
        scores: p_at_1, p_at_10 and mrr; empty where every fact was skipped.
    """

    relation: str
    n: int
    skipped: int
    ranks: Mapping[str, int]
    scores: Mapping[str, float]


def probe(backbone: Backbone, relations: Sequence[Relation]) -> list[Probed]:
    """Ask a backbone for the objects of facts.

    A causal model reads the template up to the gap, so only relations that end in it can be asked.

    Args:
        backbone: masked or causal; dropout is off, nothing changes.
        relations: from `read_lama`.
    Raises:
        SettingsError: an encoder-decoder, or a template that goes on behind the gap of a causal model.
    """
    if backbone.family == "encoder_decoder":
        raise SettingsError(
            "LAMA asks for one token at a gap: expected a masked or a causal backbone, got an "
            "encoder-decoder"
        )
    return [_probe(backbone, relation) for relation in relations]


def mean_scores(found: Sequence[Probed]) -> dict[str, float]:
    """The mean over relations with any fact asked for, each counting alike.

    Raises:
        UsageError: there is none.
    """
    return averaged(one.scores for one in found if one.n)


def _probe(backbone: Backbone, relation: Relation) -> Probed:
    applied = _applied(backbone, relation)
    asked: list[tuple[Example, Query, int, int]] = []
    for fact in relation.facts:
        (query,) = applied.render_gold(fact, (str(fact.target),)).queries
        (read,) = query.reads
        if len(read.tokens) == 1:
            asked.append((fact, query, read.positions[0], read.tokens[0]))
    asked.sort(key=lambda one: one[1].length)
    ranks: dict[str, int] = {}
    for first in range(0, len(asked), AT_ONCE):
        part = asked[first : first + AT_ONCE]
        found = _ranks(backbone, [one[1:] for one in part])
        ranks.update(zip((one[0].id for one in part), found, strict=True))
    skipped = len(relation.facts) - len(asked)
    scores = precision_and_rank(list(ranks.values())) if ranks else {}
    return Probed(relation.name, len(asked), skipped, ranks, scores)


def _applied(backbone: Backbone, relation: Relation) -> Applied:
    template = parse(relation.template)
    if backbone.family == "causal":
        template = _up_to_the_gap(template, relation)
    words = {"object": (("object",),), "other": (("other",),)}  # no fact is judged by them
    objective = resolve_objective(ObjectiveSettings(), backbone.family, free_text=False)
    return apply(backbone, template, Verbalizer(words), replace(objective, prediction="rank"))


def _up_to_the_gap(template: Template, relation: Relation) -> Template:
    *before, last = template.parts
    if isinstance(last, Literal) and not last.text.strip(FINAL):
        return Template.from_parts(before)
    if str(template).endswith(SLOT):
        return template
    raise SettingsError(
        f"relation {relation.name}: '{relation.template}' goes on behind {OBJECT}, which a causal "
        "backbone cannot read; leave the relation out, or use a masked backbone"
    )


def _ranks(backbone: Backbone, asked: Sequence[tuple[Query, int, int]]) -> list[int]:
    """The rank of each token at its position; tokens that are as likely as it come before it."""
    queries = [query for query, _, _ in asked]
    nobody = [0] * len(queries)
    with torch.no_grad():
        batch = assemble(backbone, None, queries, nobody, list(range(len(queries))))
        places = [batch.plan.place(row, at) for row, (_, at, _) in enumerate(asked)]
        logits = batch.logits(backbone, places)  # [n, V]
    wanted = torch.tensor([token for _, _, token in asked], device=logits.device)
    own = logits.gather(1, wanted[:, None])
    special = sorted(i for i in backbone.tokenizer.special if i < logits.shape[1])
    logits[:, special] = -torch.inf
    return [int(n) for n in (logits >= own).sum(dim=1)]
