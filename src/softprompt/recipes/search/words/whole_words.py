"""Which tokens of a vocabulary are whole words, as they would stand in a template's answer slot.

A token counts where its text, written as a label word, becomes this very token in the slot; so a byte-level
BPE's tokens have their space, a WordPiece's no ##, a unigram's their ▁, wherever the template puts a space
before the slot. Knows tokenizers and rendered examples, no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.data.examples import Example
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.text.answers import Verbalizer

PROBES = 4
"""Examples in which a word must become the same token: what stands before the slot may differ."""

TOGETHER = 2_000
"""Words that are tokenised in the slot together."""

_HAN = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_KANA_HANGUL = ((0x3040, 0x30FF), (0xAC00, 0xD7AF))


@dataclass(frozen=True)
class Vocabulary:
    """Words of one token.

    Args:
        words: different texts.
        ids: the token of each.
    """

    words: tuple[str, ...]
    ids: tuple[int, ...]


def whole_words(tokenizer: TextTokenizer, size: int, punctuation: bool = False) -> dict[int, str]:
    """Tokens that are a word of running text, and its text; special tokens are none.

    Args:
        size: V; tokens beyond it are not known to the model.
        punctuation: also tokens without a letter.
    """
    found: dict[int, str] = {}
    for number in range(min(size, tokenizer.size)):
        if number in tokenizer.special:
            continue
        text = tokenizer.decode((number,)).strip()
        spelled = text and "\ufffd" not in text and not any(c.isspace() for c in text)
        if spelled and (punctuation or any(c.isalpha() for c in text)):
            found[number] = text
    texts = list(dict.fromkeys(found.values()))
    spaced = tokenizer.encode_many([(f" {text}", True) for text in texts])
    together = [text for text in texts if written_together(text)]
    bare = tokenizer.encode_many([(text, True) for text in together])
    made = [*zip(texts, spaced, strict=True), *zip(together, bare, strict=True)]
    unknown = tokenizer.unknown
    whole = {text for text, one in made if len(one.ids) == 1 and one.ids[0] != unknown}
    return {number: text for number, text in found.items() if text in whole}


def written_together(text: str) -> bool:
    """Whether a text is of a script that puts no spaces between words: Han, kana, Hangul."""
    return any(
        low <= ord(character) <= high for character in text for low, high in (*_HAN, *_KANA_HANGUL)
    )


def slot_words(applied: Applied, tokens: dict[int, str], probes: Sequence[Example]) -> Vocabulary:
    """The tokens whose texts become themselves in the answer slot.

    Args:
        applied: a template with one answer slot.
        tokens: from `whole_words`.
        probes: some examples; a word must become the same token in each.
    Raises:
        SettingsError: none does.
    """
    texts = list(dict.fromkeys(tokens.values()))
    ids: dict[str, set[tuple[int, ...]]] = {}
    for first in range(0, len(texts), TOGETHER):  # few enough for the renderer to remember
        part = texts[first : first + TOGETHER]
        every = Verbalizer({"any": tuple((text,) for text in part)})
        asking = replace(applied, renderer=replace(applied.renderer, answers=every))
        for probe in probes[:PROBES]:
            for text, made in zip(part, asking.candidate_ids(probe), strict=True):
                ids.setdefault(text, set()).add(made)
    found = {}
    for text, several in ids.items():
        only = next(iter(several)) if len(several) == 1 else ()
        if len(only) == 1 and tokens.get(only[0]) == text:
            found[text] = only[0]
    if not found:
        raise SettingsError(
            f"template: no word of one token fits the slot of '{applied.renderer.template}'; give words to "
            "search among: --words FILE"
        )
    return Vocabulary(tuple(found), tuple(found.values()))
