"""A tiny backbone of each family, and options that make every measurement tiny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_models import save_checkpoint

TINY = ["--rows", "4", "--steps", "2", "--batch-size", "2", "--evaluate-every", "1"]
TINY += ["--train", "12", "--dev", "4", "--test", "6", "--limit", "24"]

Folders = Callable[..., str]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """`folders("t5-1.1", seed=1)`: where a tiny checkpoint lies, made once."""
    home = tmp_path_factory.mktemp("measured")

    def of(name: str, seed: int = 0) -> str:
        folder = home / f"{name}-{seed}"
        if not folder.is_dir():
            save_checkpoint(name, folder, seed=seed)
        return str(folder)

    return of


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After it is called, nothing can be fitted any more."""

    def refuse(*given: object) -> None:
        raise AssertionError("measured again")

    return lambda: monkeypatch.setattr("benchmarks.measuring.fit_many", refuse)


def content(folder: Path) -> dict[str, bytes]:
    """What a script left: every file's bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
