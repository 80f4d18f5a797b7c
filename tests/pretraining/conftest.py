"""A toy corpus and its tokenizer, made once, and no waiting for a disk or a measurement."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from softprompt.pretraining import loop
from softprompt.pretraining.tokenizer import Sample, save_tokenizer, train_tokenizer
from tests.pretraining.toy_runs import CHINESE, ENGLISH, write_corpus


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(loop, "matrix_rate", lambda device, dtype: 1e9)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def trained_tokenizer() -> Any:
    """A `tokenizers.Tokenizer` of 440 pieces at most on the toy corpus."""
    texts = {"en": ENGLISH, "zh": CHINESE}
    samples = [
        Sample(n, 1.0, lambda text=text: text.splitlines() * 40) for n, text in texts.items()
    ]
    return train_tokenizer(samples, vocabulary=440, ideographs=40, characters=20_000)


@pytest.fixture(scope="session")
def tokenizers(trained_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of that tokenizer as each family wants it."""
    home = tmp_path_factory.mktemp("tokenizers")
    families = ("masked", "encoder_decoder", "causal")
    for family in families:
        save_tokenizer(trained_tokenizer, home / family, family, 64)
    return {family: home / family for family in families}
