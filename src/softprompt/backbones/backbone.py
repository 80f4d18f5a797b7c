"""One interface over the three families: embed, hidden states, logits at positions, generate.

The only file that calls a model. Knows embeddings, masks and positions; not tasks, templates or
methods. The model is frozen and without dropout unless it is opened.

Dimensions: B rows, S positions, E input-embedding width, H hidden size, V vocabulary,
D decoder rows, n positions asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from softprompt.backbones.fingerprint import identity_of
from softprompt.backbones.inputs import Inputs, positions_from_mask
from softprompt.backbones.kept_positions import keep_positions
from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.backbones.traits import Traits
from softprompt.errors import BackboneError
from softprompt.prompts.identity import BackboneIdentity
from softprompt.text.tokens import Family


@dataclass(frozen=True)
class Encoded:
    """What an encoder made of its input: states `[B, S, H]` and their mask `[B, S]`."""

    states: Tensor
    mask: Tensor

    def rows(self, index: Int[Tensor, "D"]) -> Encoded:
        """The rows that each decoder row reads."""
        return Encoded(self.states[index], self.mask[index])


class Backbone:
    """A frozen language model of any family.

    Args:
        name: as the user wrote it.
        model: a transformers model with its language-model head.
        config: the model's config.
        tokenizer: the renderer's tokenizer.
        traits: how to feed the model.
        stored: precision of the checkpoint.
    """

    def __init__(
        self,
        *,
        name: str,
        model: nn.Module,
        config: Any,
        tokenizer: TextTokenizer,
        traits: Traits,
        stored: torch.dtype,
    ):
        self.name, self.config, self.tokenizer, self.traits = name, config, tokenizer, traits
        self._model: Any = model.requires_grad_(False).eval()
        self._stored = stored
        self._scale, self._decoder_scale = self._embedding_scales()

    @property
    def family(self) -> Family:
        return self.traits.family

    @property
    def width(self) -> int:
        """E: what a prompt row must measure."""
        return self.traits.width

    @property
    def vocabulary(self) -> int:
        """V."""
        return int(self._model.get_output_embeddings().weight.shape[0])

    @property
    def device(self) -> torch.device:
        return next(self._model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self._model.parameters()).dtype

    @property
    def model(self) -> nn.Module:
        """The transformers model, for what opens or inspects weights."""
        model: nn.Module = self._model
        return model

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self._model.parameters())

    @cached_property
    def limit(self) -> int | None:
        """How many positions fit, prompt rows and special tokens included; None: no limit."""
        declared = self.tokenizer.limit
        known = self.traits.limit
        if known is None:
            return declared
        return known

    @cached_property
    def identity(self) -> BackboneIdentity:
        """The fingerprint that a prompt carries; taken once, before anything is opened."""
        return identity_of(
            self._model,
            self.config,
            name=self.name,
            family=self.family,
            width=self.width,
            stored=self._stored,
        )

    # --- embeddings ---------------------------------------------------------------------------

    def embed(self, ids: Int[Tensor, "..."], *, decoder: bool = False) -> Float[Tensor, "... E"]:
        """Token ids as the network receives them, scaling included, `[..., E]`."""
        table = self._model.get_input_embeddings()
        embedded: Tensor = table(ids.to(self.device))
        scale = self._decoder_scale if decoder else self._scale
        return embedded if scale == 1.0 else embedded * scale

    def rows(self, ids: Sequence[int]) -> Float[Tensor, "n E"]:
        """Embeddings of a list of ids in f32, without gradient, `[n, E]`."""
        with torch.no_grad():
            return self.embed(torch.tensor(list(ids), dtype=torch.long)).float()

    @cached_property
    def rms(self) -> float:
        """Root mean square per element of the embedding rows as the network receives them."""
        with torch.no_grad():
            table: Tensor = self._model.get_input_embeddings().weight
            return float(table.float().pow(2).mean().sqrt()) * self._scale

    def _embedding_scales(self) -> tuple[float, float]:
        """The factors between the embedding module's output and what the network works on.

        Measured, not assumed: the candidate with which embeddings give the same output as their
        ids. Pegasus scales ids inside its encoder; BART scales in the module; T5 not at all.
        """
        ordinary = [i for i in range(self.tokenizer.size) if i not in self.tokenizer.special]
        ids = torch.tensor([ordinary[len(ordinary) // 2 :][:3] or [0]], device=self.device)
        candidates = (1.0, math.sqrt(self.width))
        if self.family != "encoder_decoder":
            return self._matching_scale(self._model, ids, candidates), 1.0
        encoder, decoder = self._model.get_encoder(), self._model.get_decoder()
        return (
            self._matching_scale(encoder, ids, candidates),
            self._matching_scale(decoder, ids, candidates),
        )

    @torch.no_grad()
    def _matching_scale(self, network: Any, ids: Tensor, candidates: Sequence[float]) -> float:
        expected = _first_output(network(input_ids=ids))
        embedded = self._model.get_input_embeddings()(ids)
        tolerance = 1e-3 if self.dtype in (torch.float32, torch.float64) else 5e-2
        for scale in candidates:
            got = _first_output(network(inputs_embeds=embedded * scale))
            if torch.allclose(got, expected, rtol=tolerance, atol=tolerance):
                return scale
        raise BackboneError(
            f"{self.name}: {type(self._model).__name__} gives another output for embeddings than "
            "for the ids they belong to, so nothing can be learned in front of its input"
        )

    # --- forward ------------------------------------------------------------------------------

    def encode(self, inputs: Inputs) -> Encoded:
        """Run the encoder of an encoder-decoder."""
        states = self._model.get_encoder()(
            inputs_embeds=inputs.embeddings.to(self.dtype),
            attention_mask=inputs.mask.to(self.device).long(),
        ).last_hidden_state
        return Encoded(states, inputs.mask.to(self.device))

    def logits(
        self,
        inputs: Inputs,
        rows: Int[Tensor, "n"],
        columns: Int[Tensor, "n"],
        encoded: Encoded | None = None,
    ) -> Float[Tensor, "n V"]:
        """Logits in f32 at chosen positions only, `[n, V]`.

        Args:
            inputs: the sequence; for an encoder-decoder, the decoder's.
            rows, columns: which positions.
            encoded: for an encoder-decoder, one encoder row for each decoder row.
        """
        rows, columns = rows.to(self.device), columns.to(self.device)
        with keep_positions(self._model, rows, columns):
            logits: Tensor = self._model(**self._arguments(inputs, encoded)).logits
        return logits.reshape(-1, logits.shape[-1]).float()

    def hidden(
        self,
        inputs: Inputs,
        rows: Int[Tensor, "n"],
        columns: Int[Tensor, "n"],
        encoded: Encoded | None = None,
    ) -> Float[Tensor, "n H"]:
        """Last hidden states in f32 at chosen positions, `[n, H]`."""
        rows, columns = rows.to(self.device), columns.to(self.device)
        with keep_positions(self._model, rows[:1], columns[:1]):
            output = self._model(**self._arguments(inputs, encoded), output_hidden_states=True)
        states = (
            output.hidden_states if encoded is None else output.decoder_hidden_states
        )[-1]
        return states[rows, columns].float()  # type: ignore[no-any-return]

    def _arguments(self, inputs: Inputs, encoded: Encoded | None) -> dict[str, Any]:
        embeddings, mask = inputs.embeddings.to(self.dtype), inputs.mask.to(self.device)
        if encoded is not None:
            from transformers.modeling_outputs import BaseModelOutput

            return {
                "encoder_outputs": BaseModelOutput(last_hidden_state=encoded.states),
                "attention_mask": encoded.mask.long(),
                "decoder_inputs_embeds": embeddings,
                "decoder_attention_mask": mask.long(),
                "use_cache": False,
            }
        arguments: dict[str, Any] = {"inputs_embeds": embeddings, "attention_mask": mask.long()}
        if self.traits.takes_positions:
            arguments["position_ids"] = positions_from_mask(mask, self.traits.first_position)
        if self.traits.segments and inputs.segments is not None:
            last = self.traits.segments - 1
            arguments["token_type_ids"] = inputs.segments.to(self.device).clamp(max=last)
        if self.family == "causal":
            arguments["use_cache"] = False
        return arguments

    # --- generation ---------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self, inputs: Inputs, max_new_tokens: int, decoder_start: Sequence[int] = ()
    ) -> list[tuple[int, ...]]:
        """Greedy continuation of each row, special tokens cut off.

        Args:
            inputs: what is continued (causal: padded on the left), or what the encoder reads.
            max_new_tokens: at most this many tokens.
            decoder_start: ids the decoder begins with (encoder-decoder).
        Raises:
            BackboneError: a masked backbone, which cannot generate.
        """
        if self.family == "masked":
            raise BackboneError(
                "a masked backbone fills slots and cannot generate free text; use an "
                "encoder-decoder or causal backbone"
            )
        mask = inputs.mask.to(self.device)
        common: dict[str, Any] = {
            "inputs_embeds": inputs.embeddings.to(self.dtype),
            "attention_mask": mask.long(),
            "max_new_tokens": max_new_tokens,
            "do_sample": False,
            "num_beams": 1,
            "pad_token_id": self._pad,
        }
        skip = 0
        if self.family == "encoder_decoder":
            start = torch.tensor([list(decoder_start)] * len(mask), device=self.device)
            common["decoder_input_ids"] = start
            skip = start.shape[1]
        out = self._model.generate(**common)[:, skip:].tolist()
        ends = self._ends
        return [_until(row, ends) for row in out]

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad
        return pad if pad is not None else (self.tokenizer.end_of_text or 0)

    @cached_property
    def _ends(self) -> frozenset[int]:
        declared = self._model.generation_config.eos_token_id
        ends = declared if isinstance(declared, list) else [declared]
        return frozenset(i for i in [*ends, self.tokenizer.end_of_text, self.tokenizer.pad] if i is not None)

    @property
    def decoder_start(self) -> tuple[int, ...]:
        """What every decoder sequence begins with (T5: pad; BART: </s> <s>)."""
        start = self.config.decoder_start_token_id
        if start is None:
            raise BackboneError(f"{self.name}: its config names no decoder_start_token_id")
        return (int(start), *self.tokenizer.start)

    # --- dropout ------------------------------------------------------------------------------

    @contextmanager
    def dropout(self, on: bool = True) -> Iterator[None]:
        """Within the block the frozen network drops out as in its own training, if `on`."""
        self._model.train(on)
        try:
            yield
        finally:
            self._model.eval()


def _first_output(output: Any) -> Tensor:
    found = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return found.float()  # type: ignore[no-any-return]


def _until(ids: Sequence[int], ends: frozenset[int]) -> tuple[int, ...]:
    for place, token in enumerate(ids):
        if token in ends:
            return tuple(ids[:place])
    return tuple(ids)
