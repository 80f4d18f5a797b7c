"""All methods by name. Adding one: its file beside this, and one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from softprompt.methods.adapters import Adapters
from softprompt.methods.bitfit import BitFit
from softprompt.methods.classification_head import ClassificationHead
from softprompt.methods.dept import Dept
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.ia3 import Ia3
from softprompt.methods.linear_probe import LinearProbe
from softprompt.methods.lora import Lora
from softprompt.methods.method import Method
from softprompt.methods.mpt import Mpt
from softprompt.methods.p_tuning import PTuning
from softprompt.methods.p_tuning_v2 import PTuningV2
from softprompt.methods.prefix_tuning import PrefixTuning
from softprompt.methods.prompt_design import PromptDesign
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.residual import ResidualPromptTuning
from softprompt.methods.spot import Spot
from softprompt.methods.superpos import SuperPos
from softprompt.methods.ulpt import Ulpt
from softprompt.methods.warp import Warp
from softprompt.methods.wayward import Wayward

_KINDS: tuple[type[Method], ...] = (
    PromptTuning,
    PrefixTuning,
    FullTuning,
    PromptDesign,
    PTuning,
    ResidualPromptTuning,
    SuperPos,
    Ulpt,
    Mpt,
    Spot,
    Wayward,
    Warp,
    PTuningV2,
    LinearProbe,
    ClassificationHead,
    Dept,
    Lora,
    Ia3,
    Adapters,
    BitFit,
)

METHODS: Mapping[str, type[Method]] = MappingProxyType({kind.name: kind for kind in _KINDS})
