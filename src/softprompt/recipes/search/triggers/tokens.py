"""Which tokens may become triggers.

A law that knows no tokenizer's marks: a token can be written if its own text gives it back, alone or
behind a space; it is a whole word if that text is letters and it is what stands behind a space. Chinese
has no spaces: there a token of Han characters is a word as it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from softprompt.errors import SettingsError
from softprompt.text.tokens import Encoding

Kind = Literal["any", "text", "words"]


class Vocabulary(Protocol):
    """What is asked of a tokenizer."""

    @property
    def special(self) -> frozenset[int]: ...

    @property
    def size(self) -> int: ...

    def decode(self, ids: tuple[int, ...]) -> str: ...

    def encode_many(self, texts: Sequence[tuple[str, bool]]) -> list[Encoding]: ...


def allowed_tokens(
    tokenizer: Vocabulary, rows: int, kind: Kind, excluded: Collection[str] = ()
) -> list[int]:
    """Ids that may become triggers, ascending. Special tokens and the excluded words never do.

    Args:
        tokenizer: of the backbone.
        rows: of its embedding table: ids beyond have no embedding.
        kind: as in `TriggerSettings.tokens`.
        excluded: words, such as the label words; tokens of the same letters, in any case and with or
            without a space, are left out.
    Raises:
        SettingsError: none is left.
    """
    ids = [n for n in range(min(tokenizer.size, rows)) if n not in tokenizer.special]
    texts = [tokenizer.decode((number,)) for number in ids]
    barred = {plain(word) for word in excluded}
    kept = [n for n, text in enumerate(texts) if plain(text) not in barred]
    if kind != "any":
        kept = _written(tokenizer, ids, texts, kept, whole=kind == "words")
    if not kept:
        raise SettingsError(
            f"--tokens: no token of this vocabulary may become a trigger under '{kind}'; use any"
        )
    return [ids[n] for n in kept]


def plain(text: str) -> str:
    """A word without outer spaces and without case."""
    return text.strip().casefold()


def _written(
    tokenizer: Vocabulary,
    ids: Sequence[int],
    texts: Sequence[str],
    kept: Sequence[int],
    *,
    whole: bool,
) -> list[int]:
    """Those whose own text gives them back."""
    bare = [texts[n].strip() for n in kept]
    forms = [[(text, False), (text, True), (" " + text, True)] for text in bare]
    made = iter(tokenizer.encode_many([form for three in forms for form in three]))
    found = []
    for n, text in zip(kept, bare, strict=True):
        begins, goes_on, behind_space = ((ids[n],) == next(made).ids for _ in range(3))
        if not text or not text.isprintable():
            continue
        if not whole:
            fits = begins or goes_on or behind_space
        else:
            fits = text.isalpha() and (behind_space or (_is_han(text) and goes_on))
        if fits:
            found.append(n)
    return found


def _is_han(text: str) -> bool:
    return all("\u3400" <= letter <= "\u9fff" for letter in text)
