"""The backbones that lie in the package: their names, their variants, what each one is.

A folder `assets/models/tiny-t5@lm` is the backbone `softprompt/tiny-t5@lm`; DEFAULT_VARIANTS says
which variant the bare name means. Adding one is its folder, and an entry there if it has variants.
Reads configs and headers, never weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from softprompt.backbones.traits import family_of
from softprompt.data.columns import did_you_mean
from softprompt.errors import BackboneError
from softprompt.text.tokens import Family

PREFIX = "softprompt/"

DEFAULT_VARIANTS: Mapping[str, str] = MappingProxyType({"tiny-t5": "lm"})
"""What a name without a variant means: T5 after LM adaptation (Lester et al. 2021, section 2)."""


@dataclass(frozen=True)
class Shipped:
    """A backbone of the package.

    Args:
        name: whole, `softprompt/tiny-t5@lm`.
        family: of its config.
        parameters: numbers in its weights.
        n_bytes: size of the weights' file.
        short: the name without a variant that means this one; None for the other variants.
    """

    name: str
    family: Family
    parameters: int
    n_bytes: int
    short: str | None


def models_folder() -> Path:
    """Where the package keeps its models."""
    return Path(str(resources.files("softprompt"))) / "assets" / "models"


def shipped_models() -> list[str]:
    """Whole names of the backbones that lie in the package."""
    folder = models_folder()
    if not folder.is_dir():
        return []
    return sorted(f"{PREFIX}{entry.name}" for entry in folder.iterdir() if entry.is_dir())


def shipped_name(name: str) -> str:
    """The whole name of a shipped backbone, its variant filled in.

    Args:
        name: `softprompt/…`, with or without a variant.
    Raises:
        BackboneError: nothing of this name ships, or not in this variant; lists what does.
    """
    known = shipped_models()
    if name in known:
        return name
    bare, at, variant = name.partition("@")
    default = f"{bare}@{DEFAULT_VARIANTS.get(bare.removeprefix(PREFIX), '')}"
    if not at and default in known:
        return default
    variants = [whole for whole in known if whole.startswith(f"{bare}@")]
    if variants:
        marked = ", ".join(f"{v} (the default)" if v == default else v for v in variants)
        wrong = f"no variant '{variant}'" if at else "no default variant"
        raise BackboneError(f"'{bare}' has {wrong}; there: {marked}")
    if at and bare in known:
        raise BackboneError(f"'{bare}' has no variants, '{variant}' was asked for; write {bare}")
    there = ", ".join(known) or "none: install softprompt again"
    hint = did_you_mean(name, known)
    raise BackboneError(f"no backbone '{name}' ships in the package; there: {there}{hint}")


def shipped_folder(name: str) -> Path:
    """The folder of a shipped backbone, by its whole name."""
    return models_folder() / name.removeprefix(PREFIX)


def describe(name: str) -> Shipped:
    """What a shipped backbone is.

    Args:
        name: whole, one of `shipped_models()`.
    Raises:
        BackboneError: its files are damaged.
    """
    from transformers import AutoConfig

    folder = shipped_folder(name)
    weights = folder / "model.safetensors"
    try:
        family = family_of(AutoConfig.from_pretrained(folder, local_files_only=True))
        parameters, size = _count(weights), weights.stat().st_size
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise BackboneError(f"{folder}: damaged ({first}); install softprompt again") from error
    bare, _, variant = name.partition("@")
    default = not variant or DEFAULT_VARIANTS.get(bare.removeprefix(PREFIX)) == variant
    return Shipped(name, family, parameters, size, bare if default else None)


def _count(weights: Path) -> int:
    """Numbers in a safetensors file, read off its header.

    The file begins with the header's length, 8 bytes little-endian, and the header as JSON.
    """
    with weights.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")
