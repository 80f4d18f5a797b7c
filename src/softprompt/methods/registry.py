"""All methods by name. Adding one: its file beside this, and one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.method import Method
from softprompt.methods.prompt_design import PromptDesign
from softprompt.methods.prompt_tuning import PromptTuning

METHODS: Mapping[str, type[Method]] = MappingProxyType(
    {kind.name: kind for kind in (PromptTuning, FullTuning, PromptDesign)}
)
