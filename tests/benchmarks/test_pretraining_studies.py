from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.pretraining_studies import STUDIES, main, recipe
from softprompt.errors import UsageError
from softprompt.pretraining.tokenizer import Sample, save_tokenizer, train_tokenizer
from tests.benchmarks.conftest import TINY, content
from tests.small_runs import BAD, GOOD

FILES = ("en_reviews_and_news", "en_wikipedia_sentences", "en_reference", "en_novels")
SMALL = ["--set", "batch_size=2", "micro_batch=2", "length=24", "held_out=2", "bf16=false"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four texts of reviews, each in another order."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = [f"{text}, {number} times." for number in range(30) for text in (*GOOD, *BAD)]
    for number, name in enumerate(FILES):
        text = "\n\n".join(lines[number:] + lines[:number])
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokenizer(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = (corpus / "en_novels.txt").read_text(encoding="utf-8").splitlines()
    folder = tmp_path_factory.mktemp("tokenizer")
    trained = train_tokenizer([Sample("en", 1.0, lambda: lines)], 415, 0, 20_000)
    save_tokenizer(trained, folder, "masked", 64)
    return folder


def test_models_are_trained_measured_and_never_twice(
    corpus: Path, tokenizer: Path, tmp_path: Path, never: Callable[[], None]
) -> None:
    places = ["--corpus", str(corpus), "--tokenizer", str(tokenizer), "--out", str(tmp_path / "o")]
    only = ["--only", "encoder, masked", "encoder-decoder, LM"]
    line = ["architectures", *places, *only, *SMALL, "--pretraining-steps", "2", *TINY]
    line += ["--tests", "softprompt/reviews-en", "--seeds", "1", "--results", str(tmp_path / "r")]
    main(line)
    left = content(tmp_path / "r")
    rows = left["pretraining-architectures.md"].decode().splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == [
        "encoder-decoder, LM",
        "encoder, masked",
    ]
    assert not any("–" in row for row in rows)
    never()
    main(line)
    assert content(tmp_path / "r") == left


def test_all_runs_of_a_study_read_as_many_positions(corpus: Path, tokenizer: Path) -> None:
    for models in STUDIES.values():
        found = [recipe(model, 300, tokenizer, FILES) for model in models.values()]
        assert len({s.steps * s.batch_size * s.length for s in found}) == 1
        assert all(s.size == "nano" and not s.long.share for s in found)


def test_each_corpus_is_read_alone_and_the_last_is_all_of_them(tokenizer: Path) -> None:
    rates = [recipe(m, 3, tokenizer, FILES).rates for m in STUDIES["corpora"].values()]
    read = [{name for name, rate in each.items() if rate} for each in rates]
    assert read[-1] == set().union(*read[:-1]) == set(FILES)
    assert sum(map(len, read[:-1])) == len(FILES)


def test_a_corpus_file_that_is_not_there_is_named(tokenizer: Path) -> None:
    with pytest.raises(UsageError, match="no file named en_novels; there: en_reference"):
        recipe(STUDIES["corpora"]["novels"], 3, tokenizer, ["en_reference"])
