"""What the neighbours of a prompt's rows have in common, and how near prompts lie to one another.

Lester et al. 2021, section 7: rows come to lie among tight clusters of words, several rows among the
same, label words among them. All of it describes where rows lie (see `neighbours.CAVEAT`).
Knows rows, label words and a backbone's table, not tasks or scores.
Dimensions: P and Q rows, E width, k neighbours of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.neighbours import Neighbour, nearest_words
from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError
from softprompt.inference.applied import Applied
from softprompt.text.answers import Verbalizer

DRAWN = 2_000
"""Pairs of words whose cosine says what is usual."""


@dataclass(frozen=True)
class RowWords:
    """What lies around one row.

    Args:
        words: its k nearest, nearest first.
        tightness: mean cosine between pairs of them; 0 where k is 1.
        form: what they are all forms of (Technology, technologies), or None.
    """

    words: tuple[Neighbour, ...]
    tightness: float
    form: str | None


@dataclass(frozen=True)
class LabelWord:
    """Where a label word stands among the neighbours of all rows.

    Args:
        label: of the task.
        word: one of its words.
        row: the nearest row, counted from 0.
        cosine: between that row and the word (the mean of its pieces).
        rank: how many vocabulary words are nearer to that row, plus one.
        persists: whether it is among that row's k nearest.
    """

    label: str
    word: str
    row: int
    cosine: float
    rank: int
    persists: bool


@dataclass(frozen=True)
class Similarity:
    """How near two prompts lie.

    Args:
        mean: cosine of their means over rows (as the authors compare theirs).
        best: mean over each one's rows of the cosine to the other's best matching row, both ways.
    """

    mean: float
    best: float


def row_words(backbone: Backbone, rows: Float[Tensor, "P E"], k: int = 5) -> list[RowWords]:
    """The k nearest words of each row, and how tight a cluster they are.

    Raises:
        PromptError: rows of another width than the backbone's.
    """
    found = []
    for near in nearest_words(backbone, rows, k):
        unit = unit_rows(backbone.rows([word.id for word in near]).cpu())
        pairs = torch.triu(torch.ones(len(near), len(near), dtype=torch.bool), diagonal=1)
        cosines = (unit @ unit.T)[pairs]
        tightness = float(cosines.mean()) if len(cosines) else 0.0
        found.append(RowWords(tuple(near), tightness, common_form([w.word for w in near])))
    return found


def usual_tightness(backbone: Backbone, seed: int = 0) -> float:
    """The mean cosine between two words drawn from the vocabulary: what `tightness` is held against."""
    tokenizer = backbone.tokenizer
    size = min(tokenizer.size, backbone.vocabulary)
    ids = [number for number in range(size) if number not in tokenizer.special]
    drawn = torch.randint(len(ids), (2, DRAWN), generator=torch.Generator().manual_seed(seed))
    left, right = (unit_rows(backbone.rows([ids[n] for n in row]).cpu()) for row in drawn.tolist())
    return float((left * right).sum(dim=1).mean())


def common_form(words: Sequence[str], least: int = 4) -> str | None:
    """The beginning that at least three of the words share, case aside; None where there is none.

    Args:
        least: letters that it must have, two for words of Han characters.
    """
    lowered = sorted(word.lower() for word in words)
    found: list[str] = []
    for start in range(len(lowered) - 2):
        first, last = lowered[start], lowered[start + 2]  # sorted: the one between shares it too
        length = next(
            (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
            min(len(first), len(last)),
        )
        need = 2 if any("\u3400" <= letter <= "\u9fff" for letter in first) else least
        if length >= need:
            found.append(first[:length])
    return max(found, key=len, default=None)


def repeats(found: Sequence[RowWords]) -> dict[str, tuple[int, ...]]:
    """Words that are among the neighbours of several rows: word to rows, the most frequent first."""
    rows: dict[str, list[int]] = {}
    for number, one in enumerate(found):
        for word in dict.fromkeys(neighbour.word for neighbour in one.words):
            rows.setdefault(word, []).append(number)
    several = ((word, tuple(where)) for word, where in rows.items() if len(where) > 1)
    return dict(sorted(several, key=lambda pair: (-len(pair[1]), pair[0])))


def clusters(found: Sequence[RowWords]) -> list[tuple[int, ...]]:
    """Rows that share neighbours, directly or through others; groups of at least two, largest first."""
    home = list(range(len(found)))

    def root(row: int) -> int:
        while home[row] != row:
            row = home[row]
        return row

    for where in repeats(found).values():
        for row in where[1:]:
            home[root(row)] = root(where[0])
    groups: dict[int, list[int]] = {}
    for row in range(len(found)):
        groups.setdefault(root(row), []).append(row)
    return sorted((tuple(g) for g in groups.values() if len(g) > 1), key=lambda g: (-len(g), g))


def spelled_labels(
    applied: Applied,
) -> tuple[dict[str, list[tuple[int, ...]]], dict[str, list[str]]]:
    """The pieces of each label's words as they stand in the template, and the words themselves; both
    empty where answers are no label words."""
    if not isinstance(applied.answers, Verbalizer):
        return {}, {}
    fields = dict.fromkeys(applied.renderer.template.fields, "…")
    spelled = applied.renderer.candidate_ids(fields)
    labels = applied.answers.labels(None)
    words: dict[str, list[tuple[int, ...]]] = {}
    names: dict[str, list[str]] = {}
    for candidate, (texts, ids) in zip(applied.answers.candidates(None), spelled, strict=True):
        label = labels[candidate.label]
        words.setdefault(label, []).append(tuple(i for slot in ids for i in slot))
        names.setdefault(label, []).append(" ".join(texts))
    return words, names


def label_words(
    backbone: Backbone,
    rows: Float[Tensor, "P E"],
    words: Mapping[str, Sequence[Sequence[int]]],
    names: Mapping[str, Sequence[str]],
    k: int = 5,
) -> list[LabelWord]:
    """Whether label words are among the rows' neighbours (Lester et al., section 7: they persist).

    Args:
        words: label to the token ids of each of its words.
        names: label to the same words as written.
        k: how near counts as a neighbour.
    """
    unit = unit_rows(rows.detach().float().cpu())
    found = []
    for label, several in words.items():
        for name, ids in zip(names[label], several, strict=True):
            if not ids:
                continue
            target = unit_rows(backbone.rows(list(ids)).cpu().mean(dim=0, keepdim=True))
            cosines = (unit @ target.T)[:, 0]
            row = int(cosines.argmax())
            cosine = float(cosines[row])
            rank = 1 + _nearer(backbone, unit[row], cosine, set(ids))
            found.append(LabelWord(label, name, row, cosine, rank, rank <= k))
    return found


def _nearer(backbone: Backbone, row: Float[Tensor, " E"], cosine: float, own: set[int]) -> int:
    """How many vocabulary words are nearer to a unit row, the word's own pieces aside."""
    tokenizer = backbone.tokenizer
    size = min(tokenizer.size, backbone.vocabulary)
    left_out = tokenizer.special | own
    ids = [number for number in range(size) if number not in left_out]
    count = 0
    for start in range(0, len(ids), 16_384):
        unit = unit_rows(backbone.rows(ids[start : start + 16_384]).cpu())
        count += int((unit @ row > cosine + 1e-6).sum())
    return count


def similarity(left: Float[Tensor, "P E"], right: Float[Tensor, "Q E"]) -> Similarity:
    """How near two prompts lie, by the cosine of their means and of their best matching rows.

    Raises:
        PromptError: rows of different widths: prompts of different backbones cannot be compared.
    """
    if left.shape[1] != right.shape[1]:
        raise PromptError(
            f"prompts of width {left.shape[1]} and {right.shape[1]} cannot be compared; expected "
            "prompts of one backbone"
        )
    means = [unit_rows(rows.float().mean(dim=0, keepdim=True)) for rows in (left, right)]
    cosines = unit_rows(left.float()) @ unit_rows(right.float()).T  # [P, Q]
    both = (cosines.max(dim=1).values.mean() + cosines.max(dim=0).values.mean()) / 2
    return Similarity(float((means[0] * means[1]).sum()), float(both))


def unit_rows(rows: Float[Tensor, "n E"]) -> Float[Tensor, "n E"]:
    """Rows of length 1; a row of zeros stays one."""
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
