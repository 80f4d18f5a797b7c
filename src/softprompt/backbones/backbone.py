"""One interface over the three families: embed, hidden states, logits at positions, generate.

With `generation.py` the only file that calls a model. Knows embeddings, masks and positions; not
tasks, templates or methods. The model is frozen and without dropout unless it is opened.

Dimensions: B rows, S positions, E input-embedding width, H hidden size, V vocabulary,
D decoder rows, n positions asked for, C tokens asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from softprompt.backbones.abilities import Abilities
from softprompt.backbones.arguments import Encoded, arguments
from softprompt.backbones.attended import Sites, attending
from softprompt.backbones.fingerprint import identity_of
from softprompt.backbones.generation import generate
from softprompt.backbones.greedy import greedy_config
from softprompt.backbones.head import Head
from softprompt.backbones.head_rows import head_rows
from softprompt.backbones.inputs import Inputs
from softprompt.backbones.kept_positions import keep_positions
from softprompt.backbones.prefix import Prefix
from softprompt.backbones.quantised import is_quantised
from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.backbones.traits import Traits
from softprompt.errors import BackboneError
from softprompt.prompts.identity import BackboneIdentity
from softprompt.text.tokens import Family


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
        share_prefix: whether rows with a common beginning may read it from one cache. It changes
            cost, never numbers; off, the whole rows run, as the reference.
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
        share_prefix: bool = True,
    ):
        self.share_prefix = share_prefix
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
    def precision(self) -> str:
        """What it runs in, as `load_backbone` takes it."""
        return "int8" if is_quantised(self._model) else str(self.dtype).removeprefix("torch.")

    @property
    def model(self) -> nn.Module:
        """The transformers model, for what opens or inspects weights."""
        model: nn.Module = self._model
        return model

    @cached_property
    def n_parameters(self) -> int:
        """Of the model as loaded; counted before anything is built into it."""
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

    @cached_property
    def head(self) -> Head:
        """Its output head: what it reads, and its rows."""
        return Head(self._model)

    # --- forward ------------------------------------------------------------------------------

    def encode(self, inputs: Inputs) -> Encoded:
        """Run the encoder of an encoder-decoder."""
        with self.attending(inputs):
            states = self._model.get_encoder()(
                inputs_embeds=inputs.embeddings.to(self.dtype),
                attention_mask=inputs.mask.to(self.device).long(),
            ).last_hidden_state
        return Encoded(states, inputs.mask.to(self.device))

    @property
    def shares_prefix(self) -> bool:
        """Whether rows may read a common beginning from one cache.

        Not where dropout draws for each row, nor where the cache was measured to give other numbers.
        """
        return (
            self.family != "masked"
            and self.share_prefix
            and not self._model.training
            and self._abilities.shares_prefix
        )

    @property
    def picks_tokens(self) -> bool:
        """Whether the output head can run for some tokens only."""
        return self._abilities.picks_tokens

    @property
    def attentions(self) -> Sites:
        """Where learned keys and values may stand, and what they must measure.

        Raises:
            BackboneError: this architecture's attentions cannot be reached.
        """
        return self._abilities.attentions

    @cached_property
    def _abilities(self) -> Abilities:
        return Abilities(self)

    def logits(
        self,
        inputs: Inputs,
        rows: Int[Tensor, " n"],
        columns: Int[Tensor, " n"],
        encoded: Encoded | None = None,
        *,
        prefix: Prefix | None = None,
        vocabulary: Int[Tensor, " C"] | None = None,
    ) -> Float[Tensor, "n V"]:
        """Logits at chosen positions only, `[n, V]`, or of chosen tokens `[n, C]`; f32, or f64 where the backbone is f64.

        Args:
            inputs: the sequence; for an encoder-decoder, the decoder's.
            rows, columns: which positions.
            encoded: for an encoder-decoder, one encoder row for each decoder row.
            prefix: what each row begins with; `inputs` goes on from there, pads on the right, and
                `columns` count from there.
            vocabulary: of which tokens, where `picks_tokens`; of all by default.
        """
        return self._run(inputs, rows, columns, encoded, prefix, vocabulary)[0]

    def prefill(
        self,
        inputs: Inputs,
        rows: Int[Tensor, " n"],
        columns: Int[Tensor, " n"],
        encoded: Encoded | None = None,
        *,
        prefix: Prefix | None = None,
        vocabulary: Int[Tensor, " C"] | None = None,
    ) -> tuple[Float[Tensor, "n V"], Prefix]:
        """Run what rows begin with, pads on the right: logits there, and what is to be gone on from.

        Gradients flow through both. Args are those of `logits`; `prefix` is what the beginnings
        themselves begin with.

        Raises:
            BackboneError: the network keeps something else than the keys and values of each position.
        """
        mask = inputs.mask.to(self.device)
        seen = mask.clone()
        seen[:, :1] = True  # of an empty row too: attention to nothing is no number (BLOOM in f64)
        before = prefix or Prefix.nothing(mask, decoder=encoded is not None)
        started = replace(inputs, mask=seen)
        logits, cache = self._run(started, rows, columns, encoded, before, vocabulary)
        return logits, Prefix.of(cache, torch.cat([before.mask, mask], dim=1)).pads_first()

    def _run(
        self,
        inputs: Inputs,
        rows: Tensor,
        columns: Tensor,
        encoded: Encoded | None,
        prefix: Prefix | None,
        vocabulary: Tensor | None,
    ) -> tuple[Tensor, Any]:
        """Logits, and the cache where there is one."""
        rows, columns = rows.to(self.device), columns.to(self.device)
        given, head = self._arguments(inputs, encoded, prefix), {}
        if vocabulary is not None:
            head = head_rows(self._model, vocabulary.to(self.device))
        with keep_positions(self._model, rows, columns), self.attending(inputs):
            # Untied: an input embedding of the same tensor keeps all its rows.
            call = partial(functional_call, self._model, head, (), tie_weights=False)
            output = call(given) if head else self._model(**given)
        logits: Tensor = output.logits
        return _wide(logits.reshape(-1, logits.shape[-1])), output.get("past_key_values")

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
        with keep_positions(self._model, rows[:1], columns[:1]), self.attending(inputs):
            output = self._model(**self._arguments(inputs, encoded), output_hidden_states=True)
        layers = output.hidden_states if encoded is None else output.decoder_hidden_states
        states: Tensor = layers[-1]
        return states[rows, columns].float()

    def attending(self, inputs: Inputs) -> AbstractContextManager[None]:
        """Within the block the network's attentions read what these inputs bring them."""
        if inputs.attended is None:
            return nullcontext()
        return attending(self.attentions, inputs.attended)

    def _arguments(
        self, inputs: Inputs, encoded: Encoded | None = None, prefix: Prefix | None = None
    ) -> dict[str, Any]:
        return arguments(self.traits, inputs.to(self.dtype), encoded, prefix)

    # --- generation ---------------------------------------------------------------------------

    def generate(
        self,
        inputs: Inputs,
        max_new_tokens: int,
        decoder: Inputs | None = None,
        *,
        prefix: Prefix | None = None,
    ) -> list[tuple[int, ...]]:
        """Greedy continuation of each row, its end token and what follows cut off.

        Args:
            inputs: what is continued, or what the encoder reads; pads on either side.
            max_new_tokens: at most this many tokens, and no more than the model has positions for.
            decoder: what each decoder row begins with, all of one length; learned rows may be
                among it. By default the family's decoder start.
            prefix: what each row of a causal model begins with; `inputs` goes on from there, pads on
                the right.
        Raises:
            BackboneError: a masked backbone, which cannot generate; or decoder rows of several
                lengths.
        """
        begun = None if decoder is None else decoder.to(self.dtype)
        return generate(self, inputs.to(self.dtype), max_new_tokens, begun, prefix)

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
        before = self._model.training
        self._model.train(on)
        try:
            yield
        finally:
            self._model.train(before)


def _wide(states: Tensor) -> Tensor:
    """At least f32."""
    return states.to(torch.promote_types(states.dtype, torch.float32))
