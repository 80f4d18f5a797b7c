"""Which backbone a prompt was learned on, and whether another one is the same.

Knows names, hashes and a few numbers; `backbones/` computes them, nothing here sees a model.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from softprompt.errors import PromptError

SKETCH_TOLERANCE = 2e-2
"""Relative: bfloat16 keeps 8 bits (4e-3 a number); another model differs by far more."""

SMALLEST = 1e-7
"""Absolute: what float16 can no longer tell from zero (its smallest step is 6e-8)."""

_TYPES: Mapping[str, type] = {
    "name": str,
    "family": str,
    "architecture": str,
    "weights": str,
    "dtype": str,
    "sketch": list,
    "width": int,
}


@dataclass(frozen=True)
class BackboneIdentity:
    """A backbone's name and fingerprint.

    Args:
        name: as it was loaded: a hub name or a path.
        family: masked, encoder_decoder or causal.
        architecture: hash of the configuration keys that shape the network.
        weights: hash of the stored bytes of the input embedding and of the last block.
        dtype: of the stored weights, for example float32.
        sketch: a few numbers of the weights that survive a change of precision.
        width: E, the width of the input embedding.
    """

    name: str
    family: str
    architecture: str
    weights: str
    dtype: str
    sketch: tuple[float, ...]
    width: int

    def to_json(self) -> dict[str, Any]:
        """JSON-able, in the order of the fields."""
        return {**asdict(self), "sketch": list(self.sketch)}

    @classmethod
    def from_json(cls, values: Any, where: str = "backbone") -> BackboneIdentity:
        """The inverse of `to_json`.

        Args:
            values: what stands in the file.
            where: for messages.
        Raises:
            PromptError: a missing key or a value of a wrong type.
        """
        if not isinstance(values, Mapping):
            raise PromptError(f"{where}: expected a mapping, got {type(values).__name__}")
        for key, kind in _TYPES.items():
            if key not in values:
                raise PromptError(f"{where}: '{key}' is missing")
            if type(values[key]) is not kind:  # exactly: JSON's true is no int
                raise PromptError(
                    f"{where}: '{key}': expected {kind.__name__}, got {values[key]!r}"
                )
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in values["sketch"]):
            raise PromptError(f"{where}: 'sketch': expected numbers, got {values['sketch']!r}")
        sketch = tuple(float(number) for number in values["sketch"])
        return cls(**{**{key: values[key] for key in _TYPES}, "sketch": sketch})

    def compare(self, other: BackboneIdentity, what: str = "the prompt") -> None:
        """Accept `other` as the backbone that a prompt was learned on, or refuse it.

        Args:
            other: the backbone that the prompt is about to run on.
            what: the prompt's name, for messages.
        Raises:
            PromptError: another architecture, or other weights.
        Warns:
            UserWarning: another precision of the same weights.
        """
        shape = ("family", "architecture", "width")
        differing = [key for key in shape if getattr(self, key) != getattr(other, key)]
        if not differing and self.weights == other.weights:
            return
        if not differing and self.dtype != other.dtype and _close(self.sketch, other.sketch):
            warnings.warn(
                f"{what} was learned on '{self.name}' in {self.dtype}, "
                f"'{other.name}' holds another precision of the same weights ({other.dtype}); "
                "expect slightly different scores",
                UserWarning,
                stacklevel=2,
            )
            return
        differing = differing or ["weights"]
        facts = "; ".join(
            f"{key} {_short(getattr(self, key))}, here {_short(getattr(other, key))}"
            for key in differing
        )
        raise PromptError(
            f"{what} was learned on '{self.name}' and does not fit '{other.name}': "
            f"other {' and '.join(differing)} ({facts}). "
            f"Load '{self.name}', or learn the prompt again on '{other.name}'"
        )


def check_backbone(
    learned_on: BackboneIdentity | None,
    backbone: BackboneIdentity,
    width: int | None,
    what: str = "the prompt",
) -> None:
    """Accept a prompt for a backbone, or refuse it.

    Args:
        learned_on: the prompt's own record; None for a foreign prompt without one.
        backbone: what it is about to run on.
        width: E of the prompt's rows; None if it has none.
        what: the prompt's name, for messages.
    Raises:
        PromptError: rows of another width, or another backbone.
    Warns:
        UserWarning: another precision of the same weights, or nothing to check against.
    """
    if learned_on is not None:
        learned_on.compare(backbone, what)
    if width is not None and width != backbone.width:
        raise PromptError(
            f"{what} has rows of width {width}, which do not fit '{backbone.name}', "
            f"expected width {backbone.width}"
        )
    if learned_on is None:
        warnings.warn(
            f"{what} does not say which backbone it was learned on: only its width was "
            f"checked against '{backbone.name}'. On another model it is noise",
            UserWarning,
            stacklevel=2,
        )


def _close(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    return (
        len(left) == len(right) > 0  # nothing to compare proves nothing
        and all(
            math.isclose(a, b, rel_tol=SKETCH_TOLERANCE, abs_tol=SMALLEST)
            for a, b in zip(left, right, strict=True)
        )
    )


def _short(value: str | int) -> str:
    return str(value)[:20]
