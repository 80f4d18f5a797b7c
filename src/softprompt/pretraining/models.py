"""The model that is pretrained, new from a config or from a checkpoint, with its special tokens.

Any architecture of the three families that transformers' Auto classes know, without remote code.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn

from softprompt.errors import SettingsError
from softprompt.pretraining.layouts import LAYOUTS
from softprompt.pretraining.objectives import Vocabulary
from softprompt.pretraining.settings import PretrainSettings
from softprompt.pretraining.tokenizer import begins_word

AUTO_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "masked": "AutoModelForMaskedLM",
        "encoder_decoder": "AutoModelForSeq2SeqLM",
        "causal": "AutoModelForCausalLM",
    }
)


def load_tokenizer(folder: Path | str) -> Any:
    """A fast tokenizer of transformers.

    Raises:
        SettingsError: there is none, or only a slow one.
    """
    from transformers import AutoTokenizer

    try:
        wrapped = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{folder}: no tokenizer here: {_first_line(error)}") from None
    if not getattr(wrapped, "is_fast", False):
        raise SettingsError(f"{folder}: expected a fast tokenizer (tokenizer.json)")
    return wrapped


def vocabulary_of(wrapped: Any, family: str) -> Vocabulary:
    """The special ids of a tokenizer, as a family uses them."""

    def number(*names: str) -> int:
        found = [getattr(wrapped, name, None) for name in names]
        return next((int(n) for n in found if n is not None), -1)

    names = wrapped.get_vocab()
    sentinels = {
        int(match.group(1)): n
        for name, n in names.items()
        if (match := re.fullmatch(r"<extra_id_(\d+)>", name))
    }
    special = set(wrapped.all_special_ids) | set(sentinels.values())
    starts = begins_word(wrapped.backend_tokenizer)
    end = number("sep_token_id", "eos_token_id") if family == "masked" else number("eos_token_id")
    pad = number("pad_token_id")
    pad = pad if pad >= 0 else max(end, 0)  # padding is never attended to
    first = {"masked": number("cls_token_id", "bos_token_id"), "encoder_decoder": pad}
    return Vocabulary(
        pad=pad,
        start=first.get(family, number("bos_token_id")),
        end=end,
        mask=number("mask_token_id"),
        sentinels=tuple(sentinels[n] for n in sorted(sentinels)),
        ordinary=np.asarray(sorted(set(names.values()) - special), dtype=np.int64),
        word_starts=None if starts is None else np.asarray(starts),
    )


def new_model(settings: PretrainSettings, vocabulary: Vocabulary, size: int) -> nn.Module:
    """A model with random weights drawn from the seed.

    Args:
        settings: with an architecture.
        vocabulary: the special ids, written into the config.
        size: number of tokens.
    Raises:
        SettingsError: an unknown architecture or key, or blocks longer than its positions.
    """
    family = LAYOUTS[settings.layout].family
    ids = {"pad_token_id": vocabulary.pad, "eos_token_id": vocabulary.end}
    if family == "masked":
        ids |= {"cls_token_id": vocabulary.start, "sep_token_id": vocabulary.end}
    if family == "encoder_decoder":
        ids["decoder_start_token_id"] = vocabulary.start
    else:
        ids["bos_token_id"] = vocabulary.start
    config = _config(settings.config, vocab_size=size, **ids)
    _check_length(settings, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        try:
            model: nn.Module = _auto(family).from_config(config)
        except ValueError as error:
            raise SettingsError(f"architecture: {_first_line(error)}") from None
    return model


def checkpoint_model(settings: PretrainSettings, size: int) -> nn.Module:
    """The model of a checkpoint, in f32.

    Args:
        settings: with `start_from`.
        size: number of tokens of its tokenizer.
    Raises:
        SettingsError: none there, or without the head that the layout needs, or with fewer rows
            than tokens.
    """
    place, family = str(settings.start_from), LAYOUTS[settings.layout].family
    try:
        model, info = _auto(family).from_pretrained(
            place, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise SettingsError(f"start_from: {place}: {_first_line(error)}") from None
    missing = sorted(info["missing_keys"])
    if missing:
        raise SettingsError(
            f"start_from: {place} lacks {', '.join(missing[:3])} for layout {settings.layout}; "
            "choose a checkpoint with this head, or another layout"
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < size:
        raise SettingsError(
            f"start_from: {place}: the tokenizer has {size} tokens, the model rows for {rows}"
        )
    _check_length(settings, model.config)
    return model  # type: ignore[no-any-return]


def started_as(vocabulary: Vocabulary, model: nn.Module) -> Vocabulary:
    """The vocabulary with what the decoder of this model begins with (BART's: not the padding)."""
    start = getattr(model.config, "decoder_start_token_id", None)
    return vocabulary if start is None else dataclasses.replace(vocabulary, start=int(start))


def position_limit(model: nn.Module) -> int | None:
    """Most positions that a model reads; None without a limit."""
    limit = getattr(model.config, "max_position_embeddings", None)
    return None if limit is None else int(limit)


def usual_layout(start_from: str, objective: str) -> str:
    """The layout for a checkpoint where none is named.

    Raises:
        SettingsError: no config there.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(start_from)
    except (OSError, ValueError) as error:
        raise SettingsError(f"--from: {start_from}: {_first_line(error)}") from None
    if config.is_encoder_decoder:
        return "encoder_decoder"
    return "encoder" if objective == "masked" else "decoder"


def _auto(family: str) -> Any:
    import transformers

    return getattr(transformers, AUTO_CLASSES[family])


def _check_length(settings: PretrainSettings, config: Any) -> None:
    limit = getattr(config, "max_position_embeddings", None)
    longest = max(settings.length, settings.long.length if settings.long.share else 0)
    if limit is not None and limit < longest:
        raise SettingsError(
            f"length: blocks of {longest} tokens do not fit the architecture's "
            f"max_position_embeddings of {limit}"
        )


def _config(architecture: Mapping[str, Any], **ids: int) -> Any:
    from transformers import AutoConfig

    values = dict(architecture)
    kind = values.pop("model_type", None)
    if kind is None:
        raise SettingsError("architecture: 'model_type' is missing (modernbert, t5, llama, …)")
    try:
        known = AutoConfig.for_model(kind)
        unknown = [name for name in values if not hasattr(known, name)]
        if unknown:  # transformers would take it and say nothing
            close = difflib.get_close_matches(unknown[0], list(vars(known)), n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise SettingsError(f"architecture: {kind} has no '{unknown[0]}'{hint}")
        return AutoConfig.for_model(kind, **ids, **values)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"architecture: {_first_line(error)}") from None
    except StrictDataclassError as error:
        raise SettingsError(f"architecture: {' '.join(str(error).split())}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
