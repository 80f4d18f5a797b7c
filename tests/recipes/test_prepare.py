from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import DataError, SettingsError, UsageError
from softprompt.recipes.facts import run_facts
from softprompt.recipes.prepare import prepare, run_answers
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.schema import RunSettings
from softprompt.text.answers import FreeText, OwnCandidates, Poles, Verbalizer
from tests.small_runs import write_jsonl, write_run_yaml
from tests.tiny_models import save_checkpoint


def settings(here: Path, bert: Path, **changes: Any) -> RunSettings:
    return read_run(write_run_yaml(here, bert, **changes))


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("bert", "{text}总体评价是{mask}的。"),
        ("llama", "{text}总体评价是{mask}"),
        ("t5-1.1", "{text}{decoder}总体评价是{mask}"),
    ],
)
def test_a_named_task_is_asked_as_suits_the_family(
    tmp_path: Path, name: str, template: str
) -> None:
    folder = str(save_checkpoint(name, tmp_path / name))
    given = {"backbone": folder, "task": "softprompt/reviews-zh", "train_limit": 4}
    assert prepare(RunSettings.read(given)).first.template == template
    own = prepare(RunSettings.read({**given, "template": "{text}：{mask}"}))
    assert own.first.template == "{text}：{mask}"


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5-1.1"])
def test_plain_reads_the_text_alone_directly_behind_the_start_or_at_its_end(
    here: Path, tmp_path: Path, name: str
) -> None:
    folder = save_checkpoint(name, tmp_path / name)
    given = {"template": "plain", "words": None, "method": {"name": "classification_head"}}
    prepared = prepare(settings(here, folder, **given))
    applied, backbone = prepared.first.applied, prepared.backbone
    example = prepared.task.examples("train")[0]
    (query,) = applied.render(example).queries
    own = backbone.tokenizer
    text = own.encode(str(example.fields["review"]), continues=False).ids
    places = {read.positions for read in query.reads}
    if name == "bert":
        assert query.ids == (*own.start, own.mask, *text, *own.end)
        assert places == {(len(own.start),)}
    elif name == "gpt2":
        assert query.ids == (*own.start, *text)
        assert places == {(len(query.ids) - 1,)}
    else:
        assert query.ids == (*text, *own.end)
        assert places == {(0,)}
    assert len(query.reads) == 2


def test_words_of_named_slots_are_given_by_name(here: Path, bert: Path) -> None:
    words = {
        "positive": {"what": "great", "how": "very"},
        "negative": [{"how": "so", "what": "bad"}, {"how": "so", "what": "dull"}],
    }
    run = settings(here, bert, words=words, template="{review} It was {mask:how} {mask:what}.")
    assert [word.word for word in prepare(run).first.words] == [
        "so … bad",
        "so … dull",
        "very … great",
    ]
    with pytest.raises(SettingsError, match="words of 'positive': expected a word"):
        settings(here, bert, words={**words, "positive": {"what": 1, "how": "very"}})


def test_dev_comes_out_of_train_with_labels_in_proportion(here: Path, bert: Path) -> None:
    data = run_task(settings(here, bert))
    task, notes = data.task, list(data.notes)
    assert (len(task.examples("train")), len(task.examples("dev"))) == (32, 8)
    assert [e.target for e in task.examples("dev")].count("positive") == 4
    assert notes == ["dev: 8 rows taken out of train (labels in proportion)"]


def test_a_tenth_of_train_becomes_dev_by_default(here: Path, bert: Path) -> None:
    task = run_task(settings(here, bert, dev_size=None)).task
    assert len(task.examples("dev")) == 4


def test_the_same_rows_become_dev_every_time(here: Path, bert: Path) -> None:
    run = settings(here, bert)
    one, other = run_task(run).task, run_task(run).task
    assert one.content_hash("dev") == other.content_hash("dev")


