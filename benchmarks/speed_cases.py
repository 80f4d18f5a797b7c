"""What the speed suite measures: one table of cases, each a few settings. Knows no models, no timing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from types import MappingProxyType
from typing import Any, Literal, get_args

Kind = Literal["train", "train seeds", "predict", "ensemble", "mixed tasks"]
KINDS_OF_WORK: tuple[Kind, ...] = get_args(Kind)

PROMPT, P_TUNING, PREFIX = "PEFT prompt tuning", "PEFT P-tuning", "PEFT prefix tuning"
PLAIN = "plain loop"
SORTED = ", batches by length"
"""Added to a rival's name: it too draws batches of even length, by transformers' own sampler."""


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        name: by which `--cases` finds it.
        kind: what a round is: training steps, or predicting all examples.
        shape: the backbone, of `shapes.SHAPES`.
        rows: P, learned rows of each prompt.
        lengths: of the texts, of `lengths.Lengths.draw`.
        batch: B, examples a step or a forward pass of the plain loop.
        batches: how many of them a round is.
        prompts: seeds trained, members of an ensemble, tasks served.
        labels: of the verbalizer.
        label_tokens: words of the longest label; the first label has one, the second two, and so on.
        rivals: what ours is compared with.
    """

    name: str
    kind: Kind
    shape: str
    rows: int = 20
    lengths: str = "sst2"
    batch: int = 32
    batches: int = 4
    prompts: int = 1
    labels: int = 2
    label_tokens: int = 1
    rivals: tuple[str, ...] = (PROMPT,)

    @property
    def examples(self) -> int:
        """How many examples a round draws on."""
        return self.batch * self.batches

    def toy(self) -> Case:
        """The same at a size that shows only that it runs."""
        return replace(
            self,
            rows=min(self.rows, 3),
            lengths="equal-5" if self.lengths.startswith("equal") else self.lengths,
            batch=min(self.batch, 4),
            batches=min(self.batches, 2),
            prompts=min(self.prompts, 2),
            labels=min(self.labels, 12),
        )

    def quick(self) -> Case:
        """The same with one batch a round."""
        return replace(self, batches=1)


_LENGTHS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "equal-32": {"batch": 16, "batches": 2},
        "sst2": {"batch": 32, "batches": 4},
        "boolq": {"batch": 8, "batches": 3},
    }
)
"""Batches for each kind of length: a step of comparable size, enough batches for lengths to vary."""

_CAUSAL, _MASKED = ("gpt2", "llama"), ("bert", "roberta")
_ROWS = (20, 100)


def _rivals(shape: str, every: bool = False) -> tuple[str, ...]:
    if shape in _MASKED:
        return (PLAIN,)
    return (PROMPT, P_TUNING, PREFIX) if every else (PROMPT,)


def _trained(shape: str, rows: int, lengths: str) -> tuple[str, ...]:
    """All rivals at P=20 and SST-2's lengths; where these vary, the first one with sorted batches too."""
    rivals = _rivals(shape, every=lengths == "sst2" and rows == 20)
    return rivals if lengths.startswith("equal") else (*rivals, rivals[0] + SORTED)


def _training() -> Iterator[Case]:
    for shape, rows, lengths in product((*_CAUSAL, "t5", *_MASKED), _ROWS, _LENGTHS):
        yield Case(
            f"train/{shape}/P{rows}/{lengths}",
            "train",
            shape,
            rows,
            lengths,
            rivals=_trained(shape, rows, lengths),
            **_LENGTHS[lengths],
        )
    for shape in ("gpt2", "t5", "bert"):
        yield Case(
            f"seeds/{shape}", "train seeds", shape, batch=16, prompts=5, rivals=_rivals(shape)
        )


def _predicting() -> Iterator[Case]:
    for shape, rows in product((*_CAUSAL, "t5", *_MASKED), _ROWS):
        rivals = _rivals(shape, every=rows == 20)
        yield Case(f"predict/{shape}/P{rows}/sst2", "predict", shape, rows, rivals=rivals)
    for shape in ("gpt2", "t5", "bert"):
        rivals = _rivals(shape)
        long = Case(f"predict/{shape}/P20/boolq", "predict", shape, 20, "boolq", rivals=rivals)
        yield replace(long, **_LENGTHS["boolq"])
        yield Case(f"labels/1000/{shape}", "predict", shape, labels=1000, rivals=rivals)
        name = f"labels/several-tokens/{shape}"
        yield Case(name, "predict", shape, batch=16, labels=8, label_tokens=4, rivals=rivals)
        yield Case(f"mixed/{shape}", "mixed tasks", shape, prompts=5, rivals=rivals)
    for shape, rows in product((*_CAUSAL, "t5", "bert"), _ROWS):
        name, rivals = f"ensemble/{shape}/P{rows}", _rivals(shape)
        yield Case(name, "ensemble", shape, rows, batches=2, prompts=5, rivals=rivals)


_GROWTH: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"P": (1, 20, 50, 100, 200), "T": (8, 16, 32, 64, 128), "B": (2, 4, 8, 16, 32)}
)


def _growing() -> Iterator[Case]:
    base = Case("", "train", "gpt2", 20, "equal-32", batch=16, batches=1)
    for value in _GROWTH["P"]:
        yield replace(base, name=f"growth/P/{value}", rows=value)
    for value in _GROWTH["T"]:
        yield replace(base, name=f"growth/T/{value}", lengths=f"equal-{value}")
    for value in _GROWTH["B"]:
        yield replace(base, name=f"growth/B/{value}", batch=value)
    for value in (1, 2, 5, 10):
        name = f"growth/prompts/{value}"
        yield replace(base, name=name, kind="mixed tasks", batches=4, prompts=value)


CASES: Mapping[str, Case] = MappingProxyType(
    {case.name: case for case in (*_training(), *_predicting(), *_growing())}
)
"""Every case by name."""


@dataclass(frozen=True)
class Expectation:
    """What should come out of cases.

    Args:
        pattern: of their names.
        times: how many times as fast as the first rival, at least.
        memory: peak memory as a share of the first rival's, at most.
        rival: another than the first.
    """

    pattern: str
    times: float
    memory: float | None = None
    rival: str | None = None


ONE_BY_ONE = "ours, run by run"
EXPECTATIONS = (
    Expectation("train/*/P100/equal-32", 4.0, 0.3),
    Expectation("train/*/P100/sst2", 6.0, 0.3),
    Expectation("train/*/P20/equal-32", 2.0),
    Expectation("train/*/P20/sst2", 2.0),
    Expectation("ensemble/*", 4.0),
)
"""Of causal backbones."""

OTHERS = (
    Expectation("train/t5/*/sst2", 1.5),
    Expectation("train/t5/*/boolq", 1.5),
    Expectation("train/*bert*", 1.5),
    Expectation("seeds/*", 1.0, rival=ONE_BY_ONE),
)


def expectation(case: Case, rival: str) -> Expectation | None:
    """What is expected of a case against a rival, if anything is."""
    known = (*(EXPECTATIONS if case.shape in _CAUSAL else ()), *OTHERS)
    for each in known:
        if fnmatchcase(case.name, each.pattern) and rival == (each.rival or case.rivals[0]):
            return each
    return None


def chosen(patterns: list[str]) -> list[Case]:
    """The cases whose names match any pattern, in the table's order; all where none is given."""
    return [
        case
        for name, case in CASES.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
