"""Documents become blocks: each drawn once a pass, at its rate, none of the held-out tokens ever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from softprompt.errors import DataError
from softprompt.pretraining import corpus
from softprompt.pretraining.corpus import Mixture, Source, TokenFile, tokenise
from softprompt.pretraining.documents import Document

DOCUMENTS: list[Document] = [("first paragraph", "second one"), ("another document",)]
END = 77


def numbered(name: str, blocks: int, first: int = 0, rate: float = 1.0) -> TokenFile:
    """Blocks of 4 tokens that all hold the block's number, and a rest that fills none."""
    ids = np.repeat(np.arange(first, first + blocks), 4).tolist() + [9_999] * 3
    return TokenFile(Source(name, Path(f"{name}.txt"), rate), np.asarray(ids, dtype=np.uint16))


def mixture(*files: TokenFile, length: int = 4, held_out: int = 8, seed: int = 0) -> Mixture:
    return Mixture(files, length, held_out, seed)


def drawn(mixed: Mixture, blocks: int, first: int = 0) -> list[int]:
    """The numbers of the blocks drawn."""
    return mixed.rows(first, blocks)[:, 0].tolist()


# --- tokenising -------------------------------------------------------------------------------


def words_tokenizer(more: int = 0) -> Tokenizer:
    """A number a word; lines are parted by a word of their own."""
    words = ["first", "paragraph", "second", "one", "another", "document", "\n"]
    names = ["[UNK]", *words, *(f"w{n}" for n in range(more))]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    return tokenizer


def test_documents_are_joined_by_the_end_token_and_paragraphs_by_lines(tmp_path: Path):
    texts = [text for group in corpus.batched_documents(DOCUMENTS) for text in group]
    assert texts == ["first paragraph\nsecond one", "another document"]
    source = Source("a", tmp_path / "a.txt")
    made = tokenise(source, DOCUMENTS[1:] * 2, words_tokenizer(), END, "key", tmp_path)
    assert made.ids.tolist() == [5, 6, END, 5, 6, END]
    assert made.ids.dtype == np.uint16
    assert made.block(1, 2).tolist() == [END, 5]


def test_a_large_vocabulary_takes_four_bytes_an_id(tmp_path: Path):
    tokenizer = words_tokenizer(more=70_000)
    last = tokenizer.get_vocab_size() - 1
    made = tokenise(Source("a", "a"), [("w69999",)], tokenizer, END, "key", tmp_path)
    assert made.ids.tolist() == [last, END]
    assert made.ids.dtype == np.uint32


def test_a_source_is_tokenised_once_and_again_under_another_key(tmp_path: Path):
    source, cache = Source("a", tmp_path / "a.txt"), tmp_path / "cache"
    tokenise(source, DOCUMENTS, words_tokenizer(), END, "one", cache)

    def untouched() -> Iterator[Document]:
        pytest.fail("the documents were read again")
        yield ()

    kept = tokenise(source, untouched(), words_tokenizer(), END, "one", cache)
    assert kept.ids[-1] == END
    other = tokenise(source, DOCUMENTS[1:], words_tokenizer(), END, "two", cache)
    assert other.ids.tolist() == [5, 6, END]
    assert len(list(cache.iterdir())) == 2


def test_documents_are_streamed_a_group_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corpus, "AT_ONCE", 3)
    given: list[int] = []

    def documents() -> Iterator[Document]:
        for number in range(10):
            given.append(number)
            yield ("another document",)

    groups = corpus.batched_documents(documents())
    assert len(next(groups)) == 3
    assert len(given) <= 4
    assert [len(group) for group in groups] == [3, 3, 1]
    made = tokenise(Source("a", "a"), documents(), words_tokenizer(), END, "key", tmp_path)
    assert made.ids.tolist() == [5, 6, END] * 10


