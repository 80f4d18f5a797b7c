"""What the tests of prompts share: an identity of a backbone and a prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from softprompt.prompts.addition import Addition
from softprompt.prompts.identity import BackboneIdentity
from softprompt.prompts.prompt import Prompt


@pytest.fixture
def identity() -> BackboneIdentity:
    return BackboneIdentity(
        name="softprompt/tiny-mlm",
        family="masked",
        architecture="a" * 16,
        weights="b" * 16,
        dtype="float32",
        sketch=(0.125, -1.5, 0.0, 3.0),
        width=4,
    )


@pytest.fixture
def make_prompt(identity: BackboneIdentity) -> Callable[..., Prompt]:
    def make(**changes: Any) -> Prompt:
        generator = torch.Generator().manual_seed(7)
        facts: dict[str, Any] = {
            "addition": Addition(torch.randn(3, 4, generator=generator)),
            "method": "prompt_tuning",
            "template": "{soft:3}{text} It was {mask}.",
            "answers": {"kind": "words", "words": {"good": [["great"]], "bad": [["bad"], ["so"]]}},
            "objective": {"normalise": "labels", "predict": "rank"},
            "task": {
                "name": "mood",
                "fields": ["text"],
                "kind": "label",
                "labels": ["good", "bad"],
            },
            "backbone": identity,
            "scores": [
                {
                    "split": "dev",
                    "metric": "accuracy",
                    "value": 0.8125,
                    "n": 32,
                    "data_hash": "cafe",
                    "seed": 13,
                    "selection": "best dev checkpoint",
                    "step": 200,
                }
            ],
            "settings": {"optimizer": {"name": "adafactor", "lr": 1e-5}, "steps": 500},
            "versions": {"torch": "2.13.0"},
            "examples": [
                {"text": "一部好电影 | five_stars", "target": "good", "prediction": "good"}
            ],
            "notes": "A test.",
            "backbone_parameters": 1200,
        }
        return Prompt(**{**facts, **changes})

    return make