def test_dev_size_zero_keeps_all_of_train(here: Path, bert: Path) -> None:
    prepared = prepare(settings(here, bert, dev_size=0))
    assert prepared.task.split_names == ("train",)
    assert any("no dev split" in warning for warning in prepared.warnings)


def test_a_dev_file_stays_as_it_is(here: Path, bert: Path) -> None:
    run = settings(here, bert, task__dev="reviews.csv", dev_size=None)
    data = run_task(run)
    task, notes = data.task, list(data.notes)
    assert len(task.examples("dev")) == len(task.examples("train")) == 40
    assert notes == []
    with pytest.raises(SettingsError, match="has a dev split of its own"):
        run_task(settings(here, bert, task__dev="reviews.csv"))


def test_limits_and_k_shot(here: Path, bert: Path) -> None:
    data = run_task(settings(here, bert, train_limit=10, dev_limit=2))
    task, notes = data.task, list(data.notes)
    assert (len(task.examples("train")), len(task.examples("dev"))) == (10, 2)
    assert "train: 10 of 32 rows" in notes
    task = run_task(settings(here, bert, k_shot=3, dev_size=None, task__dev="reviews.csv")).task
    counts = {split: len(task.examples(split)) for split in task.split_names}
    assert counts == {"train": 6, "dev": 6, "test": 40}  # LM-BFF tests on what was dev


def test_fields_may_be_called_otherwise_than_columns(here: Path, bert: Path) -> None:
    run = settings(here, bert, task__fields={"text": "review"}, template="{text} {mask}")
    assert run_task(run).task.fields == ("text",)


def test_tsv_and_jsonl_go_by_their_names(here: Path, bert: Path) -> None:
    rows = [{"review": f"text {n}", "mood": "ab"[n % 2]} for n in range(12)]
    write_jsonl(here / "r.jsonl", rows)
    (here / "r.tsv").write_text(
        "review\tmood\n" + "".join(f"text {n}\t{'ab'[n % 2]}\n" for n in range(12))
    )
    for name in ("r.jsonl", "r.tsv"):
        run = settings(here, bert, task__train=name, words=None, dev_size=2)
        assert run_task(run).task.labels == ("a", "b")
    mixed = settings(here, bert, task__train="r.jsonl", task__test="r.tsv", words=None)
    with pytest.raises(SettingsError, match="files of one format"):
        run_task(mixed)


def test_words_must_name_the_tasks_labels(here: Path, bert: Path) -> None:
    run = settings(here, bert, words={"positve": "great", "negative": "bad"})
    task = run_task(run).task
    with pytest.raises(SettingsError, match="did you mean 'positive'"):
        run_answers(run, task, 1)
    run = settings(here, bert, words={"positive": "great"})
    with pytest.raises(SettingsError, match="none are given for 'negative'"):
        run_answers(run, task, 1)


def test_words_stand_in_the_order_of_the_labels(here: Path, bert: Path) -> None:
    run = settings(here, bert, words={"positive": "great", "negative": ["bad", "dull"]})
    answers = run_answers(run, run_task(run).task, 1)
    assert isinstance(answers, Verbalizer)
    assert list(answers.words) == ["negative", "positive"]


