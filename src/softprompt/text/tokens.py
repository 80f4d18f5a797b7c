"""What rendering needs to know of a tokenizer: a Protocol, so that `text/` knows no model library.

`backbones/tokenizers.py` implements it over the fast tokenizers of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

Family = Literal["masked", "encoder_decoder", "causal"]


class Encoding(NamedTuple):
    """Token ids of a running text and, for each, its character span `[start, end)` in that text."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class Tokenizer(Protocol):
    """A tokenizer as the renderer sees it. No method ever turns text into a special token."""

    @property
    def start(self) -> tuple[int, ...]:
        """Special tokens before the first text ([CLS], <s>), possibly none."""

    @property
    def end(self) -> tuple[int, ...]:
        """Special tokens after the last text ([SEP], </s>), possibly none."""

    @property
    def between(self) -> tuple[int, ...]:
        """Special tokens between the two texts of a pair; empty: the tokenizer has no pairs."""

    @property
    def mask(self) -> int | None:
        """The mask token, if there is one."""

    @property
    def unknown(self) -> int | None:
        """The unknown token, if there is one."""

    @property
    def pad(self) -> int | None:
        """The padding token, if there is one."""

    @property
    def sentinels(self) -> tuple[int, ...]:
        """T5's <extra_id_0>, <extra_id_1>, … in order of use; empty elsewhere."""

    @property
    def end_of_text(self) -> int | None:
        """What ends a generated text (</s>, <|endoftext|>), if anything."""

    def encode(self, text: str, *, continues: bool) -> Encoding:
        """Tokenise running text without special tokens.

        Args:
            text: any text; names of special tokens in it stay plain text.
            continues: False at the beginning of a text (the tokenizer may put its own leading
                space); True after a break, where no space is added.
        """

    def encode_many(self, texts: Sequence[tuple[str, bool]]) -> list[Encoding]:
        """What `encode` gives for each (text, continues), made together."""

    def pieces(self, ids: tuple[int, ...]) -> list[str]:
        """The token strings, for showing."""

    def decode(self, ids: tuple[int, ...]) -> str:
        """The text of the ids, special tokens left out."""
