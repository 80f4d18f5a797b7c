"""The renderer's view of a transformers tokenizer: running text in, ids out, never a special token.

A fast tokenizer decides by itself whether a text gets a leading space. The renderer needs both
behaviours: as at the beginning of a text, and as the continuation of one. The second is a copy of
the tokenizer whose prefix space is switched off in its own public JSON description. In both copies
no text can become a special token, because their models no longer know the names.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from softprompt.errors import BackboneError
from softprompt.text.tokens import Encoding

FEW = 4
"""Fewer texts than this are tokenised one by one, in the calling thread."""


class TextTokenizer:
    """Implements `softprompt.text.tokens.Tokenizer` over a fast tokenizer.

    A batch uses as many cores as the tokenizers library is allowed (its TOKENIZERS_PARALLELISM).

    Args:
        wrapped: a transformers fast tokenizer. It is copied; its padding side, truncation and
            added options have no effect here, nor do later changes to it.
    Raises:
        BackboneError: not a fast tokenizer.
    """

    def __init__(self, wrapped: Any):
        if getattr(wrapped, "backend_tokenizer", None) is None:
            raise BackboneError(
                f"{type(wrapped).__name__} is not a fast tokenizer: the folder needs a "
                "tokenizer.json, or files that one can be made from"
            )
        self.wrapped = wrapped
        description = json.loads(wrapped.backend_tokenizer.to_str())
        names = _special_names(wrapped, description)
        self._first = _plain(description, names)
        self._later = _plain(_continuing(description), names)

    @cached_property
    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Start, between and end tokens, read off how the tokenizer frames two known texts."""
        backend = copy.deepcopy(self.wrapped.backend_tokenizer)
        backend.no_truncation()
        backend.no_padding()
        single = backend.encode("a")
        text = [i for i, flag in enumerate(single.special_tokens_mask) if not flag]
        if not text:
            return (), (), ()
        start, end = tuple(single.ids[: text[0]]), tuple(single.ids[text[-1] + 1 :])
        pair = backend.encode("a", "a")
        sequence = pair.sequence_ids
        if (not start and not end) or 1 not in sequence:
            return start, (), end
        last_first = max(i for i, s in enumerate(sequence) if s == 0)
        first_second = min(i for i, s in enumerate(sequence) if s == 1)
        return start, tuple(pair.ids[last_first + 1 : first_second]), end

    @property
    def start(self) -> tuple[int, ...]:
        return self._frame[0]

    @property
    def between(self) -> tuple[int, ...]:
        # T5's "pair" repeats the end token: that is no boundary a model was taught as one.
        return self._frame[1] if self.start else ()

    @property
    def end(self) -> tuple[int, ...]:
        return self._frame[2]

    @cached_property
    def mask(self) -> int | None:
        return self._id("mask_token_id")

    @cached_property
    def unknown(self) -> int | None:
        return self._id("unk_token_id")

    @cached_property
    def end_of_text(self) -> int | None:
        return self._id("eos_token_id")

    @property
    def pad(self) -> int | None:
        return self._id("pad_token_id")

    def _id(self, name: str) -> int | None:
        value = getattr(self.wrapped, name, None)
        return None if value is None else int(value)

    @cached_property
    def sentinels(self) -> tuple[int, ...]:
        vocabulary: Mapping[str, int] = self.wrapped.get_vocab()
        found: list[int] = []
        while (name := f"<extra_id_{len(found)}>") in vocabulary:
            found.append(vocabulary[name])
        return tuple(found)

    @cached_property
    def special(self) -> frozenset[int]:
        """Every id that is not ordinary text."""
        return frozenset(self.wrapped.all_special_ids) | frozenset(self.sentinels)

    @property
    def size(self) -> int:
        return len(self.wrapped)

    @property
    def limit(self) -> int | None:
        """The length the tokenizer declares, if it declares a real one."""
        value = int(self.wrapped.model_max_length)
        return value if value < 1_000_000 else None

    def encode(self, text: str, *, continues: bool) -> Encoding:
        backend = self._later if continues else self._first
        return _encoding(backend.encode(text, add_special_tokens=False))

    def encode_many(self, texts: Sequence[tuple[str, bool]]) -> list[Encoding]:
        """What `encode` gives for each (text, continues): each once, a batch on several cores."""
        if len(texts) < FEW:
            return [self.encode(text, continues=continues) for text, continues in texts]
        made: dict[tuple[str, bool], Encoding] = {}
        for continues, backend in ((False, self._first), (True, self._later)):
            own = list(dict.fromkeys(key for key in texts if key[1] is continues))
            batch = backend.encode_batch([key[0] for key in own], add_special_tokens=False)
            made |= zip(own, map(_encoding, batch), strict=True)
        return [made[key] for key in texts]

    def pieces(self, ids: tuple[int, ...]) -> list[str]:
        return [str(piece) for piece in self.wrapped.convert_ids_to_tokens(list(ids))]

    def decode(self, ids: tuple[int, ...]) -> str:
        return str(self.wrapped.decode(list(ids), skip_special_tokens=True))


