"""Every task of the tables reads its official layout, and asks in words that its fields can fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.data.examples import Example
from softprompt.data.known_tasks import TASKS, TaskEntry
from softprompt.data.registry import find_entry, load_task, missing_files, task_without_rows
from softprompt.data.task import Task
from softprompt.data.tasks.layouts import (
    last_cell,
    mrqa,
    numbered,
    parallel,
    references,
    sides,
    squad,
)
from softprompt.data.tasks.unfolding import rounded
from softprompt.errors import DataError, UsageError
from softprompt.text.lm_bff import TWO_TEXTS, from_lm_bff
from softprompt.text.template import parse
from tests.official_files import N, multirc_passage, write_all

FILED = [name for name, entry in TASKS.items() if not entry.shipped]
FORMS = [f"{name}:{form}" for name, entry in TASKS.items() for form in entry.forms]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("official"))


def first(task: Task, split: str = "test", place: int = 0) -> Example:
    return task.examples(split)[place]


@pytest.mark.parametrize("name", [*FILED, *FORMS])
def test_every_task_and_form_reads_files_in_its_official_layout(name: str, files: Path) -> None:
    task = load_task(name, files)
    for split in task.split_names:
        rows = task.examples(split)
        assert rows, split
        assert all((row.target is None) == (split == "unlabelled") for row in rows)
        if task.kind == "text" and split != "unlabelled":
            for row in rows:
                golds = row.target if isinstance(row.target, tuple) else (row.target,)
                assert row.candidates is None or set(golds) <= set(row.candidates)
    entry = find_entry(name)
    assert ("dev" in task.splits) == ("train" in entry.files), "what is learned is chosen on dev"
    if "dev" not in entry.files and "dev" in task.splits:  # it left train
        texts = [{str(row.fields) for row in task.examples(split)} for split in ("train", "dev")]
        assert not texts[0] & texts[1]
    assert "test" in task.splits


@pytest.mark.parametrize("name", FILED)
@pytest.mark.parametrize(
    "variant", ["fewglue", "13", "100", "0", "4", "small", "half_dev_v2", "all"]
)
def test_every_variant_reads_its_files(name: str, variant: str, files: Path) -> None:
    if variant in TASKS[name].variants:
        task = load_task(name, files, variant)
        assert all(task.examples(split) for split in task.split_names)


@pytest.mark.parametrize("name", [*TASKS, *FORMS])
def test_every_template_is_read_and_uses_fields_that_the_task_has(name: str) -> None:
    task = task_without_rows(name)
    own = [text for text in (task.template, *task.templates.values()) if text is not None]
    assert own
    for text in own:
        template = parse(text)
        assert template.fields
        assert set(template.fields) <= set(task.fields)
        assert len(template.answers) <= 1
    assert find_entry(name).source
    assert find_entry(name).benchmark != "other"


def test_only_texts_to_be_generated_have_no_template_for_masked_models() -> None:
    for entry in TASKS.values():
        generated = entry.kind == "text" and entry.candidates is None
        assert (entry.template is None) == generated, entry.name
        assert set(entry.templates) == {"causal", "encoder_decoder"}, entry.name


def test_lm_bffs_templates_are_those_of_its_release() -> None:
    assert TASKS["lm_bff/mnli"].template == str(
        from_lm_bff("*cls**sent-_0*?*mask*,*+sentl_1**sep+*", fields=TWO_TEXTS)
    )
    assert TASKS["lm_bff/mrpc"].template == str(
        from_lm_bff("*cls**sent_0**mask*,*+sentl_1**sep+*", fields=TWO_TEXTS)
    )
    assert TASKS["lm_bff/trec"].template == str(from_lm_bff("*cls**mask*:*+sent_0**sep+*"))
    assert TASKS["lm_bff/sst2"].template == str(from_lm_bff("*cls**sent_0*_It_was*mask*.*sep+*"))


def test_lm_bff_has_sixteen_tasks_and_super_glue_eight() -> None:
    counts = [entry.benchmark for entry in TASKS.values()]
    assert (counts.count("LM-BFF"), counts.count("SuperGLUE")) == (16, 8)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "glue/mnli:t5",
            "mnli hypothesis: {hypothesis} premise: {premise}",
            ["contradiction", "entailment", "neutral"],
        ),
        (
            "glue/rte:t5",
            "rte sentence1: {sentence1} sentence2: {sentence2}",
            ["entailment", "not_entailment"],
        ),
        ("glue/cola:t5", "cola sentence: {sentence}", ["acceptable", "unacceptable"]),
        (
            "glue/qqp:t5",
            "qqp question1: {question1} question2: {question2}",
            ["duplicate", "not_duplicate"],
        ),
        (
            "glue/mrpc:t5",
            "mrpc sentence1: {sentence1} sentence2: {sentence2}",
            ["equivalent", "not_equivalent"],
        ),
        ("super_glue/boolq:t5", "boolq passage: {passage} question: {question}", ["False", "True"]),
        (
            "super_glue/rte:t5",
            "rte hypothesis: {hypothesis} premise: {premise}",
            ["entailment", "not_entailment"],
        ),
        (
            "super_glue/copa:t5",
            "copa choice1: {choice1} choice2: {choice2} premise: {premise} question: {question}",
            ["choice1", "choice2"],
        ),
        (
            "super_glue/wic:t5",
            "wic sentence1: {sentence1} sentence2: {sentence2} word: {word}",
            ["False", "True"],
        ),
    ],
)
def test_t5s_forms_are_those_of_its_appendix(name: str, text: str, words: list[str]) -> None:
    task = task_without_rows(name)
    assert task.template == text
    said = task.words or {label: (label,) for label in task.labels}
    assert sorted(word for own in said.values() for word in own) == words


def test_t5s_stsb_is_the_score_rounded_to_a_fifth_as_text(files: Path) -> None:
    assert [rounded(score) for score in (0.0, 2.57, 2.7, 3.875, 4.95, 5.0)] == [
        *("0.0", "2.6", "2.8", "3.8", "5.0", "5.0")
    ]
    task = load_task("glue/sts_b:t5", files)
    assert task.kind == "text"
    assert [row.target for row in task.examples("test")][:3] == ["0.0", "0.8", "1.4"]
    assert first(load_task("glue/sts_b", files), place=1).target == pytest.approx(5 / (N - 1))


def test_copas_choices_are_candidates_told_apart_by_place(files: Path) -> None:
    task = load_task("super_glue/copa", files)
    row = first(task)
    assert row.candidates == ("the wind blew 0", "I slept")
    assert (row.target, row.fields["connector"]) == ("the wind blew 0", "because")
    other = first(task, place=1)
    assert (other.target, other.fields["connector"]) == ("I slept", "so")
    assert [row.target for row in load_task("super_glue/copa:t5", files).examples("test")][:2] == [
        *("choice1", "choice2")
    ]


def test_multirc_is_one_row_per_answer_grouped_by_question(files: Path) -> None:
    rows = load_task("super_glue/multirc", files).examples("test")
    assert len(rows) == (N + 1) * 4
    assert [(row.id, row.group, row.target) for row in rows[:4]] == [
        ("0-0-0", "0-0", "True"),
        ("0-0-1", "0-0", "False"),
        ("0-1-0", "0-1", "True"),
        ("0-1-1", "0-1", "False"),
    ]
    text = parse("{passage|no_tags}")
    assert "no_tags" in str(text)
    assert multirc_passage(0)["passage"]["text"].startswith("<b>")


def test_record_is_cut_at_its_gap_and_trained_on_one_answer_at_a_time(files: Path) -> None:
    task = load_task("super_glue/record", files, variant="fewglue")
    row = first(task, "dev")
    assert row.fields["before"] == "Then"
    assert row.fields["after"] == "'s story ended"
    assert row.fields["passage"] == "Ann met Bob 0. Bobby came"
    assert row.candidates == ("Ann", "Bob", "Bobby")
    assert row.target == ("Bob", "Bobby")
    taught = task.examples("train")[:2]
    assert [one.target for one in taught] == [("Bob",), ("Bobby",)]
    assert [one.candidates for one in taught] == [("Ann", "Bob"), ("Ann", "Bobby")]


def test_wsc_marks_the_pronoun_and_t5_trains_on_true_rows_only(files: Path) -> None:
    task = load_task("super_glue/wsc:t5", files, variant="fewglue")
    assert first(task, "train").fields["marked"] == (
        "Old Ann saw Bo because *she*, number 0, looked."
    )
    assert {row.target for row in task.examples("train")} == {"Ann"}
    assert len(task.examples("train")) == 5
    assert [row.target for row in task.examples("dev")][:2] == [("Ann", "True"), ("Ann", "False")]


def test_chid_and_cluewsc_in_chinese(files: Path) -> None:
    row = first(load_task("chid", files))
    assert dict(row.fields) == {"before": "他0", "after": "地走了"}
    assert (row.candidates, row.target) == (("一心一意", "三心二意"), "一心一意")
    pronoun = first(load_task("cluewsc", files))
    assert pronoun.fields["marked"] == "小明说_他_累0"
    assert first(load_task("csl", files)).fields["keywords"] == "词一、词二"


def test_questions_of_a_paragraph_stay_together_and_need_an_answer(files: Path) -> None:
    task = load_task("squad", files, variant="half_dev_v2")
    parts = {s: {row.group for row in task.examples(s)} for s in ("train", "dev", "test")}
    assert not parts["train"] & parts["dev"]
    assert not parts["train"] & parts["test"]
    assert sum(len(task.examples(split)) for split in parts) == 40  # of 60 questions
    assert first(task, "train").target == ("Rome",)
    assert first(load_task("mrqa/drop", files)).target == ("Ann", "her")  # a header, packed


def test_e2e_has_all_references_to_be_scored_by_and_each_to_be_trained_on(files: Path) -> None:
    task = load_task("e2e", files)
    assert first(task).target == ("Text 0 of it .", "Text 1 of it .")
    assert first(task, "train").target == "Text 0 of it ."
    assert (len(task.examples("train")), len(task.examples("test"))) == (2 * N, N)
    assert load_task("wmt/en_de", files).examples("train")[1].target == "Haus 1"


def test_a_hidden_test_set_is_said_to_be_one(files: Path) -> None:
    for name in ("glue/rte", "super_glue/boolq"):
        assert "official test set has no labels" in TASKS[name].note
    task = load_task("glue/rte", files)
    assert task.split_names == ("train", "test", "unlabelled", "dev")
    assert len(task.examples("train")) + len(task.examples("dev")) == N


def test_a_test_set_out_of_one_file_is_the_same_for_every_seed_of_dev(files: Path) -> None:
    one, other = (load_task("hotel_reviews", files, dev_seed=seed) for seed in (0, 1))
    assert one.content_hash("test") == other.content_hash("test")
    assert one.content_hash("dev") != other.content_hash("dev")
    assert len(load_task("hotel_reviews", files, "all").examples("test")) == 20  # one is empty


def test_what_is_missing_is_told(tmp_path: Path, files: Path) -> None:
    entry: TaskEntry = TASKS["super_glue/cb"]
    assert missing_files(entry, tmp_path)[0] == "superglue/CB/train.jsonl"
    assert not missing_files(entry, files)
    with pytest.raises(DataError, match=r"super_glue/cb needs it for the split 'train'"):
        load_task("super_glue/cb", tmp_path)
    with pytest.raises(UsageError, match=r"'sst2' has no form 't5'; known: none"):
        load_task("sst2:t5", tmp_path)
    with pytest.raises(UsageError, match=r"no form 't6'; known: 't5'"):
        load_task("glue/rte", tmp_path, form="t6")


def test_what_is_not_in_the_layout_is_told_with_its_place(tmp_path: Path) -> None:
    bad = tmp_path / "superglue" / "COPA"
    bad.mkdir(parents=True)
    for part in ("train", "val"):
        (bad / f"{part}.jsonl").write_text('{"premise": "x", "choice1": "a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: not in the layout of super_glue/copa"):
        load_task("super_glue/copa", tmp_path)


def read(layout: object, path: Path, text: str) -> list[dict[str, object]]:
    path.write_text(text, encoding="utf-8")
    return [dict(row) for _, row in layout(path, _raise)]  # type: ignore[operator]


def _raise(error: DataError) -> None:
    raise error


def test_layouts_refuse_what_is_not_theirs(tmp_path: Path) -> None:
    path = tmp_path / "a.en"
    with pytest.raises(DataError, match="SQuAD's layout"):
        read(squad, path, "[]")
    with pytest.raises(DataError, match="malformed JSON"):
        read(squad, path, "{")
    with pytest.raises(DataError, match="numbered objects"):
        read(numbered, path, "[1]")
    with pytest.raises(DataError, match=r"line 2.*with '\|\|' between"):
        read(sides("||"), path, "a||b\nc\n")
    with pytest.raises(DataError, match=r"line 1.*qid, question and answers"):
        read(mrqa, path, '{"context": "c", "qas": [{"question": "q"}]}\n')
    with pytest.raises(DataError, match="expected at least 2 columns, got 1"):
        read(last_cell, path, "a\tb\nc\n")
    (tmp_path / "a.de").write_text("eins\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.de ends before its line 2"):
        read(parallel(".de"), path, "one\ntwo\n")
    (tmp_path / "a.de").write_text("eins\nzwei\ndrei\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.de goes on after line 2"):
        read(parallel(".de"), path, "one\ntwo\n")
    assert read(references("||"), path, "a||b\nc||d\na||e\n") == [
        {"source": "a", "target": ["b", "e"]},
        {"source": "c", "target": ["d"]},
    ]


@pytest.mark.parametrize(
    ("name", "split", "bad", "good"),
    [
        ("sst2", "train", "worst", "wonderful"),
        ("imdb", "test", "worst", "wonderful"),
        ("yelp_polarity", "test", "worst", "excellent"),
        ("eprstmt", "test", "太差", "很好"),
        ("hotel_reviews", "test", "太差", "很好"),
    ],
)
def test_labels_of_sentiment_mean_what_the_texts_say(
    shared: Path, name: str, split: str, bad: str, good: str
) -> None:
    """Files of one set number their labels in both ways (USB's IMDb has 0 for positive)."""
    task = load_task(name, shared / "data")
    for word, expected in ((bad, "negative"), (good, "positive")):
        own = [
            str(example.target).casefold()
            for example in task.examples(split)
            if word in str(example.fields[task.fields[0]]).casefold()
        ]
        assert own.count(expected) > 2 / 3 * len(own) > 0


def test_yahoo_has_title_and_body_as_one_text(tmp_path: Path) -> None:
    task = load_task("yahoo_answers", write_all(tmp_path))
    even, odd = task.examples("test")[:2]
    assert even.fields == {"question": "why test 0 since then", "answer": "so"}
    assert odd.fields["question"] == "why test 1"
    assert (even.target, odd.target) == ("Society & Culture", "Science & Mathematics")


def test_x_stance_has_the_rows_of_its_language(tmp_path: Path) -> None:
    root = write_all(tmp_path)
    for language, first in (("de", 0), ("fr", 1)):
        rows = load_task(f"x_stance_{language}", root).examples("test")
        assert [row.fields["question"] for row in rows] == [
            f"Frage {n}" for n in range(first, 24, 3)
        ]
        assert [row.target for row in rows[:2]] == ["FAVOR", "AGAINST"]
