"""What a network remembers of a beginning: keys and values, to be read by any number of rows.

A beginning cannot see what follows, so it runs once for all rows that share it: of a causal model, or of
a decoder, which then remembers its keys and values of what the encoder read as well. Knows caches and
masks, not prompts or templates. Whether a network's cache gives what its whole rows give is measured.
Dimensions: N beginnings, P positions, S positions of the encoder, B rows, K heads, D width of a head,
E input width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from softprompt.backbones.inputs import Inputs, pick_rows
from softprompt.backbones.trials import difference, fault_of
from softprompt.errors import BackboneError

Layers = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of beginnings, in the autograd graph.

    Args:
        layers: of the beginnings themselves, `[N, K, P, D]`.
        mask: true at real positions `[N, P]`; pads stand on the left, so that the distance from a
            beginning to what follows is true (a sliding window counts places, pads among them).
        crossed: of what the encoder read, `[N, K, S, D]`; None for a causal model.
    """

    layers: Layers
    mask: Bool[Tensor, "N P"]
    crossed: Layers | None = None

    @classmethod
    def nothing(cls, mask: Bool[Tensor, "N P"], *, decoder: bool) -> Prefix:
        """What rows begin with that begin with nothing: an empty cache to be filled."""
        return cls((), mask[:, :0], () if decoder else None)

    @classmethod
    def of(cls, cache: Any, mask: Bool[Tensor, "N P"]) -> Prefix:
        """What a forward pass left in its cache.

        Raises:
            BackboneError: the network keeps something else than the keys and values of each position.
        """
        crossed = getattr(cache, "cross_attention_cache", None)
        own = _layers(cache if crossed is None else cache.self_attention_cache)
        for tensor in (t for pair in own for t in pair):
            if tensor.shape[2] != mask.shape[1]:
                raise BackboneError("a layer's cache does not hold one key and value a position")
        return cls(own, mask, None if crossed is None else _layers(crossed))

    def rows(self, index: Sequence[int]) -> Prefix:
        """The beginning of each of some rows, `len(index)` of them."""
        crossed = None if self.crossed is None else _picked(self.crossed, index)
        return Prefix(_picked(self.layers, index), pick_rows(self.mask, index), crossed)

    def first(self, length: int) -> Prefix:
        """The first positions of beginnings that have no pads, `length` of them; not a copy."""
        layers = tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in self.layers)
        return Prefix(layers, self.mask[:, :length], self.crossed)

    @classmethod
    def together(cls, given: Sequence[Prefix]) -> Prefix:
        """Beginnings of a causal model that were run apart, of any lengths, as those of one batch."""
        if len(given) == 1:
            return given[0]
        width = max(one.mask.shape[1] for one in given)

        def block(tensors: Sequence[Tensor]) -> Tensor:
            return torch.cat([pad(t, (0, 0, width - t.shape[2], 0)) for t in tensors])

        return cls(
            tuple(
                (block([keys for keys, _ in layer]), block([values for _, values in layer]))
                for layer in zip(*(one.layers for one in given), strict=True)
            ),
            torch.cat([pad(one.mask, (width - one.mask.shape[1], 0)) for one in given]),
        )

    @property
    def nbytes(self) -> int:
        """What its keys and values take, in bytes."""
        layers = (*self.layers, *(self.crossed or ()))
        return sum(t.numel() * t.element_size() for pair in layers for t in pair)

    def pads_first(self) -> Prefix:
        """The same with all pads on the left. Positions are in the keys already: nothing changes."""
        if self.mask.device.type == "cpu" and bool(self.mask.all()):  # elsewhere asking would wait
            return self
        order = self.mask.long().argsort(dim=1, stable=True)
        place = order[:, None, :, None]  # [N, 1, P, 1]

        def moved(tensor: Tensor) -> Tensor:
            return tensor.gather(2, place.expand_as(tensor))

        return Prefix(
            tuple((moved(keys), moved(values)) for keys, values in self.layers),
            self.mask.gather(1, order),
            self.crossed,
        )

    def cache(self) -> Any:
        """A transformers cache to read and append to; this prefix stays as it is."""
        if self.crossed is None:
            return _cache(self.layers)
        from transformers.cache_utils import EncoderDecoderCache

        return EncoderDecoderCache(_cache(self.layers), _cache(self.crossed))


