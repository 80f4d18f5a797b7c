"""Whole commands on tiny models: in this process where possible, as a subprocess where it matters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from softprompt.cli.main import main
from tests.small_runs import write_run_yaml
from tests.tiny_models import save_checkpoint

Checkpoints = Callable[[str], Path]
Subprocess = Callable[..., "subprocess.Popen[str]"]


INTERRUPTIBLE = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('softprompt', run_name='__main__', alter_sys=True)"
)
"""`python -m softprompt`, open to Ctrl-C also where the test run itself was started in the background
(a shell has such a process, and all its children, ignore the signal)."""


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """Runs `softprompt` with these arguments."""

    def __call__(self, *arguments: str | Path) -> Outcome: ...


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """The folder of a tiny model, written at the first call; not to be changed."""
    home = tmp_path_factory.mktemp("models")

    def folder(name: str) -> Path:
        place = home / name
        return place if place.is_dir() else save_checkpoint(name, place)

    return folder


@pytest.fixture(scope="session")
def bert(checkpoint: Checkpoints) -> Path:
    return checkpoint("bert")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTPROMPT_DATA", raising=False)
    return tmp_path


@pytest.fixture
def softprompt(here: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> Path:
    """A finished run folder; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", str(write_run_yaml(folder, bert))]) == 0
    return folder / "run"


@pytest.fixture
def start(here: Path) -> Subprocess:
    """`python -m softprompt …` as a process of its own, its output on a pipe."""

    def run(*arguments: str | Path, code: str | None = None) -> subprocess.Popen[str]:
        source = Path(__file__).resolve().parents[2] / "src"
        path = os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            [sys.executable, "-c", code or INTERRUPTIBLE, *map(str, arguments)],
            cwd=here,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    return run
