"""A run that is killed at any moment and resumed leaves the same bytes as one that was not."""

from __future__ import annotations

import random
from pathlib import Path

from tests.cli.conftest import Command, Subprocess
from tests.small_runs import write_run_yaml

STEPS = 60
SAME = ("prompt/prompt.safetensors", "metrics.jsonl", "predictions.jsonl", "done.json")


def test_kill_and_resume_leaves_the_same_bytes(
    softprompt: Command, start: Subprocess, here: Path, bert: Path
) -> None:
    changes = {
        "training__steps": STEPS,
        "training__evaluate_every": 1,
        "training__checkpoint_every": 2,
    }
    path = write_run_yaml(here, bert, **changes)
    assert softprompt("train", path, "out=whole").code == 0
    chance = random.Random(0)
    killed = 0
    for _ in range(4):
        process = start("train", path, "out=parts")
        assert process.stdout is not None
        moment = chance.randrange(1, 12)
        for line in process.stdout:
            moment -= line.startswith("step ")
            if moment == 0:
                break
        process.kill()  # SIGKILL: nothing can be tidied up
        process.communicate()
        killed += not (here / "parts/done.json").exists()
    assert killed >= 2
    outcome = softprompt("train", path, "out=parts")
    if (here / "parts/done.json").exists() and outcome.code == 2:
        assert "finished run" in outcome.err  # the last kill came too late
    else:
        assert outcome.code == 0, outcome.err
    for name in SAME:
        assert (here / "parts" / name).read_bytes() == (here / "whole" / name).read_bytes(), name
    assert not list((here / "parts").rglob("*.partial"))
