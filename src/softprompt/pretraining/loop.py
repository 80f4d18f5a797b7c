"""The steps of a pretraining run, on one process or several, with what must be kept to go on.

What a step reads, hides and drops out is a function of seed and step alone; how the step is split
into micro-batches and over processes changes nothing but rounding, and what dropout drops.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from softprompt.errors import RunError
from softprompt.pretraining.examples import Examples
from softprompt.pretraining.gradients import Gradients
from softprompt.pretraining.layouts import Batch
from softprompt.pretraining.settings import OptimiserSettings, PretrainSettings
from softprompt.pretraining.throughput import matrix_rate, operations
from softprompt.pretraining.weights import RunningMean, read_checkpoint, write_checkpoint
from softprompt.tuning.schedules import learning_rate_factor
from softprompt.tuning.trackers import JsonlTracker, Tracker

Report = Callable[[Mapping[str, Any]], None]
KeepModel = Callable[[nn.Module, int], None]
LOG_EVERY = 20
SMOOTHING = 0.98


class Pretraining:
    """The loop over the steps of one run.

    Args:
        settings: the recipe.
        model: trained in place.
        examples: the batches.
        out: the run folder, for `metrics.jsonl` and the checkpoint.
        accelerator: an `accelerate.Accelerator`: the device and the other processes.
        keep: is given the model at each of `settings.keep_models`, on the main process.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        model: nn.Module,
        examples: Examples,
        out: Path,
        accelerator: Any,
        keep: KeepModel,
    ):
        self.settings, self.examples, self.out, self.keep = settings, examples, out, keep
        self.accelerator, self.device = accelerator, accelerator.device
        self._main = bool(accelerator.is_main_process)
        self.inner = model.to(self.device)
        if settings.compile or (settings.compile is None and self.device.type == "cuda"):
            _compile(self.inner)
        self.model: nn.Module = accelerator.prepare_model(self.inner)
        self.gradients = Gradients(self.model, self.inner, self.device, settings.bf16)
        self.optimiser = _optimiser(self.inner, settings.optimiser)
        self.mean = RunningMean()
        self.step = 0
        self._smooth: float | None = None
        self._peak = 0.0
        self._work: float | None = None  # operations per example of the usual length

    def run(self, report: Report) -> None:
        """Take all steps that are left, then put the averaged weights into the model.

        Raises:
            RunError: the loss or a gradient is no longer a number; a checkpoint that cannot be
                read or written.
        """
        restored = self._restore()
        log: Tracker = _Silence()
        if self._main:  # every process counts the same numbers, one writes them down
            log = JsonlTracker(self.out / "metrics.jsonl", restored)
        self._peak = matrix_rate(
            self.device, torch.bfloat16 if self.settings.bf16 else torch.float32
        )
        began, first = time.monotonic(), self.step
        self.model.train()
        if self._main and self.step == 0 and 0 in self.settings.keep_models:
            self.keep(self.inner, 0)
        try:
            with ThreadPoolExecutor(1) as pool:  # the next batch is made while this one is learned
                ahead = pool.submit(self.examples.at, self.step)
                while self.step < self.settings.steps:
                    record, ahead = self._one_step(pool, ahead)
                    if self._due(LOG_EVERY) or "validation" in record:
                        log.log(self.step, record)
                    if self._due(self.settings.checkpoint_every):
                        self._checkpoint()
                    seconds = max(1e-9, time.monotonic() - began)
                    record |= self._speed(self.step - first, seconds)
                    self._tell(report, record)
            if self.mean.count:
                self.mean.put_into(self.inner)
                record = {"averaged": self.mean.count, "validation": self.validate()}
                log.log(self.step + 1, record)  # a resumed log was cut off before it
                self._tell(report, {"steps": self.step, **record})
        finally:
            log.close()

    def _tell(self, report: Report, record: Mapping[str, Any]) -> None:
        if self._main:
            report({"step": self.step, **record})

    def _one_step(
        self, pool: ThreadPoolExecutor, ahead: Future[Batch]
    ) -> tuple[dict[str, Any], Future[Batch]]:
        batch = ahead.result()
        ahead = pool.submit(self.examples.at, self.step + 1)
        with self._drawing():
            loss = self._update(batch)
        self.step += 1
        before = loss if self._smooth is None else self._smooth
        self._smooth = SMOOTHING * before + (1 - SMOOTHING) * loss
        record: dict[str, Any] = {"steps": self.settings.steps, "loss": round(self._smooth, 4)}
        average = self.settings.average
        from_end = self.settings.steps - self.step
        if from_end < average.last * average.every and from_end % average.every == 0:
            self.mean.add(self.inner)
        if self._due(self.settings.evaluate_every):
            record["validation"] = self.validate()
        if self._main and self.step in self.settings.keep_models:
            self.keep(self.inner, self.step)
        return record, ahead

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Dropout draws from the seed, the step and the process alone."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            seed = self.settings.seed * 1_000_003 + self.step
            torch.manual_seed(seed + 7_919 * self.accelerator.process_index)
            yield

    def _update(self, batch: Batch) -> float:
        s = self.settings.optimiser
        factor = learning_rate_factor(s.schedule, self.step, self.settings.steps, s.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = s.learning_rate * factor
        total = max(1, int(batch.predict.sum()))  # a tiny step may hide nothing
        loss = torch.zeros((), device=self.device)
        mine = self._mine(batch)
        for number, part in enumerate(mine):
            with self._synchronised(number == len(mine) - 1):
                # Processes average their gradients; the loss is a mean over the whole step.
                loss += self.gradients.add(part, self.accelerator.num_processes / total)
        loss = self.accelerator.reduce(loss, "mean")
        norm = nn.utils.clip_grad_norm_(self.inner.parameters(), s.clip)
        for what, value in (("loss", float(loss)), ("norm of the gradient", float(norm))):
            if not math.isfinite(value):
                raise RunError(
                    f"the {what} is {value} at step {self.step + 1}; the last checkpoint is kept "
                    f"in {self.out / 'checkpoints'}; try a lower optimiser.learning_rate"
                )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return float(loss)

    def _mine(self, batch: Batch) -> list[Batch]:
        """This process's share of a step, in micro-batches; the same number on every process."""
        processes, place = self.accelerator.num_processes, self.accelerator.process_index
        size = self.examples.rows_at(self.step, self.settings.micro_batch)
        rows = list(range(0, len(batch), size))
        if processes == 1:
            return [batch.part(slice(first, first + size)) for first in rows]
        share = -(-len(batch) // processes)
        own = batch.part(slice(place * share, (place + 1) * share))
        parts = -(-share // size)
        found = [own.part(slice(n * size, (n + 1) * size)) for n in range(parts)]
        return [part if len(part) else _nothing_to_say(batch) for part in found]

    def _synchronised(self, now: bool) -> AbstractContextManager[None]:
        return nullcontext() if now else self.accelerator.no_sync(self.model)

    def _speed(self, taken: int, seconds: float) -> dict[str, Any]:
        """Tokens per second of this call, and the share of the device's matrix rate they take."""
        s = self.settings
        examples = taken * s.batch_size
        if self._work is None:
            self._work = self._operations_per_example()
        achieved = self._work * examples / seconds / self.accelerator.num_processes
        return {
            "tokens_per_second": round(examples * s.length / seconds),
            "share_of_matrix_rate": round(achieved / self._peak, 3),
        }

    def _operations_per_example(self) -> float:
        part = self.examples.at(0).part(slice(0, 2))
        gradients = [p.grad for p in self.inner.parameters()]
        with self._drawing(), self._synchronised(False):
            work = operations(lambda: self.gradients.loss(part).backward())  # type: ignore[no-untyped-call]
        for parameter, gradient in zip(self.inner.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return work / len(part)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss per language on the held-out blocks, always hidden in the same way."""
        self.inner.eval()
        sums: dict[str, list[float]] = {}
        for source, batch in self.examples.validation():
            total = sums.setdefault(source.language, [0.0, 0.0])
            for first in range(0, len(batch), self.settings.micro_batch):
                part = batch.part(slice(first, first + self.settings.micro_batch))
                total[0] += float(self.gradients.loss(part))
            total[1] += int(batch.predict.sum())
        self.inner.train()
        return {language: round(a / max(1, b), 4) for language, (a, b) in sorted(sums.items())}

    # --- disk ---------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        if self._main:
            state = {"smooth": self._smooth, "averaged": self.mean.count}
            write_checkpoint(self.out, self.step, self.inner, self.optimiser, self.mean, state)
        self.accelerator.wait_for_everyone()

    def _restore(self) -> int | None:
        """Take up the last checkpoint; its step, or None without one."""
        found = read_checkpoint(self.out, self.inner, self.optimiser, self.mean)
        if found is None:
            return None
        self.step, self._smooth = found.step, found.state["smooth"]
        return self.step


class _Silence:
    """The tracker of the processes that write nothing."""

    def log(self, step: int, record: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def _nothing_to_say(batch: Batch) -> Batch:
    """For a process without examples: gradients of zero, which the others wait for."""
    one = batch.part(slice(0, 1))
    return Batch(one.inputs, one.gold, np.zeros_like(one.predict))


def _optimiser(model: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    if settings.name == "adafactor":
        return torch.optim.Adafactor([*decayed, *others], lr=settings.learning_rate)
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )


def _compile(model: nn.Module) -> None:
    """Compile everything but what holds the output head, whose hook changes with every batch."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    for child in model.children():
        if head not in child.modules() and any(True for _ in child.children()):
            child.compile()
