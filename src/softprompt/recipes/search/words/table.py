"""Scores of words at the answer position of every training row: one pass over the rows, kept as arrays.

For words of one token log p at the slot, the whole vocabulary at once; for words of a user's own list,
which may have several tokens, a prediction's scores. Knows a bound template and rows, not how words are chosen.
Dimensions: N rows, W words, C classes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.data.batching import micro_batches
from softprompt.data.examples import Example
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.inference.assemble import assemble
from softprompt.inference.budget import TOKEN_BUDGET, out_of_memory, part_cost, retreat
from softprompt.inference.filling import fill_in, rows_apart
from softprompt.inference.objective import Fill
from softprompt.inference.scoring import Scores, score
from softprompt.recipes.pet.pace import Pace
from softprompt.recipes.search.words.ranking import Floats, Ints
from softprompt.recipes.search.words.whole_words import Vocabulary
from softprompt.recipes.watching import Watcher
from softprompt.text.answers import Verbalizer
from softprompt.text.draft import Draft
from softprompt.text.query import Query, Read
from softprompt.text.rendering import Rendering

LARGEST = 1 << 29
"""Numbers of a table that is kept whole: 2 GiB in f32. Beyond it only the sums are, and a second pass reads
the words that were chosen."""

WINDOW = 2_048
"""Rows that are made ready and sorted by length together."""

LISTED = 256
"""Words of a user's list that are asked about together."""


@dataclass(frozen=True)
class Sums:
    """What the rows of each class say of each word.

    Args:
        log_p: Σ log p over the rows, `[C, W]`.
        logit: the mean logit, `[C, W]`.
    """

    log_p: Floats
    logit: Floats


@dataclass(frozen=True)
class Table:
    """Scores of words.

    Args:
        words: as in a run file.
        sums: of each class.
        log_p: of each row, `[N, W]`; None: too large to be kept.
    """

    words: Sequence[str]
    sums: Sums
    log_p: Floats | None


def read_table(
    backbone: Backbone,
    applied: Applied,
    vocabulary: Vocabulary,
    examples: Sequence[Example],
    classes: Ints,
    n_classes: int,
    told: Watcher,
    *,
    largest: int = LARGEST,
) -> Table:
    """One pass over the rows.

    Args:
        applied: a template with one answer slot, nothing learned.
        classes: of each row, `[N]`.
        largest: numbers of a table that is kept.
    Raises:
        SettingsError: what stands behind the slot would have to be read with each word.
        DataError: an example that does not fit.
        MemoryShortage: a single example does not fit.
    """
    width = len(vocabulary.ids)
    log_p = np.zeros((n_classes, width))
    logit = np.zeros((n_classes, width))
    whole = len(examples) * width <= largest
    kept = np.empty((len(examples), width), dtype=np.float32) if whole else None
    counts = np.bincount(classes, minlength=n_classes)
    for rows, scores, log_z in slot_scores(
        backbone, applied, vocabulary.words[0], vocabulary.ids, examples, told
    ):
        np.add.at(log_p, classes[rows], scores)
        np.add.at(logit, classes[rows], scores + log_z[:, None])
        if kept is not None:
            kept[rows] = scores
    sums = Sums(log_p, logit / np.maximum(counts, 1)[:, None])
    return Table(vocabulary.words, sums, kept)


def slot_scores(
    backbone: Backbone,
    applied: Applied,
    stand_in: str,
    ids: Sequence[int],
    examples: Sequence[Example],
    told: Watcher,
) -> Iterator[tuple[Ints, Floats, Floats]]:
    """Log p of tokens at the slot, and log Z there, some rows at a time.

    Args:
        stand_in: any word of one token.
        ids: the tokens, `[W]`.
    Yields:
        Places of the rows, `[b]`; their log p, `[b, W]`; their log Z, `[b]`. Each row once.
    """
    words = Verbalizer({"any": ((stand_in,),)})
    asking = replace(applied, renderer=replace(applied.renderer, answers=words))
    columns = torch.tensor(list(ids), device=backbone.device)
    pace = Pace(len(examples))
    for first in range(0, len(examples), WINDOW):
        window = examples[first : first + WINDOW]
        drafts = asking.drafts(window)
        queries = [_at_slot(asking, *pair) for pair in zip(window, drafts, strict=True)]

        def run(rows: Sequence[int], queries: Sequence[Query] = queries) -> tuple[Floats, Floats]:
            return _read(backbone, [queries[row] for row in rows], columns)

        for rows, (scores, log_z) in _in_batches(backbone, [q.length for q in queries], run):
            yield first + rows, scores, log_z
        pace.done(len(window))
        if len(examples) > WINDOW:
            told.note(f"read {first + len(window):,} of {len(examples):,} rows{pace.left}")


