"""A toy corpus in two languages, tiny architectures of every family, and a recipe to change."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from softprompt.pretraining.settings import PretrainSettings
from tests.tiny_models import WORDS

_DRAW = random.Random(0)
# A unigram trainer sees pieces that two different words share: film, films.
_FORMS = [word + ending for word in WORDS if len(word) > 1 for ending in ("", "s", "ly")]
ENGLISH = "".join(
    f"{' '.join(_DRAW.choices(_FORMS, k=7))} . the film was very {_DRAW.choice(('good', 'bad'))} .\n"
    for _ in range(120)
)
CHINESE = "这部电影很好看。\n故事没有意思，但是服务很好。\n"

Record = Mapping[str, Any]

_BLOCKS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
BERT = {"model_type": "bert", **_BLOCKS}
STILL = {**BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MODERNBERT = {"model_type": "modernbert", **_BLOCKS, "local_attention": 8}
T5 = {
    "model_type": "t5",
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_heads": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": True,
}
BART = {
    "model_type": "bart",
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
}
LLAMA = {"model_type": "llama", **_BLOCKS, "tie_word_embeddings": True}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}

FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "masked": {"architecture": BERT},
    "encoder_decoder": {
        "architecture": T5,
        "layout": "encoder_decoder",
        "objective": "span_corruption",
    },
    "causal": {"architecture": LLAMA, "layout": "decoder", "objective": "causal_lm"},
}
"""A recipe's changes for one model of each family."""


def values(**changes: Any) -> dict[str, Any]:
    """The values of a recipe that takes a second or two."""
    usual = {
        "architecture": BERT,
        "tokenizer": {"vocabulary": 440, "ideographs": 40, "characters": 5_000},
        "preparation": {"deduplicate": False},
        "length": 16,
        "batch_size": 8,
        "micro_batch": 8,
        "steps": 6,
        "optimiser": {"warmup": 2, "learning_rate": 5e-3},
        "held_out": 4,
        "evaluate_every": 3,
        "checkpoint_every": 2,
        "bf16": False,
    }
    return {**usual, **changes}


def recipe(**changes: Any) -> PretrainSettings:
    """A recipe that takes a second or two; nested values are replaced whole."""
    return PretrainSettings.read(values(**changes))


def write_corpus(folder: Path) -> Path:
    """`en_toy.txt` and `zh_toy.txt`, some 2,500 tokens each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "en_toy.txt").write_text((ENGLISH + "\n") * 2, encoding="utf-8")
    (folder / "zh_toy.txt").write_text((CHINESE * 3 + "\n") * 40, encoding="utf-8")
    return folder


def stopping(at: int) -> Callable[[Record], None]:
    """A report that interrupts the run after a step."""

    def report(record: Record) -> None:
        if record.get("step") == at:
            raise KeyboardInterrupt

    return report
