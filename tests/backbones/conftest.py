"""Backbones of every named architecture, each saved once a session and loaded as a user loads one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from tests.tiny_models import ARCHITECTURES, save_checkpoint

Checkpoints = Callable[[str], Path]
Tiny = Callable[[str], Backbone]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """The folder of a tiny model, written at the first call; not to be changed."""
    home = tmp_path_factory.mktemp("checkpoints")

    def folder(name: str) -> Path:
        place = home / name
        return place if place.is_dir() else save_checkpoint(name, place)

    return folder


@pytest.fixture(scope="session")
def tiny(checkpoint: Checkpoints) -> Tiny:
    """A tiny backbone by its short name, loaded once."""
    loaded: dict[str, Backbone] = {}

    def backbone_of(name: str) -> Backbone:
        if name not in loaded:
            loaded[name] = load_backbone(checkpoint(name), device="cpu")
        return loaded[name]

    return backbone_of


def _of_families(*families: str) -> list[str]:
    return [name for name, plan in ARCHITECTURES.items() if plan.family in families]


@pytest.fixture(params=list(ARCHITECTURES))
def backbone(request: pytest.FixtureRequest, tiny: Tiny) -> Backbone:
    return tiny(request.param)


@pytest.fixture(params=_of_families("masked"))
def masked(request: pytest.FixtureRequest, tiny: Tiny) -> Backbone:
    return tiny(request.param)


@pytest.fixture(params=_of_families("encoder_decoder"))
def encoder_decoder(request: pytest.FixtureRequest, tiny: Tiny) -> Backbone:
    return tiny(request.param)


@pytest.fixture(params=_of_families("causal"))
def causal(request: pytest.FixtureRequest, tiny: Tiny) -> Backbone:
    return tiny(request.param)


@pytest.fixture(params=_of_families("causal", "encoder_decoder"))
def generator(request: pytest.FixtureRequest, tiny: Tiny) -> Backbone:
    return tiny(request.param)
