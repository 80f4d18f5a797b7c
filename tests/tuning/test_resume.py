"""A run that was interrupted, wherever, leaves to the byte what an uninterrupted one leaves."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.errors import RunError
from softprompt.methods.adapters import Adapters
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.ia3 import Ia3
from softprompt.methods.lora import Lora
from softprompt.methods.method import Method
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.tuning.jobs import Job
from softprompt.tuning.run import Run, fit_many
from tests.builders import FAMILIES, Backbones, content, job, mood

ADAFACTOR = {"name": "adafactor", "step_offset": 7, "schedule": "linear", "warmup": 2}
ADAMW = {"name": "adamw", "clip_norm": 0.5, "schedule": "cosine"}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process leaves what it wrote to the system; only a power cut needs a flushed disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Interrupted(Exception):
    pass


def interrupting(at: int) -> Callable[[Any, Mapping[str, Any]], None]:
    """A report that stops the run after `at` reports."""
    seen = 0

    def report(fit: Any, record: Mapping[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            raise Interrupted

    return report


def in_folders(jobs: Sequence[Job], home: Path) -> list[Job]:
    return [replace(one, folder=home / f"fit-{n}") for n, one in enumerate(jobs)]


def assert_same(runs: Sequence[Run], wanted: Sequence[Run]) -> None:
    for run, other in zip(runs, wanted, strict=True):
        assert run.prompt.content_hash == other.prompt.content_hash
        assert (run.step, run.history, run.metrics) == (other.step, other.history, other.metrics)
        assert (run.alarms, run.cut) == (other.alarms, other.cut)


def check_every_interruption(
    backbone: Backbone, jobs: Sequence[Job], tmp_path: Path, reports: int
) -> None:
    whole = fit_many(backbone, in_folders(jobs, tmp_path / "whole"))
    wanted = content(tmp_path / "whole")
    assert "fit-0/checkpoints/last/tensors.safetensors" in wanted
    for at in range(1, reports + 1):
        home = tmp_path / f"at-{at}"
        torch.manual_seed(at)  # another process has other random numbers at hand
        with pytest.raises(Interrupted):
            fit_many(backbone, in_folders(jobs, home), interrupting(at))
        assert_same(fit_many(backbone, in_folders(jobs, home)), whole)
        assert content(home) == wanted


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("optimiser", [ADAFACTOR, ADAMW])
def test_prompt_tuning_resumes_bit_for_bit(
    backbones: Backbones, tmp_path: Path, name: str, optimiser: dict[str, Any]
):
    train = mood().examples("train")
    long = replace(train[5], fields={"text": "very " * 90 + "good"})  # to be cut, and counted once
    task = mood().with_splits(train=[*train[:5], long, *train[6:]])
    one = job(task, training={"optimiser": optimiser, "checkpoint_every": 3})
    check_every_interruption(backbones(name), [one], tmp_path, reports=6)


def test_dropout_resumes_bit_for_bit(backbones: Backbones, tmp_path: Path):
    one = job(training={"dropout": True, "token_budget": 40})
    check_every_interruption(backbones("bert"), [one], tmp_path, reports=6)


def test_full_tuning_resumes_bit_for_bit(backbones: Backbones, tmp_path: Path):
    one = job(method=FullTuning(), training={"checkpoint_every": 2, "steps": 5})
    check_every_interruption(backbones("bert"), [one], tmp_path, reports=5)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("bert", Lora(rank=2)),
        ("gpt2", Ia3()),
        ("t5-1.1", Adapters(bottleneck=3)),
        ("t5-1.1", FullTuning(unfreeze_every=2)),
    ],
)
def test_opened_weights_resume_bit_for_bit(
    backbones: Backbones, tmp_path: Path, name: str, method: Method
):
    one = job(method=method, training={"checkpoint_every": 2, "steps": 5, "keep_weights": True})
    check_every_interruption(backbones(name), [one], tmp_path, reports=5)


def test_two_fits_at_once_resume_bit_for_bit_also_when_one_has_stopped_early(
    backbones: Backbones, tmp_path: Path
):
    jobs = [
        job(training={"patience": 1, "steps": 9, "checkpoint_every": 3}),
        job(mood(seed=2), PromptTuning(length=5), seed=1, training={"steps": 7, "keep": "last"}),
    ]
    backbone = backbones("bert")
    ends = [record["step"] for run in fit_many(backbone, jobs) for record in run.history[-1:]]
    assert ends[0] < 9  # the first one has stopped early
    assert ends[1] == 7
    check_every_interruption(backbone, jobs, tmp_path, reports=int(sum(ends)))


def test_a_finished_run_is_handed_back_without_a_step(backbones: Backbones, tmp_path: Path):
    backbone, jobs = backbones("bert"), in_folders([job(mood(test=6))], tmp_path)
    runs = fit_many(backbone, jobs)
    before = content(tmp_path)
    assert_same(fit_many(backbone, jobs, interrupting(1)), runs)
    assert content(tmp_path) == before


def killed_at(operation: int, folder: Path, run: Callable[[], Any]) -> bool:
    """Run in a child that dies at its n-th operation on files of the folder; whether it did."""
    child = os.fork()
    if child == 0:
        left = operation

        def watch(event: str, details: tuple[Any, ...]) -> None:
            nonlocal left
            touches = event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
            if touches and str(details[0]).startswith(str(folder)):
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(watch)
        try:
            run()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_killed_before_any_file_operation_a_run_resumes_bit_for_bit(
    backbones: Backbones, tmp_path: Path
):
    backbone = backbones("bert")
    jobs = [job(training={"steps": 3}), job(seed=1, training={"steps": 4, "patience": 1})]
    whole = fit_many(backbone, in_folders(jobs, tmp_path / "whole"))
    wanted = content(tmp_path / "whole")
    for operation in itertools.count(1):
        home = tmp_path / f"at-{operation}"
        again = in_folders(jobs, home)
        if not killed_at(operation, home, partial(fit_many, backbone, again)):
            break
        assert_same(fit_many(backbone, again), whole)
        assert content(home) == wanted
    assert operation > 20


def test_a_checkpoint_of_another_run_is_refused_with_what_differs(
    backbones: Backbones, tmp_path: Path
):
    backbone = backbones("bert")
    (one,) = in_folders([job()], tmp_path)
    fit_many(backbone, [one])
    before = content(tmp_path)
    others = {
        "seed": replace(one, seed=1),
        "training.steps": replace(one, training=job(training={"steps": 7}).training),
        "template": replace(one, template="{text} {mask}"),
        "data.dev": replace(one, task=one.task.subsample("dev", 4)),
        "method.init": replace(one, method=PromptTuning(length=3, init="uniform")),
    }
    for what, other in others.items():
        with pytest.raises(RunError, match=rf"of another run \(other: .*{what}"):
            fit_many(backbone, [other])
    with pytest.raises(RunError, match="1 fits, not 2"):
        fit_many(backbone, [one, replace(job(seed=4), folder=tmp_path / "second")])
    assert content(tmp_path) == before


def test_a_run_may_go_on_with_another_token_budget(backbones: Backbones, tmp_path: Path):
    backbone = backbones("bert")
    (one,) = in_folders([job()], tmp_path)
    with pytest.raises(Interrupted):
        fit_many(backbone, [one], interrupting(3))
    other = job(training={"token_budget": 50, "checkpoint_every": 1}).training
    (resumed,) = fit_many(backbone, [replace(one, training=other)])
    (whole,) = fit_many(backbone, [job()])
    assert resumed.prompt.rows is not None
    assert whole.prompt.rows is not None
    torch.testing.assert_close(resumed.prompt.rows, whole.prompt.rows, rtol=1e-3, atol=1e-4)
