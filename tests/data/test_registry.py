"""The tasks known by name: their entries are whole, and their official files read right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softprompt.data.known_tasks import TASKS, TaskEntry, TaskFile
from softprompt.data.metrics import score
from softprompt.data.registry import load_task, read_entry
from softprompt.errors import DataError, UsageError

SHIPPED = [name for name, entry in TASKS.items() if entry.shipped]


@pytest.fixture(autouse=True)
def _no_folder_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOFTPROMPT_DATA", raising=False)


def official(shared: Path, folder: str) -> Path:
    path = shared / "data" / folder
    if not path.is_dir():
        pytest.skip(f"{folder} is not in the shared folder")
    return path


@pytest.mark.parametrize("entry", TASKS.values(), ids=lambda entry: entry.name)
def test_an_entry_has_all_that_a_run_needs(entry: TaskEntry) -> None:
    assert set(entry.templates) == {"causal", "encoder_decoder"}
    if entry.template is not None:
        assert "{mask}" in entry.template
    if entry.kind != "text":
        assert entry.template is not None
    if not entry.candidates:  # an own candidate may stand inside the text
        assert entry.templates["causal"].endswith("{mask}")
        # Its decoder answers: no slot in the text that its encoder reads.
        assert "{mask}" not in entry.templates["encoder_decoder"].partition("{decoder}")[0]
    assert entry.language in ("en", "zh", "de", "fr")
    assert entry.source
    if "train" in entry.files:
        assert "dev" in entry.files or entry.dev_fraction
    else:
        assert "a test set only" in entry.note


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_task_loads_without_a_folder(name: str) -> None:
    task = load_task(name)
    assert task.words is not None
    assert tuple(task.words) == task.labels
    for split in ("train", "dev", "test"):
        assert {row.target for row in task.examples(split)} == set(task.labels)


def test_no_folder_says_which_file_is_expected_where() -> None:
    with pytest.raises(UsageError) as caught:
        load_task("sst2")
    assert "the files of sst2 are not shipped; give folder=…, or set SOFTPROMPT_DATA" in str(
        caught.value
    )
    assert "expected <folder>/sst2/train.tsv" in str(caught.value)


def test_an_unknown_name_gets_the_closest() -> None:
    with pytest.raises(UsageError, match=r"unknown task 'sst-2'.*did you mean 'sst2'"):
        load_task("sst-2")
    with pytest.raises(UsageError, match="no variant '7'; known: '0', '1', '2', '3', '4'"):
        load_task("eprstmt", variant="7")


def test_the_folder_is_the_root_or_the_task_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sst2"
    folder.mkdir()
    for split in ("train", "dev"):
        rows = "sentence\tlabel\na fine film \t1\ndull\t0\n"
        (folder / f"{split}.tsv").write_text(rows, encoding="utf-8")
    tasks = [load_task("sst2", tmp_path), load_task("sst2", str(folder))]
    monkeypatch.setenv("SOFTPROMPT_DATA", str(tmp_path))
    tasks.append(load_task("sst2"))
    for task in tasks:
        assert task.split_names == ("train", "dev")  # the labelled test is no part of GLUE
        assert [row.target for row in task.examples("train")] == ["positive", "negative"]
        assert task.examples("train")[0].fields == {"text": "a fine film"}
    (folder / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"dev\.tsv: there is no such file; sst2 needs it"):
        load_task("sst2")


def test_a_new_task_is_one_entry(tmp_path: Path) -> None:
    (tmp_path / "cr").mkdir()
    rows = "".join(f"{n % 2},text {n}\n" for n in range(20))
    (tmp_path / "cr" / "train.csv").write_text(rows, encoding="utf-8")
    entry = TaskEntry(
        name="cr",
        files={"train": TaskFile("cr/train.csv", header=("label", "text"))},
        fields=("text",),
        target="label",
        labels={"0": "negative", "1": "positive"},
        dev_fraction=0.2,
    )
    task = read_entry(entry, tmp_path)
    assert {name: len(task.examples(name)) for name in task.split_names} == {"train": 16, "dev": 4}
    broken = replace(entry, labels={"0": "negative", "2": "positive"})
    with pytest.raises(DataError, match="line 2, field 'label': unknown label '1'"):
        read_entry(broken, tmp_path)


def test_sst2_reads_its_official_files(shared: Path) -> None:
    official(shared, "sst2")
    task = load_task("sst2", shared / "data")
    counts = {split: len(task.examples(split)) for split in task.split_names}
    assert counts == {"train": 67_349, "dev": 872, "test": 1_821}
    assert Counter(row.target for row in task.examples("dev")) == {"positive": 444, "negative": 428}
    assert not any(str(row.fields["text"]).endswith(" ") for row in task.examples("train"))
    few = task.few_shot(16, seed=13, test="dev")
    assert [len(few.examples(split)) for split in ("train", "dev", "test")] == [32, 32, 872]


def test_ag_news_builds_its_text_alike_from_both_files(shared: Path) -> None:
    task = load_task("ag_news", official(shared, "ag_news"))
    counts = {split: len(task.examples(split)) for split in task.split_names}
    assert counts == {"train": 9_001, "dev": 1_000, "test": 7_600}
    assert set(Counter(row.target for row in task.examples("test")).values()) == {1_900}
    for split in task.split_names:
        texts = [str(row.fields["text"]) for row in task.examples(split)]
        assert not any("\\" in text or '""' in text or "\t" in text for text in texts)
        assert 150 < sum(map(len, texts)) / len(texts) < 250  # descriptions, without titles


def test_eprstmt_takes_dev_out_of_train_and_leaves_no_text_on_both_sides(shared: Path) -> None:
    folder = official(shared, "fewclue/eprstmt")
    task = load_task("eprstmt", folder)
    texts = {split: {row.fields["text"] for row in task.examples(split)} for split in task.splits}
    assert [len(task.examples(split)) for split in ("train", "dev", "test")] == [128, 32, 610]
    assert not texts["train"] & texts["dev"]  # FewCLUE's five splits share rows
    assert all(row.target is None for row in task.examples("unlabelled"))
    third = load_task("eprstmt", folder, variant="3")
    assert [len(third.examples(split)) for split in ("train", "dev", "test")] == [32, 32, 610]


def test_tnews_has_its_fifteen_topics(shared: Path) -> None:
    task = load_task("tnews", official(shared, "fewclue/tnews"))
    counts = {split: len(task.examples(split)) for split in ("train", "dev", "test")}
    assert counts == {"train": 948, "dev": 237, "test": 2010}
    assert {row.target for row in task.examples("test")} == set(task.labels)
    assert len(task.labels) == 15


COUNTS = [
    ("super_glue/boolq", "fewglue", {"train": 32, "dev": 32, "test": 3_270}),
    ("super_glue/cb", "fewglue", {"train": 32, "dev": 32}),
    ("super_glue/copa", "fewglue", {"train": 32, "dev": 32, "test": 100, "unlabelled": 400}),
    ("super_glue/rte", "fewglue", {"train": 32, "dev": 32, "test": 277}),
    ("super_glue/wic", "fewglue", {"train": 32, "dev": 32, "unlabelled": 5_428}),
    ("super_glue/wsc", "fewglue", {"train": 32, "dev": 32, "test": 104, "unlabelled": 554}),
    ("super_glue/wsc:t5", "fewglue", {"dev": 32, "test": 104}),
    ("super_glue/record", "fewglue", {"dev": 32}),
    ("super_glue/multirc", "fewglue", {"test": 4_848}),
    ("glue/cola", "samples", {"test": 856}),
    ("glue/sts_b", "samples", {"test": 575}),
    ("glue/mrpc", None, {"test": 1_725}),
    ("lm_bff/sst5", "42", {"train": 80, "dev": 80, "test": 2_210}),
    ("lm_bff/mr", "100", {"train": 32, "dev": 32, "test": 2_000}),
    ("lm_bff/cola", "13", {"train": 32, "dev": 32, "test": 1_043}),
    ("lm_bff/mrpc", "21", {"train": 32, "dev": 32, "test": 408}),
    ("lm_bff/qnli", "87", {"train": 32, "dev": 32, "test": 5_463}),
    ("lm_bff/sts_b", "13", {"train": 32, "dev": 32, "test": 1_500}),
    ("lm_bff/mnli", "13", {"train": 48, "dev": 48, "test": 9_815}),
    ("lm_bff/mnli_mm", "21", {"train": 48, "dev": 48, "test": 9_832}),
    ("lm_bff/snli", "13", {"train": 48, "dev": 48, "test": 9_831}),
    ("lm_bff/qqp", "13", {"train": 32, "dev": 32, "test": 999}),
    ("ocnli", "2", {"train": 32, "dev": 32, "test": 2_520}),
    ("csl", "0", {"train": 32, "dev": 32, "test": 2_838}),
    ("cluewsc", "4", {"train": 32, "dev": 32, "test": 976}),
    ("chid", "0", {"train": 42, "dev": 42, "test": 2_002, "unlabelled": 7_585}),
    ("hotel_reviews", "all", {"test": 7_765}),
    ("xquad_zh", None, {"test": 1_190}),
    ("cmrc2018", None, {"test": 3_219}),
    ("covid_qa", None, {"test": 1_380}),
    ("e2e", "small", {"test": 630}),
    ("mnli_dev", None, {"test": 19_647}),
    ("snli_dev", None, {"test": 9_831}),
]


@pytest.mark.parametrize(("name", "variant", "counts"), COUNTS)
def test_the_official_files_have_their_known_numbers_of_rows(
    shared: Path, name: str, variant: str | None, counts: dict[str, int]
) -> None:
    task = load_task(name, shared / "data", variant)
    assert {split: len(task.examples(split)) for split in counts} == counts
    if task.labels and "test" in counts:
        assert {row.target for row in task.examples("test")} <= set(task.labels)


def test_k_shot_files_have_k_rows_of_each_label(shared: Path) -> None:
    for name in ("sst2", "sst5", "mr", "mnli", "snli", "qnli", "rte", "mrpc", "qqp", "cola"):
        task = load_task(f"lm_bff/{name}", official(shared, "lm_bff_k_shot").parent)
        for split in ("train", "dev"):
            assert set(Counter(row.target for row in task.examples(split)).values()) == {16}


def test_multirc_has_its_953_questions_and_all_false_answers_none_of_them(shared: Path) -> None:
    task = load_task("super_glue/multirc", official(shared, "superglue").parent, "fewglue")
    rows = task.examples("test")
    groups, golds = [row.group for row in rows], [row.target for row in rows]
    assert len(set(groups)) == 953
    found = score(task.metrics, ["False"] * len(rows), golds, task.labels, groups)
    none_right = sum("True" not in own for own in _by_group(groups, golds).values())
    assert found == {"multirc_f1a": 0.0, "multirc_em": none_right / 953}


def test_always_the_larger_class_scores_what_the_papers_say(shared: Path) -> None:
    # LM-BFF, table 3: majority of MRPC has F1 81.2, of SST-2 accuracy 50.9, of CoLA Matthews 0.
    for name, label, expected in (
        ("lm_bff/mrpc", "equivalent", 0.812),
        ("lm_bff/sst2", "positive", 0.509),
        ("lm_bff/cola", "acceptable", 0.0),
    ):
        task = load_task(name, official(shared, "lm_bff_k_shot").parent)
        golds = [row.target for row in task.examples("test")]
        found = score(task.metrics, [label] * len(golds), golds, task.labels)
        assert found[task.metrics[0]] == pytest.approx(expected, abs=5e-4)


def test_gold_answers_score_one_in_english_and_chinese(shared: Path) -> None:
    for name in ("xquad_zh", "cmrc2018", "covid_qa"):
        task = load_task(name, official(shared, "question_answering").parent)
        rows = [row for row in task.examples("test") if isinstance(row.target, tuple)]
        found = [row.target[-1] for row in rows if isinstance(row.target, tuple)]
        scores = score(task.metrics, found, [row.target for row in rows])
        assert scores == dict.fromkeys(task.metrics, 1.0)


def _by_group(groups: list[str | None], golds: list[Any]) -> dict[str | None, list[Any]]:
    found: dict[str | None, list[Any]] = {}
    for group, gold in zip(groups, golds, strict=True):
        found.setdefault(group, []).append(gold)
    return found
