"""A tiny masked backbone for the tests of analysis."""

from __future__ import annotations

import pytest

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from tests.tiny_models import save_checkpoint


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("models") / "bert"
    return load_backbone(save_checkpoint("bert", folder), device="cpu")
