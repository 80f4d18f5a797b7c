"""The tiny backbones."""

from __future__ import annotations

from tests.builders import backbones

__all__ = ["backbones"]
