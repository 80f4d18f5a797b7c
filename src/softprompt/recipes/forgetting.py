"""The forgetting audit: what a task cost the network's knowledge of language (a prompt costs none of it).

The language-model loss of held texts and the embeddings of the label words, on the backbone as it was
and with the prompt's own weights on. Masked backbones: the tokens of a fixed mask (pseudo-loss);
causal ones: every token; encoder-decoders: span corruption where the tokenizer has sentinels, else
masked text said whole. Masks and spans are drawn from the seed and the block's number alone, the same
before and after. Dimensions: n positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from softprompt.analysis.forgetting import Change, Drift, TextLoss, change, drift
from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.data.corruption import Noise, mask_tokens
from softprompt.errors import DataError
from softprompt.inference.assemble import embed_rows
from softprompt.inference.predictor import applied_prompt
from softprompt.inference.wearing import worn
from softprompt.pretraining.models import vocabulary_of
from softprompt.pretraining.objectives import Vocabulary, bert_style, span_corruption
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import Poles, Verbalizer

LENGTH = 128
"""Tokens of a block; a longer text is cut into several, a shorter one stays as it is."""
LEAST = 4
"""A block of fewer tokens is left out: there is nothing to hide in it."""
HELD_LOGITS = 1 << 24
"""Logits computed at once: memory, never numbers."""


@dataclass(frozen=True)
class Audit:
    """What came of it.

    Args:
        objective: which loss it is: `masked`, `causal`, `span corruption` or `denoising`.
        loss: of the texts, before and after.
        words: the label words' embeddings; none where there are no label words.
        left_out: texts too short to be looked at.
    """

    objective: str
    loss: Change
    words: Sequence[Drift]
    left_out: int


@dataclass(frozen=True)
class _Block:
    """What is read and what is to be said of a stretch of one text.

    Args:
        text: its number.
        read: ids of the network's input, or the encoder's.
        decoder: ids of the decoder's input, or None.
        places: positions of the last network that predict, each with the id to predict.
    """

    text: int
    read: tuple[int, ...]
    decoder: tuple[int, ...] | None
    places: tuple[tuple[int, int], ...]

    @property
    def length(self) -> int:
        return len(self.read) + len(self.decoder or ())


def audit(
    backbone: Backbone,
    prompt: Prompt,
    texts: Sequence[str],
    *,
    seed: int = 0,
    length: int = LENGTH,
) -> Audit:
    """Measure the backbone on held texts, as it is and with a prompt's weights on.

    Args:
        backbone: the prompt's own; bit-identical afterwards.
        prompt: of any method; one that learns no weights changes nothing.
        texts: that no training saw.
        seed: of masks and of the bootstrap.
        length: most tokens of a block.
    Raises:
        DataError: no text of at least four tokens.
        PromptError: a prompt whose weights were not kept, or that fits another backbone.
    """
    words = _label_words(backbone, prompt)
    objective, blocks = _blocks(backbone, texts, seed, length)
    seen = sorted({block.text for block in blocks})
    if not seen:
        raise DataError(f"no text of at least {LEAST} tokens among {len(texts)}")
    before, old = _losses(backbone, blocks), _rows(backbone, words)
    with worn(backbone, prompt):
        after, new = _losses(backbone, blocks), _rows(backbone, words)
        table = backbone.rows(range(backbone.vocabulary))
        moved = drift(list(words), old, new, table) if words else []
    return Audit(
        objective=objective,
        loss=change([before[n] for n in seen], [after[n] for n in seen], seed=seed),
        words=moved,
        left_out=len(texts) - len(seen),
    )


def held_texts(path: Path, most: int | None = None) -> list[str]:
    """Texts of a UTF-8 file, one a line; blank lines are none.

    Raises:
        DataError: it cannot be read, or there are none in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"expected a readable UTF-8 file of texts, found: {error}", str(path)
        ) from None
    texts = [line.strip() for line in lines if line.strip()][:most]
    if not texts:
        raise DataError("no texts; expected one a line", str(path))
    return texts


# --- blocks -----------------------------------------------------------------------------------


def _blocks(
    backbone: Backbone, texts: Sequence[str], seed: int, length: int
) -> tuple[str, list[_Block]]:
    """The name of the objective, and the blocks of all texts."""
    vocabulary = vocabulary_of(backbone.tokenizer.wrapped, backbone.family)
    room = length if backbone.limit is None else min(length, backbone.limit - 4)
    cut = [
        (number, np.asarray(ids[first : first + room], dtype=np.int64))
        for number, text in enumerate(texts)
        for ids in [backbone.tokenizer.encode(text, continues=False).ids]
        for first in range(0, len(ids), room)
    ]
    long = [(number, ids) for number, ids in cut if len(ids) >= LEAST]
    made = []
    for place, (number, ids) in enumerate(long):
        draw = np.random.default_rng([seed, place])
        if backbone.family == "causal":
            block = _causal(number, ids, backbone)
        elif backbone.family == "masked":
            block = _masked(number, ids, backbone, vocabulary, draw)
        else:
            block = _denoised(number, ids, backbone, vocabulary, draw)
        made += [block] if block.places else []
    names = {
        "causal": "causal",
        "masked": "masked",
        "encoder_decoder": "span corruption" if vocabulary.sentinels else "denoising",
    }
    return names[backbone.family], made


