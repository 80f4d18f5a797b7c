"""What a frozen backbone's features are worth without any prompt: a linear probe.

The plain text goes in, the last hidden states of its tokens are averaged, and a logistic regression
reads the label off the average. Prompt tuning should stand beside this: both leave the backbone
frozen. Knows backbones and tasks; no templates, no label words.

Dimensions: N texts, H hidden size, n token positions of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.baselines import Baseline, logistic_regression, texts_of
from softprompt.backbones.backbone import Backbone
from softprompt.backbones.inputs import Inputs
from softprompt.data.batching import micro_batches
from softprompt.data.task import Task
from softprompt.inference.assemble import embed_rows
from softprompt.inference.budget import TOKEN_BUDGET

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""C of the logistic regression on standardised features: far below a bag of words' own."""


def linear_probe(
    backbone: Backbone,
    task: Task,
    *,
    limit: int | None = None,
    token_budget: int = TOKEN_BUDGET,
) -> Baseline:
    """Logistic regression on standardised pooled features; only it is fitted, on train.

    C is the one of `STRENGTHS` that does best on dev by the task's first metric, the smallest on
    ties; without a dev split it is 1.

    Args:
        backbone: frozen, of any family.
        task: with labels; several fields are joined by a space.
        limit: positions that a text may take, special tokens included; never above the backbone's.
        token_budget: padded tokens per forward pass.
    Raises:
        UsageError: a task without labels.
        DataError: train holds one label only.
    """
    from sklearn.preprocessing import StandardScaler

    pooled: dict[str, Any] = {
        split: pooled_features(
            backbone, texts_of(task.examples(split)), limit=limit, token_budget=token_budget
        ).numpy()
        for split in ("train", "dev", "test")
        if split in task.split_names
    }
    scaler = StandardScaler().fit(pooled["train"])
    features = {split: scaler.transform(matrix) for split, matrix in pooled.items()}
    return logistic_regression(
        "linear probe", task, features, STRENGTHS, {"features": "mean of the last hidden states"}
    )


@torch.no_grad()
def pooled_features(
    backbone: Backbone,
    texts: Sequence[str],
    *,
    limit: int | None = None,
    token_budget: int = TOKEN_BUDGET,
) -> Float[Tensor, "N H"]:
    """The mean over each text's own tokens of the last hidden states, `[N, H]`, on the CPU.

    Of an encoder-decoder they are the encoder's. Special tokens are read but not averaged, unless a
    text has no others; a text without any token has the features 0.

    Args:
        limit, token_budget: as in `linear_probe`.
    """
    start, end = backbone.tokenizer.start, backbone.tokenizer.end
    limits = [each for each in (limit, backbone.limit) if each is not None]
    room = max(0, min(limits) - len(start) - len(end)) if limits else None
    bodies = [backbone.tokenizer.encode(text, continues=False).ids[:room] for text in texts]
    rows = [(*start, *body, *end) for body in bodies]
    spans = [
        range(len(start), len(start) + len(body)) if body else range(len(row))
        for body, row in zip(bodies, rows, strict=True)
    ]
    asked = [place for place, row in enumerate(rows) if row]
    found: Tensor | None = None
    for batch in micro_batches([len(rows[place]) for place in asked], token_budget):
        places = [asked[number] for number in batch]
        inputs = embed_rows(backbone, None, [rows[p] for p in places], [0] * len(places))
        means = _means(backbone, inputs, [spans[place] for place in places])
        if found is None:
            found = means.new_zeros(len(texts), means.shape[1])
        found[torch.tensor(places)] = means
    return torch.zeros(len(texts), backbone.width) if found is None else found


def _means(backbone: Backbone, inputs: Inputs, spans: Sequence[range]) -> Tensor:
    """The mean of each row's last hidden states at its positions, on the CPU."""
    rows = torch.tensor([row for row, span in enumerate(spans) for _ in span])
    columns = torch.tensor([column for span in spans for column in span])
    if backbone.family == "encoder_decoder":
        encoded = backbone.encode(inputs).states
        states = encoded[rows.to(encoded.device), columns.to(encoded.device)].float()
    else:
        states = backbone.hidden(inputs, rows, columns)
    counts = torch.tensor([len(span) for span in spans], dtype=states.dtype)
    summed = torch.zeros(len(spans), states.shape[1], dtype=states.dtype)
    return summed.index_add(0, rows, states.cpu()) / counts[:, None]
