"""Two tensors of a prompt that are stored together or not at all: both of floating point, both there.

Knows names and numbers, not what the two are for.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from softprompt.errors import PromptError


def check_floating(what: str, first: Tensor, second: Tensor) -> None:
    """Refuse numbers that nothing can be learned in.

    Args:
        what: the two, in words.
    Raises:
        PromptError: one of them is of whole numbers.
    """
    if not (first.is_floating_point() and second.is_floating_point()):
        raise PromptError(
            f"{what}: expected floating point numbers, got {first.dtype} and {second.dtype}"
        )


def stored_pair(
    tensors: Mapping[str, Tensor], names: tuple[str, str], what: str
) -> tuple[Tensor, Tensor] | None:
    """The two of these names; None where there are none.

    Args:
        what: the two, in words.
    Raises:
        PromptError: one of the two alone.
    """
    given = [name for name in names if name in tensors]
    if len(given) == 1:
        raise PromptError(f"{what}: expected {names[0]} and {names[1]}, got {given[0]} alone")
    return (tensors[names[0]], tensors[names[1]]) if given else None
