"""What a run of a comparison costs: parameters against their formulas, bytes, operations, time, memory.

Knows what was prepared and what was saved; nothing of scores. Written beside a run as `costs.json`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from softprompt.backbones.backbone import Backbone
from softprompt.inference.applied import Applied
from softprompt.inference.predict import predict
from softprompt.inference.predictor import applied_prompt
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.prepare import Bound, Prepared, make_jobs
from softprompt.recipes.run_file import CONFIG
from softprompt.recipes.run_folder import PROMPT, write_text
from softprompt.tuning.jobs import make_fit

COSTS, SESSIONS = "costs.json", "sessions.json"
COUNTED = 16
"""Examples that operations are counted on, in one batch as they come; padding counts as it runs."""


@dataclass(frozen=True)
class Costs:
    """What one prompt costs.

    Args:
        learned, learned_formula: parameters that training moved, counted, and by the method's formula.
        stored, stored_formula: those that a task keeps for itself; of a method whose weights are not
            kept the formula alone, `stored` is None.
        applied: learned numbers that a pass over an example reads beside the frozen backbone, after
            folding: rows as placed, keys and values of all layers, opened weights.
        backbone: parameters of the backbone.
        n_bytes: of the stored parameters.
        operations: floating-point operations of matrix products and attentions to predict one
            example, a multiplication and an addition counting as two; None where they could not be
            counted.
        seconds: of the run, all its fits and evaluations, over all sessions that were not killed.
        fits: among how many fits they divide.
        peak_bytes: highest memory: of tensors on an accelerator, of the process on a CPU.
        memory: which of the two, "tensors" or "process".
        device: where it ran, and in which precision.
        warnings: what a user should know of it before training.
    """

    learned: int
    learned_formula: int
    stored: int | None
    stored_formula: int
    applied: int
    backbone: int
    n_bytes: int
    operations: float | None
    seconds: float | None
    fits: int
    peak_bytes: int | None
    memory: str
    device: str
    warnings: Sequence[str] = ()

    @property
    def agrees(self) -> bool:
        """Whether what was counted is what the formulas say."""
        kept = self.stored is None or self.stored == self.stored_formula
        return self.learned == self.learned_formula and kept

    @property
    def share(self) -> float:
        """Learned parameters over the backbone's."""
        return self.learned / self.backbone if self.backbone else 0.0


class Gauge:
    """Seconds and highest memory of a block.

    Args:
        device: whose memory.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self.seconds = 0.0
        self.peak_bytes: int | None = None

    @property
    def memory(self) -> str:
        return "tensors" if self._device.type == "cuda" else "process"

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _forget_process_peak()
        self._began = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._began
        if self._device.type == "cuda":
            self.peak_bytes = int(torch.cuda.max_memory_allocated(self._device))
        else:
            self.peak_bytes = _process_peak()


def measured(
    prepared: Prepared, bound: Bound, place: Path, learned: int, spent: Mapping[str, Any]
) -> Costs:
    """Count a finished run's costs on one of its fits.

    Args:
        prepared: what was run.
        bound: the run itself; of a sweep, the chosen variant.
        place: folder of the fit.
        learned: parameters that it counted.
        spent: `seconds`, `peak_bytes` and `memory` of its sessions.
    """
    backbone = prepared.backbone
    method, account = bound.settings.method, bound.account
    examples = prepared.task.examples("test" if "test" in prepared.task.split_names else "train")[
        :COUNTED
    ]

    def count(applied: Applied) -> float | None:
        items = [(0, example) for example in examples]
        return _operations(lambda: predict(backbone, [applied], items)) / len(items)

    prompt = Prompt.load(place / PROMPT) if (place / PROMPT).is_dir() else None
    if method.opens_weights or prompt is None:
        places = {(bound.variant.name, seed): place for seed in bound.settings.seeds}
        job = make_jobs(replace(prepared, variants=(bound,)), places)[0]
        with method.opened(backbone):  # as it starts: the same products, other numbers
            applied = make_fit(backbone, job).applied
            with torch.no_grad():
                operations = count(applied)
        read = method.n_opened(backbone) + _numbers(applied)
    else:
        applied = applied_prompt(backbone, prompt)
        operations = count(applied)
        read = _numbers(applied)
    return Costs(
        learned=learned,
        learned_formula=account.learned,
        stored=prompt.n_parameters if prompt is not None else None,
        stored_formula=account.stored,
        applied=read,
        backbone=backbone.n_parameters,
        n_bytes=prompt.n_bytes if prompt is not None else account.n_bytes,
        operations=operations,
        seconds=spent.get("seconds"),
        fits=len(bound.settings.seeds),
        peak_bytes=spent.get("peak_bytes"),
        memory=str(spent.get("memory", "process")),
        device=_where(backbone),
        warnings=list(prepared.warnings),
    )


def together(costs: Sequence[Costs]) -> Costs | None:
    """One row's costs of several runs: seconds and fits add up; None of none."""
    if not costs:
        return None
    seconds = [one.seconds for one in costs if one.seconds is not None]
    peaks = [one.peak_bytes for one in costs if one.peak_bytes is not None]
    return replace(
        costs[0],
        seconds=sum(seconds) if len(seconds) == len(costs) else None,
        fits=sum(one.fits for one in costs),
        peak_bytes=max(peaks, default=None),
        warnings=list(dict.fromkeys(line for one in costs for line in one.warnings)),
    )


