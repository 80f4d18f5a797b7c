"""Files that stand in for a task's own, and rows that are left out of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from softprompt.data.overlap import overlap
from softprompt.data.registry import TASKS, load_task, missing_files
from softprompt.data.tasks.layouts import labelled_csv
from softprompt.data.tasks.lm_bff import SEEDS
from softprompt.errors import DataError
from tests.official_files import write_all

NLI = "premise,hypothesis,label\n" + "".join(
    f'"A man, {n}",A sleeper {n},{label}\n'
    for n, label in enumerate(("entailment", "-", "neutral", "contradiction"))
)
STANDING_IN = {
    "lm_bff/mnli": "lm_bff_k_shot/MNLI/16-13/test_matched.tsv",
    "lm_bff/mnli_mm": "lm_bff_k_shot/MNLI/16-13/test_mismatched.tsv",
    "lm_bff/snli": "lm_bff_k_shot/SNLI/16-13/test.tsv",
    "lm_bff/qqp": "lm_bff_k_shot/QQP/16-13/test.tsv",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The official layouts without the test sets of four tasks, with what stands in for them."""
    write_all(tmp_path)
    for path in STANDING_IN.values():
        (tmp_path / path).unlink()
    for name in ("mnli", "snli"):
        (tmp_path / f"nli_dev/{name}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"nli_dev/{name}/dev.csv").write_text(NLI, encoding="utf-8")
    write_pairs(tmp_path, [("A?", "B?", "1"), ("C?", "D?", "0")])
    return tmp_path


def write_pairs(root: Path, rows: list[tuple[str, str, str]]) -> None:
    keys = ("text_a", "text_b", "label")
    made = {str(n): dict(zip(keys, row, strict=True)) for n, row in enumerate(rows)}
    path = root / "glue_samples/QQP/dev.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made), encoding="utf-8")


@pytest.mark.parametrize("name", ["lm_bff/mnli", "lm_bff/snli"])
def test_the_dev_file_is_the_test_and_rows_without_agreement_are_passed_over(
    name: str, root: Path
) -> None:
    rows = load_task(name, root).examples("test")
    assert [row.target for row in rows] == ["entailment", "neutral", "contradiction"]
    assert rows[1].fields == {"sentence1": "A man, 2", "sentence2": "A sleeper 2"}
    assert not missing_files(TASKS[name], root)


def test_the_tasks_own_file_comes_first_and_what_is_nowhere_is_told(root: Path) -> None:
    own = root / STANDING_IN["lm_bff/snli"]
    own.write_text((own.parent / "dev.tsv").read_text("utf-8"), encoding="utf-8")
    assert load_task("lm_bff/snli", root).examples("test")[0].fields["sentence1"] == "premise 0."
    (root / "nli_dev/mnli/dev.csv").unlink()
    assert "test" not in load_task("lm_bff/mnli", root).splits  # its test may be absent
    assert missing_files(TASKS["lm_bff/mnli_mm"], root) == [STANDING_IN["lm_bff/mnli_mm"]]
    with pytest.raises(DataError, match=r"lm_bff/mnli_mm needs it for the split 'test'"):
        load_task("lm_bff/mnli_mm", root)


def test_both_parts_of_a_file_are_cut_where_labelled_rows_are_counted(root: Path) -> None:
    path = root / "nli_dev/mnli/dev.csv"

    def labels(first: int, end: int | None) -> list[str]:
        return [str(row["label"]) for _, row in labelled_csv(first, end)(path, print)]

    assert labels(0, 2) == ["entailment", "neutral"]
    assert labels(2, None) == ["contradiction"]
    lines = [line for line, _ in labelled_csv(1, None)(path, print)]
    assert lines == [4, 5]  # as an editor counts


def test_rows_of_train_and_dev_of_every_seed_are_left_out_of_a_test_that_stands_in(
    root: Path,
) -> None:
    write_pairs(
        root,
        [
            ("WHAT 3", "which 3 ", "1"),  # stands in train and dev: other case, other spaces
            ("which 5?", "what 5", "1"),  # the other way round
            ("what 3", "which 4", "0"),  # one of the two alone is another pair
            ("Who?", "Whose?", "0"),
        ],
    )
    task = load_task("lm_bff/qqp", root)
    assert [row.fields["sentence2"] for row in task.examples("test")] == ["which 4", "Whose?"]
    assert [row.target for row in task.examples("test")] == ["not_duplicate", "not_duplicate"]
    rows = "id\tquestion1\tquestion2\tis_duplicate\n0\tWho?\tWhose?\t1\n"
    other = root / "lm_bff_k_shot/QQP/16-100/dev.tsv"
    other.write_text(rows, encoding="utf-8")
    left = [row.fields["sentence2"] for row in load_task("lm_bff/qqp", root).examples("test")]
    assert left == ["which 4"]  # also of a seed that is not trained on
    other.with_name("test.tsv").unlink()
    rest = load_task("lm_bff/qqp", root, "100").examples("test")
    assert [row.fields["sentence2"] for row in rest] == left


@pytest.mark.parametrize("name", STANDING_IN)
def test_what_stands_in_shares_no_row_with_any_split(shared: Path, name: str) -> None:
    data = shared / "data"
    if missing_files(TASKS[name], data) or not (data / "nli_dev").is_dir():
        pytest.skip(f"the files of {name} are not in {data}")
    test = load_task(name, data).examples("test")
    assert set(Counter(row.target for row in test)) == set(load_task(name, data).labels)
    learned = []
    for seed in SEEDS:
        task = load_task(name, data, seed)
        learned += [*task.examples("train"), *task.examples("dev")]
    found = overlap(learned, test)
    assert (found.equal.left, found.near.left) == (0, 0)
