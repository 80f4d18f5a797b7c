"""Models that write their answers vote on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.errors import RunError
from softprompt.recipes.pet.texts import read_texts, voted, write_texts


@pytest.mark.parametrize(
    ("texts", "weights", "winner"),
    [
        (("Bob", "Ann", "Ann"), (1, 1, 1), "Ann"),
        (("Bob", "Ann", "Ann"), (3, 1, 1), "Bob"),
        (("the dog", "Bob", "Mr. Bob"), (1.5, 1, 1), "Bob"),  # 2 speak for Bob, 1.5 for the dog
        (("Bob", "Ann", "Eve"), (1, 1, 1), "Bob"),  # a tie: the first model's
        (("", "Ann", ""), (1, 1, 1), ""),  # nothing, said twice
        (("Bob",), (0,), "Bob"),
    ],
)
def test_the_text_with_the_most_weight_behind_it_wins(
    texts: tuple[str, ...], weights: tuple[float, ...], winner: str
):
    assert voted([[text] for text in texts], weights) == [winner]


def test_every_model_has_a_weight():
    with pytest.raises(ValueError, match="2 models, 1 weights"):
        voted([["a"], ["b"]], [1.0])


def test_texts_are_read_as_they_were_written(tmp_path: Path):
    texts = ["Bob", "", "“小明”\n", 'a "b"']
    write_texts(tmp_path / "test.json", texts)
    assert read_texts(tmp_path / "test.json") == texts
    (tmp_path / "test.json").write_text("[", encoding="utf-8")
    with pytest.raises(RunError, match="begin anew"):
        read_texts(tmp_path / "test.json")