@contextmanager
def session(place: Path, device: torch.device) -> Iterator[None]:
    """Adds the seconds of this block, also of one that is interrupted, to those of the run at `place`."""
    gauge = Gauge(device)
    try:
        with gauge:
            yield
    finally:
        if (place / CONFIG).is_file():
            before = sessions(place)
            peaks = [p for p in (before.get("peak_bytes"), gauge.peak_bytes) if p is not None]
            now = {
                "seconds": before.get("seconds", 0.0) + gauge.seconds,
                "peak_bytes": max(peaks, default=None),
                "memory": gauge.memory,
            }
            write_text(place / SESSIONS, json.dumps(now) + "\n")


def sessions(place: Path) -> dict[str, Any]:
    """Seconds and highest memory of a run's sessions until now; empty where none is known."""
    try:
        found: dict[str, Any] = json.loads((place / SESSIONS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def write_costs(path: Path, costs: Costs) -> None:
    """Write `costs.json`.

    Raises:
        RunError: the disk refuses.
    """
    write_text(path, json.dumps(asdict(costs), indent=2) + "\n")


def read_costs(path: Path) -> Costs | None:
    """What `write_costs` left; None where it is not there or of another version."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = {field.name for field in fields(Costs)}
    return Costs(**record) if isinstance(record, dict) and set(record) == known else None


def _numbers(applied: Applied) -> int:
    return sum(tensor.numel() for tensor in applied.addition.tensors().values())


def _where(backbone: Backbone) -> str:
    device = backbone.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return f"{name}, {backbone.precision}"


def _operations(work: Callable[[], object]) -> int:
    work()  # beginnings that are kept between calls are there, as they are in use
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        work()
    return int(counter.get_total_flops())


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


_CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
"""torch 2.13 counts the accelerators' fused attentions only."""


def _forget_process_peak() -> None:
    """Linux: from now on, VmHWM is the peak since now (proc(5), clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _process_peak() -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else None


def side_by_side(each: Sequence[Costs], learned: int, *, kept: bool, trained: bool = True) -> Costs:
    """The costs of models that predict together: all of them at once.

    Args:
        each: of every model.
        learned: of all of them.
        kept: whether what they learned is on disk.
        trained: whether anything was learned.
    """
    operations = [one.operations for one in each if one.operations is not None]
    return replace(
        each[0],
        learned=learned,
        learned_formula=sum(one.learned_formula for one in each) if trained else 0,
        stored=sum(one.stored or 0 for one in each) if kept else None,
        stored_formula=sum(one.stored_formula for one in each),
        applied=sum(one.applied for one in each),
        n_bytes=sum(one.n_bytes for one in each),
        operations=sum(operations) if len(operations) == len(each) else None,
        warnings=(),
    )
