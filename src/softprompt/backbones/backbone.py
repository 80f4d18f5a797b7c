"""One interface over the three families: embed, hidden states, logits at positions, generate.

The only file that calls a model. Knows embeddings, masks and positions; not tasks, templates or
methods. The model is frozen and without dropout unless it is opened.

Dimensions: B rows, S positions, E input-embedding width, H hidden size, V vocabulary,
D decoder rows, n positions asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from softprompt.backbones.fingerprint import identity_of
from softprompt.backbones.greedy import greedy_config, until
from softprompt.backbones.inputs import Inputs, pads_first, positions_from_mask
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

    def rows(self, index: Int[Tensor, " D"]) -> Encoded:
        """The rows that each decoder row reads."""
        return Encoded(self.states[index], self.mask[index])


class Backbone:
    """A frozen language model of any family.

    Args:
        name: as the user wrote it; of a shipped one with its variant.
        model: a transformers model with its language-model head.
        config: the model's config.
        tokenizer: the renderer's tokenizer.
        traits: how to feed the model.
        stored: precision of the checkpoint.
        identity: its fingerprint, where the model no longer holds the stored weights.
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
        identity: BackboneIdentity | None = None,
    ):
        self.name, self.config, self.tokenizer, self.traits = name, config, tokenizer, traits
        self._model: Any = model.requires_grad_(False).eval()
        self._stored, self._identity = stored, identity
        if self.family != "masked":
            # Set on the model: what a call leaves open is filled from there.
            self._model.generation_config = greedy_config(
                self._model.generation_config, config, tokenizer.end_of_text, tokenizer.pad
            )

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
        return int(self.config.vocab_size)  # the output embedding may be a layer before V

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
        return self.tokenizer.limit if self.traits.limit is None else self.traits.limit

    @cached_property
    def identity(self) -> BackboneIdentity:
        """The fingerprint that a prompt carries; taken once, before anything is opened."""
        return self._identity or identity_of(
            self._model,
            self.config,
            name=self.name,
            family=self.family,
            width=self.width,
            stored=self._stored,
        )

    # --- embeddings ---------------------------------------------------------------------------

    def embed(self, ids: Int[Tensor, " ..."], *, decoder: bool = False) -> Float[Tensor, "... E"]:
        """Token ids as the network receives them, scaling included, `[..., E]`."""
        table = self._model.get_input_embeddings()
        embedded: Tensor = table(ids.to(self.device))
        scale = self.traits.decoder_scale if decoder else self.traits.scale
        return embedded if scale == 1.0 else embedded * scale

    def rows(self, ids: Sequence[int], *, decoder: bool = False) -> Float[Tensor, "n E"]:
        """Embeddings of a list of ids in f32, without gradient, `[n, E]`."""
        with torch.no_grad():
            return self.embed(torch.tensor(list(ids), dtype=torch.long), decoder=decoder).float()

    @cached_property
    def rms(self) -> float:
        """Root mean square per element of the embedding rows as the network receives them."""
        with torch.no_grad():
            everything = torch.arange(self._model.get_input_embeddings().weight.shape[0])
            return float(self.embed(everything).float().pow(2).mean().sqrt())

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
        rows: Int[Tensor, " n"],
        columns: Int[Tensor, " n"],
        encoded: Encoded | None = None,
    ) -> Float[Tensor, "n V"]:
        """Logits at chosen positions only, `[n, V]`; f32, or f64 where the backbone is f64.

        Args:
            inputs: the sequence; for an encoder-decoder, the decoder's.
            rows, columns: which positions.
            encoded: for an encoder-decoder, one encoder row for each decoder row.
        """
        rows, columns = rows.to(self.device), columns.to(self.device)
        with keep_positions(self._model, rows, columns):
            logits: Tensor = self._model(**self._arguments(inputs, encoded)).logits
        return _wide(logits.reshape(-1, logits.shape[-1]))

    def hidden(
        self,
        inputs: Inputs,
        rows: Int[Tensor, " n"],
        columns: Int[Tensor, " n"],
        encoded: Encoded | None = None,
    ) -> Float[Tensor, "n H"]:
        """Last hidden states in f32 at chosen positions, `[n, H]`; where a model projects them to
        the embedding's width before its head (OPT-350m), the projected ones."""
        rows, columns = rows.to(self.device), columns.to(self.device)
        with keep_positions(self._model, rows[:1], columns[:1]):
            output = self._model(**self._arguments(inputs, encoded), output_hidden_states=True)
        layers = output.hidden_states if encoded is None else output.decoder_hidden_states
        states: Tensor = layers[-1]
        return states[rows, columns].float()

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
        self, inputs: Inputs, max_new_tokens: int, decoder: Inputs | None = None
    ) -> list[tuple[int, ...]]:
        """Greedy continuation of each row, its end token and what follows cut off.

        Args:
            inputs: what is continued, or what the encoder reads; pads on either side.
            max_new_tokens: at most this many tokens, and no more than the model has positions for.
            decoder: what each decoder row begins with, all of one length; learned rows may be
                among it. By default the family's decoder start.
        Raises:
            BackboneError: a masked backbone, which cannot generate; or decoder rows of several
                lengths.
        """
        if self.family == "masked":
            raise BackboneError(
                "a masked backbone fills slots and cannot generate free text; use an "
                "encoder-decoder or causal backbone"
            )
        made: list[tuple[int, ...]] = [()] * len(inputs.mask)
        for most, rows in self._room(inputs, decoder, max_new_tokens).items():
            part = inputs.rows(torch.tensor(rows, device=inputs.mask.device))
            if self.family == "causal":
                out = self._continue(pads_first(part), most)
            else:
                out = self._decode(self.encode(part), decoder, most)
            settings = self._model.generation_config
            ends = (*(settings.eos_token_id or ()), settings.pad_token_id)
            for row, ids in zip(rows, out.tolist(), strict=True):
                made[row] = until(ids, ends)
        return made

    def _room(self, inputs: Inputs, decoder: Inputs | None, most: int) -> dict[int, list[int]]:
        """Which rows may generate how many tokens: `most`, or up to the last position.

        Only a row that is itself near the limit stops there, whatever it shares a batch with.
        """
        lengths = inputs.mask.sum(dim=1).tolist()
        if self.family == "encoder_decoder":
            begun = len(self.decoder_start) if decoder is None else decoder.mask.shape[1]
            lengths = [begun] * len(lengths)
        groups: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            room = most if self.traits.limit is None else min(most, self.traits.limit - length)
            if room > 0:
                groups.setdefault(room, []).append(row)
        return groups

    def _continue(self, inputs: Inputs, most: int) -> Int[Tensor, "B n"]:
        made: Tensor = self._model.generate(
            inputs_embeds=inputs.embeddings.to(self.dtype),
            attention_mask=inputs.mask.to(self.device).long(),
            max_new_tokens=most,
        )
        return made

    def _decode(self, encoded: Encoded, decoder: Inputs | None, most: int) -> Int[Tensor, "B n"]:
        """`generate` of transformers takes ids only for a decoder: no learned rows among them."""
        count = len(encoded.mask)
        if decoder is None:
            start = torch.tensor([self.decoder_start] * count)
            mask = torch.ones_like(start, dtype=torch.bool)
            decoder = Inputs(self.embed(start, decoder=True), mask)
        if not bool(decoder.mask.all()):
            raise BackboneError("decoder rows of several lengths, expected one length in a batch")
        ends = torch.tensor(self._model.generation_config.eos_token_id or [], device=self.device)
        arguments = self._arguments(decoder, encoded) | {"use_cache": True}
        del arguments["decoder_attention_mask"]  # no pads: whatever the cache holds is seen
        made: list[Tensor] = []
        ended = torch.zeros(count, dtype=torch.bool, device=self.device)
        while len(made) < most and not bool(ended.all()):
            output = self._model(**arguments)
            made.append(output.logits[:, -1].argmax(dim=-1))
            ended = ended | torch.isin(made[-1], ends)
            arguments["past_key_values"] = output.past_key_values
            arguments["decoder_inputs_embeds"] = self.embed(made[-1][:, None], decoder=True)
        return torch.stack(made, dim=1)

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


def _wide(states: Tensor) -> Tensor:
    """At least f32."""
    return states.to(torch.promote_types(states.dtype, torch.float32))