def test_free_text_candidates_and_poles(here: Path, bert: Path) -> None:
    rows = [{"q": f"which {n}", "a": "x", "candidates": ["x", "y"]} for n in range(4)]
    write_jsonl(here / "q.jsonl", rows)
    files = {"train": "q.jsonl", "fields": ["q"], "target": "a", "kind": "text"}
    run = settings(here, bert, task=files, words=None, dev_size=1, max_answer_tokens=5)
    assert run_answers(run, run_task(run).task, 1) == FreeText(5)
    run = settings(here, bert, task={**files, "candidates": "candidates"}, words=None, dev_size=1)
    assert isinstance(run_answers(run, run_task(run).task, 1), OwnCandidates)
    (here / "n.csv").write_text("s,y\n" + "".join(f"text {n},{n % 6}\n" for n in range(12)))
    files = {"train": "n.csv", "fields": ["s"], "target": "y", "kind": "number", "bounds": [0, 5]}
    run = settings(here, bert, task=files, words={"lower": "bad", "upper": "good"}, dev_size=2)
    assert run_answers(run, run_task(run).task, 1) == Poles(("bad", "good"), (0.0, 5.0))
    run = settings(here, bert, task=files, words={"lower": "bad"}, dev_size=2)
    with pytest.raises(SettingsError, match="bounds, and two words"):
        run_answers(run, run_task(run).task, 1)
    words = {"upper": "good", "lower": ["bad"]}
    run = settings(here, bert, task=files, words=words, dev_size=2)
    assert run_answers(run, run_task(run).task, 1) == Poles(("bad", "good"), (0.0, 5.0))
    run = settings(here, bert, task=files, words={"low": "bad", "high": "good"}, dev_size=2)
    with pytest.raises(SettingsError, match=r"two ends of a number.*found 'low' and 'high'"):
        run_answers(run, run_task(run).task, 1)


def test_facts_say_what_is_learned_and_how_words_are_tokenised(here: Path, bert: Path) -> None:
    prepared = prepare(settings(here, bert, words={"positive": "great", "negative": "great"}))
    facts = {fact.name: fact.value for fact in run_facts(prepared)}
    assert prepared.first.account.learned == 3 * 32
    assert facts["learned"].startswith("96 of ")
    assert facts["answer"] == "positive ← great  great"
    assert "masked" in facts["backbone"]
    assert any("collides with the word of" in warning for warning in prepared.warnings)


def test_cut_examples_are_counted_beforehand(here: Path, bert: Path) -> None:
    (here / "reviews.csv").write_text("review,mood\n" + f"{'good ' * 90},a\nbad,b\n" * 10)
    prepared = prepare(settings(here, bert, words=None, dev_size=0))
    assert prepared.first.cut == (10, 20)
    assert any("lose tokens" in warning for warning in prepared.warnings)


def test_skipped_rows_are_said(here: Path, bert: Path) -> None:
    path = write_run_yaml(here, bert, task__skip_bad_rows=True)
    with (here / "reviews.csv").open("a") as file:
        file.write('"only one cell"\n')
    prepared = prepare(read_run(path))
    assert any("1 bad rows were passed over" in warning for warning in prepared.warnings)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task__train": "none.csv"}, DataError, "none.csv"),
        ({"task__train": "reviews.xlsx"}, SettingsError, "cannot tell the format"),
        ({"task__target": "mod"}, DataError, "did you mean 'mood'"),
        ({"template": "{text} {mask}"}, SettingsError, "template field 'text'"),
        ({"template": None}, SettingsError, "has no template of its own"),
        ({"dev_size": 40}, SettingsError, "dev_size: size: expected 1 to 39"),
        ({"k_shot": 30, "dev_size": None}, UsageError, "30"),
        ({"task": "imagenet"}, UsageError, "unknown task"),
        ({"backbone": "./nothing"}, UsageError, "no such folder"),
    ],
)
def test_what_does_not_fit_is_refused(
    here: Path, bert: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        prepare(settings(here, bert, **changes))


def test_a_method_that_trains_weights_is_refused_in_8_bits_before_anything_is_loaded(
    here: Path,
) -> None:
    run = settings(here, here / "no-such-model", precision="int8", method="full_tuning")
    with pytest.raises(SettingsError, match="full_tuning trains the backbone's weights") as caught:
        prepare(run)
    assert caught.value.exit_code == 2


def test_a_run_in_8_bits_says_so(here: Path, bert: Path) -> None:
    prepared = prepare(settings(here, bert, precision="int8"))
    shown = {fact.name: fact.value for fact in run_facts(prepared)}
    assert shown["device"].endswith(", int8")
