"""A prompt written as a PEFT folder, where PEFT has an equivalent; refused with the reason elsewhere.

PEFT puts its rows before everything, start tokens included, and knows no template: text around the
input, demonstrations among it, is the caller's there. What PEFT would drop stands in a side file, so
that the folder can be read back as the prompt that it was. Knows prompts and templates, not models.
Dimensions: P rows or keys, S start tokens, E width; L layers of K heads of D.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.errors import PromptError, RunError
from softprompt.prompts.addition import Addition
from softprompt.prompts.folder import write_bytes
from softprompt.prompts.identity import BackboneIdentity
from softprompt.prompts.peft_folder import CONFIG, FAMILIES, TENSORS, PeftPrefix, PeftRows
from softprompt.prompts.prompt import Prompt
from softprompt.prompts.record import check_record, content_hash, seal
from softprompt.text.template import DecoderStart, Soft, Start, Template, parse

SIDE, CARD = "softprompt.json", "README.md"
WRITTEN = (CONFIG, TENSORS, SIDE, CARD)
"""What an export writes; an overwrite removes nothing else."""


@dataclass(frozen=True, eq=False)
class PeftBase:
    """What PEFT must be told, or silently assumes, of a backbone.

    Args:
        start: the embeddings of the tokenizer's start tokens, float32, `[S, E]`.
        layers, heads: the config's num_hidden_layers and num_attention_heads.
        scale: what the network multiplies embeddings by when it is given ids, and not when it is
            given embeddings (Pegasus).
    """

    start: Float[Tensor, "S E"]
    layers: int | None = None
    heads: int | None = None
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class PeftTensor:
    """What PEFT is given of a prompt.

    Args:
        tensor: `prompt_embeddings`: rows `[P, E]`, or keys and values `[P, 2·L·K·D]`, slot by slot.
        config: what adapter_config.json says of it.
        start_rows: how many of the first rows stand for start tokens.
    """

    tensor: Tensor
    config: Mapping[str, Any]
    start_rows: int = 0


def write_peft_folder(
    prompt: Prompt, base: PeftBase, folder: str | Path, *, overwrite: bool = False
) -> PeftTensor:
    """Write a prompt as a PROMPT_TUNING or PREFIX_TUNING folder, whole or not at all; gives what it holds.

    Where the prompt's own start tokens stand before its rows, their embeddings become the first rows:
    the text is then tokenised without them, and the numbers are the same.

    Args:
        prompt: learned on a causal or encoder-decoder backbone, with rows in front only, or on a causal
            one with keys and values only.
        base: of its backbone.
        folder: where; its parents are made.
        overwrite: replace an export that is there.
    Raises:
        PromptError: PEFT has no equivalent, and why; or something is there already.
        RunError: the system refused; what was there is untouched.
    """
    made = peft_tensor(prompt, base)
    assert prompt.backbone is not None  # peft_tensor refuses a prompt without
    config = {
        "auto_mapping": None,
        "base_model_name_or_path": prompt.backbone.name,
        "inference_mode": True,
        "modules_to_save": None,
        "num_transformer_submodules": 1,  # with PEFT's 2 half of the rows would be dead weight
        "num_virtual_tokens": made.tensor.shape[0],
        "revision": None,
        "task_type": next(t for t, family in FAMILIES.items() if family == prompt.backbone.family),
        **made.config,
    }
    facts = {name: getattr(prompt, name) for name in Prompt.__dataclass_fields__}
    facts |= {"backbone": prompt.backbone.to_json()}
    record = seal(prompt.addition.tensors(), {k: v for k, v in facts.items() if k != "addition"})
    side = {"start_rows": made.start_rows, "record": record}
    tensors = {"prompt_embeddings": made.tensor}
    files = {
        CONFIG: (json.dumps(config, indent=2, sort_keys=True) + "\n").encode(),
        TENSORS: safetensors.torch.save(tensors, metadata={"format": "pt"}),
        SIDE: (json.dumps(side, indent=2, ensure_ascii=False) + "\n").encode(),
        CARD: _card(record, made).encode(),
    }
    _write(Path(folder), files, overwrite)
    return made


def peft_tensor(prompt: Prompt, base: PeftBase) -> PeftTensor:
    """What PEFT is given.

    Raises:
        PromptError: PEFT has no equivalent, and why.
    """
    reason = obstacle(prompt, base)
    if reason is not None:
        raise PromptError(f"this prompt cannot be exported to PEFT: {reason}")
    rows = prompt.rows
    if rows is None:
        states = prompt.addition.attended["self"]  # [L, 2, P, K, D]
        layers, _, length, heads, width = states.shape
        slots = states.flatten(0, 1).transpose(0, 1)  # [P, 2L, K, D]
        config = {
            "encoder_hidden_size": heads * width,
            "num_attention_heads": heads,
            "num_layers": layers,
            "peft_type": "PREFIX_TUNING",
            "prefix_projection": False,
            "token_dim": heads * width,
        }
        return PeftTensor(slots.reshape(length, -1).contiguous(), config)
    config = {
        "num_attention_heads": base.heads,
        "num_layers": base.layers,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "token_dim": rows.shape[1],
        "tokenizer_kwargs": None,
        "tokenizer_name_or_path": None,
    }
    if not len(base.start) or not _start_first(parse(prompt.template)):
        return PeftTensor(rows, config)
    front = torch.cat([base.start.to(rows), rows]).contiguous()
    return PeftTensor(front, config, len(base.start))


def obstacle(prompt: Prompt, base: PeftBase) -> str | None:
    """Why PEFT has no equivalent of a prompt; None where it has one."""
    if prompt.weights is not None and prompt.weights.config is not None:
        return "its folder weights/ is one that PEFT loads already"
    if prompt.settings.get("opened_weights"):
        return f"'{prompt.method}' changed the backbone's own weights, which are not in it"
    added = sorted(prompt.addition.tensors())
    if added not in (["rows"], ["attended.self"]):
        return (
            f"it adds {', '.join(added) or 'nothing'}, expected learned rows alone, or keys and values "
            "of a causal backbone alone"
        )
    if prompt.backbone is None:
        return "it does not say which backbone it was learned on"
    if prompt.backbone.family not in FAMILIES.values():
        return (
            f"'{prompt.backbone.name}' is a masked model, and PEFT's prompts have no task type with "
            f"a masked model's head (it has {', '.join(FAMILIES)})"
        )
    if prompt.rows is None:
        return None
    if base.scale != 1.0:
        return (
            f"'{prompt.backbone.name}' multiplies the embeddings of its text by {base.scale:g}; PEFT "
            "leaves that out as soon as there are rows, so the text would be read wrongly"
        )
    return _misplaced(parse(prompt.template), bool(len(base.start)))


def _misplaced(template: Template, has_start: bool) -> str | None:
    """Why its rows do not stand where PEFT puts them."""
    parts = template.parts
    softs = [n for n, part in enumerate(parts) if isinstance(part, Soft)]
    before = parts[: softs[-1]] if softs else ()
    if any(isinstance(part, DecoderStart) for part in before):
        return f"'{template}' has rows in the decoder, PEFT puts all rows before the encoder's text"
    lead = before[1:] if before and isinstance(before[0], Start) else before
    if not all(isinstance(part, Soft) for part in lead):
        return f"'{template}' has rows inside the text, PEFT puts all rows in front"
    if len(template.soft_groups(None)) < len(softs):
        return f"'{template}' uses the same rows twice, PEFT uses each once"
    start = next((n for n, part in enumerate(parts) if isinstance(part, Start)), 0)
    if has_start and start not in (0, len(before) + bool(softs)):
        return f"'{template}' has text before {{start}}, expected {{start}} directly at the rows"
    return None


def _start_first(template: Template) -> bool:
    """Whether start tokens stand before the rows: by default, and where {start} comes first."""
    return not any(isinstance(part, Start) for part in template.parts[1:])


# --- reading back -------------------------------------------------------------------------------


def exported_prompt(folder: str | Path, found: PeftRows | PeftPrefix) -> Prompt | None:
    """The prompt that an export was made of; None for a folder without our side file.

    Where what was learned was trained on since, its scores and examples are left out and a note says so.

    Args:
        folder: a PEFT folder.
        found: its rows, or keys and values, as read.
    Raises:
        PromptError: a side file that cannot be read, or belongs to others.
    """
    path = Path(folder) / SIDE
    if not path.is_file():
        return None
    try:
        side = json.loads(path.read_bytes().decode())
        start_rows, record = side["start_rows"], side["record"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PromptError(
            f"{path}: cannot be read ({error!r}); remove it to import rows only"
        ) from None
    record = check_record(record, f"{path}: record")
    whole = found.rows if isinstance(found, PeftRows) else found.states
    addition = None
    if type(start_rows) is int and 0 <= start_rows < len(whole):
        if isinstance(found, PeftRows):
            addition = Addition(found.rows[start_rows:].contiguous())
        elif not start_rows:
            addition = Addition(None, {"self": found.states.contiguous()})
    tensors = {} if addition is None else addition.tensors()
    if addition is None or record["tensors"] != {n: list(t.shape) for n, t in tensors.items()}:
        raise PromptError(
            f"{path}: says {start_rows!r} rows for start tokens and {record['tensors']}, "
            f"{TENSORS} has {list(whole.shape)}; remove it to import what is learned only"
        )
    backbone = record["backbone"]
    if backbone is not None:
        backbone = BackboneIdentity.from_json(backbone, f"{path}: backbone")
    facts = {k: v for k, v in record.items() if k in Prompt.__dataclass_fields__}
    prompt = Prompt(addition=addition, **{**facts, "backbone": backbone})
    if content_hash(tensors, record) == record["content_hash"]:
        return prompt
    note = (
        "What was learned was changed outside softprompt after export; earlier scores are left out."
    )
    notes = f"{prompt.notes}\n\n{note}".strip()
    return replace(prompt, scores=(), examples=(), notes=notes)


# --- writing --------------------------------------------------------------------------------------


def _card(record: Mapping[str, Any], made: PeftTensor) -> str:
    length, start_rows = made.tensor.shape[0], made.start_rows
    what = (
        "rows" if made.config["peft_type"] == "PROMPT_TUNING" else "keys and values of each layer"
    )
    name, backbone = record["task"].get("name", "a task"), record["backbone"]
    family = backbone["family"]
    kind = "AutoModelForCausalLM" if family == "causal" else "AutoModelForSeq2SeqLM"
    start = (
        f"The first {start_rows} of its {length} rows stand for the tokenizer's start tokens: "
        "tokenise the text without them (`add_special_tokens=False`"
        + ("" if family == "causal" else ", and add the end token yourself")
        + ")."
        if start_rows
        else "Tokenise the text as the tokenizer does by default."
    )
    return f"""---
