"""Tasks from rows: columns, targets, labels, what is refused, and the tasks made out of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.task import Task
from softprompt.errors import DataError, UsageError


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def made(count: int = 40, **given: Any) -> Task:
    """A task in memory, labels a, a, a, b in turn."""
    rows = [Example(f"train:{n}", {"text": f"t{n}"}, "aaab"[n % 4]) for n in range(count)]
    settings: dict[str, Any] = {"labels": ("a", "b"), "kind": "label", "metrics": ("accuracy",)}
    return Task("made", ("text",), splits={"train": Split.of(rows)}, **{**settings, **given})


def test_a_csv_file_becomes_a_task_in_one_line(tmp_path: Path) -> None:
    path = table(tmp_path / "reviews.csv", "review,stars", "  fine ,10", "bad,2", "so so,2")
    task = Task.from_csv(path, fields=["review"], target="stars")
    assert (task.name, task.fields, task.kind) == ("reviews", ("review",), "label")
    assert task.labels == ("2", "10")  # whole numbers in their own order
    assert task.metrics == ("accuracy",)
    assert task.examples("train")[0] == Example("train:2", {"review": "fine"}, "10")
    assert task.split_names == ("train",)


def test_fields_may_be_called_otherwise_than_their_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "a.tsv", "Review Text\ty", "one\tno", "two\tyes")
    task = Task.from_tsv(
        path,
        fields=["text"],
        columns={"text": "Review Text"},
        target="y",
        labels={"yes": "good", "no": "bad"},
    )
    assert task.labels == ("good", "bad")
    assert [row.target for row in task.examples("train")] == ["bad", "good"]


def test_json_targets_and_lists_keep_their_meaning(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"i": "x", "p": "the premise", "c": ["one", "two"], "g": 3, "y": True},
        {"i": "y", "p": ["part", "part two"], "c": ["three"], "g": 3, "y": False},
    )
    task = Task.from_jsonl(path, fields="p", target="y", id="i", group="g", labels=[False, True])
    first, second = task.examples("train")
    assert first == Example("x", {"p": "the premise"}, "true", group="3")
    assert second.fields["p"] == ("part", "part two")
    assert task.labels == ("false", "true")


def test_answers_of_an_example_are_texts(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"p": "it rained", "c": ["so wet", "so dry"], "y": "so wet"})
    given: Any = {"fields": "p", "target": "y", "candidates": "c"}
    task = Task.from_jsonl(path, **given, kind="text")
    assert task.examples("train")[0].candidates == ("so wet", "so dry")
    with pytest.raises(
        UsageError, match=r"candidates are given, but the kind is 'label'; .* kind: text"
    ):
        Task.from_jsonl(path, **given)


def test_free_text_numbers_and_distributions_are_targets(tmp_path: Path) -> None:
    text = lines(tmp_path / "t.jsonl", {"q": "?", "a": "one"}, {"q": "!", "a": ["one", "1"]})
    task = Task.from_jsonl(text, fields=["q"], target="a", kind="text")
    assert [row.target for row in task.examples("train")] == ["one", ("one", "1")]
    assert task.labels == ()
    assert task.metrics == ("exact_match", "token_f1")

    numbers = table(tmp_path / "n.csv", "q,a", "x,2.5", "y,5")
    task = Task.from_csv(numbers, fields=["q"], target="a", kind="number", bounds=(0, 5))
    assert [row.target for row in task.examples("train")] == [2.5, 5.0]
    assert task.metrics == ("pearson", "spearman")

    soft = lines(tmp_path / "s.jsonl", {"q": "x", "a": {"no": 0.25, "yes": 0.75}})
    task = Task.from_jsonl(soft, fields=["q"], target="a", labels=["no", "yes"])
    assert task.examples("train")[0].target == {"no": 0.25, "yes": 0.75}


def test_parquet_and_pandas_give_the_same_examples(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b"], "label": [1, 0], "score": [0.5, None]})
    frame.to_parquet(tmp_path / "a.parquet")
    one = Task.from_parquet(tmp_path / "a.parquet", fields=["text"], target="label")
    two = Task.from_pandas(frame, fields=["text"], target="label")
    assert one.examples("train") == two.examples("train")
    assert one.labels == two.labels == ("0", "1")
    assert one.content_hash("train") == two.content_hash("train")
    with pytest.raises(DataError, match="data frame 'train', line 2, field 'score': the value is"):
        Task.from_pandas(frame, fields=["text"], target="score", kind="number")


@pytest.mark.parametrize(
    ("rows", "options", "line", "field", "message"),
    [
        (["text,label", "a,x"], {"fields": ["txt"]}, 2, "txt", "did you mean 'text'?"),
        (["text,label", "a,x"], {"target": "y"}, 2, "y", "the columns are 'text', 'label'"),
        (["text;label", "a;x"], {}, 2, "text", "set delimiter=';'"),
        (["text,label", "a,x", "b,X"], {"labels": ["x", "y"]}, 3, "label", "unknown label 'X'"),
        (["text,label", "a,x", "b,"], {}, 3, "label", "the value is empty; expected a label"),
        (["text,label", "a,x", ",y"], {}, 3, "text", "every field of the row is empty"),
        (["text,label", "a,x", "b,x"], {}, None, "label", "expected at least two labels"),
        (["text,label", "a,1", "b,six"], {"kind": "number"}, 3, "label", "a number, got 'six'"),
        (["text,label", "a,1", "b,nan"], {"kind": "number"}, 3, "label", "a number, got 'nan'"),
        (
            ["text,label", "a,1", "b,9"],
            {"kind": "number", "bounds": (0, 5)},
            3,
            "label",
            "from 0 to 5, got 9",
        ),
        (["text,label,i", "a,x,1", "b,y,1"], {"id": "i"}, 3, "i", "stands on line 2 already"),
        (["text,label"], {}, None, None, "no rows"),
    ],
)
def test_a_bad_row_names_file_line_and_field(
    tmp_path: Path,
    rows: list[str],
    options: dict[str, Any],
    line: int | None,
    field: str | None,
    message: str,
) -> None:
    path = table(tmp_path / "a.csv", *rows)
    with pytest.raises(DataError) as caught:
        Task.from_csv(path, **{"fields": ["text"], "target": "label", **options})
    found = caught.value
    assert (found.file, found.line, found.field) == (str(path), line, field)
    assert message in str(found), str(found)


def test_an_unknown_label_lists_the_known_ones_and_the_closest(tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", "text,label", "a,positive", "b,negative")
    dev = table(tmp_path / "dev.csv", "text,label", "a,postive")
    with pytest.raises(DataError) as caught:
        Task.from_csv(train, dev=dev, fields=["text"], target="label")
    assert str(caught.value) == (
        f"{dev}, line 2, field 'label': unknown label 'postive'; known: 'negative', 'positive'; "
        "did you mean 'positive'?"
    )


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_value_is_refused_in_targets_and_fields(tmp_path: Path, value: Any) -> None:
    rows = {"text": "a", "label": "x"}, {"text": "b", "label": "y"}
    for field in ("text", "label"):
        path = lines(tmp_path / "a.jsonl", *rows, {**rows[0], field: value})
        with pytest.raises(DataError, match=f"line 3, field '{field}': the value is missing"):
            Task.from_jsonl(path, fields=["text"], target="label")


def test_bad_rows_are_skipped_and_counted_when_asked(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "text,label", "a,x", "b", "c,z", "d,y", ",x")
    task = Task.from_csv(
        path, fields=["text"], target="label", labels=["x", "y"], skip_bad_rows=True
    )
    assert [row.id for row in task.examples("train")] == ["train:2", "train:5"]
    assert task.skipped.count == 3
    assert "line 3: expected 2 columns" in task.skipped.messages[0]
    assert "line 4, field 'label': unknown label 'z'" in task.skipped.messages[1]
    with pytest.raises(DataError, match="no such column"):  # all rows bad: nothing to go on with
        Task.from_csv(path, fields=["txt"], target="label", labels=["x", "y"], skip_bad_rows=True)


def test_more_labels_than_a_classification_has_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "text,label", *(f"t{n},label {n}" for n in range(1001)))
    with pytest.raises(DataError, match=r"1,001 distinct targets.*kind='text'"):
        Task.from_csv(path, fields=["text"], target="label")


def test_rows_without_targets_are_for_unlabelled_use(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "text,label", "a,x", "b,y")
    bare = table(tmp_path / "b.csv", "text", "c")
    hidden = table(tmp_path / "c.csv", "text,label", "c,-1")
    for path in (bare, hidden):
        task = Task.from_csv(train, unlabelled=path, fields=["text"], target="label")
        assert task.examples("unlabelled") == [Example("unlabelled:2", {"text": "c"})]
    assert Task.from_csv(bare, fields=["text"], target=None).examples("train")[0].target is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lables": ["x", "y"]}, "unknown option 'lables'; did you mean 'labels'"),
        ({"labels": ["x"]}, "expected at least two"),
        ({"labels": ["x", "x"]}, "stands twice"),
        ({"labels": ["x", "y"], "kind": "text"}, "labels are given, but the kind is 'text'"),
        ({"fields": []}, "fields: expected at least one"),
        ({"columns": {"txet": "a"}}, "did you mean 'text'"),
        ({"kind": "class"}, "expected one of 'label'"),
        ({"metrics": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"metrics": ["pearson"]}, "for kind number or text, the task is label"),
        ({"metrics": ["f1:z"]}, "positive label 'z' is none of 'x', 'y'"),
        ({"header": "text"}, "header: expected True, False or a list"),
        ({"words": {"x": "no"}}, "words: none are given for 'y'"),
        ({"words": {"z": "no"}}, "words: 'z' is none of 'x', 'y'"),
    ],
)
def test_contradictory_options_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = table(tmp_path / "a.csv", "text,label", "a,x", "b,y")
    with pytest.raises(UsageError, match=message):
        Task.from_csv(path, **{"fields": ["text"], "target": "label", **options})


def test_a_split_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"no split 'dev'; it has 'train'.*with_dev_from_train"):
        made().examples("dev")
    with pytest.raises(UsageError, match="did you mean 'train'"):
        made().examples("trian")


def test_dev_comes_out_of_train_in_proportion_and_the_same_everywhere() -> None:
    task = made().with_dev_from_train(size=8, seed=3)
    train, dev = task.examples("train"), task.examples("dev")
    assert Counter(row.target for row in dev) == {"a": 6, "b": 2}
    assert sorted(row.id for row in train + dev) == sorted(
        row.id for row in made().examples("train")
    )
    assert (
        made().with_dev_from_train(fraction=0.2, seed=3).content_hash("dev") == "7a672f380126f9aa"
    )
    other = made().with_dev_from_train(size=8, seed=4)
    assert {row.id for row in other.examples("dev")} != {row.id for row in dev}
    with pytest.raises(UsageError, match="has a dev split already"):
        task.with_dev_from_train(size=2)
    assert len(task.with_dev_from_train(size=2, replace_dev=True).examples("dev")) == 2


def test_a_text_that_stands_twice_never_comes_to_both_sides() -> None:
    rows = [Example(str(n), {"text": f"t{n % 25}"}, "ab"[n % 25 % 2]) for n in range(50)]
    for seed in range(20):
        task = made().with_splits(train=rows).with_dev_from_train(size=10, seed=seed)
        texts = [{row.fields["text"] for row in task.examples(s)} for s in ("train", "dev")]
        assert not texts[0] & texts[1]
        assert len(task.examples("dev")) in (8, 10)


@pytest.mark.parametrize("options", [{}, {"size": 1, "fraction": 0.5}, {"size": 40}, {"size": 0}])
def test_a_dev_size_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        made().with_dev_from_train(**options)


def test_fewer_rows_are_a_part_of_more_rows() -> None:
    small, large = (made().subsample("train", n, seed=1).examples("train") for n in (5, 20))
    assert [row for row in large if row in small] == small
    assert len(small) == 5
    with pytest.raises(UsageError, match="expected 1 to 40"):
        made().subsample("train", 41)


def test_the_content_hash_follows_every_value() -> None:
    row = Example("1", {"text": "a"}, "a")
    others = [
        Example("2", {"text": "a"}, "a"),
        Example("1", {"text": "b"}, "a"),
        Example("1", {"text": "a"}, "b"),
        Example("1", {"text": "a"}, "a", ("c",)),
        Example("1", {"text": "a"}, "a", None, "g"),
    ]
    hashes = [made().with_splits(train=[e]).content_hash("train") for e in [row, *others]]
    assert len(set(hashes)) == 6
    assert all(len(h) == 16 for h in hashes)


def test_a_family_may_have_a_template_of_its_own() -> None:
    task = made(template="{text} {mask}.", templates={"causal": "{text} {mask}"})
    assert task.template_for("causal") == "{text} {mask}"
    assert task.template_for("masked") == task.template_for("encoder_decoder") == "{text} {mask}."
    with pytest.raises(UsageError, match="templates: 'casual'"):
        made(templates={"casual": "{text} {mask}"})


def test_importing_the_data_layer_loads_nothing_heavy() -> None:
    program = "import softprompt.data.registry, sys; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    heavy = {"numpy", "pandas", "pyarrow", "datasets", "sklearn", "scipy", "torch", "transformers"}
    assert heavy.isdisjoint(out.stdout.split())