def _causal(number: int, ids: np.ndarray, backbone: Backbone) -> _Block:
    row = (*backbone.tokenizer.start, *ids.tolist())
    begun = max(1, len(backbone.tokenizer.start))
    return _Block(number, row, None, tuple((p - 1, row[p]) for p in range(begun, len(row))))


def _masked(
    number: int,
    ids: np.ndarray,
    backbone: Backbone,
    vocabulary: Vocabulary,
    draw: np.random.Generator,
) -> _Block:
    hidden = mask_tokens(
        ids[None],
        np.isin(ids[None], list(backbone.tokenizer.special)),
        rate=0.15,
        mask_id=vocabulary.mask,
        ordinary=vocabulary.ordinary,
        generator=draw,
    )
    start, end = backbone.tokenizer.start, backbone.tokenizer.end
    chosen = np.flatnonzero(hidden.predict[0]).tolist()
    places = tuple((len(start) + p, int(ids[p])) for p in chosen)
    return _Block(number, (*start, *hidden.inputs[0].tolist(), *end), None, places)


def _denoised(
    number: int,
    ids: np.ndarray,
    backbone: Backbone,
    vocabulary: Vocabulary,
    draw: np.random.Generator,
) -> _Block:
    make = span_corruption if vocabulary.sentinels else bert_style
    pair = make(ids, vocabulary, Noise(), draw)
    start, end = backbone.tokenizer.start, backbone.tokenizer.end
    begun = backbone.decoder_start
    said = (*pair.targets.tolist(), *end)
    places = tuple((len(begun) - 1 + p, token) for p, token in enumerate(said))
    return _Block(number, (*start, *pair.inputs.tolist(), *end), (*begun, *said[:-1]), places)


# --- losses -----------------------------------------------------------------------------------


@torch.no_grad()
def _losses(backbone: Backbone, blocks: Sequence[_Block]) -> dict[int, TextLoss]:
    """The loss of each text by its number; how blocks are batched changes rounding only."""
    totals: dict[int, float] = {}
    tokens: dict[int, int] = {}
    budget = max(1, HELD_LOGITS // backbone.vocabulary)
    for batch in micro_batches([block.length for block in blocks], budget):
        chosen = [blocks[place] for place in batch]
        for block, loss in zip(chosen, _batch_losses(backbone, chosen), strict=True):
            totals[block.text] = totals.get(block.text, 0.0) + loss
            tokens[block.text] = tokens.get(block.text, 0) + len(block.places)
    return {number: TextLoss(totals[number], tokens[number]) for number in totals}


def _batch_losses(backbone: Backbone, blocks: Sequence[_Block]) -> Iterator[float]:
    """Summed loss of each block."""
    alone = [0] * len(blocks)
    inputs = embed_rows(backbone, None, [block.read for block in blocks], alone)
    encoded = None
    if backbone.family == "encoder_decoder":
        encoded = backbone.encode(inputs)
        starts = [block.decoder or () for block in blocks]
        inputs = embed_rows(backbone, None, starts, alone, decoder=True)
    every = [(row, place, token) for row, b in enumerate(blocks) for place, token in b.places]
    rows, columns, wanted = torch.tensor(every).unbind(dim=1)
    logits = backbone.logits(inputs, rows, columns, encoded)  # [n, V]
    losses = cross_entropy(logits, wanted.to(logits.device), reduction="none").double()
    for part in losses.split([len(block.places) for block in blocks]):
        yield float(part.sum())


# --- label words ------------------------------------------------------------------------------


def _label_words(backbone: Backbone, prompt: Prompt) -> dict[str, tuple[int, ...]]:
    """The label words and the ids of their pieces, as the prompt's template has them."""
    applied = applied_prompt(backbone, prompt, worn=True)
    if not isinstance(applied.answers, Verbalizer | Poles):
        return {}
    blank = dict.fromkeys(prompt.task["fields"], "")
    found = applied.renderer.candidate_ids(blank)
    return {" ".join(words): tuple(i for ids in pieces for i in ids) for words, pieces in found}


def _rows(backbone: Backbone, words: dict[str, tuple[int, ...]]) -> torch.Tensor:
    """The mean embedding of each word's pieces, `[n, E]`."""
    means = [backbone.rows(ids).mean(dim=0) for ids in words.values()]
    return torch.stack(means) if means else torch.empty(0, backbone.width)
