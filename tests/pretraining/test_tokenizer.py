"""The shared tokenizer: two languages, nothing unknown, the same each time."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from softprompt.errors import DataError, SettingsError
from softprompt.pretraining.models import load_tokenizer, vocabulary_of
from softprompt.pretraining.tokenizer import N_SENTINELS, Sample, begins_word, train_tokenizer
from tests.pretraining.toy_runs import CHINESE, ENGLISH
from tests.tiny_models import build_tokenizer


def sample(text: str, language: str = "en", rate: float = 1.0) -> Sample:
    return Sample(language, rate, lambda: text.splitlines() * 40)


def pieces(tokenizer: Any, text: str) -> list[str]:
    return list(tokenizer.encode(text, add_special_tokens=False).tokens)


def test_the_same_text_gives_the_same_tokenizer(trained_tokenizer: Any):
    samples = [sample(ENGLISH), sample(CHINESE, "zh")]
    again = train_tokenizer(samples, vocabulary=440, ideographs=40, characters=20_000)
    assert again.to_str() == trained_tokenizer.to_str()


def test_words_are_pieces_and_each_chinese_character_is_one(trained_tokenizer: Any):
    assert pieces(trained_tokenizer, "the film was very good") == [
        "▁the",
        "▁film",
        "▁was",
        "▁very",
        "▁good",
    ]
    assert pieces(trained_tokenizer, "这电影很好")[-5:] == list("这电影很好")
    assert trained_tokenizer.get_vocab_size() <= 440


def test_text_is_brought_to_nfc_and_lower_case(trained_tokenizer: Any):
    assert pieces(trained_tokenizer, "The FILM") == pieces(trained_tokenizer, "the film")
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert pieces(trained_tokenizer, apart) == pieces(trained_tokenizer, composed)
    assert pieces(trained_tokenizer, "，") != pieces(trained_tokenizer, ",")


def test_a_line_break_is_one_token(trained_tokenizer: Any):
    tokens = pieces(trained_tokenizer, "good\nfilm")
    assert tokens.count("<0x0A>") == 1
    # The next word, without a space before it, still is what the space would have made of it.
    assert trained_tokenizer.decode(trained_tokenizer.encode("good\nfilm").ids) == "good\nfilm"


def test_an_unknown_character_becomes_its_bytes(trained_tokenizer: Any):
    tokens = pieces(trained_tokenizer, "龘")
    assert tokens[-3:] == ["<0xE9>", "<0xBE>", "<0x98>"]
    assert "<unk>" not in tokens


characters = st.characters(exclude_categories=("Cs",), exclude_characters="▁<")
spaced = st.text(characters, max_size=60).filter(lambda t: "  " not in t and t.strip(" ") == t)


@given(spaced | st.text("ab 好，\n\u0301éÉ\U0001f600", max_size=40).map(str.split).map(" ".join))
def test_decoding_gives_the_normalised_text_back(trained_tokenizer: Any, text: str):
    normalised = trained_tokenizer.normalizer.normalize_str(text)
    encoded = trained_tokenizer.encode(text, add_special_tokens=False)
    assert trained_tokenizer.decode(encoded.ids) == normalised
    if text.isascii():
        assert normalised == unicodedata.normalize("NFC", text).lower()


def test_the_first_sentinel_is_the_last_id(tokenizers: dict[str, Path]):
    wrapped = load_tokenizer(tokenizers["encoder_decoder"])
    sentinels = vocabulary_of(wrapped, "encoder_decoder").sentinels
    assert sentinels == tuple(range(len(wrapped) - 1, len(wrapped) - 1 - N_SENTINELS, -1))
    assert wrapped.convert_ids_to_tokens(len(wrapped) - 1) == "<extra_id_0>"


@pytest.mark.parametrize(
    ("family", "single", "pair"),
    [
        ("masked", "<s> good</s>", "<s> good</s> film</s>"),
        ("encoder_decoder", "good</s>", "good</s> film</s>"),
        ("causal", "<s> good", "<s> good film"),
    ],
)
def test_each_family_has_its_frame(
    family: str, single: str, pair: str, tokenizers: dict[str, Path]
):
    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizers[family])

    def shown(ids: list[int]) -> str:
        names = {"<s>", "</s>"}
        tokens = tokenizer.convert_ids_to_tokens(ids)
        return "".join(t if t in names else t.replace("▁", " ") for t in tokens).strip()

    assert shown(tokenizer("good").input_ids) == single.replace("<s>good", "<s> good")
    assert shown(tokenizer("good", "film").input_ids) == pair
    assert tokenizer.model_max_length == 64
    assert sorted(tokenizer("good")) == ["attention_mask", "input_ids"]


def test_what_the_objectives_know_of_each_family(tokenizers: dict[str, Path]):
    found = {f: vocabulary_of(load_tokenizer(place), f) for f, place in tokenizers.items()}
    assert {f: (v.pad, v.start, v.end, v.mask) for f, v in found.items()} == {
        "masked": (0, 3, 1, 4),
        "encoder_decoder": (0, 0, 1, -1),
        "causal": (0, 3, 1, -1),
    }
    for family, vocabulary in found.items():
        wrapped = load_tokenizer(tokenizers[family])
        special = {*wrapped.all_special_ids, *vocabulary.sentinels}
        assert not special & set(vocabulary.ordinary.tolist())
        assert vocabulary.ordinary.dtype == np.int64


@pytest.mark.parametrize(
    ("kind", "text", "first"),
    [
        ("unigram_t5", "good zz", [True, True, False, False]),  # ▁good ▁ z z
        ("word_piece", "good xyz", [True, True, False, False]),  # good x ##y ##z
        ("bytes_gpt2", "q zq", [False, True, False]),  # q Ġz q
    ],
)
def test_words_begin_where_the_tokenizer_shows_it(kind: str, text: str, first: list[bool]):
    wrapped = build_tokenizer(kind)
    backend = wrapped.backend_tokenizer
    starts = begins_word(backend)
    assert starts is not None
    encoding = backend.encode(text, add_special_tokens=False)
    assert [starts[n] for n in encoding.ids][: len(first)] == first, encoding.tokens


def test_chinese_characters_and_special_tokens_are_words_of_their_own(trained_tokenizer: Any):
    starts = begins_word(trained_tokenizer)
    assert starts is not None
    for name in ("好", "<s>", "<extra_id_7>", "▁film"):
        assert starts[trained_tokenizer.token_to_id(name)], name


def test_a_tokenizer_without_marks_shows_no_words():
    from tokenizers import Tokenizer, models

    assert begins_word(Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))) is None


def test_languages_share_the_sample_equally_and_texts_by_rate():
    read: dict[str, int] = dict.fromkeys(("one", "two", "three"), 0)

    def counting(name: str, letter: str) -> Any:
        def lines() -> Any:
            for _ in range(10_000):
                read[name] += 1
                yield f"{letter} film was good"  # 15 characters

        return lines

    samples = [
        Sample("en", 3.0, counting("one", "a")),
        Sample("en", 1.0, counting("two", "b")),
        Sample("zh", 1.0, counting("three", "c")),
    ]
    train_tokenizer(samples, vocabulary=374, ideographs=0, characters=12_000)
    assert read == {"one": 300, "two": 100, "three": 400}


@pytest.mark.parametrize(
    ("text", "vocabulary", "message"),
    [
        ("good film\n", 12_000, "vocabulary of 12,000 pieces; lower tokenizer.vocabulary to"),
        (CHINESE, 375, "no room for 17 Chinese characters"),
        ("\n", 400, "too little text"),
    ],
)
def test_too_little_text_or_room_is_said(text: str, vocabulary: int, message: str):
    with pytest.raises(DataError, match=message):
        train_tokenizer([sample(text)], vocabulary, ideographs=40, characters=4_000)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path):
    with pytest.raises(SettingsError, match="nowhere: no tokenizer here"):
        load_tokenizer(tmp_path / "nowhere")
