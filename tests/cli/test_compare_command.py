"""`softprompt compare`, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from softprompt.settings import to_yaml
from tests.cli.conftest import Command
from tests.small_runs import write_reviews


@pytest.fixture
def file(here: Path, bert: Path) -> Path:
    write_reviews(here / "reviews.csv")
    write_reviews(here / "held.csv", times=1)
    values = {
        "backbone": str(bert),
        "tasks": [
            {
                **{"label": "reviews", "template": "{review} It was {mask}."},
                "task": {
                    **{"train": "reviews.csv", "test": "held.csv"},
                    **{"fields": ["review"], "target": "mood"},
                },
                "words": {"positive": "great", "negative": "terrible"},
            }
        ],
        "methods": [{"name": "prompt_tuning", "length": 2, "label": "rows"}],
        "vary": {"method.length": [1, 2]},
        "training": {"steps": 2, "batch_size": 4, "evaluate_every": 1},
        "seeds": [0, 1],
        "resamples": 100,
    }
    path = here / "moods.yaml"
    path.write_text(to_yaml(values), encoding="utf-8")
    return path


def test_one_file_gives_a_table_and_a_report(softprompt: Command, file: Path, here: Path) -> None:
    done = softprompt("compare", file)
    assert done.code == 0, done.err
    assert "cell 1 of 3: rows, length=1 on reviews, bert" in done.out
    assert "majority class" in done.out
    assert "report: runs/moods/report.md" in done.out
    folder = here / "runs/moods"
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *("cells", "baselines", "figures", "compare.yaml", "report.md", "report.html"),
        *("results.csv", "results.parquet", "table.csv", "table.parquet"),
    }
    assert (folder / "figures/bert-reviews-length.png").is_file()
    again = softprompt("compare", folder, "--out", folder)
    assert again.code == 0, again.err
    assert "cell" not in again.out.split("\n\n")[0]


def test_overrides_are_those_of_train(softprompt: Command, file: Path, here: Path) -> None:
    done = softprompt("compare", file, "seeds=[3]", "vary={}", "baselines=[majority]", "--out", "x")
    assert done.code == 0, done.err
    assert "about" not in done.out
    assert (here / "x/cells/bert/reviews/rows/done.json").is_file()


def test_mistakes_are_one_sentence_and_exit_code_2(softprompt: Command, file: Path) -> None:
    assert softprompt("compare").code == 2
    done = softprompt("compare", file, "methodes=[prompt_tuning]")
    assert done.code == 2
    assert "did you mean 'methods'" in done.err
    done = softprompt("compare", file, "tasks=[nothing]")
    assert done.code == 2
    assert "unknown task 'nothing'" in done.err


def test_a_named_tasks_files_may_be_elsewhere(softprompt: Command, file: Path, here: Path) -> None:
    done = softprompt(
        "compare", file, "tasks=[sst2]", "template='{text} It was {mask}.'", "--data", "d"
    )
    assert done.code == 2
    assert str(here / "d") in done.err
