"""Trying out whether an architecture can do what would save work: both ways are run and compared.

What a network raises on the way says that it cannot, and why; a lack of memory says nothing of the
architecture and is passed on. Knows no networks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from softprompt.errors import BackboneError

# What a network raises that is given arguments it does not take, or keeps something else.
_FAILURES = (RuntimeError, LookupError, TypeError, ValueError, AttributeError)


def fault_of(trial: Callable[[], str | None]) -> str | None:
    """What a trial says is wrong, or what stopped it, in one line; None: all is well."""
    try:
        return trial()
    except torch.OutOfMemoryError:
        raise
    except BackboneError as error:
        return str(error)
    except _FAILURES as error:
        return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"


def difference(what: str, got: Tensor, expected: Tensor, most: float) -> str | None:
    """How far two ways are apart, relative to the largest value; None: no more than `most`."""
    off = float(((got - expected).abs().max() / expected.abs().max().clamp(min=1e-30)).detach())
    return None if off <= most else f"its {what} differ by {off:.1g} of the largest"
