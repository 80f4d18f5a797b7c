"""Tiny random models of every named architecture, saved as real checkpoints with a tokenizer each.

Built from their configs, without a network and without weights from elsewhere: two layers, 32 wide.
The weights are large, so that a wrong mask, position or scale shows in the logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

_FREQUENT = (
    "a an the of to and is was it in very so not this that what film movie plot great good fine "
    "bad awful terrible dull book story slow moving funny scene old new one two long short says"
)
WORDS = _FREQUENT.split()
CHINESE = "这是一部很好的电影差不我们看了这个故事没有意思总体评价服务酒店"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MARKS = ".,!?:;'\"-()<>/[]|_"
DIGITS = "0123456789"

TEXTS = (
    "the film was very good",
    "a dull plot",
    "this story is so slow and long, not moving at all",
    "一部很好的电影",
    "good",
    "it was funny! the old book is one of two",
)
"""Short and long, English and Chinese: what the tests feed."""

Roles = Mapping[str, str]
_BERT: Roles = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_ROBERTA: Roles = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_T5: Roles = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_LLAMA: Roles = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_GPT2: Roles = {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}
_OPT: Roles = {"bos_token": "</s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}

_BERT_FRAME = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
_ROBERTA_FRAME = ("<s> $A </s>", "<s> $A </s> </s> $B </s>")
_T5_FRAME = ("$A </s>", "$A </s> $B </s>")


def _word_piece(roles: Roles) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = [*_specials(roles), *LETTERS, *DIGITS, *MARKS, *(f"##{c}" for c in LETTERS + DIGITS)]
    pieces += [word for word in WORDS if len(word) > 1] + list(dict.fromkeys(CHINESE))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=roles["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _bytes(roles: Roles) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 80,
        initial_alphabet=alphabet,
        special_tokens=_specials(roles),
        show_progress=False,
    )
    backend.train_from_iterator([" ".join(WORDS)] * 3 + [CHINESE] * 2, trainer)
    return backend


def _unigram(roles: Roles) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = [(name, 0.0) for name in _specials(roles)]
    pieces += [("▁", -2.0), *((f"▁{word}", -3.0) for word in WORDS if len(word) > 1)]
    single = dict.fromkeys(LETTERS + DIGITS + MARKS + CHINESE)
    pieces += [(letter, -6.0 - 0.01 * number) for number, letter in enumerate(single)]
    unknown = _specials(roles).index(roles["unk_token"])
    backend = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend


def _specials(roles: Roles) -> list[str]:
    return list(dict.fromkeys(roles.values()))


@dataclass(frozen=True)
class TokenizerPlan:
    """How a test tokenizer is made: its algorithm, special tokens and frame."""

    build: Callable[[Roles], Any]
    roles: Roles
    frame: tuple[str, str] | None
    sentinels: int = 0
    lstrip_mask: bool = False


TOKENIZERS: Mapping[str, TokenizerPlan] = {
    "word_piece": TokenizerPlan(_word_piece, _BERT, _BERT_FRAME),
    "bytes_roberta": TokenizerPlan(_bytes, _ROBERTA, _ROBERTA_FRAME, lstrip_mask=True),
    "bytes_bert": TokenizerPlan(_bytes, _BERT, _BERT_FRAME, lstrip_mask=True),
    "bytes_gpt2": TokenizerPlan(_bytes, _GPT2, None),
    "bytes_opt": TokenizerPlan(_bytes, _OPT, ("</s> $A", "</s> $A </s> $B")),
    "unigram_roberta": TokenizerPlan(_unigram, _ROBERTA, _ROBERTA_FRAME, lstrip_mask=True),
    "unigram_bert": TokenizerPlan(_unigram, _BERT, _BERT_FRAME, lstrip_mask=True),
    "unigram_t5": TokenizerPlan(_unigram, _T5, _T5_FRAME, sentinels=4),
    "unigram_pegasus": TokenizerPlan(_unigram, _T5, _T5_FRAME),
    "unigram_llama": TokenizerPlan(_unigram, _LLAMA, ("<s> $A", "<s> $A <s> $B")),
}


def build_tokenizer(name: str, **options: Any) -> Any:
    """A fast transformers tokenizer of this plan."""
    from tokenizers import AddedToken, processors
    from transformers import PreTrainedTokenizerFast

    plan = TOKENIZERS[name]
    backend = plan.build(plan.roles)
    if plan.frame is not None:
        used = {part.partition(":")[0] for part in " ".join(plan.frame).split()} - {"$A", "$B"}
        backend.post_processor = processors.TemplateProcessing(
            single=plan.frame[0],
            pair=plan.frame[1],
            special_tokens=[(token, backend.token_to_id(token)) for token in sorted(used)],
        )
    roles: dict[str, Any] = dict(plan.roles)
    if plan.lstrip_mask:
        roles["mask_token"] = AddedToken(roles["mask_token"], lstrip=True, special=True)
    sentinels = [f"<extra_id_{number}>" for number in range(plan.sentinels)]
    if sentinels:
        roles["extra_special_tokens"] = sentinels
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles, **options)


@dataclass(frozen=True)
class Plan:
    """A tiny model: its classes' common name, tokenizer and config."""

    kind: str
    head: str
    tokenizer: str
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        return _FAMILIES[self.head]


