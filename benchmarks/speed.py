"""Speed and memory beside PEFT, in one process, on one model object, in interleaved rounds.

    python -m benchmarks.speed [--cases 'train/gpt2/*' …] [--quick] [--data FOLDER]

Backbones have random weights: speed does not depend on them. Before a case is timed, both sides are
given the same prompt and must agree in loss and gradient, or in probabilities. Results go to
benchmarks/results/speed.json and speed.md after each case; results of other cases, measured before on
the same machine with the same versions, stay.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from benchmarks.gauges import Contender, machine, matrix_rate, read
from benchmarks.lengths import Lengths, counting_with
from benchmarks.shapes import build
from benchmarks.speed_cases import CASES, ONE_BY_ONE, Case, Kind, chosen
from benchmarks.speed_ours import Ours, data_of
from benchmarks.speed_report import Result, earlier, write
from benchmarks.speed_theirs import SAME_FUNCTION, Theirs
from softprompt.backbones.backbone import Backbone

RESULTS = Path(__file__).parent / "results"
CHECKED = 8
"""Examples on which both sides must agree."""

ALLOWED = MappingProxyType({"loss": 1e-4, "gradient": 1e-3, "probability": 1e-4})
"""Differences in f32, relative (of probabilities absolute), above which nothing is timed."""

Items = list[tuple[int, int]]


@dataclass
class Workplace:
    """What cases share.

    Args:
        lengths: where lengths of texts come from.
        toy: tiny shapes.
        device, precision: of the backbones.
    """

    lengths: Lengths
    toy: bool = False
    device: str | None = None
    precision: str = "float32"
    _built: dict[str, Backbone] = field(default_factory=dict)

    def backbone(self, shape: str) -> Backbone:
        """The backbone of that shape; the one before is let go."""
        if shape not in self._built:
            self._built.clear()
            self._built[shape] = build(
                shape, toy=self.toy, device=self.device, precision=self.precision
            )
        return self._built[shape]


# --- the kinds of cases -----------------------------------------------------------------------------


def _train(case: Case, ours: Ours, theirs: Sequence[Theirs]) -> list[Contender]:
    seeds = range(case.prompts)
    own = [ours.training(seeds)]
    if case.prompts > 1:
        own.append(ours.training_in_turn(seeds, ONE_BY_ONE))
    return own + [each.training() for each in theirs]


def _predict(case: Case, ours: Ours, theirs: Sequence[Theirs]) -> list[Contender]:
    """Every prompt on every example: plain prediction, or an ensemble."""
    numbers = range(case.examples)
    items = [(prompt, number) for prompt in range(case.prompts) for number in numbers]
    return _both(case, items, ours, theirs)


def _mixed(case: Case, ours: Ours, theirs: Sequence[Theirs]) -> list[Contender]:
    """Every example has one of the prompts, in turn."""
    items = [(number % case.prompts, number) for number in range(case.examples)]
    return _both(case, items, ours, theirs)


def _both(case: Case, items: Items, ours: Ours, theirs: Sequence[Theirs]) -> list[Contender]:
    groups = {p: [n for prompt, n in items if prompt == p] for p in range(case.prompts)}
    units = case.examples
    return [ours.predicting(items, units), *(each.predicting(groups, units) for each in theirs)]


KINDS: Mapping[Kind, Callable[[Case, Ours, Sequence[Theirs]], list[Contender]]] = MappingProxyType(
    {
        "train": _train,
        "train seeds": _train,
        "predict": _predict,
        "ensemble": _predict,
        "mixed tasks": _mixed,
    }
)


# --- agreement --------------------------------------------------------------------------------------


def agreement(case: Case, ours: Ours, theirs: Theirs) -> dict[str, float]:
    """How far the two sides differ under the same prompt; empty where they compute other things."""
    if not SAME_FUNCTION[theirs.rival]:
        return {}
    count = min(CHECKED, case.examples)
    if case.kind.startswith("train"):
        fit = ours.fit()
        loss, gradient = ours.loss_and_gradient(fit, count)
        rows = next(iter(fit.parameters.values())).detach()
        other, theirs_gradient = theirs.loss_and_gradient(rows, count)
        furthest = float((gradient - theirs_gradient).abs().max() / gradient.abs().max())
        return {"loss": abs(loss - other) / abs(loss), "gradient": furthest}
    for prompt, applied in enumerate(ours.applied):
        if applied.addition.rows is not None:
            theirs.put(prompt, applied.addition.rows)
    found = ours.predictions([(0, number) for number in range(count)])
    other_found = theirs.predictions(0, range(count))
    return {"probability": float((found - other_found).abs().max())}


def _check(case: Case, rival: str, differences: Mapping[str, float], precision: str) -> None:
    for name, value in differences.items():
        if precision == "float32" and not value <= ALLOWED[name]:
            raise SystemExit(
                f"error: {case.name}: the {name} of '{rival}' differs by {value:.2e}, expected at "
                f"most {ALLOWED[name]:.0e}: the two sides do not compute the same"
            )


def measure(case: Case, workplace: Workplace, rounds: int) -> Result:
    """One case: agreement first, then everything that is measured."""
    backbone = workplace.backbone(case.shape)
    words = 100 if workplace.toy else 20_000
    data = data_of(case, workplace.lengths.draw(case.lengths, case.examples), words)
    ours, theirs = Ours(case, backbone, data), []
    agreements: dict[str, dict[str, float]] = {}
    failures: dict[str, str] = {}
    for rival in case.rivals:
        try:
            side = Theirs(rival, case, backbone, data)
            side.predictions(0, range(1))
        except Exception as error:  # whatever a rival fails with is a finding, not our end
            failures[rival] = f"{type(error).__name__}: {error}".split("\n")[0]
            continue
        agreements[rival] = agreement(case, ours, side)
        _check(case, rival, agreements[rival], workplace.precision)
        theirs.append(side)
    contenders = KINDS[case.kind](case, ours, theirs)
    return Result(case, read(contenders, rounds, backbone.device), agreements, failures)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the chosen cases; write JSON and table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=[], help="names or patterns; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default 3)")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's own choice")
    parser.add_argument("--quick", action="store_true", help="one batch a round")
    parser.add_argument("--toy", action="store_true", help="tiny shapes: shows that it runs")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("SOFTPROMPT_DATA"),
        help="folder with sst2/ and superglue/BoolQ/; without it a table of quantiles stands for them",
    )
    parser.add_argument("--tokenizer", help="folder of a tokenizer that counts their tokens")
    parser.add_argument("--device", help="cpu, cuda; default: an accelerator where there is one")
    parser.add_argument("--precision", default="float32", help="of the backbones")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/speed….json")
    arguments = parser.parse_args(argv)
    cases = chosen(arguments.cases)
    if not cases:
        parser.error(f"--cases: nothing matches; there are {', '.join(CASES)}")
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    counted = counting_with(arguments.tokenizer) if arguments.tokenizer else ()
    lengths = Lengths(arguments.data, *counted)
    if arguments.toy:
        lengths = replace(lengths, longest=12)
    workplace = Workplace(lengths, arguments.toy, arguments.device, arguments.precision)
    device = workplace.backbone(cases[0].shape).device
    dtype = workplace.backbone(cases[0].shape).dtype
    size = 64 if arguments.toy else 1536
    facts: dict[str, Any] = {
        "machine": machine(device),
        "operations_per_second": matrix_rate(device, dtype, size),
        "precision": arguments.precision,
        "rounds": arguments.rounds,
        "quick": arguments.quick,
        "toy": arguments.toy,
        "lengths": lengths.source,
    }
    out = arguments.out or RESULTS / f"speed{_suffix(arguments, device)}.json"
    # Something else may keep the machine busy: the best rate of all counts, of earlier runs too.
    results, rate = earlier(out, facts)
    document = ""
    for case in cases:
        if arguments.toy:
            case = case.toy()
        elif arguments.quick:
            case = case.quick()
        results[case.name] = measure(case, workplace, arguments.rounds)
        rate = max(rate, facts["operations_per_second"], matrix_rate(device, dtype, size))
        facts["operations_per_second"] = rate
        in_order = [results[name] for name in CASES if name in results]
        document = write(in_order, facts, out)
        _say(results[case.name])
    print(document)


def _suffix(arguments: argparse.Namespace, device: torch.device) -> str:
    """Small runs and other devices have files of their own."""
    parts = ["toy" if arguments.toy else "", "quick" if arguments.quick else ""]
    parts.append("" if device.type == "cpu" else device.type)
    parts.append("" if arguments.precision == "float32" else arguments.precision)
    return "".join(f"-{part}" for part in parts if part)


def _say(result: Result) -> None:
    ours, *others = result.readings
    times = ", ".join(f"{o.name} {o.median / ours.median:.2f}×" for o in others)
    agreed = "; ".join(
        ", ".join(f"{name} {value:.1e}" for name, value in found.items())
        for found in result.agreement.values()
        if found
    )
    failed = "".join(f"; {rival} failed: {why}" for rival, why in result.failures.items())
    print(f"{result.case.name}: {times} [{agreed}]{failed}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="(transformers|peft|torch).*")
    main()
