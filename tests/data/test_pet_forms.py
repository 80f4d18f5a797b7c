"""COPA, ReCoRD and WSC as PET asks them."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.data.metrics.texts import same_meant
from softprompt.data.registry import load_task
from softprompt.data.tasks.unfolding import TAUGHT, record_ten
from tests.official_files import N, write_all


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("official"))


def test_copa_is_taught_in_both_orders_of_its_choices_and_tested_in_one(files: Path):
    task = load_task("super_glue/copa:pet", files, variant="fewglue")
    taught = task.examples("train")
    assert len(taught) == 2 * len(load_task("super_glue/copa", files, "fewglue").examples("train"))
    for one, other in zip(taught[::2], taught[1::2], strict=True):
        assert one.candidates == tuple(reversed(other.candidates or ()))
        assert (one.fields["choice1"], one.fields["choice2"]) == (
            other.fields["choice2"],
            other.fields["choice1"],
        )
        assert one.target == other.target
        assert one.id != other.id
        assert one.group == other.group
    plain = load_task("super_glue/copa", files, variant="fewglue")
    for split in ("dev", "test", "unlabelled"):
        assert len(task.examples(split)) == len(plain.examples(split)) == N + 1
        assert [e.target for e in task.examples(split)] == [e.target for e in plain.examples(split)]


def test_both_orders_of_a_row_stay_on_one_side_of_a_dev_split(files: Path):
    task = load_task("super_glue/copa:pet", files)
    groups = [{row.group for row in task.examples(split)} for split in ("train", "dev")]
    assert groups[1]
    assert not groups[0] & groups[1]


def cloze(n: int) -> dict[str, object]:
    names = [f"Name{place:02}" for place in range(n)]
    text = " ".join(names)
    places = [{"start": text.index(one), "end": text.index(one) + 5} for one in names]
    answers = [{"text": names[3]}, {"text": names[7]}]
    query = {"query": "There was @placeholder.", "idx": 0, "answers": answers}
    return {"idx": 1, "passage": {"text": text, "entities": places}, "qas": [query]}


def test_record_is_taught_with_ten_candidates_and_tested_with_all():
    one, other = record_ten(cloze(40), "train")
    for row, right, wrong in ((one, "Name03", "Name07"), (other, "Name07", "Name03")):
        assert len(row["candidates"]) == TAUGHT
        assert right in row["candidates"]
        assert wrong not in row["candidates"]
        assert row["candidates"] == sorted(row["candidates"])  # in their order in the passage
    assert one["candidates"] != other["candidates"]
    assert [dict(row) for row in record_ten(cloze(40), "train")] == [one, other]
    (tested,) = record_ten(cloze(40), "dev")
    assert len(tested["candidates"]) == 40
    assert {len(row["candidates"]) for row in record_ten(cloze(8), "train")} == {7}


def test_wsc_is_taught_the_span_of_its_true_rows(files: Path):
    task = load_task("super_glue/wsc:pet", files, variant="fewglue")
    assert {row.target for row in task.examples("train")} == {"Ann"}
    assert {row.target for row in task.examples("test")} == {("Ann", "True"), ("Ann", "False")}
    assert all(row.fields["span"] == "Ann" for row in task.examples("unlabelled"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("the councilmen", "The city councilmen", True),
        ("Bob's", "bob", False),
        ("*Bob*.", "bob", True),
        ("Bob and Ann", "Ann", True),
        ("Bob", "Ann", False),
        ("", "Ann", False),
    ],
)
def test_spans_mean_the_same_where_ones_words_hold_the_others(one: str, other: str, same: bool):
    assert same_meant(one, other) is same
    assert same_meant(other, one) is same
