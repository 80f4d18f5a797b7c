"""The study of wording that ships: what it asks, that it runs, and rows of some tasks only."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from softprompt.cli.main import main
from softprompt.data.registry import TASKS
from softprompt.errors import SettingsError
from softprompt.recipes.compare_file import CompareSettings, read_compare, shipped_comparisons
from softprompt.recipes.comparison_plan import Plan, plan
from softprompt.text.template import parse
from tests.conftest import ROOT
from tests.official_files import write_all
from tests.test_documents import commands

NAMES = ("wording", "wording-paper")
SEEDS = ["13", "21", "42", "87", "100"]
PAGE = "docs/wording.md"
WAYS = ("fine-tuned", "soft rows", "alone")
MOODS = ("great / terrible", "good / bad", "cat / dog", "dog / cat", "terrible / great")


def labels(laid: Plan, task: str) -> list[str]:
    return [cell.row.label for cell in laid.cells if cell.task == task]


@pytest.mark.parametrize("name", NAMES)
def test_every_wording_is_fine_tuned_tuned_softly_and_asked_alone(name: str) -> None:
    laid = plan(read_compare(Path(name)))
    assert [cell.refused for cell in laid.cells if cell.refused] == []
    films, pairs = labels(laid, "SST-2"), labels(laid, "SNLI")
    assert (films[0], pairs[0], len(films), len(pairs)) == ("head", "head", 1 + 3 * 5, 1 + 3 * 6)
    assert films[1:] == [f"{way}: {words}" for way in WAYS for words in MOODS]
    assert [one.partition(": ")[0] for one in pairs[1:]] == [way for way in WAYS for _ in range(6)]
    for cell in laid.cells:
        variants = [run.settings.variant for run in cell.runs if run.settings]
        assert variants == SEEDS
        assert [run.split for run in cell.runs] == [int(one) for one in SEEDS]
    first = shipped_comparisons()[name].read_text("utf-8").splitlines()[0]
    assert ('profile "desk"' in first) == (name == "wording")
    assert ('profile "paper"' in first) == (name == "wording-paper")


@pytest.mark.parametrize("name", NAMES)
def test_words_and_templates_are_what_their_rows_are_called(name: str) -> None:
    task = TASKS["lm_bff/snli"]
    for cell in plan(read_compare(Path(name))).cells:
        settings = cell.runs[0].settings
        assert settings is not None
        wording = cell.row.label.partition(": ")[2]
        if cell.task == "SST-2" and wording:
            assert settings.words is not None
            assert f"{settings.words['positive']} / {settings.words['negative']}" == wording
            assert settings.template is None  # the task's own
        elif wording:
            template = parse(str(settings.template))
            shown, _, permuted = wording.partition(", words ")
            assert set(template.fields) == set(task.fields)
            assert spelled(str(template)) == shown.replace(" ", "").lower()
            assert (settings.words is not None) == (permuted == "permuted")
            if settings.words is not None and task.words is not None:
                assert set(settings.words.values()) == set(task.words.values())
                assert not set(settings.words.items()) & set(task.words.items())


def spelled(template: str) -> str:
    """`{sentence1|drop_last}? {mask}, {sentence2|lower_first}` -> `s1?_,s2`."""
    for name, short in (("|drop_last", ""), ("|lower_first", ""), ("{mask}", "_"), (" ", "")):
        template = template.replace(name, short)
    return template.replace("{sentence1}", "s1").replace("{sentence2}", "s2")


def test_the_study_runs_from_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four rows of it on written files of the official layouts, a step each."""
    write_all(here / "data")
    asked = read_compare(Path("wording"))
    wanted = ("head", "fine-tuned: cat / dog", "soft rows: S1 S2 _", "alone: S2 ? _ , S1")
    rows = [one for one in asked.methods if one["label"] in wanted]
    (here / "few.yaml").write_text(
        shipped_comparisons()["wording"].read_text("utf-8"), encoding="utf-8"
    )
    quick = ["training={steps: 1, batch_size: 2, keep: last}", "seeds=[13]", "resamples=100"]
    given = ["compare", "few.yaml", "--data", str(here / "data"), f"methods={rows}", *quick]
    assert main([*given, "test_limit=3", "out=made"]) == 0, capsys.readouterr().err
    with (here / "made/table.csv").open(encoding="utf-8", newline="") as lines:
        found = [(row["task"], row["row"]) for row in csv.DictReader(lines)]
    majority = "majority class"
    assert sorted(found) == sorted(
        [("SST-2", one) for one in (*wanted[:2], majority)]
        + [("SNLI", one) for one in (wanted[0], *wanted[2:], majority)]
    )


def test_the_commands_of_the_page_can_be_laid_out() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for typed in commands(PAGE):
        assert typed[:3] == ["softprompt", "compare", "wording"]
        laid = plan(read_compare(Path(typed[2]), typed[5:]))
        assert not [cell.refused for cell in laid.cells if cell.refused]
    for words in (*MOODS, *(row.partition(": ")[2] for row in labels(laid, "SNLI")[1:7])):
        shown = words.partition(", words")[0]
        assert f"| {shown} |" in text or f"| `{shown}`" in text, words
    assert "](wording.md)" in (ROOT / "docs/README.md").read_text(encoding="utf-8")


# --- rows of some tasks only --------------------------------------------------------------------


def values(*methods: Any) -> CompareSettings:
    named = [{"task": "softprompt/topics-en", "label": label} for label in ("one", "two")]
    given = {"backbone": "softprompt/tiny-mlm", "tasks": named, "methods": list(methods)}
    return CompareSettings.read({**given, "baselines": ["majority"], "out": "x"}, "test")


def test_a_row_may_be_of_some_tasks_only() -> None:
    alone = {"name": "prompt_tuning", "tasks": ["two"], "vary": {"length": [1, 2]}}
    laid = plan(values(alone, "lora", {"recipe": "pet", "tasks": ["one"], "distil": []}))
    assert labels(laid, "one") == ["LoRA", "PET (ensemble)"]
    assert labels(laid, "two") == ["prompt tuning, length=1", "prompt tuning, length=2", "LoRA"]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (["tow"], "'lora': tasks: no task 'tow' in this comparison; did you mean 'two'"),
        ("two", "tasks: expected a list of tasks' labels"),
        ([], "tasks: expected a list of tasks' labels"),
        (["two"], "tasks, 'one': no method is compared on it"),
    ],
)
def test_wrong_tasks_of_a_row_are_told(tasks: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("(", r"\(")):
        plan(values({"name": "lora", "label": "lora", "tasks": tasks}))
