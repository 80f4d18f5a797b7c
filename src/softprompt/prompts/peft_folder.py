"""PEFT's adapter folders of the prompt methods, read into plain tensors (format of peft 0.21).

`adapter_config.json` and `adapter_model.safetensors` are read; nothing is unpickled and PEFT itself is
not needed. Knows files and shapes, not backbones, templates or tasks.
Dimensions: P virtual tokens, S submodules, E width, L layers, K key/value heads, D head width,
N tasks, r ranks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from softprompt.errors import PromptError
from softprompt.prompts.record import check_finite
from softprompt.text.tokens import Family

CONFIG, TENSORS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {"CAUSAL_LM": "causal", "SEQ_2_SEQ_LM": "encoder_decoder"}
)
"""PEFT's task types that have a language-model head, and the family they need."""


@dataclass(frozen=True, eq=False)
class PeftRows:
    """Learned rows in front of the input.

    Args:
        peft_type: PROMPT_TUNING, P_TUNING, CPT or MULTITASK_PROMPT_TUNING.
        family: of the backbone that it is for.
        base_model: the name that the folder gives, or None.
        rows: float32, `[P, E]`.
        notes: what was left behind, in sentences.
    """

    peft_type: str
    family: Family
    base_model: str | None
    rows: Float[Tensor, "P E"]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PeftPrefix:
    """Learned keys and values in front of each layer's own.

    Args:
        peft_type: PREFIX_TUNING or CARTRIDGE.
        family: of the backbone that it is for; of an encoder-decoder they are the decoder's.
        base_model: the name that the folder gives, or None.
        states: float32, `[L, 2, P, K, D]`: of each layer keys, then values. Keys are used as they
            are: where a model rotates keys, these are rotated already.
        notes: what was left behind, in sentences.
    """

    peft_type: str
    family: Family
    base_model: str | None
    states: Float[Tensor, "L 2 P K D"]
    notes: tuple[str, ...] = ()


def is_peft_folder(folder: str | Path) -> bool:
    """Whether a folder holds a PEFT adapter of any kind."""
    return (Path(folder) / CONFIG).is_file()


def read_peft_folder(folder: str | Path, task: int | None = None) -> PeftRows | PeftPrefix:
    """Read a PEFT folder of any of its prompt methods.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        task: which task of a MULTITASK_PROMPT_TUNING folder, counted from 0; may be left out where
            there is one only.
    Raises:
        PromptError: no such folder or file, a pickled one, no prompt method, a task type without a
            language-model head, tensors of other names or shapes than the config says.
    """
    folder = Path(folder)
    config = _read_config(folder)
    where = str(folder / CONFIG)
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise PromptError(
            f"{where}: 'peft_type': expected one of {', '.join(_READERS)}, got {kind!r}; other "
            "methods of PEFT change the backbone's weights and are no prompts"
        )
    task_type = config.get("task_type")
    if not isinstance(task_type, str) or task_type not in FAMILIES:
        raise PromptError(
            f"{where}: 'task_type': expected {' or '.join(FAMILIES)}, got {task_type!r}; prompts "
            "here answer in words, through the backbone's own language-model head"
        )
    if task is not None and kind != "MULTITASK_PROMPT_TUNING":
        raise PromptError(f"{where}: a task number was given, but '{kind}' holds one task only")
    tensors = _read_tensors(folder)
    return _READERS[kind](_Opened(folder, config, FAMILIES[task_type], tensors), task)


