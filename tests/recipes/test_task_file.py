from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.errors import DataError, SettingsError
from softprompt.recipes.guessing import guess
from softprompt.recipes.prepare import prepare, run_answers
from softprompt.recipes.run_data import run_task
from softprompt.recipes.run_file import read_run
from softprompt.recipes.task_file import write_run_file
from tests.small_runs import write_jsonl, write_reviews


def test_text_and_label_columns_are_found(here: Path) -> None:
    found = guess(write_reviews(here / "r.csv"))
    assert dict(found.fields) == {"review": "review"}
    assert (found.target, found.language, found.rows) == ("mood", "en", 40)
    assert found.labels == {"negative": 20, "positive": 20}
    assert found.words == {"negative": "terrible", "positive": "great"}
    assert found.template == "{review} It was {mask}."
    assert found.sure


def test_chinese_gets_a_chinese_template_and_words(here: Path) -> None:
    rows = [{"内容": f"服务很好{n}", "标签": "正面"} for n in range(5)]
    rows += [{"内容": f"房间太差{n}", "标签": "负面"} for n in range(5)]
    found = guess(write_jsonl(here / "r.jsonl", rows))
    assert (found.language, found.target) == ("zh", "标签")
    assert found.words == {"正面": "好", "负面": "差"}
    assert found.template == "{内容}总体评价是{mask}的。"


def test_topics_keep_their_names(here: Path) -> None:
    rows = [{"text": f"some news {n}", "topic": ("sports", "food_news")[n % 2]} for n in range(8)]
    found = guess(write_jsonl(here / "r.jsonl", rows))
    assert found.words == {"food_news": "food news", "sports": "sports"}
    assert "This is about {mask}." in found.template


def test_numbers_for_labels_are_said_to_be_guesses(here: Path) -> None:
    rows = [{"id": n, "text": f"some words {n}", "label": n % 2} for n in range(8)]
    found = guess(write_jsonl(here / "r.jsonl", rows))
    assert (found.target, found.sure) == ("label", False)
    assert dict(found.fields) == {"text": "text"}
    rows = [{"text": f"some words {n}", "stars": n % 5 + 1} for n in range(20)]
    found = guess(write_jsonl(here / "s.jsonl", rows))
    assert list(found.words.values()) == ["terrible", "bad", "okay", "good", "great"]
    rows = [{"text": f"some words {n}", "class": n % 3 + 7} for n in range(20)]
    found = guess(write_jsonl(here / "c.jsonl", rows))
    assert not found.sure


def test_two_texts_become_a_pair(here: Path) -> None:
    rows = [
        {"premise": f"a man plays {n}", "hypothesis": f"someone plays {n}", "label": "yn"[n % 2]}
        for n in range(8)
    ]
    found = guess(write_jsonl(here / "r.jsonl", rows))
    assert found.template == "{premise} ? {mask} , {hypothesis}"


def test_a_column_with_braces_gets_a_plain_name(here: Path) -> None:
    rows = [{"a{b}": f"some words {n}", "y": "ab"[n % 2]} for n in range(8)]
    assert dict(guess(write_jsonl(here / "r.jsonl", rows)).fields) == {"text1": "a{b}"}


def test_named_columns_are_believed_or_refused(here: Path) -> None:
    path = write_reviews(here / "r.csv")
    assert guess(path, ["review"], "mood").target == "mood"
    with pytest.raises(SettingsError, match="did you mean 'mood'"):
        guess(path, target="mod")


def test_a_file_without_a_label_is_refused(here: Path) -> None:
    (here / "r.csv").write_text("a,b\n" + "".join(f"x{n},y{n}\n" for n in range(9)))
    with pytest.raises(DataError, match="no column looks like a label"):
        guess(here / "r.csv")
    (here / "r.csv").write_text("a,b\n" + "".join(f"{n % 2},{n % 3}\n" for n in range(9)))
    with pytest.raises(DataError, match="no column looks like text"):
        guess(here / "r.csv")


def test_the_run_file_that_is_written_runs(here: Path, bert: Path) -> None:
    (here / "data").mkdir()
    data = write_reviews(here / "data" / "reviews.csv")
    write_run_file(data, here / "run.yaml", str(bert), others=[("test", data)])
    text = (here / "run.yaml").read_text(encoding="utf-8")
    assert 'train: "data/reviews.csv"' in text
    assert "# dev: dev.csv" in text
    prepared = prepare(read_run(here / "run.yaml", ["method.length=3"]))
    assert prepared.task.labels == ("negative", "positive")
    assert {report.word for report in prepared.first.words} == {"great", "terrible"}


@pytest.mark.parametrize("labels", [["0", "1"], ["yes", "no"], ["a: b", 'q"uote'], ["- x", "#y"]])
def test_any_label_survives_the_file(here: Path, labels: list[str]) -> None:
    rows = [{"te: xt": f"some words {n}", "y": labels[n % 2]} for n in range(8)]
    data = write_jsonl(here / "d.jsonl", rows)
    write_run_file(data, here / "run.yaml", "b")
    settings = read_run(here / "run.yaml", ["dev_size=2"])
    task = run_task(settings).task
    assert set(task.labels) == set(labels)
    assert run_answers(settings, task, 1) is not None


def test_the_guess_is_from_all_rows_that_are_looked_at(here: Path) -> None:
    rows = [{"text": f"some words {n}", "y": "abc"[min(n // 100, 2)]} for n in range(300)]
    found = guess(write_jsonl(here / "r.jsonl", rows))
    assert found.labels == {"a": 100, "b": 100, "c": 100}


def test_own_files_have_no_variant(here: Path) -> None:
    rows = [{"text": f"some words {n}", "label": "ab"[n % 2]} for n in range(8)]
    write_run_file(write_jsonl(here / "d.jsonl", rows), here / "run.yaml", "b")
    with pytest.raises(SettingsError, match=r"variant: 'small' was asked for.* which have none"):
        run_task(read_run(here / "run.yaml", ["dev_size=2", "variant=small"]))