def listed_table(
    backbone: Backbone,
    applied: Applied,
    words: Sequence[str],
    examples: Sequence[Example],
    classes: Ints,
    n_classes: int,
    told: Watcher,
) -> Table:
    """Scores of words of any number of tokens as a prediction has them, filled in as the objective says.

    Args:
        words: different ones.
        classes: of each row, `[N]`.
    Raises:
        DataError: an example that does not fit.
        TemplateError: a word without tokens.
    """
    found = np.empty((len(examples), len(words)), dtype=np.float32)
    mean, fill = applied.objective.mean, applied.objective.fill
    pace = Pace(len(examples) * len(words))
    for begin in range(0, len(words), LISTED):
        part = words[begin : begin + LISTED]
        every = Verbalizer({"any": tuple((word,) for word in part)})
        asking = replace(applied, renderer=replace(applied.renderer, answers=every))
        for first in range(0, len(examples), WINDOW):
            window = examples[first : first + WINDOW]
            drafts = asking.drafts(window)
            asked = [asking.render(*pair) for pair in zip(window, drafts, strict=True)]
            lengths = [rendering.length for rendering in asked]

            def run(rows: Sequence[int], asked: Sequence[Rendering] = asked) -> Floats:
                made = _scores(backbone, [asked[row] for row in rows], fill)
                scores: Floats = made.of_candidates(mean).cpu().numpy()
                return scores.reshape(len(rows), -1)

            for rows, scores in _in_batches(backbone, lengths, run):
                found[first + rows, begin : begin + len(part)] = scores
            pace.done(len(window) * len(part))
            told.note(f"scored {begin + len(part):,} of {len(words):,} words{pace.left}")
    log_p = np.zeros((n_classes, len(words)))
    np.add.at(log_p, classes, found)
    return Table(tuple(words), Sums(log_p, log_p), found)


def _scores(backbone: Backbone, asked: Sequence[Rendering], fill: Fill) -> Scores:
    """Of every candidate, in the order of `fill`; the rounds of one that is not parallel are halved here."""
    which, budget = [0] * len(asked), TOKEN_BUDGET
    if fill == "parallel":
        return score(backbone, None, asked, which)
    while True:
        try:
            return fill_in(backbone, None, asked, which, [fill] * len(asked), budget)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        budget = retreat([length for one in asked for length in rows_apart(one)], budget)


def _at_slot(asking: Applied, example: Example, draft: Draft | None) -> Query:
    """The row that reads the slot: a word's first token, and behind it nothing but what ends an answer."""
    (query,) = asking.render(example, draft).queries
    (read,) = query.reads
    tokenizer, frame = asking.renderer.frame.tokenizer, asking.renderer.frame
    ending = {*frame.decoder_end, *tokenizer.sentinels}
    if not set(read.tokens[1:]) <= ending:
        raise SettingsError(
            f"template: in '{asking.renderer.template}' text follows the answer slot, and this family reads it "
            "anew with each word, so that one pass does not score a vocabulary; put {mask} last, or give "
            "words to search among: --words FILE"
        )
    position = read.positions[0]
    decoder = None if query.decoder is None else query.decoder[: position + 1]
    return replace(query, reads=(Read(0, (position,), read.tokens[:1]),), decoder=decoder)


def _read(
    backbone: Backbone, queries: Sequence[Query], columns: torch.Tensor
) -> tuple[Floats, Floats]:
    """Log p of the columns and log Z at each row's slot, `[b, W]` and `[b]`."""
    batch = assemble(backbone, None, queries, [0] * len(queries), list(range(len(queries))))
    places = [
        batch.plan.place(row, query.reads[0].positions[0]) for row, query in enumerate(queries)
    ]
    logits = batch.logits(backbone, places)
    log_z = torch.logsumexp(logits, dim=-1)
    log_p = logits[:, columns] - log_z[:, None]
    return log_p.float().cpu().numpy(), log_z.float().cpu().numpy()


Found = TypeVar("Found")


def _in_batches(
    backbone: Backbone, lengths: Sequence[int], run: Callable[[Sequence[int]], Found]
) -> Iterator[tuple[Ints, Found]]:
    """What `run` gives for rows of about the same length under a token budget, halved where the memory is
    too small."""
    left, budget = list(range(len(lengths))), TOKEN_BUDGET
    cost = part_cost(backbone.device)
    while left:
        own = [lengths[row] for row in left]
        done: set[int] = set()
        short = False
        for part in micro_batches(own, budget, cost):
            rows = [left[place] for place in part]
            try:
                with torch.no_grad():
                    found = run(rows)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                short = True
                break
            done.update(rows)
            yield np.array(rows, dtype=np.int64), found
        left = [row for row in left if row not in done]
        if short:
            budget = retreat([lengths[row] for row in left], budget)
