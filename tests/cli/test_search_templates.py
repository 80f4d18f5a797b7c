"""`softprompt search templates` as it is typed."""

from __future__ import annotations

from pathlib import Path

from tests.small_runs import write_run_yaml

SMALL = ("--beam", "5", "--templates", "4", "--max-tokens", "5", "--limit", "24", "--fits", "1")


def test_a_search_shows_candidates_as_they_come_and_goes_on_where_it_was(
    softprompt, checkpoint, bert, here
):
    run = write_run_yaml(here, bert, training__steps=2, training__evaluate_every=2, dev_size=6)
    typed = ("search", "templates", run, "--generator", checkpoint("t5-1.1"), *SMALL)
    first = softprompt(*typed, "--out", "found")
    assert first.code == 0, first.err
    assert "form after: " in first.out
    assert "train accuracy" in first.out
    assert "chosen: " in first.out
    assert "next: softprompt train found/best.yaml" in first.out
    again = softprompt(*typed, "--out", "found")
    assert again.code == 0, again.err
    assert "going on with the search" in again.out
    assert "form after: " not in again.out
    assert softprompt("train", "found/best.yaml", "out=trained").code == 0


def test_lists_need_no_generator(softprompt, bert, here):
    run = write_run_yaml(here, bert, dev_size=6)
    Path("list.txt").write_text("{review} so {mask}\n{mask}: {review}\n", encoding="utf-8")
    made = softprompt("search", "templates", run, "--candidates", "list.txt", "--fits", "0")
    assert made.code == 0, made.err
    assert "2 templates in " in made.out
    assert Path("run-templates/best.yaml").is_file()


def test_wrong_options_are_told_in_a_sentence(softprompt, bert, here):
    run = write_run_yaml(here, bert, dev_size=6)
    wrong = softprompt("search", "templates", run, "--combine", "mean")
    assert wrong.code == 2
    assert "combine" in wrong.err
    assert "log_p" in wrong.err
    wrong = softprompt("search", "templates", run, "--fields", "title")
    assert wrong.code == 2
    assert "has review, found 'title'" in wrong.err
    wrong = softprompt("search", "templates", run, "--candidates", "none.txt")
    assert wrong.code == 2
    assert "no such file" in wrong.err
    assert not Path("run-templates").exists()
