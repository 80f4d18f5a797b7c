"""The steps of a pretraining run, with what must be kept to go on.

Which blocks a step reads, what is masked and what drops out are functions of seed and step alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softprompt.backbones.kept_positions import flat_positions, keep_positions
from softprompt.errors import RunError
from softprompt.pretraining.corpus import Mixture
from softprompt.pretraining.objectives import Masked, mask_tokens
from softprompt.pretraining.settings import PretrainSettings
from softprompt.tuning.checkpoints import Checkpoint, checkpoint_folder, read, recover, write
from softprompt.tuning.optimisers import load_state_tensors, state_tensors
from softprompt.tuning.schedules import learning_rate_factor
from softprompt.tuning.trackers import JsonlTracker

Report = Callable[[Mapping[str, Any]], None]
LOG_EVERY = 20
SMOOTHING = 0.98


@dataclass(frozen=True)
class Vocabulary:
    """What the objective must know of the tokenizer: its special ids, and those of text, `[n]`."""

    start: int
    separator: int
    mask: int
    ordinary: NDArray[np.int64]
    special: NDArray[np.int64]


class Pretraining:
    """The loop over the steps of one run.

    Args:
        settings: the recipe.
        model: on `device`; it is trained in place.
        mixture: the blocks.
        vocabulary: special and ordinary ids.
        device: where the model is.
        out: the run folder, for `metrics.jsonl` and the checkpoint.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        model: nn.Module,
        mixture: Mixture,
        vocabulary: Vocabulary,
        device: torch.device,
        out: Path,
    ):
        self.settings, self.model, self.mixture = settings, model, mixture
        self.vocabulary, self.device, self.out = vocabulary, device, out
        self.step = 0
        self._smooth: float | None = None
        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
        )

    def run(self, report: Report) -> None:
        """Take all steps that are left.

        Raises:
            RunError: the loss or a gradient is no longer a number; a checkpoint that cannot be
                read or written.
        """
        log = JsonlTracker(self.out / "metrics.jsonl", self._restore())
        began, taken = time.monotonic(), 0
        self.model.train()
        try:
            while self.step < self.settings.steps:
                record = self._one_step()
                if self._due(LOG_EVERY) or "validation" in record:
                    log.log(self.step, record)
                if self._due(self.settings.checkpoint_every):
                    self._keep()
                taken += 1
                tokens = taken * self.settings.batch_size * self.settings.length
                speed = round(tokens / max(1e-9, time.monotonic() - began))
                report({"step": self.step, **record, "tokens_per_second": speed})
        finally:
            log.close()

    def _one_step(self) -> dict[str, Any]:
        with self._drawing():
            loss = self._update()
        self.step += 1
        before = loss if self._smooth is None else self._smooth
        self._smooth = SMOOTHING * before + (1 - SMOOTHING) * loss
        record: dict[str, Any] = {"steps": self.settings.steps, "loss": round(self._smooth, 4)}
        if self._due(self.settings.evaluate_every):
            record["validation"] = self.validate()
        return record

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Dropout draws from the seed and the step alone."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.settings.seed * 1_000_003 + self.step)
            yield

    def _update(self) -> float:
        s = self.settings
        factor = learning_rate_factor(s.schedule, self.step, s.steps, s.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = s.learning_rate * factor
        ids = self._framed(self.mixture.step(self.step, s.batch_size))
        inputs, predict = self._corrupt(ids, np.random.default_rng([s.seed, 1, self.step]))
        total = max(1, int(predict.sum()))  # a tiny step may mask nothing
        loss = torch.zeros((), device=self.device)
        for part in self._parts(len(ids)):
            summed = self._loss(inputs[part], ids[part], predict[part]) / total
            summed.backward()  # type: ignore[no-untyped-call]
            loss += summed.detach()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), s.clip)
        for what, value in (("loss", float(loss)), ("norm of the gradient", float(norm))):
            if not math.isfinite(value):
                raise RunError(
                    f"the {what} is {value} at step {self.step + 1}; the last checkpoint is kept "
                    f"in {self.out / 'checkpoints'}; try a lower learning_rate"
                )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return float(loss)

    def _parts(self, rows: int) -> Iterator[slice]:
        size = self.settings.micro_batch
        return (slice(first, first + size) for first in range(0, rows, size))

    def _framed(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put the start and end token around each block, `[B, length]`."""
        rows = len(blocks)
        start = np.full((rows, 1), self.vocabulary.start)
        end = np.full((rows, 1), self.vocabulary.separator)
        return np.concatenate([start, blocks, end], axis=1)

    def _corrupt(self, ids: NDArray[np.int64], generator: np.random.Generator) -> Masked:
        return mask_tokens(
            ids,
            np.isin(ids, self.vocabulary.special),
            rate=self.settings.mask_rate,
            mask_id=self.vocabulary.mask,
            ordinary=self.vocabulary.ordinary,
            generator=generator,
        )

    def _loss(
        self, inputs: NDArray[np.int64], targets: NDArray[np.int64], predict: NDArray[np.bool_]
    ) -> Tensor:
        """Summed cross-entropy at the predicted positions."""
        ids, gold = self._tensor(inputs), self._tensor(targets)
        rows, columns = flat_positions(self._tensor(predict))
        with (
            keep_positions(self.model, rows, columns),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16),
        ):
            logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        return nn.functional.cross_entropy(logits.float(), gold[rows, columns], reduction="sum")

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss per language on the held-out blocks, always with the same masks."""
        self.model.eval()
        sums: dict[str, list[float]] = {}
        for number, (source, blocks) in enumerate(self.mixture.validation()):
            ids = self._framed(blocks)
            inputs, predict = self._corrupt(ids, np.random.default_rng([7, number]))
            total = sums.setdefault(source.language, [0.0, 0.0])
            for part in self._parts(len(ids)):
                total[0] += float(self._loss(inputs[part], ids[part], predict[part]))
            total[1] += int(predict.sum())
        self.model.train()
        return {language: round(a / max(1, b), 4) for language, (a, b) in sorted(sums.items())}

    # --- disk ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        tensors = {f"weight|{n}": p.detach() for n, p in self.model.named_parameters()}
        tensors |= {f"optimiser|{n}": t for n, t in state_tensors(self.optimiser).items()}
        state = {"smooth": self._smooth}
        write(checkpoint_folder(self.out, "last"), Checkpoint(self.step, tensors, state))

    def _restore(self) -> int | None:
        """Take up the last checkpoint; its step, or None without one."""
        place = checkpoint_folder(self.out, "last")
        recover(place)
        checkpoint = read(place)
        if checkpoint is None:
            return None
        parts: dict[str, dict[str, Tensor]] = {"weight": {}, "optimiser": {}}
        for key, tensor in checkpoint.tensors.items():
            kind, _, name = key.partition("|")
            parts[kind][name] = tensor
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(parts["weight"][name])
        load_state_tensors(self.optimiser, parts["optimiser"])
        self.step, self._smooth = checkpoint.step, checkpoint.state["smooth"]
        return self.step
