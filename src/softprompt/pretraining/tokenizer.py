"""Train a tokenizer for English and Chinese from corpus files, balanced by rate.

WordPiece, lower-cased, each Chinese character a piece of its own (as BERT's Chinese and
multilingual tokenizers do): a label word such as 好 is then one token wherever it stands.
Accents and full-width punctuation are kept as written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from softprompt.pretraining.corpus import Source, read_documents

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(
    sources: Sequence[Source], vocabulary: int, alphabet: int, characters: int
) -> Any:
    """Train WordPiece on an equal share of each source, weighted by its rate.

    Args:
        sources: corpus files; a source's share of the sample is proportional to its rate.
        vocabulary: number of pieces, special tokens included.
        alphabet: how many single characters are kept; rarer ones map to [UNK].
        characters: size of the whole sample.
    Returns:
        A `tokenizers.Tokenizer` with BERT's special tokens and pair template.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True
            ),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    trainer = WordPieceTrainer(
        vocab_size=vocabulary,
        limit_alphabet=alphabet,
        min_frequency=5,
        special_tokens=list(SPECIAL_TOKENS),
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(sources, characters), trainer)
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", start), ("[SEP]", end)],
    )
    return tokenizer


def _sample(sources: Sequence[Source], characters: int) -> Iterator[str]:
    total = sum(source.rate for source in sources)
    for source in sources:
        left = int(characters * source.rate / total)
        for document in read_documents(source.path):
            yield document[:left]
            left -= len(document)
            if left <= 0:
                break


def save_tokenizer(tokenizer: Any, folder: Path, max_length: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, loadable by AutoTokenizer."""
    from transformers import PreTrainedTokenizerFast

    names = dict(
        zip(
            ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
            SPECIAL_TOKENS,
            strict=True,
        )
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )
    wrapped.save_pretrained(str(folder))