def _encoding(made: Any) -> Encoding:
    return Encoding(tuple(made.ids), tuple(made.offsets))


def _special_names(wrapped: Any, description: Mapping[str, Any]) -> frozenset[str]:
    """The names that must stay text where a user writes them."""
    added = {token["content"] for token in description["added_tokens"] if token["special"]}
    sentinels = {name for name in wrapped.get_vocab() if name.startswith("<extra_id_")}
    return frozenset(added | sentinels | set(wrapped.all_special_tokens))


def _plain(description: Mapping[str, Any], special: frozenset[str]) -> Any:
    """A backend tokenizer that frames nothing and reads special names as text.

    `encode_special_tokens` is not enough: the vocabulary of a Unigram model (T5, XLM-R, ALBERT)
    holds `</s>` and `<extra_id_0>` as pieces like any other, and finds them in a text.
    """
    from tokenizers import Tokenizer

    changed = {
        **description,
        "post_processor": None,
        "added_tokens": [t for t in description["added_tokens"] if t["content"] not in special],
        "model": _without_names(description["model"], special),
    }
    backend = Tokenizer.from_str(json.dumps(changed))
    backend.no_truncation()
    backend.no_padding()
    return backend


def _without_names(model: Mapping[str, Any], special: frozenset[str]) -> Mapping[str, Any]:
    """The model with special pieces under names that no text can hold, so that ids stay."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):  # Unigram
        hidden = [[f" {n} " if n in special else n, score] for n, score in vocabulary]
        return {**model, "vocab": hidden}
    if model["type"] == "BPE":  # reaches only what its merges build, and no name is built by them
        return model
    # A name of one character may be ordinary text, and the unknown token must be found by name.
    names = {n for n in special if len(n) > 1} - {model.get("unk_token")}
    return {**model, "vocab": {f" {n} " if n in names else n: i for n, i in vocabulary.items()}}


def _continuing(description: dict[str, Any]) -> dict[str, Any]:
    """The description of the same tokenizer for text that continues: no space of its own.

    T5, XLM-R and ALBERT split at white space and *then* mark every word as one that follows a
    space. The white space itself has to mark it instead, one mark however wide it is.
    """
    changed: dict[str, Any] = _without_prefix_space(description)
    steps = (description.get("pre_tokenizer") or {}).get("pretokenizers", ())
    kinds = [step["type"] for step in steps]
    if "WhitespaceSplit" in kinds and "Metaspace" in kinds:
        kept = [
            s for s in changed["pre_tokenizer"]["pretokenizers"] if s["type"] != "WhitespaceSplit"
        ]
        changed["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": kept}
        own = [changed["normalizer"]] if changed.get("normalizer") else []
        narrow = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
        trimmed = {"type": "Strip", "strip_left": False, "strip_right": True}
        changed["normalizer"] = {"type": "Sequence", "normalizers": [*own, narrow, trimmed]}
    return changed


def _without_prefix_space(node: Any) -> Any:
    """The tokenizer's description with every rule that adds a leading space switched off."""
    if isinstance(node, list):
        return [_without_prefix_space(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _without_prefix_space(value) for key, value in node.items() if key != "model"}
    if "model" in node:
        changed["model"] = node["model"]
    kind = node.get("type")
    if kind == "Metaspace":
        changed["prepend_scheme"] = "never"
        changed.pop("add_prefix_space", None)
    elif kind == "ByteLevel":
        changed["add_prefix_space"] = False
    elif kind == "Prepend":
        return None
    elif isinstance(changed.get("normalizers"), list):
        changed["normalizers"] = [n for n in changed["normalizers"] if n is not None]
    return changed
