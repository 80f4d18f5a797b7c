"""Find a model by name or path and load it, or say in one sentence why not.

A path, or a `softprompt/…` name that ships in the package, is resolved before any call to the hub;
without a network the hub is tried once. Knows no shipped name: `shipped.py` does.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.fingerprint import identity_of
from softprompt.backbones.input_path import probe_ids
from softprompt.backbones.quantised import quantise
from softprompt.backbones.shipped import PREFIX, shipped_folder, shipped_models, shipped_name
from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.backbones.traits import REFUSED_IN_F16, family_of, traits_of
from softprompt.errors import BackboneError
from softprompt.text.tokens import Family

PRECISIONS = {
    "auto": None,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "int8": None,
}
"""By name; None: it depends on the device. Of int8, what all but the linear layers is held in."""

_AUTO_CLASSES: dict[Family, str] = {
    "masked": "AutoModelForMaskedLM",
    "encoder_decoder": "AutoModelForSeq2SeqLM",
    "causal": "AutoModelForCausalLM",
}


@dataclass(frozen=True)
class _Found:
    """Where a model is.

    Args:
        name: as it is recorded: what the user wrote, of a shipped backbone with its variant.
        source: the folder or hub name to load from.
        local: whether the hub need not be asked.
    """

    name: str
    source: str
    local: bool


def load_backbone(
    name: str | Path,
    *,
    family: Family | None = None,
    precision: str = "auto",
    device: str | None = None,
) -> Backbone:
    """Load a frozen language model.

    Args:
        name: a folder, `softprompt/…` for one that ships in the package (`softprompt/tiny-t5@span`
            for one of its variants), or a name on the hub.
        family: needed only for a model that belongs to two.
        precision: `auto` is f32 on the CPU; on an accelerator bf16, or f32 for a f32 checkpoint.
            `int8` holds the linear layers in 8 bits, and all else in f32 on the CPU, in bf16 on
            an accelerator; nothing but a prompt can then be learned.
        device: `cpu`, `cuda`, …; by default an accelerator where there is one.
    Raises:
        BackboneError: not found, without the head it needs, without a fast tokenizer, in a
            precision in which it cannot run, or for a device that is not there.
    """
    found = _resolve(str(name))
    called, source, local = found.name, found.source, found.local
    place = _place(device)
    config = _config(source, called, local)
    kind = family or family_of(config)
    stored = _stored_precision(config)
    dtype = _precision(precision, stored, place, config)
    tokenizer = _load_tokenizer(source, local)
    eight = precision == "int8"
    exact = torch.promote_types(stored, dtype) == dtype and not eight
    model: Any = _load_model(source, kind, dtype if exact else stored, local)
    identity = None
    if not exact:
        # The fingerprint is of the stored bytes, which the narrower weights no longer tell.
        width = int(model.get_input_embeddings().weight.shape[1])
        identity = identity_of(model, config, name=called, family=kind, width=width, stored=stored)
        if eight:
            check_finite(model, source)
            quantise(model, called)
        narrow(model, dtype)
    check_finite(model, source)
    model = model.requires_grad_(False).eval().to(place)
    ids = probe_ids(tokenizer, model, called).to(place)
    try:
        traits = traits_of(model, config, kind, ids, called)
    except RuntimeError as error:  # a network that reads the weights of its layers itself
        if not eight:
            raise
        first = str(error).strip().splitlines()[0]
        raise BackboneError(
            f"{called}: {type(model).__name__} cannot run with linear layers in 8 bits ({first}); use "
            "precision bfloat16 or float32"
        ) from error
    return Backbone(
        name=called,
        model=model,
        config=config,
        tokenizer=tokenizer,
        traits=traits,
        stored=stored,
        identity=identity,
    )


def _place(device: str | None) -> torch.device:
    """The device, if it is there."""
    named = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=named).device
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        raise BackboneError(f"device '{named}' cannot be used: {first}") from error


def _resolve(name: str) -> _Found:
    """Where to load from: a folder first, then what ships, then the hub."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BackboneError(f"{folder} holds no config.json: expected a model folder")
        return _Found(name, str(folder), True)
    if name.startswith(PREFIX):
        whole = shipped_name(name)
        return _Found(whole, str(shipped_folder(whole)), True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise BackboneError(f"{name}: no such folder")
    return _Found(name, name, _is_cached_only(name))


def _is_cached_only(name: str) -> bool:
    """False where the hub answers one short request, True where there is a cached snapshot only.

    Raises:
        BackboneError: neither.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        raise BackboneError(
            f"{name}: no such folder, and no name that the hub could have"
        ) from None
    why = "HF_HUB_OFFLINE is set"
    if not constants.HF_HUB_OFFLINE:
        try:
            HfApi().model_info(name, timeout=5)
            return False
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else None
            why = f"the hub answered {status}: {'no such model' if status in (401, 404) else error}"
        except (OSError, ValueError, RuntimeError) as error:
            why = f"the hub cannot be reached ({type(error).__name__})"
        except Exception as error:  # the HTTP library's own tree, which is not a dependency of ours
            if (
                "connect" not in type(error).__name__.lower()
                and "timeout" not in str(error).lower()
            ):
                raise
            why = f"the hub cannot be reached ({type(error).__name__})"
    if cached:
        return True
    raise BackboneError(
        f"'{name}' is no folder here, is not in the local cache, and {why}; give the path of a "
        f"model folder, or one that ships in the package: {', '.join(shipped_models()) or 'none'}"
    )


def _config(source: str, name: str, local: bool) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise BackboneError(f"{name}: its config cannot be read: {first}") from error


def _stored_precision(config: Any) -> torch.dtype:
    stored = getattr(config, "dtype", None) or torch.float32
    return getattr(torch, stored) if isinstance(stored, str) else stored


def _precision(
    precision: str, stored: torch.dtype, place: torch.device, config: Any
) -> torch.dtype:
    if precision not in PRECISIONS:
        raise BackboneError(f"precision '{precision}': expected one of {', '.join(PRECISIONS)}")
    chosen = PRECISIONS[precision]
    if chosen is None:
        narrow = place.type != "cpu" and (stored != torch.float32 or precision == "int8")
        chosen = torch.bfloat16 if narrow else torch.float32
    if chosen == torch.float16 and config.model_type in REFUSED_IN_F16:
        raise BackboneError(
            f"{config.model_type} overflows in float16 (its feed-forward blocks exceed 65,504); "
            "use bfloat16 or float32"
        )
    return chosen


def _load_model(source: str, family: Family, dtype: torch.dtype, local: bool) -> nn.Module:
    import transformers

    auto = getattr(transformers, _AUTO_CLASSES[family])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            level = transformers.logging.get_verbosity()
            transformers.logging.set_verbosity_error()
            transformers.logging.disable_progress_bar()
            try:
                model, report = auto.from_pretrained(
                    source, dtype=dtype, local_files_only=local, output_loading_info=True
                )
            finally:
                transformers.logging.set_verbosity(level)
    except Exception as error:  # safetensors, JSON and transformers each raise their own
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BackboneError(f"{source}: the weights cannot be loaded: {first}") from error
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        shown = ", ".join(missing[:4]) + (
            f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        )
        raise BackboneError(
            f"{source}: the checkpoint lacks weights that a {family.replace('_', '-')} language "
            f"model needs ({shown}); they would be random. Expected a checkpoint with its "
            "language-model head (of ELECTRA: the generator)"
        )
    return model  # type: ignore[no-any-return]


def narrow(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters in place; buffers, such as rotary frequencies, keep their precision, and
    whole numbers theirs."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def check_finite(model: nn.Module, source: str) -> None:
    """Refuse weights that are no numbers.

    Raises:
        BackboneError: names the first such tensor.
    """
    broken = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    if broken:
        raise BackboneError(
            f"{source}: {broken[0]} holds NaN or infinity"
            + (f", and {len(broken) - 1} more tensors" if len(broken) > 1 else "")
            + "; the file is damaged, or the precision is too narrow"
        )


def _load_tokenizer(source: str, local: bool) -> TextTokenizer:
    from transformers import AutoTokenizer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TextTokenizer(AutoTokenizer.from_pretrained(source, local_files_only=local))
    except BackboneError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BackboneError(f"{source}: its tokenizer cannot be loaded: {first}") from error
