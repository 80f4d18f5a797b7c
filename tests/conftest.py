"""What all tests share: one thread, quiet libraries, and the optional folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "softprompt", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("softprompt")


def shared_folder() -> Path | None:
    """Real data and models: SOFTPROMPT_SHARED, or `shared` beside the repository."""
    named = os.environ.get("SOFTPROMPT_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, or a skip that says what is missing."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no real data here: set SOFTPROMPT_SHARED to their folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
