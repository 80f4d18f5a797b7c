"""Train a tokenizer for English and Chinese from corpus files, balanced by rate.

WordPiece, lower-cased, each Chinese character a piece of its own (as BERT's Chinese and
multilingual tokenizers do): a label word such as 好 is then one token wherever it stands.
Accents and full-width punctuation are kept as written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from softprompt.pretraining.corpus import Source, read_documents

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


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
        A `tokenizers.Tokenizer` with BERT's special tokens and pair template; the same text gives
        the same one.
    """
    from tokenizers import processors

    letters = _frequent_characters(_sample(sources, characters), alphabet)
    # The trainer numbers the pieces that continue a word in the order of a hash map, other in every
    # process, and breaks ties by these numbers. A first round without merges finds them; the second
    # is given them in order.
    first = _train(_sample(sources, characters), 0, letters, [])
    continuing = sorted(piece for piece in first.get_vocab() if piece.startswith(CONTINUES))
    trained = _train(_sample(sources, characters), vocabulary, letters, continuing)
    tokenizer = _without_added(trained, continuing)
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", start), ("[SEP]", end)],
    )
    return tokenizer


def _untrained() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

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
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUES)
    return tokenizer


def _train(
    sample: Iterator[str], vocabulary: int, letters: Sequence[str], continuing: Sequence[str]
) -> Any:
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = _untrained()
    trainer = WordPieceTrainer(
        vocab_size=vocabulary,
        initial_alphabet=list(letters),
        limit_alphabet=len(letters),
        min_frequency=5,
        special_tokens=[*SPECIAL_TOKENS, *continuing],
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def _frequent_characters(sample: Iterator[str], most: int) -> list[str]:
    """The most frequent characters after normalising, ties by code point."""
    normalizer = _untrained().normalizer
    counts: Counter[str] = Counter()
    for document in sample:
        counts.update(normalizer.normalize_str(document))
    kept = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted([character for character in kept if not character.isspace()][:most])


def _without_added(tokenizer: Any, pieces: Sequence[str]) -> Any:
    """The same tokenizer, these pieces ordinary ones of its vocabulary."""
    from tokenizers import Tokenizer

    description = json.loads(tokenizer.to_str())
    added = description["added_tokens"]
    description["added_tokens"] = [token for token in added if token["content"] not in set(pieces)]
    return Tokenizer.from_str(json.dumps(description))


def _sample(sources: Sequence[Source], characters: int) -> Iterator[str]:
    """The beginning of each source, as much of it as its rate gives it."""
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
