"""Label words found by a probe (Shin et al. 2020, section 2.3).

A logistic regression learns to tell the labels apart by what the output head reads at the answer slot; then
its class weights score the output embeddings in place of that state, and the best words of each label are
those of the highest p(label | word).
Dimensions: N examples, H width of what the head reads, V tokens, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.data.examples import Example
from softprompt.errors import DataError
from softprompt.inference.applied import Applied
from softprompt.inference.assemble import assemble
from softprompt.inference.budget import TOKEN_BUDGET
from softprompt.prompts.addition import Addition, stack

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""C of the regression on standardised states; the one that does best on dev, the smallest on ties."""

LOOKED_AT = 40
"""For each word that is wanted, how many of the best tokens are tried in the template."""


@dataclass(frozen=True)
class Probe:
    """A logistic regression on raw states.

    Args:
        weights: of each label, `[L, H]`.
        accuracy: on dev.
        strength: C.
    """

    weights: Float[Tensor, "L H"]
    accuracy: float
    strength: float


@torch.no_grad()
def answer_states(
    backbone: Backbone, applied: Applied, rows: Float[Tensor, "P E"], examples: Sequence[Example]
) -> Float[Tensor, "N H"]:
    """What the output head reads where each example's answer stands, on the CPU.

    Args:
        applied: with class vectors for answers, which read at one position.
        rows: of the triggers.
    """
    prompts = stack([Addition(rows)])
    drafts = applied.drafts(examples)
    made = [applied.render(one, draft) for one, draft in zip(examples, drafts, strict=True)]
    queries = [rendering.queries[0] for rendering in made]
    found: Tensor | None = None
    for part in micro_batches([query.length for query in queries], TOKEN_BUDGET):
        chosen = [queries[n] for n in part]
        batch = assemble(backbone, prompts, chosen, [0] * len(part), part)
        places = [batch.plan.place(row, q.reads[0].positions[0]) for row, q in enumerate(chosen)]
        states = batch.read(backbone, [], places)[1].float().cpu()
        if found is None:
            found = torch.zeros(len(queries), states.shape[1])
        found[torch.tensor(part)] = states
    assert found is not None
    return found


def fit_probe(
    train: Float[Tensor, "N H"],
    golds: Sequence[str],
    dev: Float[Tensor, "M H"],
    dev_golds: Sequence[str],
    labels: Sequence[str],
) -> Probe:
    """Fit on train, choose C on dev by accuracy.

    Raises:
        DataError: a label without a row in train.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    missing = [label for label in labels if label not in set(golds)]
    if missing:
        raise DataError(
            f"--label-words: train has no row of the label '{missing[0]}', so a probe cannot tell it"
        )
    scaler = StandardScaler().fit(train.numpy())
    scaled, scaled_dev = scaler.transform(train.numpy()), scaler.transform(dev.numpy())
    number = {label: n for n, label in enumerate(labels)}
    wanted = [number[gold] for gold in golds]
    wanted_dev = [number[gold] for gold in dev_golds]
    best: Probe | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=10_000).fit(scaled, wanted)
        accuracy = float(model.score(scaled_dev, wanted_dev))
        if best is None or accuracy > best.accuracy:
            weights = torch.from_numpy(model.coef_ / scaler.scale_).float()
            if len(labels) == 2:  # scikit-learn has one row for two classes
                weights = torch.cat([-weights, weights]) / 2
            best = Probe(weights, accuracy, strength)
    assert best is not None
    return best


def word_scores(
    weights: Float[Tensor, "L H"], output: Float[Tensor, "V H"]
) -> Float[Tensor, "L V"]:
    """log p(label | word): a softmax over the labels of weight · output embedding."""
    return torch.log_softmax(weights @ output.T, dim=0)


def best_words(
    scores: Float[Tensor, "L n"],
    ids: Sequence[int],
    words: Sequence[str],
    labels: Sequence[str],
    m: int,
    fits: Callable[[Sequence[str]], Sequence[tuple[int, ...]]],
) -> dict[str, list[str]]:
    """The m best words of each label, each word for one label only: the one that it says most of.

    Args:
        scores: of n tokens.
        ids: the tokens, `[n]`.
        words: what each is written as.
        labels: L of them.
        m: how many.
        fits: how words are tokenised in the answer slot; one that is not its own token there is passed over.
    Raises:
        DataError: fewer than m words of a label fit.
    """
    owner = scores.argmax(dim=0)
    found: dict[str, list[str]] = {}
    for number, label in enumerate(labels):
        order = scores[number].sort(descending=True, stable=True).indices.tolist()
        own = [n for n in order if int(owner[n]) == number][: LOOKED_AT * m]
        made = fits([words[n] for n in own]) if own else []
        good = [words[n] for n, read in zip(own, made, strict=True) if read == (ids[n],)]
        chosen = list(dict.fromkeys(good))[:m]
        if len(chosen) < m:
            raise DataError(
                f"--label-words: the probe has {len(chosen)} words for the label '{label}' that are one "
                f"token in the answer slot, expected {m}; give a smaller --words-per-label"
            )
        found[label] = chosen
    return found


def shown(words: Mapping[str, Sequence[str]]) -> str:
    """In one line."""
    return "; ".join(f"{label}: {', '.join(own)}" for label, own in words.items())
