"""Test sets of other tasks as splits of a run's own: named with a variant, in other labels and fields."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.registry import load_task
from softprompt.data.task import Task
from softprompt.errors import SettingsError, UsageError
from softprompt.recipes.compare_file import COMPARE, read_compare, resolved
from softprompt.recipes.comparing import compare
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.other_tasks import Other, with_others
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.settings import to_yaml
from tests.official_files import N, write_all

TO_MRPC = {"not_duplicate": "not_equivalent", "duplicate": "equivalent"}
TO_QQP = {there: here for here, there in TO_MRPC.items()}
QQP = {"task": "glue/qqp", "labels": TO_MRPC}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("others") / "data")


def run(files: Path, task: str, *others: Any, **changes: Any) -> RunData:
    given = {"backbone": "x", "task": task, "data": str(files), "test_on": list(others)}
    return run_task(RunSettings.read({**given, **changes}, "run"))


def test_other_paraphrases_are_rows_of_the_tasks_own_fields_and_labels(files: Path) -> None:
    data = run(files, "glue/mrpc", QQP)
    assert data.shifted == ("on glue/qqp",)
    rows, there = data.task.examples("on glue/qqp"), load_task("glue/qqp", files).examples("test")
    assert [row.target for row in rows] == [TO_MRPC[str(row.target)] for row in there]
    assert {row.target for row in rows} == {"equivalent", "not_equivalent"}
    for row, other in zip(rows, there, strict=True):
        assert row.fields == {
            "sentence1": other.fields["question1"],
            "sentence2": other.fields["question2"],
        }
    assert "on glue/qqp: question1 as sentence1, question2 as sentence2" in data.notes
    said = "on glue/qqp: not_duplicate as not_equivalent, duplicate as equivalent"
    assert said in data.notes


def test_the_other_way_round_they_come_back_as_they_were(files: Path) -> None:
    data = run(files, "glue/qqp", {"task": "glue/mrpc", "labels": TO_QQP})
    there = load_task("glue/mrpc", files).examples("test")
    found = [(tuple(r.fields.values()), r.target) for r in data.task.examples("on glue/mrpc")]
    assert found == [(tuple(r.fields.values()), TO_QQP[str(r.target)]) for r in there]


def test_a_variant_is_read_from_its_own_files_beside_the_plain_task(files: Path) -> None:
    own = {"task": "glue/mrpc", "variant": "tsv"}
    data = run(files, "glue/mrpc", own, "glue/mrpc")
    assert data.shifted == ("on glue/mrpc (tsv)", "on glue/mrpc")
    expected = load_task("glue/mrpc", files, "tsv").examples("test")
    assert data.task.examples("on glue/mrpc (tsv)") == expected
    assert data.task.examples("on glue/mrpc") == data.task.examples("test")
    assert f"on glue/mrpc (tsv): {len(expected)} rows of its test split" in data.notes


def test_the_variant_of_the_run_is_not_the_others(files: Path) -> None:
    data = run(files, "glue/mrpc", "glue/mrpc", variant="tsv")
    plain = load_task("glue/mrpc", files).examples("test")
    assert data.task.examples("on glue/mrpc") == plain


def test_answers_to_questions_are_scored_on_other_passages(files: Path) -> None:
    data = run(files, "squad", "covid_qa", "mrqa/bio_asq", test_limit=5)
    assert data.shifted == ("on covid_qa", "on mrqa/bio_asq")
    (first, *_) = data.task.examples("on covid_qa")
    assert len(data.task.examples("on covid_qa")) == 5
    assert isinstance(first.target, tuple)


def test_several_labels_may_become_one(files: Path) -> None:
    labels = {
        "entailment": "entailment",
        "neutral": "not_entailment",
        "contradiction": "not_entailment",
    }
    data = run(files, "glue/rte", {"task": "glue/mnli", "labels": labels})
    targets = {row.target for row in data.task.examples("on glue/mnli")}
    assert targets == {"entailment", "not_entailment"}


def test_shares_of_labels_that_become_one_are_added() -> None:
    labels = {"yes": "yes", "maybe": "no", "no": "no"}
    shares = {"yes": 0.25, "maybe": 0.25, "no": 0.5}
    theirs = small("theirs", tuple(labels), shares)
    task, _, _ = with_others(small("own", ("no", "yes")), [Other(theirs, "theirs", labels)], 9, 0)
    (row,) = task.examples("on theirs")
    assert row.target == {"yes": 0.25, "no": 0.75}


def test_rows_without_a_target_keep_none() -> None:
    labels = {"yes": "no", "no": "yes"}
    other = Other(small("theirs", ("yes", "no"), None), "theirs", labels)
    task, _, _ = with_others(small("own", ("no", "yes")), [other], None, 0)
    assert task.examples("on theirs")[0].target is None


def test_fields_of_the_same_names_go_by_them_in_any_order() -> None:
    row = Example("0", {"a": "first", "b": "second"}, "no")
    own = replace(small("own", ("no", "yes")), fields=("b", "a"))
    theirs = replace(own, fields=("a", "b"), name="theirs", splits={"dev": Split.of([row])})
    task, _, notes = with_others(own, [Other(theirs, "theirs")], None, 0)
    assert task.examples("on theirs") == [row]
    assert notes == ["on theirs: 1 rows of its dev split"]


WRONG: list[tuple[str, Any, str]] = [
    ("glue/mrpc", "glue/qqp", r"the same ones; if they mean the same, .*labels: \{not_duplicate: …"),
    ("glue/mrpc", {**QQP, "labels": {"duplicat": "equivalent"}}, "did you mean 'duplicate'"),
    (
        "glue/mrpc",
        {**QQP, "labels": {"duplicate": "equivalent"}},
        "none is given for 'not_duplicate'",
    ),
    (
        "glue/mrpc",
        {**QQP, "labels": {**TO_MRPC, "duplicate": "same"}},
        "task 'glue/qqp' becomes 'not_equivalent', 'same', 'glue/mrpc' has 'not_equivalent', "
        "'equivalent'; expected the same ones$",
    ),
    ("glue/mrpc", {"task": "glue/rte", "labels": TO_MRPC}, "task 'glue/rte' has no label 'not_dup"),
    ("squad", {"task": "covid_qa", "labels": {"a": "b"}}, "given with labels, 'squad' has .* text"),
    ("squad", "glue/qqp", "targets of the kind label, 'squad' has targets of the kind text"),
    ("glue/mrpc", {"task": "glue/mrpc", "variant": "tvs"}, "no variant 'tvs'; known: .*tsv"),
    ("glue/mrpc", {"task": "glue/mrcp"}, "unknown task 'glue/mrcp'.*glue/mrpc"),
    ("glue/mrpc", {"task": "glue/mrpc", "varant": "tsv"}, r"unknown key .*varant'; did you mean"),
    ("glue/mrpc", {"variant": "tsv"}, r"test_on"),
    ("glue/sst2", {**QQP, "labels": {"not_duplicate": "negative", "duplicate": "positive"}}, "as many"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "other", "message"), WRONG, ids=[one[2] for one in WRONG])
def test_what_cannot_be_scored_is_refused(files: Path, task: str, other: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(files, task, other)


def test_one_given_twice_is_refused(files: Path) -> None:
    own = {"task": "glue/mrpc", "variant": "tsv"}
    with pytest.raises(SettingsError, match=r"'glue/mrpc \(tsv\)' is given twice"):
        run(files, "glue/mrpc", own, own)


def test_a_run_file_means_the_same_when_it_is_written_back(here: Path, files: Path) -> None:
    given = {"backbone": "softprompt/tiny-mlm", "task": "glue/mrpc", "data": str(files)}
    (here / "run.yaml").write_text(to_yaml({**given, "test_on": [QQP, "sst2"]}), encoding="utf-8")
    settings = read_run(here / "run.yaml")
    assert settings.resolved()["test_on"] == [{**QQP, "variant": None}, "sst2"]
    assert RunSettings.read(settings.resolved(), "run") == settings


def comparison(files: Path, model: Path | str, **changes: Any) -> dict[str, Any]:
    mrpc = {"task": "glue/mrpc", "label": "mrpc", "test_on": QQP}
    back = {"task": "glue/mrpc", "variant": "tsv", "labels": TO_QQP}
    return {
        "backbone": str(model),
        "data": str(files),
        "tasks": [mrpc, {"task": "glue/qqp", "label": "qqp"}],
        "test_on": {"qqp": [back]},
        "methods": [{"name": "prompt_tuning", "length": 2, "label": "rows"}],
        "baselines": ["majority"],
        "training": {"steps": 2, "batch_size": 4, "evaluate_every": 2},
        "seeds": [0],
        "resamples": 100,
        "out": "compared",
        **changes,
    }


def test_a_comparison_gives_each_cell_what_its_file_says(here: Path, files: Path) -> None:
    path = here / "compare.yaml"
    path.write_text(to_yaml(comparison(files, "softprompt/tiny-mlm")), encoding="utf-8")
    settings = read_compare(path)
    cells = {cell.task: cell.runs[0].settings for cell in plan(settings).cells}
    for task, name, variant in (("mrpc", "glue/qqp", None), ("qqp", "glue/mrpc", "tsv")):
        assert cells[task] is not None
        (other,) = cells[task].resolved()["test_on"]
        assert (other["task"], other["variant"]) == (name, variant)
    (here / "compared").mkdir()
    (here / "compared" / COMPARE).write_text(to_yaml(resolved(settings)), encoding="utf-8")
    assert read_compare(here / "compared") == settings


def test_both_ways_are_scored_and_stand_in_the_results(here: Path, files: Path, bert: Path) -> None:
    path = here / "compare.yaml"
    path.write_text(to_yaml(comparison(files, bert)), encoding="utf-8")
    tables = {one.task: one for one in compare(read_compare(path)).tables}
    for task, name in (("mrpc", "on glue/qqp"), ("qqp", "on glue/mrpc (tsv)")):
        assert tables[task].data.shifted == (name,)
        (row,) = [one for one in tables[task].results if one.label == "rows"]
        (metrics,) = [tested.metrics[name] for tested in row.tested]
        assert set(metrics) >= {"f1", "accuracy"}
        assert 0 <= metrics["accuracy"] <= 1
        assert row.tested[0].n[name] >= N


def small(name: str, labels: tuple[str, ...], target: Any = "no") -> Task:
    """A task of one test row."""
    splits = {"test": Split.of([Example("0", {"text": "a text"}, target)])}
    return Task(name, ("text",), "label", labels, splits, ("accuracy",))
