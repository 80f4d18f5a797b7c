"""Small tokenizers of the kinds that matter, each made as its model family makes its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.text.answers import Answers, Verbalizer
from softprompt.text.layout import Frame
from softprompt.text.renderer import Renderer
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import Template, parse

Make: TypeAlias = Callable[..., Renderer]

SAMPLE = """
a the it It was is of film movie plot great good bad terrible okay fun dull review Review Yes No yes
no sentence passage question text best very so World Sports
"""
WORDS = SAMPLE.split()
CHINESE = "这部电影很有趣总体评价是好差的中国特效棒但剧情糟糕一些人"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
MARKS = ".,!?:;'\"-()[]/|_<>0123456789。，"
BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ROBERTA = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
T5 = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
SENTINELS = [f"<extra_id_{number}>" for number in range(4)]


def _finished(backend: Any, roles: Mapping[str, str], frame: tuple[str, str], **more: Any) -> Any:
    """A transformers tokenizer with a frame for one text and for a pair."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    used = {part.split(":")[0] for part in " ".join(frame).split()} - {"$A", "$B"}
    given = {role: _mask(name) if name == "<mask>" else name for role, name in roles.items()}
    made = PreTrainedTokenizerFast(tokenizer_object=backend, **given, **more)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=frame[0],
        pair=frame[1],
        special_tokens=[(token, made.convert_tokens_to_ids(token)) for token in sorted(used)],
    )
    return made


def _mask(name: str) -> Any:
    """RoBERTa's and XLM-R's mask takes the space before it."""
    from tokenizers import AddedToken

    return AddedToken(name, lstrip=True, special=True)


def _bert() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = [*BERT.values(), *LETTERS[:26], *(f"##{c}" for c in LETTERS[:26])]
    pieces += [word.lower() for word in WORDS] + list(MARKS) + list(CHINESE) + ["##s", "##ing"]
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return _finished(backend, BERT, ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"))


def _bytes(roles: Mapping[str, str], frame: tuple[str, str]) -> Any:
    """Byte-level BPE as GPT-2 and RoBERTa have it; each word, with and without its space, is one
    piece."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[
            _mask(name) if name == "<mask>" else name for name in dict.fromkeys(roles.values())
        ],
        show_progress=False,
    )
    backend.train_from_iterator([*WORDS, " ".join(["", *WORDS]), "好", "差"] * 3, trainer)
    return _finished(backend, roles, frame)


def _pieces(roles: Mapping[str, str], last: list[str]) -> Any:
    """A Unigram model in which 是好 is one piece, and its vocabulary holds the special names."""
    from tokenizers import Tokenizer, models

    pieces = [(name, 0.0) for name in dict.fromkeys(roles.values())]
    pieces += [("▁", -2.0), *((f"▁{word}", -3.0) for word in WORDS if len(word) > 1)]
    pieces += [(word, -5.0) for word in WORDS if len(word) > 1] + [("是好", -4.0)]
    letters = LETTERS + MARKS.replace("<", "") + CHINESE
    pieces += [(letter, -6.0 - 0.01 * n) for n, letter in enumerate(dict.fromkeys(letters))]
    pieces += [(name, 0.0) for name in last]
    unknown = list(dict.fromkeys(roles.values())).index(roles["unk_token"])
    return Tokenizer(models.Unigram(pieces, unk_id=unknown))


def _unigram(roles: Mapping[str, str], frame: tuple[str, str], **more: Any) -> Any:
    """SentencePiece as T5, XLM-R and ALBERT have it: words, then a mark before each."""
    from tokenizers import decoders, pre_tokenizers

    backend = _pieces(roles, more.get("extra_special_tokens", [])[::-1])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    backend.decoder = decoders.Metaspace()
    return _finished(backend, roles, frame, **more)


def _llama() -> Any:
    """SentencePiece as Llama has it: no words, every space a mark."""
    from tokenizers import decoders, normalizers

    roles = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    backend = _pieces(roles, [])
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Metaspace()
    return _finished(backend, roles, ("<s> $A", "<s> $A <s> $B"))


@pytest.fixture(scope="session")
def wrapped() -> Mapping[str, Any]:
    """Transformers tokenizers by the name of the family that has such a one."""
    roberta_frame = ("<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return {
        "bert": _bert(),
        "roberta": _bytes(ROBERTA, roberta_frame),
        "xlm-r": _unigram(ROBERTA, roberta_frame),
        "albert": _unigram(BERT, ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")),
        "t5": _unigram(T5, ("$A </s>", "$A </s> $B </s>"), extra_special_tokens=SENTINELS),
        "pegasus": _unigram(T5, ("$A </s>", "$A </s> $B </s>")),
        "gpt2": _bytes({"eos_token": "<|endoftext|>"}, ("$A", "$A $B")),
        "llama": _llama(),
    }


@pytest.fixture(scope="session")
def tokenizers(wrapped: Mapping[str, Any]) -> Mapping[str, TextTokenizer]:
    """The same, as the renderer sees them."""
    return {name: TextTokenizer(tokenizer) for name, tokenizer in wrapped.items()}


@pytest.fixture(scope="session")
def frames(tokenizers: Mapping[str, TextTokenizer]) -> Mapping[str, Frame]:
    """Each with the special tokens of its family; `bart` is RoBERTa's in an encoder-decoder."""
    made = {name: Frame("masked", tokenizers[name]) for name in ("bert", "roberta", "xlm-r")}
    made["albert"] = Frame("masked", tokenizers["albert"])
    for name in ("gpt2", "llama"):
        end = tokenizers[name].end_of_text
        assert end is not None
        made[name] = Frame("causal", tokenizers[name], decoder_end=(end,))
    for name in ("t5", "pegasus"):
        end_tokens = tokenizers[name].end
        made[name] = Frame("encoder_decoder", tokenizers[name], (0,), end_tokens)
    bart = tokenizers["roberta"]
    start = (*bart.end, *bart.start)
    made["bart"] = Frame("encoder_decoder", bart, start, bart.end)
    return made


@pytest.fixture(scope="session")
def make(frames: Mapping[str, Frame]) -> Make:
    """A renderer of a family for a template; by default terrible and great are the answers."""
    mood = Verbalizer.read({"negative": "terrible", "positive": "great"})

    def renderer(
        family: str,
        template: str | Template,
        answers: Answers | Mapping[str, Any] | None = None,
        *,
        n_rows: int = 0,
        sentinel_answers: bool = False,
        **settings: Any,
    ) -> Renderer:
        read = parse(template) if isinstance(template, str) else template
        if isinstance(answers, Mapping):
            answers = Verbalizer.read(answers, max(1, len(read.answers)))
        frame = replace(frames[family], sentinel_answers=sentinel_answers)
        return Renderer(read, answers or mood, frame, n_rows, RenderSettings(**settings))

    return renderer
