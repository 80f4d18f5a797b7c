"""LAMA's files: relations with a gap, facts once each; ranks become P@1, P@10 and MRR."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.data.lama import averaged, lama_template, precision_and_rank, read_lama
from softprompt.errors import DataError, UsageError
from tests.official_files import write_lama


def test_a_template_of_lama_becomes_one_of_ours() -> None:
    assert lama_template("[X] lies in [Y] .") == "{subject} lies in {mask} ."
    assert lama_template("{a} [Y] of [X]") == "{{a}} {mask} of {subject}"
    with pytest.raises(UsageError, match=r"expected one \[X\] and one \[Y\]"):
        lama_template("[X] lies")


def test_relations_are_read_with_their_facts_once_each(tmp_path: Path) -> None:
    both = read_lama(write_lama(tmp_path))
    assert [one.name for one in both] == ["P1", "P2"]
    assert both[0].template == "{subject} was {mask} ."
    assert [(f.fields["subject"], f.target) for f in both[0].facts] == [
        ("the film", "good"),
        ("the plot", "dull"),
        ("the plot", "unknownly"),
    ]
    assert read_lama(tmp_path, ["P2"])[0].kind == "N-1"


def test_what_is_missing_or_misspelt_is_told(tmp_path: Path) -> None:
    write_lama(tmp_path)
    with pytest.raises(UsageError, match="no relation 'P11' in LAMA; known: 'P1', 'P2', 'P3'"):
        read_lama(tmp_path, ["P11"])
    with pytest.raises(DataError, match=r"P3\.jsonl: there is no such file"):
        read_lama(tmp_path, ["P3"])
    (tmp_path / "P1.jsonl").write_text('{"sub_label": "x"}\n', encoding="utf-8")
    with pytest.raises(
        DataError, match=r"line 1: expected sub_label and obj_label, no 'obj_label'"
    ):
        read_lama(tmp_path, ["P1"])


def test_ranks_become_scores_and_relations_count_alike() -> None:
    scores = precision_and_rank([1, 2, 10, 20])
    assert scores == {
        "p_at_1": 0.25,
        "p_at_10": 0.75,
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 20) / 4),
    }
    other = precision_and_rank([1])
    assert averaged([scores, other])["p_at_1"] == pytest.approx(0.625)
    with pytest.raises(UsageError, match="ranks from 1"):
        precision_and_rank([0])


def test_the_real_facts_are_read(shared: Path) -> None:
    folder = shared / "data" / "lama"
    if not folder.is_dir():
        pytest.skip("lama is not in the shared folder")
    found = {one.name: one for one in read_lama(folder)}
    assert set(found) == {"P101", "P103", "P1412", "P30", "P36", "P37"}
    assert found["P36"].kind == "1-1"
    assert (len(found["P36"].facts), len(found["P37"].facts)) == (69, 59)  # one fact stands twice
