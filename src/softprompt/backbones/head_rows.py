"""Logits of some tokens only: the output head with the rows of these tokens, whatever the architecture.

Within one call the head's weight and bias are the chosen rows of themselves; the model is not changed,
and gradients reach inputs and weights as ever. Whether an architecture's logits are then the same
columns is measured.
Dimensions: V vocabulary, C chosen tokens, n positions.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from softprompt.backbones.arguments import Encoded
from softprompt.backbones.inputs import Inputs
from softprompt.backbones.trials import difference, fault_of
from softprompt.errors import BackboneError

BESIDE_THE_HEAD = ("final_logits_bias",)
"""What a model itself adds to its head's output, `[1, V]` (BART, Pegasus, Marian)."""


def head_rows(model: nn.Module, vocabulary: Int[Tensor, " C"]) -> dict[str, Tensor]:
    """The tensors of a model's head by name, at the rows of some tokens.

    Raises:
        BackboneError: what the model calls its output embedding does not end in the vocabulary.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    name = next((name for name, module in model.named_modules() if module is head), None)
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    if name is None or not isinstance(head, nn.Linear) or head.weight.shape[0] != size:
        raise BackboneError("its output embedding has no row for each token")
    found = {f"{name}.weight": head.weight[vocabulary]}
    if head.bias is not None:
        found[f"{name}.bias"] = head.bias[vocabulary]
    for beside in BESIDE_THE_HEAD:
        added = getattr(model, beside, None)
        if added is not None:
            found[beside] = added[:, vocabulary]
    return found


class _Network(Protocol):
    """What is measured."""

    @property
    def family(self) -> str: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def embed(self, ids: Tensor, *, decoder: bool = False) -> Tensor: ...

    def encode(self, inputs: Inputs) -> Encoded: ...

    def logits(
        self,
        inputs: Inputs,
        rows: Tensor,
        columns: Tensor,
        encoded: Encoded | None = None,
        *,
        vocabulary: Tensor | None = None,
    ) -> Float[Tensor, "n V"]: ...


_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
_NARROW_TOLERANCE = 5e-2
"""Relative to the largest logit. Rounding stays far below; another row's logit is far above."""


@torch.no_grad()
def head_fault(network: _Network, ids: Int[Tensor, " T"]) -> str | None:
    """Why this network's logits of some tokens are not those columns of all; None: they are.

    Args:
        ids: ordinary tokens, two or more.
    """

    def trial() -> str | None:
        inputs = Inputs(network.embed(ids[None]), torch.ones_like(ids[None], dtype=torch.bool))
        encoded = None
        if network.family == "encoder_decoder":
            encoded = network.encode(inputs)
            inputs = Inputs(network.embed(ids[None], decoder=True), inputs.mask)
        places = torch.zeros(2, dtype=torch.long), torch.tensor([0, len(ids) - 1])
        asked = ids.flip(0)[:2].to(inputs.embeddings.device)  # out of order, not from the first on
        expected = network.logits(inputs, *places, encoded)[:, asked]
        got = network.logits(inputs, *places, encoded, vocabulary=asked)
        if got.shape != expected.shape:
            return f"it gives {got.shape[-1]} logits for {expected.shape[-1]} tokens"
        most = _TOLERANCE.get(network.dtype, _NARROW_TOLERANCE)
        return difference("logits", got, expected, most)

    return fault_of(trial)
