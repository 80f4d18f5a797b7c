"""Shapes of backbones: random weights from a config, and a tokenizer of one token a word.

`w17` is a word and a token, so that a text of 32 tokens is 32 words and both sides of a comparison
see the same ids. Knows architectures, not what is measured on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import torch

import softprompt as sp
from softprompt.backbones.backbone import Backbone

POSITIONS = 1024
Roles = Mapping[str, str]
_BERT: Roles = MappingProxyType(
    {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
)
_ROBERTA: Roles = MappingProxyType(
    {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
)
_T5: Roles = MappingProxyType({"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"})
_GPT2: Roles = MappingProxyType(
    {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
)


@dataclass(frozen=True)
class Shape:
    """A backbone to be made.

    Args:
        kind, head: the two halves of its class name in transformers.
        roles: special tokens.
        frame: what its tokenizer puts around one text and around two, if anything.
        config: sizes; dropout is off, so that training mode changes nothing.
        template: for `rows` learned rows in front of the text and one answer behind it.
    """

    kind: str
    head: str
    roles: Roles
    frame: tuple[str, str] | None
    config: Mapping[str, Any]
    template: str = "{{soft:{rows}}}{{text}} {{mask}}"
    sentinels: int = field(default=0)


_MASKED = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": POSITIONS,
    "num_hidden_layers": 6,
    "hidden_size": 512,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
}

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "gpt2": Shape(
            "GPT2",
            "LMHeadModel",
            _GPT2,
            None,
            {"vocab_size": 50257, "n_layer": 6, "n_embd": 512, "n_head": 8}
            | {"n_positions": POSITIONS, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
        ),
        "llama": Shape(
            "Llama",
            "ForCausalLM",
            _GPT2,
            None,
            {"vocab_size": 32000, "num_hidden_layers": 6, "hidden_size": 512}
            | {"num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 1376}
            | {"max_position_embeddings": POSITIONS, "tie_word_embeddings": False},
        ),
        "t5": Shape(
            "T5",
            "ForConditionalGeneration",
            _T5,
            ("$A </s>", "$A </s> $B </s>"),
            {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8}
            | {"num_layers": 6, "num_decoder_layers": 6, "dropout_rate": 0.0},
            template="{{soft:{rows}}}{{text}}",
            sentinels=100,
        ),
        "bert": Shape(
            "Bert",
            "ForMaskedLM",
            _BERT,
            ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
            {"vocab_size": 30522, **_MASKED},
        ),
        "roberta": Shape(
            "Roberta",
            "ForMaskedLM",
            _ROBERTA,
            ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
            {"vocab_size": 50265, "type_vocab_size": 1, **_MASKED},
        ),
    }
)
"""Backbones by name; T5's is that of t5-small, the others have its depth and width."""

_TOY_SIZES = {
    "vocab_size": 300,
    "n_layer": 2,
    "n_embd": 32,
    "n_head": 4,
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_heads": 4,
    "num_layers": 2,
    "num_decoder_layers": 2,
}


def word(number: int) -> str:
    """The word with this number, one token."""
    return f"w{number}"


def build(
    name: str, *, toy: bool = False, device: str | None = None, precision: str = "float32"
) -> Backbone:
    """A named shape with random weights, loaded as any other backbone.

    Args:
        toy: 2 layers × 32, 300 words, to try that everything runs.
    """
    import transformers

    shape = SHAPES[name]
    config = dict(shape.config)
    if toy:
        config |= {key: value for key, value in _TOY_SIZES.items() if key in config}
    tokenizer = _tokenizer(shape, int(config["vocab_size"]))
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    if shape.sentinels:
        ids["decoder_start_token_id"] = tokenizer.pad_token_id
    settings = getattr(transformers, f"{shape.kind}Config")(**config, **ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, shape.kind + shape.head)(settings)
    with TemporaryDirectory(prefix="softprompt-shape-") as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return sp.load_backbone(Path(folder), precision=precision, device=device)


def _tokenizer(shape: Shape, vocabulary: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = list(dict.fromkeys(shape.roles.values()))
    words = vocabulary - len(specials) - shape.sentinels if vocabulary > 1000 else 150
    names = [*specials, *map(word, range(words))]
    backend = Tokenizer(
        models.WordLevel(
            {name: number for number, name in enumerate(names)}, unk_token=shape.roles["unk_token"]
        )
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if shape.frame is not None:
        used = {part.partition(":")[0] for part in " ".join(shape.frame).split()} - {"$A", "$B"}
        backend.post_processor = processors.TemplateProcessing(
            single=shape.frame[0],
            pair=shape.frame[1],
            special_tokens=[(token, backend.token_to_id(token)) for token in sorted(used)],
        )
    roles: dict[str, Any] = dict(shape.roles)
    if shape.sentinels:
        count = shape.sentinels if vocabulary > 1000 else 4
        roles["extra_special_tokens"] = [f"<extra_id_{number}>" for number in range(count)]
    return PreTrainedTokenizerFast(tokenizer_object=backend, padding_side="right", **roles)
