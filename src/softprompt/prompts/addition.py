"""What a prompt adds to a backbone, and how a batch reads it row by row.

Knows tensors and shapes, not models, tokens or templates: everything here is a pure function.
Dimensions: N prompts, P rows or learned positions, Pmax those of the longest, E input width, B examples,
T positions, L layers, K heads of keys, D width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from softprompt.errors import PromptError
from softprompt.prompts.offset import LEFT, RIGHT, Offset, stack_offsets
from softprompt.prompts.readout import BIAS, WEIGHT, Readout, Readouts, stack_readouts

ATTENDED = "attended."
"""What the names of stored keys and values begin with; their stack follows."""


@dataclass(frozen=True, eq=False)
class Addition:
    """What is added to a frozen backbone.

    Args:
        rows: learned rows `[P, E]` among the embedded text, or None for a prompt that adds none.
        attended: by stack of attentions, learned keys and values that each layer reads beside its own,
            `[L, 2, P, K, D]`, of one P.
        readout: class vectors that answer instead of label words, or None.
        offset: what is added to the embeddings of the text, or None.
    Raises:
        PromptError: rows that are no floating point matrix; keys and values of another shape.
    """

    rows: Tensor | None = None
    attended: Mapping[str, Tensor] = field(default_factory=dict)
    readout: Readout | None = None
    offset: Offset | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and not (self.rows.dim() == 2 and self.rows.is_floating_point()):
            raise PromptError(
                f"prompt rows: expected a floating point matrix [P, E], "
                f"got {self.rows.dtype} of shape {list(self.rows.shape)}"
            )
        for stack, tensor in self.attended.items():
            if tensor.dim() != 5 or tensor.shape[1] != 2 or not tensor.is_floating_point():
                raise PromptError(
                    f"keys and values of '{stack}': expected floating point [L, 2, P, K, D], got "
                    f"{tensor.dtype} of shape {list(tensor.shape)}"
                )
        if len({tensor.shape[2] for tensor in self.attended.values()}) > 1:
            raise PromptError("keys and values of several lengths in one prompt, expected one")

    @property
    def n_rows(self) -> int:
        """P, the number of soft rows; 0 without any."""
        return 0 if self.rows is None else self.rows.shape[0]

    @property
    def n_attended(self) -> int:
        """P, the number of learned keys and values of each layer; 0 without any."""
        return next((tensor.shape[2] for tensor in self.attended.values()), 0)

    def tensors(self) -> dict[str, Tensor]:
        """What there is, by name: the form in which it is stored and counted."""
        rows = {} if self.rows is None else {"rows": self.rows}
        rest = [one.tensors() for one in (self.readout, self.offset) if one is not None]
        attended = {ATTENDED + stack: tensor for stack, tensor in self.attended.items()}
        return {name: t for part in (rows, attended, *rest) for name, t in part.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Addition:
        """The inverse of `tensors`.

        Raises:
            PromptError: a name that no addition has, class vectors or an offset that are not whole.
        """
        attended = {
            name.removeprefix(ATTENDED): tensor
            for name, tensor in tensors.items()
            if name.startswith(ATTENDED)
        }
        own = {"rows", WEIGHT, BIAS, LEFT, RIGHT}
        known = {*own, *(ATTENDED + stack for stack in attended)}
        unknown = sorted(set(tensors) - known)
        if unknown:
            raise PromptError(
                f"unknown tensors in a prompt: {', '.join(unknown)}; known: rows, {ATTENDED}…, "
                f"{', '.join(sorted(own - {'rows'}))}. "
                "A newer softprompt may have written it: upgrade softprompt"
            )
        readout, offset = Readout.from_tensors(tensors), Offset.from_tensors(tensors)
        return cls(tensors.get("rows"), attended, readout, offset)

    def snapshot(self) -> Addition:
        """A copy that further training does not touch: detached, float32, on the CPU."""
        copies = {
            name: tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, tensor in self.tensors().items()
        }
        return self.from_tensors(copies)


@dataclass(frozen=True, eq=False)
class Stacked:
    """Several additions as one block.

    Args:
        rows: `[N, Pmax, E]`, zeros beyond each prompt's own length; `[N, 0, 0]` if none has rows.
        lengths: rows of each prompt, `[N]`, int64.
        attended: by stack, keys and values `[N, L, 2, Pmax, K, D]`, zeros beyond each prompt's own.
        n_attended: by stack, how many of them each prompt has, `[N]`, int64.
        readouts: class vectors of those that have some, or None.
        offsets: what is added at each text position, `[N, Smax, E]`, zeros beyond each prompt's own,
            or None.
    """

    rows: Float[Tensor, "N Pmax E"]
    lengths: Int[Tensor, " N"]
    attended: Mapping[str, Float[Tensor, "N L 2 Pmax K D"]]
    n_attended: Mapping[str, Int[Tensor, " N"]]
    readouts: Readouts | None = None
    offsets: Float[Tensor, "N Smax E"] | None = None


def described(shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """What an addition's tensors are, in words.

    Args:
        shapes: of its tensors, by name.
    """
    facts: dict[str, str] = {}
    rows = shapes.get("rows")
    if rows is not None:
        facts["rows"] = f"{rows[0]} of width {rows[1]}"
    stacks = [name for name in shapes if name.startswith(ATTENDED)]
    if stacks:
        where = ", ".join(
            f"{name.removeprefix(ATTENDED)} of {shapes[name][0]} layers" for name in stacks
        )
        facts["keys and values"] = f"{shapes[stacks[0]][2]} in every layer: {where}"
    if WEIGHT in shapes:
        facts["class vectors"] = f"{shapes[WEIGHT][0]} of width {shapes[WEIGHT][1]}, with a bias"
    if LEFT in shapes:
        facts["offset"] = f"of {shapes[LEFT][0]} text positions, rank {shapes[LEFT][1]}"
    return facts or {"rows": "none"}


def stack(additions: Sequence[Addition]) -> Stacked:
    """Put N additions side by side; gradients flow back into each one's own rows.

    Raises:
        PromptError: no addition, rows of different widths, dtypes or devices, or class vectors or
            offsets of different widths.
    """
    if not additions:
        raise PromptError("no prompt to stack, expected at least one")
    given = [addition.rows for addition in additions if addition.rows is not None]
    lengths = torch.tensor([addition.n_rows for addition in additions])
    attended = _stack_attended(additions)
    n_attended = {
        stack: torch.tensor(
            [one.n_attended if stack in one.attended else 0 for one in additions],
            device=tensor.device,
        )
        for stack, tensor in attended.items()
    }
    readouts = stack_readouts([addition.readout for addition in additions])
    offsets = stack_offsets([addition.offset for addition in additions])
    if not given:
        rows = torch.zeros(len(additions), 0, 0)
        return Stacked(rows, lengths, attended, n_attended, readouts, offsets)
    first = given[0]
    for rows in given[1:]:
        if (rows.shape[1], rows.dtype, rows.device) != (first.shape[1], first.dtype, first.device):
            raise PromptError(
                "prompts of one batch must agree: expected rows of "
                f"width {first.shape[1]}, {first.dtype} on {first.device}, "
                f"got width {rows.shape[1]}, {rows.dtype} on {rows.device}"
            )
    empty = first.new_zeros(0, first.shape[1])
    blocks = [empty if addition.rows is None else addition.rows for addition in additions]
    rows = pad_sequence(blocks, batch_first=True)
    return Stacked(rows, lengths.to(first.device), attended, n_attended, readouts, offsets)


def stacked(additions: Sequence[Addition]) -> Stacked | None:
    """`stack`, or None where no prompt adds anything.

    Raises:
        PromptError: as `stack`.
    """
    return stack(additions) if any(one.tensors() for one in additions) else None


def _stack_attended(additions: Sequence[Addition]) -> dict[str, Tensor]:
    """Keys and values of N additions side by side, by stack, `[N, L, 2, Pmax, K, D]`."""
    most = max(addition.n_attended for addition in additions)
    stacked: dict[str, Tensor] = {}
    for stack in dict.fromkeys(name for addition in additions for name in addition.attended):
        given = [one.attended[stack] for one in additions if stack in one.attended]
        shapes = {(*tensor.shape[:2], *tensor.shape[3:]) for tensor in given}
        if len(shapes) > 1:
            raise PromptError(
                f"keys and values of '{stack}' of several shapes, expected prompts of one backbone"
            )
        layers, two, _, heads, width = given[0].shape
        none = given[0].new_zeros(layers, two, 0, heads, width)
        blocks = [one.attended.get(stack, none) for one in additions]
        stacked[stack] = torch.stack(
            [functional.pad(b, (0, 0, 0, 0, 0, most - b.shape[2])) for b in blocks]
        )
    return stacked


def pick(
    stacked: Stacked, prompt_index: Int[Tensor, " B"], row_index: Int[Tensor, "B T"]
) -> Float[Tensor, "B T E"]:
    """Read one row per position: example b takes row `row_index[b, t]` of its own prompt.

    Args:
        stacked: N prompts.
        prompt_index: which prompt each example uses, `[B]`, integers from 0 to N−1.
        row_index: which row stands at each position, `[B, T]`; negative: none, reads zeros.
    Returns:
        `[B, T, E]`. The same row may stand at several positions; their gradients add up.
    Raises:
        PromptError: a row beyond its prompt's length. Checked on the CPU only: elsewhere the
            check would wait for the device's queue, and such a row reads zeros.
    """
    n_prompts, longest, width = stacked.rows.shape
    lengths = stacked.lengths[prompt_index][:, None]  # [B, 1]
    if row_index.device.type == "cpu" and bool((row_index >= lengths).any()):
        raise PromptError(
            f"row {int(row_index.max())} of a prompt was asked for, "
            f"the prompts of this batch have {stacked.lengths.tolist()} rows, counted from 0"
        )
    if longest == 0:
        return stacked.rows.new_zeros(*row_index.shape, width)
    absent = (row_index < 0) | (row_index >= lengths)
    flat = prompt_index[:, None] * longest + row_index.clamp(0, longest - 1)  # [B, T]
    rows = functional.embedding(flat, stacked.rows.reshape(n_prompts * longest, width))
    return rows.masked_fill(absent[..., None], 0.0)
