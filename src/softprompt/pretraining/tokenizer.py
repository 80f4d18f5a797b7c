"""Train the shared tokenizer: byte-fallback unigram pieces, English and Chinese balanced.

SentencePiece (Kudo & Richardson 2018) chooses the pieces of whatever is written with spaces; each
Chinese character is a piece of its own (as in BERT's Chinese tokenizers), so that a label word such
as 好 is one token wherever it stands, and no piece ever reaches over an answer slot. Characters
that are no piece become their UTF-8 bytes (a line break is one byte), so nothing is unknown.
Text is brought to NFC and lower case; full-width punctuation stays as it is written.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt.errors import DataError

PAD, END, UNKNOWN, START, MASK = "<pad>", "</s>", "<unk>", "<s>", "<mask>"
SPECIAL_TOKENS = (PAD, END, UNKNOWN, START, MASK)  # ids 0 to 4; the first three as in T5
N_SENTINELS = 100
BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
SPACE = "▁"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_IDEOGRAPH = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_LONGEST_LINE = 4_000


@dataclass(frozen=True)
class Sample:
    """Text to train a tokenizer on.

    Args:
        language: samples of one language share its part of the characters.
        rate: weight within the language.
        lines: makes a fresh stream of lines each time it is called.
    """

    language: str
    rate: float
    lines: Callable[[], Iterable[str]]


def train_tokenizer(
    samples: Sequence[Sample], vocabulary: int, ideographs: int, characters: int
) -> Any:
    """Train pieces on equally many characters of each language.

    Args:
        samples: where the text comes from.
        vocabulary: number of pieces, special tokens, bytes and sentinels included.
        ideographs: how many Chinese characters get a piece; rarer ones become bytes.
        characters: size of the whole sample.
    Returns:
        A `tokenizers.Tokenizer` without a template of special tokens; the same text gives the
        same one.
    Raises:
        DataError: too little text for so many pieces.
    """
    lines = list(_sample(samples, characters))
    letters = Counter(re.findall(_IDEOGRAPH, "\n".join(lines)))
    kept = sorted(letters, key=lambda letter: (-letters[letter], letter))[:ideographs]
    room = vocabulary - len(SPECIAL_TOKENS) - len(BYTES) - N_SENTINELS - len(kept)
    if room < 1:
        raise DataError(
            f"a vocabulary of {vocabulary} has no room for {len(kept)} Chinese characters beside "
            f"{len(BYTES)} bytes and {N_SENTINELS + len(SPECIAL_TOKENS)} special tokens; raise "
            "tokenizer.vocabulary or lower tokenizer.ideographs"
        )
    spaced = _spaced_pieces(lines, room, vocabulary)
    total = sum(letters.values()) + sum(len(line.split()) for line in lines)
    pieces: list[tuple[str, float]] = [(name, 0.0) for name in (*SPECIAL_TOKENS, *BYTES)]
    pieces += spaced
    pieces += [(letter, math.log(letters[letter] / total)) for letter in kept]
    # As in T5, the sentinels end the vocabulary and the first one is the last id.
    pieces += [(f"<extra_id_{n}>", 0.0) for n in reversed(range(N_SENTINELS))]
    return _build(pieces)


def _sample(samples: Sequence[Sample], characters: int) -> Iterator[str]:
    """Normalised lines from the beginning of each text, as many as it is entitled to."""
    languages = {sample.language for sample in samples}
    for sample in samples:
        beside = sum(other.rate for other in samples if other.language == sample.language)
        left = int(characters / len(languages) * sample.rate / beside)
        for line in sample.lines():
            text = unicodedata.normalize("NFC", line.strip()).lower()[:_LONGEST_LINE]
            yield text
            left -= len(text)
            if left <= 0:
                break


def _spaced_pieces(lines: Sequence[str], room: int, vocabulary: int) -> list[tuple[str, float]]:
    """Unigram pieces of everything but Chinese characters, with their log-probabilities."""
    import sentencepiece

    # A Chinese character ends a sentence of the trainer's: no piece reaches over one.
    parts = (part for line in lines for part in re.split(_IDEOGRAPH, f" {line}") if part.strip())
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=parts,
            model_writer=model,
            model_type="unigram",
            vocab_size=room + len(BYTES) + 1,
            byte_fallback=True,
            character_coverage=0.9998,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_digits=True,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,  # with more, sums are added in another order each time
            max_sentence_length=4 * _LONGEST_LINE + 16,
            minloglevel=2,
        )
    except RuntimeError as error:
        most = re.search(r"value <= (\d+)", str(error))
        beside = vocabulary - room
        lower = f" to {int(most.group(1)) - len(BYTES) - 1 + beside:,} or less" if most else ""
        raise DataError(
            f"too little text for a vocabulary of {vocabulary:,} pieces; lower "
            f"tokenizer.vocabulary{lower}, or give more text"
        ) from error
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [
        (trained.id_to_piece(number), trained.get_score(number))
        for number in range(trained.get_piece_size())
        if not (trained.is_byte(number) or trained.is_unknown(number))
    ]


def _build(pieces: list[tuple[str, float]]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    unknown = SPECIAL_TOKENS.index(UNKNOWN)
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
    )
    sentinels = [f"<extra_id_{n}>" for n in range(N_SENTINELS)]
    special = [AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS]
    special += [AddedToken(name, special=True, normalized=False) for name in sentinels]
    tokenizer.add_special_tokens(special)
    return tokenizer


def begins_word(tokenizer: Any) -> list[bool] | None:
    """Which pieces begin a word, `[V]`; None where the tokenizer does not show it.

    SentencePiece marks a word's first piece with ▁, GPT-2's bytes with Ġ, WordPiece marks the
    others with ##. Chinese characters and special tokens stand for themselves.
    """
    names = [str(tokenizer.id_to_token(n)) for n in range(tokenizer.get_vocab_size())]
    special = {name for name in names if re.fullmatch(r"<[^<>]+>|\[[A-Z]+\]", name)}
    if any(name.startswith("##") for name in names):
        return [not name.startswith("##") for name in names]
    for mark in (SPACE, "Ġ"):
        if any(name.startswith(mark) for name in names):
            alone = re.compile(_IDEOGRAPH)
            return [
                name.startswith(mark) or name in special or bool(alone.match(name))
                for name in names
            ]
    return None


TEMPLATES: dict[str, tuple[str, str]] = {
    "masked": (f"{START} $A {END}", f"{START} $A {END} $B {END}"),
    "encoder_decoder": (f"$A {END}", f"$A {END} $B {END}"),
    "causal": (f"{START} $A", f"{START} $A $B"),
}
"""Which special tokens stand around a text and a pair, by family."""


def save_tokenizer(tokenizer: Any, folder: Path, family: str, max_length: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, loadable by AutoTokenizer.

    Args:
        tokenizer: from `train_tokenizer`.
        folder: created if need be.
        family: masked, encoder_decoder or causal; decides the special tokens around a text.
        max_length: longest input of the model, in tokens.
    """
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    single, pair = TEMPLATES[family]
    framed = Tokenizer.from_str(tokenizer.to_str())
    framed.post_processor = processors.TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(name, framed.token_to_id(name)) for name in (START, END)],
    )
    names = {"pad_token": PAD, "unk_token": UNKNOWN, "eos_token": END}
    if family != "encoder_decoder":
        names["bos_token"] = START
    if family == "masked":
        names |= {"cls_token": START, "sep_token": END, "mask_token": MASK}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=framed,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        extra_special_tokens=[f"<extra_id_{n}>" for n in range(N_SENTINELS)],
        **names,
    )
    wrapped.save_pretrained(str(folder))
