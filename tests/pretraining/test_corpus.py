"""Text files become blocks: each drawn once a pass, at its rate, none of the held-out ones ever."""

from __future__ import annotations

import gzip
import lzma
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from softprompt.errors import DataError
from softprompt.pretraining.corpus import (
    Mixture,
    Source,
    TokenFile,
    corpus_files,
    read_documents,
    tokenise_source,
)

TEXT = "first paragraph\nsecond one\n\n\n  \nanother document\n"
DOCUMENTS = ["first paragraph\nsecond one", "another document"]


def token_file(name: str, blocks: int, first: int = 0, rate: float = 1.0) -> TokenFile:
    """Blocks of 4 tokens that all hold the block's number, and a rest that fills none."""
    ids = np.repeat(np.arange(first, first + blocks), 4).tolist() + [9_999] * 3
    return TokenFile(Source(Path(f"{name}.txt"), rate), np.asarray(ids, dtype=np.uint16))


def drawn(mixture: Mixture, blocks: int, first: int = 0) -> list[int]:
    """The numbers of the blocks drawn, one at a time."""
    return [int(mixture.step(step, 1)[0, 0]) for step in range(first, first + blocks)]


def test_documents_are_read_from_each_kind_of_file(tmp_path: Path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    with gzip.open(tmp_path / "b.v2.txt.gz", "wt", encoding="utf-8") as file:
        file.write(TEXT)
    with lzma.open(tmp_path / "c.txt.xz", "wt", encoding="utf-8") as file:
        file.write(TEXT.replace("\n", "\r\n"))
    (tmp_path / "notes.md").write_text("no corpus")
    files = corpus_files(tmp_path)
    assert list(files) == ["a", "b.v2", "c"]
    assert [list(read_documents(path)) for path in files.values()] == [DOCUMENTS] * 3


def test_what_cannot_be_read_is_named(tmp_path: Path):
    bad = {
        "latin.txt": ("caf\xe9".encode("latin-1"), "not UTF-8"),
        "cut.txt.gz": (gzip.compress(TEXT.encode() * 50)[:40], "is it whole"),
        "cut.txt.xz": (lzma.compress(TEXT.encode() * 50)[:60], "is it whole"),
        "not.txt.xz": (b"plain text", "is it whole"),
    }
    for name, (content, message) in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: .*{message}"):
            list(read_documents(tmp_path / name))
    with pytest.raises(DataError, match="no such file"):
        list(read_documents(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="unknown ending"):
        list(read_documents(tmp_path / "corpus.pdf"))
    with pytest.raises(DataError, match=r"two files with one name, cut\.txt\.gz and cut\.txt\.xz"):
        corpus_files(tmp_path)
    with pytest.raises(DataError, match="no corpus here"):
        corpus_files(tmp_path / "none")


def words_tokenizer() -> Tokenizer:
    words = " ".join(DOCUMENTS).split()
    vocabulary = {"[UNK]": 0, **{word: n + 1 for n, word in enumerate(dict.fromkeys(words))}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_a_file_is_tokenised_once_and_again_when_it_changes(tmp_path: Path):
    path, cache = tmp_path / "a.txt", tmp_path / "cache"
    path.write_text(TEXT)
    made = tokenise_source(Source(path), words_tokenizer(), cache, separator=77)
    assert made.ids.tolist() == [1, 2, 3, 4, 77, 5, 6, 77]
    (kept,) = cache.iterdir()
    stamp = kept.stat().st_mtime_ns
    tokenise_source(Source(path), words_tokenizer(), cache, separator=77)
    assert [file.stat().st_mtime_ns for file in cache.iterdir()] == [stamp]
    path.write_text("second paragraph\n")
    again = tokenise_source(Source(path), words_tokenizer(), cache, separator=77)
    assert again.ids.tolist() == [3, 2, 77]
    assert len(list(cache.iterdir())) == 2


def test_a_file_without_text_is_refused(tmp_path: Path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"a\.txt: holds no text"):
        tokenise_source(Source(tmp_path / "a.txt"), words_tokenizer(), tmp_path, separator=1)


def test_a_pass_draws_every_block_once_and_never_a_held_out_one():
    mixture = Mixture([token_file("a", 10), token_file("b", 8, first=100)], 4, held_out=2, seed=0)
    wanted = [*range(8), *range(100, 106)]
    assert mixture.epoch_blocks == len(wanted)
    first, second = drawn(mixture, 14), drawn(mixture, 14, first=14)
    assert sorted(first) == sorted(second) == wanted
    assert first != second
    held = {source.name: blocks[:, 0].tolist() for source, blocks in mixture.validation()}
    assert held == {"a": [8, 9], "b": [106, 107]}


def test_rates_are_passes_over_a_file_per_pass():
    files = [
        token_file("a", 12, rate=2.5),
        token_file("b", 12, first=100, rate=0.5),
        token_file("c", 12, first=200),
    ]
    mixture = Mixture(files, 4, held_out=2, seed=0)
    counts = Counter(drawn(mixture, 25 + 5 + 10))
    assert sorted(counts[n] for n in range(10)) == [2] * 5 + [3] * 5
    assert sum(counts[n] for n in range(100, 110)) == 5
    assert max(counts[n] for n in range(100, 110)) == 1
    assert [counts[n] for n in range(200, 210)] == [1] * 10


def test_the_order_is_a_function_of_the_seed_and_steps_need_no_replay():
    files = [token_file("a", 30)]
    mixture, same = (Mixture(files, 4, held_out=2, seed=3) for _ in range(2))
    wanted = [mixture.step(step, 5) for step in range(20)]
    for step in (19, 3, 11, 0):  # in any order, over the end of a pass
        assert np.array_equal(same.step(step, 5), wanted[step])
    other = Mixture(files, 4, held_out=2, seed=4)
    assert not np.array_equal(other.step(0, 5), wanted[0])
    assert wanted[0].shape == (5, 4)


def test_a_file_too_short_for_its_validation_set_is_named():
    with pytest.raises(DataError, match=r"too short for a validation set of 5 blocks.*: a;"):
        Mixture([token_file("a", 10), token_file("b", 20)], 4, held_out=5, seed=0)
