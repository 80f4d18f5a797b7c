"""What a step reads: blocks of the mixture and labelled examples, corrupted and laid out.

Everything is a function of the settings and the step's number, so nothing is replayed to resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softprompt.data.corruption import Pair, mask_tokens
from softprompt.errors import SettingsError
from softprompt.pretraining.corpus import Mixture, Source, TokenFile
from softprompt.pretraining.layouts import LAYOUTS, Batch, in_place
from softprompt.pretraining.objectives import OBJECTIVES, Vocabulary, raw_span_length
from softprompt.pretraining.settings import PretrainSettings


class Examples:
    """The batches of a run by step number, and those of its validation.

    Args:
        settings: the recipe.
        vocabulary: the special ids.
        files: the text as ids.
        tasks: labelled examples as pairs, per task, and each task's weight.
        limit: most positions that the model reads, or None.
    Raises:
        SettingsError: the objective needs tokens that the tokenizer lacks, or blocks of this length
            more sentinels than it has, or more positions than the model has.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        vocabulary: Vocabulary,
        files: Sequence[TokenFile],
        tasks: Sequence[tuple[float, Sequence[Pair]]] = (),
        limit: int | None = None,
    ):
        self.settings, self.vocabulary, self.tasks = settings, vocabulary, tasks
        self.limit = limit
        check_tokens(settings, vocabulary)
        # At least one block: a corrupted one may be shorter than its text.
        usual = self.block_length(settings.length)
        held_out = max(settings.held_out * settings.length, usual)
        self._mixtures = {
            length: Mixture(files, self.block_length(length), held_out, settings.seed)
            for length in {settings.length, settings.long.length if settings.long.share else 0}
            if length
        }
        self.epoch_blocks = self._mixtures[settings.length].epoch_blocks
        for step in {0, min(self.first_long_step, settings.steps - 1)}:
            self.at(step)  # what cannot be laid out is said before anything is learned

    @property
    def first_long_step(self) -> int:
        """The step at which the longer blocks begin."""
        return round(self.settings.steps * (1 - self.settings.long.share))

    def length_at(self, step: int) -> int:
        """Positions of an input at a step."""
        return self.settings.long.length if self._is_long(step) else self.settings.length

    def _is_long(self, step: int) -> bool:
        return bool(self.settings.long.share) and step >= self.first_long_step

    def rows_at(self, step: int, rows: int) -> int:
        """Blocks at a step in which `rows` blocks of the usual length hold as many tokens."""
        return max(1, rows * self.settings.length // self.length_at(step))

    def block_length(self, length: int) -> int:
        """Tokens of text in an input of `length` positions: what the special tokens leave."""
        s = self.settings
        if s.layout == "encoder":
            return length - 2  # a start and an end token frame every block
        if s.objective == "span_corruption":
            return raw_span_length(length, s.noise)
        return length - 1  # the start or the end token

    def at(self, step: int) -> Batch:
        """The whole batch of a step, over all processes."""
        s = self.settings
        generator = np.random.default_rng([s.seed, 1, step])
        mixture, rows = self._mixtures[self.length_at(step)], self.rows_at(step, s.batch_size)
        # Blocks of each length are numbered on their own.
        first = (step - self.first_long_step if self._is_long(step) else step) * rows
        n_labelled = round(rows * s.tasks.share) if self.tasks else 0
        blocks = mixture.rows(first, rows - n_labelled)
        return self._batch(blocks, self._labelled(n_labelled, generator), generator)

    def validation(self) -> Iterator[tuple[Source, Batch]]:
        """Each source's held-out blocks, corrupted the same way each time."""
        for number, (source, blocks) in enumerate(
            self._mixtures[self.settings.length].validation()
        ):
            yield source, self._batch(blocks, [], np.random.default_rng([7, number]))

    def _batch(
        self, blocks: NDArray[np.int64], labelled: list[Pair], generator: np.random.Generator
    ) -> Batch:
        s, v = self.settings, self.vocabulary
        objective, arrange = OBJECTIVES[s.objective], LAYOUTS[s.layout].arrange
        if objective.make is None or arrange is None:
            return self._masked(blocks, generator)
        pairs = [objective.make(block, v, s.noise, generator) for block in blocks]
        batch = arrange(pairs + labelled, v, objective.closes)
        self._check_positions(batch)
        return batch

    def _check_positions(self, batch: Batch) -> None:
        most = max(ids.shape[-1] for ids in batch.inputs.values())
        if self.limit is not None and most > self.limit:
            s = self.settings
            raise SettingsError(
                f"length: objective {s.objective} with layout {s.layout} makes rows of {most} "
                f"positions, but the model has {self.limit}; lower length"
            )

    def _masked(self, blocks: NDArray[np.int64], generator: np.random.Generator) -> Batch:
        s, v = self.settings, self.vocabulary
        edge = np.ones((len(blocks), 1), dtype=np.int64)
        ids = np.concatenate([edge * v.start, blocks, edge * v.end], axis=1)
        masked = mask_tokens(
            ids,
            ~np.isin(ids, v.ordinary),
            rate=s.noise.rate,
            mask_id=v.mask,
            ordinary=v.ordinary,
            generator=generator,
            word_starts=v.word_starts if s.whole_word else None,
        )
        return in_place(masked, ids)

    def _labelled(self, count: int, generator: np.random.Generator) -> list[Pair]:
        """Examples of the tasks, tasks drawn by weight, examples uniformly; their end is said."""
        if not count:
            return []
        closing = [] if OBJECTIVES[self.settings.objective].closes else [self.vocabulary.end]
        weights = np.asarray([weight for weight, _ in self.tasks])
        chosen = generator.choice(len(self.tasks), size=count, p=weights / weights.sum())
        drawn = [
            pairs[int(generator.integers(len(pairs)))]
            for _, pairs in (self.tasks[int(number)] for number in chosen)
        ]
        return [
            Pair(pair.inputs, np.concatenate([pair.targets, closing]).astype(np.int64))
            for pair in drawn
        ]


def check_tokens(settings: PretrainSettings, vocabulary: Vocabulary) -> None:
    """Refuse a tokenizer that lacks a token which the objective or the layout needs.

    Raises:
        SettingsError: names what is missing.
    """
    needs: dict[str, Any] = {"an end token": vocabulary.end >= 0}
    if settings.layout == "encoder":
        needs |= {"a start token": vocabulary.start >= 0, "a mask token": vocabulary.mask >= 0}
    if OBJECTIVES[settings.objective].sentinels:
        needs["sentinels (<extra_id_0>, …)"] = bool(vocabulary.sentinels)
    if settings.objective == "bert_style":
        needs["a mask token or sentinels"] = vocabulary.mask >= 0 or bool(vocabulary.sentinels)
    if settings.whole_word:
        needs["a mark where words begin"] = vocabulary.word_starts is not None
    missing = [what for what, there in needs.items() if not there]
    if missing:
        raise SettingsError(
            f"objective {settings.objective} with layout {settings.layout} needs "
            f"{', '.join(missing)}; the tokenizer has none"
        )
