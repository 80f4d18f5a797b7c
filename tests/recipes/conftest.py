"""Tiny backbones on disk, and a folder to run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import backbones
from tests.tiny_models import save_checkpoint

__all__ = ["backbones", "bert", "here"]


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("bert", tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTPROMPT_DATA", raising=False)
    return tmp_path