_FAMILIES = {
    "ForMaskedLM": "masked",
    "ForConditionalGeneration": "encoder_decoder",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
}
_BLOCKS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.25,
}
_SEQ2SEQ = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "init_std": 0.25,
}
_T5_BLOCKS = {
    "d_model": 32,
    "d_kv": 6,
    "d_ff": 48,
    "num_heads": 4,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "initializer_factor": 1.5,
}
_GATED = {**_T5_BLOCKS, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_OPT_BLOCKS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 48,
    "max_position_embeddings": 64,
    "init_std": 0.25,
}
_GROUPED = {**_BLOCKS, "num_key_value_heads": 2}
_DISENTANGLED = {
    **_BLOCKS,
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
    "type_vocab_size": 0,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
}

ARCHITECTURES: Mapping[str, Plan] = {
    "bert": Plan("Bert", "ForMaskedLM", "word_piece", _BLOCKS),
    "roberta": Plan("Roberta", "ForMaskedLM", "bytes_roberta", {**_BLOCKS, "type_vocab_size": 1}),
    "xlm-roberta": Plan(
        "XLMRoberta", "ForMaskedLM", "unigram_roberta", {**_BLOCKS, "type_vocab_size": 1}
    ),
    "albert": Plan("Albert", "ForMaskedLM", "unigram_bert", {**_BLOCKS, "embedding_size": 16}),
    "deberta": Plan(
        "Deberta",
        "ForMaskedLM",
        "bytes_bert",
        {**_BLOCKS, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "deberta-v2": Plan("DebertaV2", "ForMaskedLM", "unigram_bert", _DISENTANGLED),
    "deberta-v2-own-head": Plan(
        "DebertaV2", "ForMaskedLM", "unigram_bert", {**_DISENTANGLED, "legacy": False}
    ),
    "electra": Plan("Electra", "ForMaskedLM", "word_piece", {**_BLOCKS, "embedding_size": 16}),
    "modernbert": Plan(
        "ModernBert",
        "ForMaskedLM",
        "bytes_bert",
        {
            **_BLOCKS,
            "num_hidden_layers": 3,
            "local_attention": 8,
            "global_attn_every_n_layers": 3,
            "initializer_range": 0.1,
        },
    ),
    "t5": Plan("T5", "ForConditionalGeneration", "unigram_t5", _T5_BLOCKS),
    "t5-1.1": Plan("T5", "ForConditionalGeneration", "unigram_t5", _GATED),
    "mt5": Plan("MT5", "ForConditionalGeneration", "unigram_t5", _GATED),
    "bart": Plan("Bart", "ForConditionalGeneration", "bytes_roberta", _SEQ2SEQ),
    "bart-scaled": Plan(
        "Bart", "ForConditionalGeneration", "bytes_roberta", {**_SEQ2SEQ, "scale_embedding": True}
    ),
    "pegasus": Plan(
        "Pegasus",
        "ForConditionalGeneration",
        "unigram_pegasus",
        {**_SEQ2SEQ, "scale_embedding": True},
    ),
    "gpt2": Plan(
        "GPT2",
        "LMHeadModel",
        "bytes_gpt2",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.25},
    ),
    "gpt-neox": Plan("GPTNeoX", "ForCausalLM", "bytes_gpt2", _BLOCKS),
    "opt": Plan("OPT", "ForCausalLM", "bytes_opt", _OPT_BLOCKS),
    "opt-projected": Plan(
        "OPT",
        "ForCausalLM",
        "bytes_opt",
        {**_OPT_BLOCKS, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "bloom": Plan(
        "Bloom",
        "ForCausalLM",
        "bytes_gpt2",
        {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.25},
    ),
    "llama": Plan("Llama", "ForCausalLM", "unigram_llama", _GROUPED),
    "qwen2": Plan("Qwen2", "ForCausalLM", "bytes_gpt2", _GROUPED),
    "qwen3": Plan("Qwen3", "ForCausalLM", "bytes_gpt2", {**_GROUPED, "head_dim": 10}),
    "phi3": Plan("Phi3", "ForCausalLM", "unigram_llama", _GROUPED),
    "mistral": Plan("Mistral", "ForCausalLM", "unigram_llama", {**_GROUPED, "sliding_window": 5}),
}
"""Every architecture that the manual names, by a short name."""


def config_of(name: str, tokenizer: Any, **changes: Any) -> Any:
    """The config of a tiny model, its special ids read off the tokenizer."""
    import transformers

    plan = ARCHITECTURES[name]
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    if plan.family == "encoder_decoder":
        start = tokenizer.pad_token_id if plan.kind != "Bart" else tokenizer.eos_token_id
        ids["decoder_start_token_id"] = start
    vocabulary = 8 * math.ceil(len(tokenizer) / 8)
    make = getattr(transformers, f"{plan.kind}Config")
    return make(**{"vocab_size": vocabulary, **ids, **plan.config, **changes})


def build_model(name: str, tokenizer: Any, *, seed: int = 0, **changes: Any) -> Any:
    """A random model; biases and norms too are random, so that none of them goes unnoticed."""
    import transformers

    plan = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make = getattr(transformers, plan.kind + plan.head)
        model = make(config_of(name, tokenizer, **changes)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.numel() > 1 and float(parameter.std()) == 0.0:
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def save_checkpoint(
    name: str,
    folder: Path,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    tokenizer_options: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write model and tokenizer as a checkpoint folder that `load_backbone` reads.

    Args:
        name: one of ARCHITECTURES.
        folder: is made.
        seed: of the weights.
        dtype: in which the weights are stored.
        tokenizer_options: for the tokenizer, for example `padding_side`.
        changes: to the config.
    """
    tokenizer = build_tokenizer(ARCHITECTURES[name].tokenizer, **(tokenizer_options or {}))
    model = build_model(name, tokenizer, seed=seed, **changes)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