@dataclass(frozen=True)
class _Opened:
    """What stands in a folder.

    Args:
        folder: for messages.
        config: of adapter_config.json.
        family: by its task type.
        tensors: float32.
    """

    folder: Path
    config: Mapping[str, Any]
    family: Family
    tensors: Mapping[str, Tensor]

    def number(self, key: str) -> int:
        """A positive whole number of the config."""
        value = self.config.get(key)
        if type(value) is not int or value < 1:
            raise PromptError(
                f"{self.folder / CONFIG}: '{key}': expected a positive whole number, got {value!r}"
            )
        return value

    def named(self, *names: str) -> list[Tensor]:
        """Exactly these tensors."""
        if set(names) != set(self.tensors):
            raise PromptError(
                f"{self.folder / TENSORS}: expected the tensors {', '.join(sorted(names))}, got "
                f"{', '.join(sorted(self.tensors))}"
            )
        return [self.tensors[name] for name in names]

    def shaped(self, tensor: Tensor, name: str, *shape: int | None) -> Tensor:
        """A tensor of this shape; None: any size but 0."""
        fits = tensor.dim() == len(shape) and all(
            size > 0 and wanted in (None, size)
            for size, wanted in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            wanted = ["?" if size is None else size for size in shape]
            raise PromptError(
                f"{self.folder / TENSORS}: tensor '{name}': expected shape "
                f"[{', '.join(map(str, wanted))}] as {CONFIG} says, got {list(tensor.shape)}"
            )
        return tensor

    @property
    def base_model(self) -> str | None:
        name = self.config.get("base_model_name_or_path")
        return name if isinstance(name, str) and name else None


def _read_rows(opened: _Opened, task: int | None) -> PeftRows:
    (rows,) = opened.named("prompt_embeddings")
    return _front(opened, rows)


def _read_tasks(opened: _Opened, task: int | None) -> PeftRows:
    """prompt ∘ (cols_t @ rows_t): Wang et al. 2023, equation 2, of one task t."""
    shared, columns, rows = opened.named(
        "prompt_embeddings", "prefix_task_cols", "prefix_task_rows"
    )
    n_tasks, ranks = opened.number("num_tasks"), opened.number("num_ranks")
    opened.shaped(shared, "prompt_embeddings", None, None)
    total, width = shared.shape
    opened.shaped(columns, "prefix_task_cols", n_tasks, total, ranks)
    opened.shaped(rows, "prefix_task_rows", n_tasks, ranks, width)
    if task is None and n_tasks > 1:
        raise PromptError(f"{opened.folder}: holds {n_tasks} tasks; say which, from 0")
    chosen = task or 0
    if not 0 <= chosen < n_tasks:
        raise PromptError(f"{opened.folder}: task {chosen}: expected 0 to {n_tasks - 1}")
    note = f"task {chosen} of {n_tasks} was folded into the rows"
    return _front(opened, shared * (columns[chosen] @ rows[chosen]), note)


def _front(opened: _Opened, rows: Tensor, *notes: str) -> PeftRows:
    """Rows 0…P−1; what a second submodule has is not used when PEFT generates."""
    length, submodules = _length(opened), opened.config.get("num_transformer_submodules")
    expected = 2 if opened.family == "encoder_decoder" else 1
    submodules = expected if submodules is None else submodules
    if submodules not in (1, 2):
        raise PromptError(
            f"{opened.folder / CONFIG}: 'num_transformer_submodules': expected 1 or 2, got "
            f"{submodules!r}"
        )
    opened.shaped(rows, "prompt_embeddings", length * submodules, opened.config.get("token_dim"))
    kind = str(opened.config["peft_type"])
    if submodules == 2 and kind == "MULTITASK_PROMPT_TUNING":
        dead = (
            f"rows {length} to {2 * length - 1} were left out: PEFT puts them before the decoder in "
            "training, and leaves them out when it generates"
        )
    else:
        dead = f"rows {length} to {2 * length - 1} were left out: PEFT never uses them"
    return PeftRows(
        peft_type=kind,
        family=opened.family,
        base_model=opened.base_model,
        rows=rows[:length].contiguous(),
        notes=(*notes, dead) if submodules == 2 else notes,
    )


def _length(opened: _Opened) -> int:
    """P; CPT's config may name its tokens instead."""
    ids = opened.config.get("cpt_token_ids")
    if opened.config["peft_type"] == "CPT" and isinstance(ids, list) and ids:
        return len(ids)
    return opened.number("num_virtual_tokens")


def _read_prefix(opened: _Opened, task: int | None) -> PeftPrefix:
    """Slot 2l holds the keys of layer l, slot 2l+1 its values. Of an encoder-decoder PEFT deals the
    slots out four to a decoder layer (own keys, own values, two for the encoder that it empties) and
    begins again where they end: layer j has keys 4j mod 2L, values 4j+1 mod 2L."""
    (flat,) = opened.named("prompt_embeddings")
    length, layers = opened.number("num_virtual_tokens"), opened.number("num_layers")
    width, heads = opened.number("token_dim"), opened.number("num_attention_heads")
    opened.shaped(flat, "prompt_embeddings", length, layers * 2 * width)
    if width % heads:
        raise PromptError(
            f"{opened.folder / CONFIG}: 'token_dim': expected a multiple of the {heads} heads, got "
            f"{width}"
        )
    slots = flat.view(length, 2 * layers, heads, width // heads).transpose(0, 1)  # [2L, P, K, D]
    notes: tuple[str, ...] = ()
    order = [(2 * layer, 2 * layer + 1) for layer in range(layers)]
    if opened.family == "encoder_decoder":
        order = [(4 * j % (2 * layers), (4 * j + 1) % (2 * layers)) for j in range(layers)]
        unread = 2 * layers - len({slot for pair in order for slot in pair})
        notes = (
            "the encoder has no prefix; "
            f"{unread} of {2 * layers} slots were left out: PEFT never reads them",
        )
    states = torch.stack([torch.stack([slots[keys], slots[values]]) for keys, values in order])
    return PeftPrefix(
        peft_type=str(opened.config["peft_type"]),
        family=opened.family,
        base_model=opened.base_model,
        states=states.contiguous(),
        notes=notes,
    )


_READERS: Mapping[str, Callable[[_Opened, int | None], PeftRows | PeftPrefix]] = MappingProxyType(
    {
        "PROMPT_TUNING": _read_rows,
        "P_TUNING": _read_rows,
        "CPT": _read_rows,
        "MULTITASK_PROMPT_TUNING": _read_tasks,
        "PREFIX_TUNING": _read_prefix,
        "CARTRIDGE": _read_prefix,
    }
)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not folder.is_dir():
        found = "it is a file" if folder.exists() else "no such folder"
        raise PromptError(f"{folder}: expected a PEFT folder, {found}")
    try:
        config = json.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise PromptError(f"{path}: no such file, so {folder} is no PEFT folder") from None
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise PromptError(f"{path}: expected a mapping, got a {type(config).__name__}")
    return config


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / TENSORS
    if not path.is_file():
        if (folder / PICKLED).is_file():
            raise PromptError(
                f"{folder / PICKLED}: a pickled file, which can run any code and is never loaded; "
                "where you trust it, load it with PEFT and save it again: "
                "model.save_pretrained(folder, safe_serialization=True)"
            )
        raise PromptError(f"{path}: no such file, so {folder} is no whole PEFT folder")
    try:
        found = safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise PromptError(
            f"{path}: truncated or corrupt, expected a safetensors file ({error}); copy it again"
        ) from None
    strange = [name for name, tensor in found.items() if not tensor.is_floating_point()]
    if strange:
        raise PromptError(
            f"{path}: tensor '{strange[0]}': expected floating point numbers, got "
            f"{found[strange[0]].dtype}"
        )
    tensors = {name: tensor.to(torch.float32) for name, tensor in found.items()}
    check_finite(tensors, str(path))
    return tensors
