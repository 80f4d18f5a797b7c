"""The unlabelled rows of a run, and small labelled sets: none at all, or spread over the labels."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from softprompt.data.sampling import draw
from softprompt.data.task import Task
from softprompt.errors import DataError, SettingsError
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.run_file import read_run, write_run
from softprompt.recipes.schema import RunSettings, key_table
from tests.small_runs import write_jsonl, write_run_yaml


class Unlimited(RunSettings):
    """As a recipe may have it: zero labelled rows are allowed."""

    train_limit: int | None = None


def settings(here: Path, **changes: Any) -> RunSettings:
    return read_run(write_run_yaml(here, Path("bert"), **changes))


def data(here: Path, **changes: Any) -> RunData:
    return run_task(settings(here, **changes))


def texts(task: Task, split: str = "unlabelled") -> list[Any]:
    return [row.fields["review"] for row in task.examples(split)]


def write_texts(path: Path, column: str, *rows: str) -> Path:
    path.write_text(column + "\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


# --- A task's own -----------------------------------------------------------------------------


def test_a_task_of_files_may_have_unlabelled_rows_in_any_format(here: Path) -> None:
    write_jsonl(here / "more.jsonl", [{"review": " new "}, {"review": "newer", "mood": 7}])
    task = data(here, task__unlabelled="more.jsonl").task
    assert task.split_names == ("train", "unlabelled", "dev")
    assert texts(task) == ["new", "newer"]
    assert all(row.target is None for row in task.examples("unlabelled"))


def test_unlabelled_rows_stay_where_dev_becomes_test_or_is_drawn(here: Path) -> None:
    write_texts(here / "more.csv", "review", "new")
    own = {"task__unlabelled": "more.csv", "task__dev": "reviews.csv"}
    assert texts(data(here, **own, test_on_dev=True).task) == ["new"]
    assert texts(data(here, **own, k_shot=2, dev_size=None).task) == ["new"]


def test_unlabelled_rows_are_read_when_asked_for_but_their_file_is_looked_for_at_once(
    here: Path,
) -> None:
    (here / "bad.csv").write_text("other\nx\n")
    found = data(here, task__unlabelled="bad.csv")
    with pytest.raises(DataError, match="no such column"):
        found.task.examples("unlabelled")
    with pytest.raises(DataError, match="no such file"):
        data(here, task__unlabelled="gone.csv")


def test_a_numbers_task_may_have_unlabelled_rows(here: Path) -> None:
    rows = [{"review": f"text {n}", "mood": n} for n in range(12)]
    write_jsonl(here / "r.jsonl", rows)
    more = {"kind": "number", "bounds": [0, 20], "metrics": ["pearson"]}
    task = {"train": "r.jsonl", "unlabelled": "r.jsonl", "fields": ["review"], "target": "mood"}
    assert len(data(here, task={**task, **more}, words=None).task.examples("unlabelled")) == 12


# --- What train leaves over -------------------------------------------------------------------


def test_train_leaves_over_what_is_neither_learned_from_nor_chosen_on(here: Path) -> None:
    found = data(here, train_limit=10, unlabelled="train")
    task = found.task
    used = {*texts(task, "train"), *texts(task, "dev")}
    assert (len(used), len(texts(task))) == (18, 22)
    assert used.isdisjoint(texts(task))
    assert all(row.target is None for row in task.examples("unlabelled"))
    note = "unlabelled: 22 rows of train that are neither learned from nor chosen on"
    assert note in found.notes


def test_k_shots_leave_the_rest_of_train(here: Path) -> None:
    task = data(here, k_shot=3, dev_size=None, unlabelled="train").task
    assert len(texts(task)) == 40 - 12


def test_a_whole_train_leaves_nothing_and_says_so(here: Path) -> None:
    with pytest.raises(SettingsError, match="no row of train that is neither learned from"):
        data(here, unlabelled="train")


def test_a_limit_draws_by_seed_and_fewer_are_a_part_of_more(here: Path) -> None:
    every = texts(data(here, train_limit=10, unlabelled="train").task)
    drawn = {
        n: data(here, train_limit=10, unlabelled="train", unlabelled_limit=n, data_seed=0)
        for n in (3, 7, 99)
    }
    for n, found in drawn.items():
        assert texts(found.task) == draw(every, n, 0)
        assert found.unlabelled is not None
        assert len(list(found.unlabelled.rows())) == 22  # a pool sees all, and draws for itself
    assert set(texts(drawn[3].task)) < set(texts(drawn[7].task))


# --- Other text -------------------------------------------------------------------------------


def test_text_comes_from_other_files_and_columns(here: Path) -> None:
    write_texts(here / "a.csv", "id,body", "1,one", "2,two")
    write_jsonl(here / "b.jsonl", [{"body": "three"}])
    files = {"files": ["a.csv", "b.jsonl"], "fields": {"review": "body"}}
    found = data(here, unlabelled=files)
    assert texts(found.task) == ["one", "two", "three"]
    ids = [row.id for row in found.task.examples("unlabelled")]
    assert len(set(ids)) == 3
    assert "unlabelled: a.csv, b.jsonl" in found.notes
    assert texts(data(here, unlabelled={"files": "b.jsonl", "fields": "body"}).task) == ["three"]


def test_a_file_without_header_is_read_by_place(here: Path) -> None:
    (here / "plain.tsv").write_text("x\tfirst\ny\tsecond\n")
    given = {"files": "plain.tsv", "header": False, "fields": ["2"]}
    assert texts(data(here, unlabelled=given).task) == ["first", "second"]


def test_bad_rows_stop_the_reading_or_are_counted(here: Path) -> None:
    write_texts(here / "a.csv", "review", "one", '""', "two")
    with pytest.raises(DataError, match=r"a\.csv, line 3"):
        data(here, unlabelled={"files": "a.csv"}).task.examples("unlabelled")
    found = data(here, unlabelled={"files": "a.csv", "skip_bad_rows": True})
    assert texts(found.task) == ["one", "two"]
    assert found.task.skipped.count == 1
    assert found.unlabelled is not None
    assert len(list(found.unlabelled.rows())) == 2


def test_two_fields_take_columns_by_name_or_in_order(here: Path) -> None:
    rows = [{"a": f"a{n}", "b": f"b{n}", "y": n % 2} for n in range(10)]
    write_jsonl(here / "r.jsonl", rows)
    task = {"train": "r.jsonl", "fields": ["a", "b"], "target": "y"}

    def fields(given: Any) -> dict[str, Any]:
        more = {"task": task, "words": None, "dev_size": 2, "template": "{a} {b} {mask}"}
        found = data(here, **more, unlabelled={"files": "r.jsonl", "fields": given})
        return dict(found.task.examples("unlabelled")[0].fields)

    assert fields(None) == fields(["b", "a"]) == {"a": "a0", "b": "b0"}
    assert fields(["b", "y"]) == {"a": "b0", "b": "0"}
    assert fields({"b": "a", "a": "y"}) == {"a": "0", "b": "a0"}
    with pytest.raises(SettingsError, match="a column for each of 'a', 'b', got 'y'"):
        fields("y")
    with pytest.raises(SettingsError, match="no column for the field 'b'"):
        fields({"a": "a"})
    with pytest.raises(SettingsError, match="'aa' is no field of task"):
        fields({"aa": "a", "b": "b"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("texts.csv", "'unlabelled': expected train, or {files: …, fields: …}"),
        (3, "'unlabelled': expected train, or a mapping"),
        ({"fields": ["a"]}, "'unlabelled.files' is missing"),
        ({"files": "a.csv", "colum": "x"}, "unknown key 'unlabelled.colum'"),
        ({"files": []}, "'unlabelled.files': "),
    ],
)
def test_a_bad_unlabelled_key_is_said_in_a_sentence(here: Path, value: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("{", r"\{").replace("}", r"\}")):
        settings(here, unlabelled=value)


def test_a_limit_needs_rows_and_a_mixture_has_none(here: Path) -> None:
    with pytest.raises(SettingsError, match="no unlabelled rows of its own"):
        data(here, unlabelled_limit=3)
    mixed = {"mix": ["softprompt/topics-en", "softprompt/reviews-en"]}
    with pytest.raises(SettingsError, match="a mixture has no unlabelled rows"):
        run_task(RunSettings.read({"backbone": "b", "task": mixed, "unlabelled": "train"}))


# --- Files and keys ---------------------------------------------------------------------------


def test_paths_are_relative_to_the_run_file_and_written_back_whole(here: Path) -> None:
    (here / "sub").mkdir()
    write_run_yaml(
        here / "sub",
        Path("bert"),
        task__unlabelled="u.csv",
        unlabelled={"files": ["a.csv", "/b.csv"], "fields": {"review": "body"}},
    )
    found = read_run(here / "sub" / "run.yaml", ["unlabelled_limit=5"])
    text = write_run(found)
    (here / "config.yaml").write_text(text)
    assert read_run(here / "config.yaml").resolved() == found.resolved()
    values = json.loads(json.dumps(found.resolved()))
    assert values["task"]["unlabelled"] == str(here / "sub" / "u.csv")
    assert values["unlabelled"]["files"] == [str(here / "sub" / "a.csv"), "/b.csv"]
    assert values["unlabelled_limit"] == 5
    typed = read_run(here / "sub" / "run.yaml", ["unlabelled.files=c.csv"]).resolved()
    assert typed["unlabelled"]["files"] == [str(here / "c.csv")]


def test_a_run_without_the_new_keys_is_written_as_before(here: Path) -> None:
    values = settings(here).resolved()
    assert not {"unlabelled", "unlabelled_limit", "train_balanced"} & set(values)
    assert "unlabelled" not in values["task"]


def test_the_list_of_settings_has_the_keys() -> None:
    rows = {key: (default, described) for key, default, described in key_table()}
    assert rows["unlabelled"][0] == "none"
    assert rows["unlabelled.files"][0] == "required"
    assert rows["train_balanced"][0] == "false"


# --- Labelled rows ----------------------------------------------------------------------------


def test_balanced_rows_are_spread_over_the_labels_and_nested(here: Path) -> None:
    sets: dict[int, set[Any]] = {}
    for n in (1, 2, 5, 9):
        found = data(here, train_limit=n, train_balanced=True, dev_size=4, data_seed=3)
        counts = Counter(row.target for row in found.task.examples("train"))
        assert counts.total() == n
        assert max(counts.values()) - min(counts["positive"], counts["negative"]) <= 1
        assert f"train: {n} of 36 rows, spread over the labels" in found.notes
        sets[n] = set(texts(found.task, "train"))
    assert sets[1] < sets[2] < sets[5] < sets[9]


def test_balanced_rows_need_a_number_and_labels(here: Path) -> None:
    with pytest.raises(SettingsError, match="train_balanced: give train_limit"):
        data(here, train_balanced=True)
    with pytest.raises(SettingsError, match=r"train_balanced: .*free-text targets"):
        data(here, train_balanced=True, train_limit=3, task__kind="text", words=None)


def test_zero_labelled_rows_are_zero_where_a_recipe_allows_them(here: Path) -> None:
    with pytest.raises(SettingsError, match="train_limit"):
        settings(here, train_limit=0)
    values = {**settings(here).resolved(), "train_limit": 0, "dev_size": None}
    found = run_task(Unlimited.read(values))
    assert found.task.split_names == ("train",)
    assert found.task.examples("train") == []
    assert found.task.labels == ("negative", "positive")
    assert found.notes == ("train: 0 of 40 rows",)
    spread = run_task(Unlimited.read({**values, "train_balanced": True, "unlabelled": "train"}))
    assert (spread.task.examples("train"), len(texts(spread.task))) == ([], 40)
    kept = run_task(Unlimited.read({**values, "dev_size": 8, "unlabelled": "train"})).task
    assert (len(kept.examples("dev")), len(texts(kept))) == (8, 32)


def test_dev_size_zero_leaves_a_dev_split_out_or_makes_it_the_test(here: Path) -> None:
    write_texts(here / "t.csv", "review,mood", "one,positive", "two,negative")
    own = data(here, dev_size=0, task__dev="reviews.csv", task__test="t.csv")
    assert own.task.split_names == ("train", "test")
    assert (len(texts(own.task, "test")), own.notes) == (2, ("dev: left out (dev_size: 0)",))
    only = data(here, dev_size=0, task__dev="t.csv", test_limit=1)
    assert (only.task.split_names, len(texts(only.task, "test"))) == (("train", "test"), 1)
    assert only.notes[0] == "test: the task's dev rows (dev_size: 0)"


def test_a_task_without_train_has_zero_rows_to_learn_from(here: Path) -> None:
    rows = [{"review": f"text {n}", "mood": "ab"[n % 2]} for n in range(4)]
    write_jsonl(here / "r.jsonl", rows)
    task = {"test": "r.jsonl", "fields": ["review"], "target": "mood", "labels": ["a", "b"]}
    values = {"backbone": "b", "task": task, "train_limit": 0}
    assert run_task(Unlimited.read(values)).task.examples("train") == []
    with pytest.raises(SettingsError, match="has no train split"):
        run_task(RunSettings.read({"backbone": "b", "task": task}))