library_name: peft
base_model: {json.dumps(backbone["name"], ensure_ascii=False)}
---
# {name}, a prompt for {backbone["name"]}

{length} learned {what}, exported by softprompt for PEFT.

```python
from peft import PeftModel
from transformers import {kind}

model = {kind}.from_pretrained({json.dumps(backbone["name"], ensure_ascii=False)})
model = PeftModel.from_pretrained(model, ".")
```

PEFT knows no template. The prompt was learned with the text around the input that this one has
(what stands in `{{soft}}` is the rows; demonstrations, where there are any, are text):

```
{record["template"]}
```

{start} Pad batches on the left for a causal model.
The answers: `{json.dumps(record["answers"], ensure_ascii=False)}`.

`{SIDE}` holds what PEFT has no place for; `softprompt import` reads this folder back.
"""


def _write(folder: Path, files: Mapping[str, bytes], overwrite: bool) -> None:
    target = folder.resolve()
    aside = None
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        others = (
            sorted(entry.name for entry in target.iterdir() if entry.name not in WRITTEN)
            if target.is_dir()
            else [target.name]
        )
        if others or not overwrite:
            hint = f" ({', '.join(others[:3])})" if others else "; or pass overwrite=True"
            raise PromptError(f"{folder}: something is there already; choose another folder{hint}")
        aside = target.parent / f".{target.name}.{secrets.token_hex(4)}.old"
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            for name, content in files.items():
                write_bytes(temporary / name, content)
            if aside is not None:
                os.replace(target, aside)
            try:
                os.replace(temporary, target)
            except OSError:
                if aside is not None:
                    os.replace(aside, target)
                raise
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise RunError(
            f"{folder}: could not be written: {error.strerror or error}; "
            "what was there before is unchanged"
        ) from error
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)
