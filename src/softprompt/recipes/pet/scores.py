"""Label scores of many rows: made shard by shard, kept on disk, combined shard by shard.

However many rows a pool has, the scores of one shard and its rows are held at a time. Knows backbones
and examples, not patterns, weights or generations.
Dimensions: n rows of a shard, C labels (of own candidates, the most that an example of the shard has).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.pool import Pool
from softprompt.errors import RunError
from softprompt.inference.applied import Applied
from softprompt.inference.predict import Prediction, predict
from softprompt.recipes.pet.votes import Scores, softmax
from softprompt.recipes.run_folder import write_bytes

NO_CANDIDATE = np.float32(-1e4)
"""The score behind an example's own candidates, where others have more."""

SMALLEST = np.finfo(np.float64).tiny
"""What a probability that is too small to be written counts as: its logarithm is -708."""


@dataclass(frozen=True)
class Shards:
    """The scores of one model on a pool, in files of a folder.

    Args:
        folder: theirs.
    """

    folder: Path

    def __iter__(self) -> Iterator[Scores]:
        """Each shard's scores, in the pool's order."""
        for path in self._files():
            yield read_scores(path)

    def whole(self) -> Scores:
        """All of them, `[N, C]`: 4 bytes for each row and label."""
        return np.concatenate(list(self))

    def rows(self, chosen: Sequence[int]) -> Scores:
        """Those of some rows, `[len(chosen), C]`, in ascending order; one shard is held at a time.

        Args:
            chosen: row numbers, ascending.
        """
        wanted, first, found = np.asarray(chosen, dtype=np.int64), 0, []
        for own in self:
            here = wanted[(wanted >= first) & (wanted < first + len(own))]
            found.append(own[here - first])
            first += len(own)
        return np.concatenate(found)

    def complete(self, n: int) -> bool:
        """Whether there are as many files as the pool has shards."""
        return len(self._files()) == n

    def at(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"scores-{number:05}.npy"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("scores-*.npy"))


def score_pool(backbone: Backbone, applied: Applied, pool: Pool, shards: Shards) -> Iterator[int]:
    """Score the rows of a pool; what stands there already is not scored again.

    Yields:
        The rows of each shard when it is safe on disk, so that a caller can tell how far it is.
    """
    for number, rows in enumerate(pool.shards()):
        if not shards.at(number).is_file():
            write_scores(shards.at(number), score_rows(backbone, applied, rows))
        yield len(rows)


def score_rows(backbone: Backbone, applied: Applied, rows: Sequence[Example]) -> Scores:
    """Log-probabilities of the labels, `[n, C]`."""
    predictions = predict(backbone, [applied], [(0, row) for row in rows])
    return as_scores(predictions)


def as_scores(predictions: Sequence[Prediction]) -> Scores:
    """The log-probabilities in predictions, `[n, C]`, labels in their order.

    Raises:
        RunError: answers were generated, so that there are no probabilities.
    """
    width = max(len(one.probabilities) for one in predictions)
    if any(not one.probabilities for one in predictions):
        raise RunError("an ensemble needs answers that are ranked, these were generated")
    found = np.full((len(predictions), width), NO_CANDIDATE, dtype=np.float32)
    for row, one in zip(found, predictions, strict=True):
        shares = np.fromiter(one.probabilities.values(), dtype=np.float64)
        row[: len(shares)] = np.log(np.maximum(shares, SMALLEST))
    return found


def as_predictions(
    scores: Scores, rows: Sequence[Example], labels: Sequence[str]
) -> list[Prediction]:
    """The likeliest label of each row and the share of each.

    Args:
        labels: the task's; none where rows have candidates of their own.
    """
    found = []
    for example, shares in zip(rows, softmax(scores), strict=True):
        names = labels or tuple(dict.fromkeys(example.candidates or ()))
        own = [float(share) for share in shares[: len(names)]]
        best = max(range(len(own)), key=own.__getitem__)
        found.append(Prediction(example.id, names[best], dict(zip(names, own, strict=True))))
    return found


def write_scores(path: Path, scores: Scores) -> None:
    """Write a shard in one motion."""
    buffer = io.BytesIO()
    np.save(buffer, scores, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def read_scores(path: Path) -> Scores:
    """Read a shard.

    Raises:
        RunError: it is not as it was written.
    """
    try:
        found: Scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}; delete it to score again") from None
    return found