def test_an_interrupted_tokenising_leaves_nothing_to_be_taken_for_whole(tmp_path: Path):
    def cut_off() -> Iterator[Document]:
        yield from DOCUMENTS * 600
        raise KeyboardInterrupt

    source = Source("a", tmp_path / "a.txt")
    with pytest.raises(KeyboardInterrupt):
        tokenise(source, cut_off(), words_tokenizer(), END, "key", tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    assert len(tokenise(source, DOCUMENTS, words_tokenizer(), END, "key", tmp_path).ids) > 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".u2"]


def test_a_source_without_text_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"a\.txt: holds no text"):
        tokenise(Source("a", tmp_path / "a.txt"), [], words_tokenizer(), 1, "key", tmp_path)


def test_a_source_is_known_by_its_bytes(tmp_path: Path):
    place = tmp_path / "a.txt"
    digests = []
    for text in ("one", "two", "one"):
        place.write_text(text)
        digests.append(Source("a", place).digest)
    assert digests[0] == digests[2] != digests[1]


# --- mixing -----------------------------------------------------------------------------------


def test_a_pass_draws_every_block_once_and_never_a_held_out_one():
    # 10 and 8 blocks of 4 tokens and 3 more: of the last 8 tokens, two blocks reach into them.
    mixed = mixture(numbered("a", 10), numbered("b", 8, first=100))
    wanted = [*range(8), *range(100, 106)]
    assert mixed.epoch_blocks == len(wanted)
    first, second = drawn(mixed, 14), drawn(mixed, 14, first=14)
    assert sorted(first) == sorted(second) == wanted
    assert first != second


@pytest.mark.parametrize("length", [3, 4, 7, 16])
def test_blocks_of_any_length_leave_the_same_tokens_out(length: int):
    ids = np.arange(203, dtype=np.uint16)
    file = TokenFile(Source("a", "a"), ids)
    mixed = mixture(file, length=length, held_out=40)
    seen = set(mixed.rows(0, 3 * mixed.epoch_blocks).ravel().tolist())
    held = range(203 - 40, 203)
    assert not seen & set(held)
    assert len(seen) > 203 - 40 - length
    ((source, blocks),) = mixed.validation()
    assert source is file.source
    assert blocks.shape == (40 // length, length)
    assert set(blocks.ravel().tolist()) <= set(held)


def test_rates_are_passes_over_a_file_per_pass():
    files = [
        numbered("a", 12, rate=2.5),
        numbered("b", 12, first=100, rate=0.5),
        numbered("c", 12, first=200),
    ]
    mixed = mixture(*files)
    counts = Counter(drawn(mixed, 25 + 5 + 10))
    assert sorted(counts[n] for n in range(10)) == [2] * 5 + [3] * 5
    assert sum(counts[n] for n in range(100, 110)) == 5
    assert max(counts[n] for n in range(100, 110)) == 1
    assert [counts[n] for n in range(200, 210)] == [1] * 10


def test_the_order_is_a_function_of_the_seed_and_nothing_is_replayed():
    files = [numbered("a", 30)]
    mixed, same = mixture(*files, seed=3), mixture(*files, seed=3)
    wanted = mixed.rows(0, 100)  # over the end of a pass
    for first in (95, 15, 55, 0):  # in any order
        assert np.array_equal(same.rows(first, 5), wanted[first : first + 5])
    assert not np.array_equal(mixture(*files, seed=4).rows(0, 5), wanted[:5])
    assert wanted.shape == (100, 4)
    assert mixed.rows(7, 0).shape == (0, 4)


def test_two_threads_may_ask_for_blocks():
    mixed = mixture(numbered("a", 30))
    size = mixed.epoch_blocks
    wanted = [mixture(numbered("a", 30)).rows(epoch * size, size) for epoch in range(2)]
    wrong: list[int] = []

    def ask(epoch: int) -> None:
        for _ in range(50):
            if not np.array_equal(mixed.rows(epoch * size, size), wanted[epoch]):
                wrong.append(epoch)

    threads = [threading.Thread(target=ask, args=(epoch,)) for epoch in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_too_short_for_its_validation_set_is_named():
    with pytest.raises(DataError, match=r"too short for a validation set of 20 tokens: a;"):
        mixture(numbered("a", 10), numbered("b", 20), held_out=20)