def _cache(layers: Layers) -> Any:
    """A plain one: built from a config, layers with a sliding window would drop keys and then
    mistake what is left for the last positions."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values  # no copy: it appends out of place
        cache.layers.append(layer)
    return cache


def _layers(cache: Any) -> Layers:
    layers = tuple((layer.keys, layer.values) for layer in getattr(cache, "layers", ()))
    if not layers:
        raise BackboneError("the network put no keys and values into its cache")
    if any(tensor is None or tensor.dim() != 4 for pair in layers for tensor in pair):
        raise BackboneError("a layer's cache holds something else than keys and values")
    return layers


def _picked(layers: Layers, index: Sequence[int]) -> Layers:
    return tuple((pick_rows(keys, index), pick_rows(values, index)) for keys, values in layers)


# --- can this network do it? --------------------------------------------------------------------

_TOLERANCE = {torch.float32: (1e-3, 1e-3), torch.float64: (1e-4, 1e-4)}
_NARROW_TOLERANCE = (5e-2, 0.2)
"""Of scores and gradients, relative to the largest. Rounding stays far below; a lost or misplaced
key, or a cache outside the graph, is far above."""


class _Network(Protocol):
    """What is measured."""

    @property
    def family(self) -> str: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def embed(self, ids: Tensor, *, decoder: bool = False) -> Tensor: ...

    def encode(self, inputs: Inputs) -> Any: ...

    def logits(
        self,
        inputs: Inputs,
        rows: Tensor,
        columns: Tensor,
        encoded: Any = None,
        *,
        prefix: Prefix | None = None,
    ) -> Tensor: ...

    def prefill(
        self, inputs: Inputs, rows: Tensor, columns: Tensor, encoded: Any = None
    ) -> tuple[Tensor, Prefix]: ...


def prefix_fault(network: _Network, ids: Int[Tensor, " 4"]) -> str | None:
    """Why this network's rows are not what they are after a cached beginning; None: they are.

    Three rows of two beginnings, continued by 1, 2 and 1 tokens: logits within the beginnings and
    behind them, and the gradient of everything that is read. The beginnings of a causal model are
    of 3 and 2 tokens (both kinds of pads), those of a decoder of 2, which reads 3 and 2.

    Args:
        ids: four ordinary tokens.
    """

    def trial() -> str | None:
        with torch.enable_grad():
            pairs = _behind_and_whole(network, ids)
        allowed = _TOLERANCE.get(network.dtype, _NARROW_TOLERANCE)
        faults = map(difference, ("scores", "gradients"), *zip(*pairs, strict=True), allowed)
        return next((fault for fault in faults if fault), None)

    return fault_of(trial)


def _behind_and_whole(network: _Network, ids: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """Logits and gradients, behind a cache and of whole rows."""
    a, b, c, d = ids.tolist()
    decoder = network.family == "encoder_decoder"
    begun, follow, of = [(a, b, c), (d, b)], [(a,), (c, d), (b,)], [0, 1, 1]

    def embedded(row: tuple[int, ...], *, decoder: bool = decoder) -> Tensor:
        return network.embed(torch.tensor(row), decoder=decoder).detach()

    leaves, encoded = [], None
    if decoder:
        leaves = [embedded(row, decoder=False).requires_grad_() for row in begun]
        encoded = network.encode(_joined(leaves))
        begun = [(a, b), (d, b)]
    beginnings = [embedded(row).requires_grad_() for row in begun]
    tails = [embedded(row) for row in follow]
    leaves = [*leaves, *beginnings]
    places = (torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 0]))
    offset = torch.tensor([len(begun[n]) for n in of])[places[0]]
    inside = (torch.tensor([0, 1]), torch.tensor([1, 0]))
    whole = _joined([torch.cat([beginnings[n], t]) for n, t in zip(of, tails, strict=True)])
    rows, columns = torch.cat([places[0], inside[0]]), torch.cat([places[1] + offset, inside[1]])
    reading = None if encoded is None else encoded.rows(of)
    expected = network.logits(whole, rows, columns, reading)
    first, prefix = network.prefill(_joined(beginnings), *inside, encoded)
    behind = network.logits(_joined(tails), *places, reading, prefix=prefix.rows(of))
    got = torch.cat([behind, first])
    return (got, expected), (_gradients(got, leaves), _gradients(expected, leaves))


def _joined(rows: Sequence[Float[Tensor, "T E"]]) -> Inputs:
    """Rows of embeddings as one batch, padded on the right."""
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return Inputs(padded, torch.arange(padded.shape[1], device=rows[0].device) < lengths[:, None])


def _gradients(logits: Tensor, leaves: Sequence[Tensor]) -> Tensor:
    """Of Σ log p of four tokens at all positions, a function of all logits; flat."""
    found = torch.autograd.grad(
        torch.log_softmax(logits, dim=-1)[:, :4].sum(), leaves, retain_graph=True
    )
    return torch.cat([one.flatten() for one in found])
