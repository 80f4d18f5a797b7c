"""Several tasks as one: the texts, the draw, and scores that are those of each task alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softprompt.data.examples import Example
from softprompt.data.loading import Split
from softprompt.data.metrics import score
from softprompt.data.mixing import Mixture, equal, proportional, tempered
from softprompt.data.mixture import mix_tasks, mixing_rates, rows_behind, written
from softprompt.data.registry import load_task, text_form
from softprompt.data.task import Task
from softprompt.errors import UsageError
from tests.official_files import write_all


def task(name: str, n: int, **changes: Any) -> Task:
    """n rows of train and dev each, of two labels in turn."""
    kind = changes.get("kind", "label")
    targets = ("no", "yes") if kind == "label" else ("red", "blue sky")
    facts: dict[str, Any] = {
        "name": name,
        "fields": ("title", "body"),
        "kind": kind,
        "labels": ("no", "yes") if kind == "label" else (),
        "metrics": ("accuracy",),
        "splits": {
            split: Split.of(
                Example(f"{split}:{i}", {"title": f"t{i}", "body": f"{split} {i}"}, targets[i % 2])
                for i in range(n)
            )
            for split in ("train", "dev")
        },
        **changes,
    }
    return Task(**facts)


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "targets"),
    [
        ("super_glue/rte", "rte hypothesis: {h} premise: {p}", {"entailment", "not_entailment"}),
        ("super_glue/copa", "copa choice1: ", {"choice1", "choice2"}),
        ("super_glue/boolq", "boolq passage: ", {"True", "False"}),
        ("glue/sts_b", "stsb sentence1: ", {"0.0", "5.0"}),
        ("softprompt/topics-en", "topics-en text: ", {"sports", "business", "science", "food"}),
    ],
)
def test_rows_read_as_t5_writes_them(
    tmp_path: Path, name: str, text: str, targets: set[str]
) -> None:
    folder = write_all(tmp_path)
    one = written(load_task(text_form(name), folder))
    for split in ("train", "test"):
        rows = [one.example(row) for row in one.task.examples(split)]
        assert all(str(row.fields["text"]).startswith(text.partition("{")[0]) for row in rows)
        assert targets & {str(row.target) for row in rows}
        assert rows[0].id == f"{one.task.name} › {one.task.examples(split)[0].id}"


def test_a_task_without_a_form_has_its_name_and_its_keys_sorted() -> None:
    row = written(task("house/news", 2)).example(task("house/news", 2).examples("dev")[1])
    assert row.fields == {"text": "news body: dev 1 title: t1"}
    assert (row.target, row.group) == ("yes", "house/news")


def test_the_words_of_a_cloze_stand_for_nothing_without_it() -> None:
    reviews = load_task("softprompt/reviews-en")
    assert reviews.words == {"negative": ("terrible",), "positive": ("great",)}
    targets = {written(reviews).example(row).target for row in reviews.examples("dev")}
    assert targets == {"negative", "positive"}


# --- the draw ---------------------------------------------------------------------------------


def test_rates_are_those_of_the_three_rules() -> None:
    sizes = {"a": 800, "b": 150, "c": 50}
    assert mixing_rates(sizes) == proportional(sizes)
    assert mixing_rates(sizes, limit=100) == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.2})
    assert mixing_rates(sizes, "temperature", temperature=2) == tempered(sizes, 2)
    assert mixing_rates(sizes, "equal") == equal(sizes)


def test_train_is_drawn_by_the_rates_and_its_size_is_stated() -> None:
    tasks = [task("small", 5), task("large", 40)]
    mixed = mix_tasks(tasks, "equal", size=60, seed=3)
    rows = mixed.examples("train")
    drawn = Mixture({"small": 5, "large": 40}, {"small": 0.5, "large": 0.5}, 3).draw(60)
    assert [row.group for row in rows] == [name for name, _ in drawn]
    assert len({row.id for row in rows}) == 60
    seen = Counter(row.id.partition(" ×")[0] for row in rows)
    often = [n for one, n in seen.items() if one.startswith("small")]
    assert max(often) - min(often) <= 1  # none again before all were drawn
    assert max(n for one, n in seen.items() if one.startswith("large")) == 1
    assert mixed.content_hash("train") == mix_tasks(tasks, "equal", size=60, seed=3).content_hash(
        "train"
    )
    assert len(mix_tasks(tasks).examples("train")) == 45
    assert len(mix_tasks(tasks, limit=10).examples("train")) == 15


def test_dev_holds_every_row_of_every_task_once() -> None:
    mixed = mix_tasks([task("a", 3), task("b", 4)])
    assert [row.group for row in mixed.examples("dev")] == ["a"] * 3 + ["b"] * 4
    assert mixed.split_names == ("train", "dev")
    assert rows_behind(mixed, "dev", "task_mean") == 7
    assert rows_behind(mixed, "dev", "task:b accuracy") == 4


# --- scores -----------------------------------------------------------------------------------


@given(st.data())
def test_each_task_is_scored_as_it_is_alone(data: st.DataObject) -> None:
    tasks = [
        task("glue/pairs:t5", 6, metrics=("f1", "accuracy", "matthews", "macro_f1")),
        task("texts", 4, kind="text", metrics=("exact_match", "token_f1")),
    ]
    mixed = mix_tasks(tasks)
    labels = data.draw(st.lists(st.sampled_from(["no", "yes", None]), min_size=6, max_size=6))
    texts = data.draw(
        st.lists(st.sampled_from(["red", "blue", "sky blue"]), min_size=4, max_size=4)
    )
    rows = mixed.examples("dev")
    spoken = ["maybe yes" if label is None else f" {label}" for label in labels] + texts
    found = score(
        mixed.metrics,
        spoken,
        [row.target for row in rows],
        (),
        [row.group for row in rows],
        parts=mixed.part_scores,
    )
    firsts = []
    for one, given_ in zip(tasks, (labels, texts), strict=True):
        golds = [row.target for row in one.examples("dev")]
        alone = score(one.metrics, given_, golds, one.labels)
        assert {m: found[f"task:{one.name} {m}"] for m in one.metrics} == alone
        firsts.append(alone[one.metrics[0]])
    assert found["task_mean"] == pytest.approx(sum(firsts) / 2)
    assert found["task:glue/pairs:t5 illegal"] == labels.count(None) / 6


def test_the_groups_of_a_task_are_kept(tmp_path: Path) -> None:
    multirc = load_task("super_glue/multirc:t5", write_all(tmp_path))
    mixed = mix_tasks([multirc, load_task("super_glue/rte:t5", tmp_path)])
    own, rows = multirc.examples("test"), mixed.examples("test")
    golds = [row.target for row in rows]
    said = [*golds[:-1], "nothing"]
    said[0] = "False" if golds[0] == "True" else "True"
    alone = score(
        multirc.metrics,
        ["False" if own[0].target == "True" else "True", *(r.target for r in own[1:])],
        [row.target for row in own],
        multirc.labels,
        [row.group for row in own],
    )
    groups = [row.group for row in rows]
    found = score(mixed.metrics, said, golds, (), groups, parts=mixed.part_scores)
    assert alone["multirc_em"] < 1
    assert found["task:super_glue/multirc:t5 multirc_em"] == alone["multirc_em"]


# --- refusals ---------------------------------------------------------------------------------


def number(name: str) -> Task:
    rows = [Example(str(n), {"title": "t", "body": "b"}, float(n)) for n in range(3)]
    splits = {split: Split.of(rows) for split in ("train", "dev")}
    return task(name, 3, kind="number", metrics=("pearson",), splits=splits)


def choosing(name: str) -> Task:
    rows = [Example(str(n), {"title": "t", "body": "b"}, "x", ("x", "y")) for n in range(3)]
    splits = {split: Split.of(rows) for split in ("train", "dev")}
    return task(name, 3, kind="text", splits=splits)


@pytest.mark.parametrize(
    ("other", "options", "message"),
    [
        (task("a", 3), {}, "two or more tasks of different names"),
        (number("n"), {}, "predicts a number, and T5 writes texts"),
        (choosing("c"), {}, "examples bring answers to choose from"),
        (
            task("b", 3, splits={"train": task("b", 3).splits["train"]}),
            {},
            "'b' has no dev split, 'a' has one",
        ),
        (task("b", 3, splits={}), {}, "'b' has no train split"),
        (mix_tasks([task("x", 3), task("y", 3)]), {}, "a mixture already"),
        (
            task("b", 3, template="{title}", words={"no": ("x",), "yes": ("x",)}),
            {},
            "two labels have the same word",
        ),
        (task("b", 3), {"size": 0}, "size: expected at least 1"),
        (task("b", 3), {"temperature": 2}, "`rates: temperature` needs one"),
        (task("b", 3), {"rates": "temperature"}, "`rates: temperature` needs one"),
        (task("b", 3), {"rates": "equal", "limit": 2}, "equal rates do not depend"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    other: Task, options: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        mix_tasks([task("a", 3), other], **options)


def test_scores_of_a_mixture_need_its_tasks() -> None:
    with pytest.raises(UsageError, match="for a mixture of tasks"):
        score(["task_mean"], ["yes"], ["yes"])
    mixed = mix_tasks([task("a", 2), task("b", 2)])
    with pytest.raises(UsageError, match="no rows of task 'b'"):
        score(["task:b accuracy"], ["yes"], ["yes"], (), ["a"], parts=mixed.part_scores)
