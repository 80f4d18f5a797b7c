"""What users get wrong, as whole commands: one clear message, the exit code, nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from softprompt.prompts.prompt import Prompt
from tests.cli.conftest import Checkpoints, Command, Outcome, Subprocess
from tests.small_runs import write_reviews, write_run_yaml


def refused(outcome: Outcome, *parts: str) -> None:
    """Exit code 2, one error on standard error, no traceback, no results."""
    assert outcome.code == 2, outcome
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in outcome.err
    for part in parts:
        assert part in outcome.err


def train(softprompt: Command, here: Path, bert: Path, **changes: Any) -> Outcome:
    outcome = softprompt("train", write_run_yaml(here, bert, **changes))
    assert not (here / "run").exists()
    return outcome


# --- settings -----------------------------------------------------------------------------------


def test_an_unknown_key(softprompt: Command, here: Path, bert: Path) -> None:
    outcome = train(softprompt, here, bert, training__lerning_rate=1)
    refused(outcome, "run.yaml", "unknown key 'lerning_rate'")
    outcome = train(softprompt, here, bert, metod="prompt_tuning")
    refused(outcome, "unknown key 'metod'; did you mean 'method'?")


def test_a_template_without_an_answer_slot_on_a_masked_backbone(
    softprompt: Command, here: Path, bert: Path
) -> None:
    refused(train(softprompt, here, bert, template="{review} It was"), "no answer slot", "{mask}")


def test_a_template_that_cannot_be_read(softprompt: Command, here: Path, bert: Path) -> None:
    outcome = train(softprompt, here, bert, template="{review It was {mask}")
    refused(outcome, "template, column", "^")


# --- data ---------------------------------------------------------------------------------------


def bad_label(path: Path) -> None:
    path.write_text("review,mood\ngood,positive\nbad,negative\nhm,postive\n")


def bad_encoding(path: Path) -> None:
    path.write_bytes("review,mood\ngood,positive\nschön,negative\n".encode("latin-1"))


def long_line(path: Path) -> None:
    path.write_text("review,mood\ngood,positive\n" + "x" * 10_000_000 + ",negative\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def head_only(path: Path) -> None:
    path.write_text("review,mood\n")


def binary(path: Path) -> None:
    path.write_bytes(b"review,mood\n\x00\x01\x02,positive\n")


def ragged(path: Path) -> None:
    path.write_text("review,mood\ngood,positive\nbad,negative,and more\n")


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (bad_label, ("reviews.csv, line 4", "unknown label 'postive'", "did you mean 'positive'")),
        (bad_encoding, ("reviews.csv, line 3", "is not UTF-8")),
        (long_line, ("reviews.csv, line 3", "longer than 1,048,576 bytes")),
        (empty, ("reviews.csv", "the file is empty (0 bytes)")),
        (head_only, ("reviews.csv", "no rows")),
        (binary, ("reviews.csv", "NUL byte")),
        (ragged, ("reviews.csv, line 3",)),
    ],
)
def test_a_bad_data_file(
    softprompt: Command,
    here: Path,
    bert: Path,
    spoil: Callable[[Path], None],
    parts: tuple[str, ...],
) -> None:
    spoil(here / "reviews.csv")
    refused(train(softprompt, here, bert, task__labels=["negative", "positive"]), *parts)


def test_a_missing_column_and_a_missing_file(softprompt: Command, here: Path, bert: Path) -> None:
    outcome = train(softprompt, here, bert, task__fields=["reviews"], template="{reviews} {mask}")
    refused(outcome, "no such column", "did you mean 'review'?")
    refused(train(softprompt, here, bert, task__train="gone.csv"), "gone.csv", "no such file")


# --- backbones ----------------------------------------------------------------------------------


def broken_copy(bert: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    shutil.copytree(bert, folder)
    change(folder / "model.safetensors")
    return folder


def test_weights_that_are_cut_short(softprompt: Command, here: Path, bert: Path) -> None:
    folder = broken_copy(bert, here / "m", lambda p: p.write_bytes(p.read_bytes()[:-500]))
    refused(train(softprompt, here, folder), "the weights cannot be loaded")


def test_weights_that_are_no_numbers(softprompt: Command, here: Path, bert: Path) -> None:
    def spoil(path: Path) -> None:
        tensors = load_file(path)
        name = sorted(n for n in tensors if n.endswith("query.weight"))[0]
        tensors[name] = torch.full_like(tensors[name], torch.nan)
        save_file(tensors, path, metadata={"format": "pt"})

    refused(train(softprompt, here, broken_copy(bert, here / "m", spoil)), "NaN or infinity")


def test_a_backbone_that_is_not_there(softprompt: Command, here: Path, bert: Path) -> None:
    refused(train(softprompt, here, bert, backbone="./gone"), "no such folder")
    refused(train(softprompt, here, bert, backbone="softprompt/gone"), "ships in the package")


# --- prompts ------------------------------------------------------------------------------------


@pytest.fixture
def prompt(here: Path, trained: Path) -> Path:
    return Path(shutil.copytree(trained / "prompt", here / "prompt"))


def test_a_prompt_for_another_backbone(
    softprompt: Command, prompt: Path, checkpoint: Checkpoints
) -> None:
    outcome = softprompt("predict", prompt, "--text", "good", "--backbone", checkpoint("electra"))
    refused(outcome, "does not fit")


def test_a_prompt_that_is_cut_short(softprompt: Command, prompt: Path) -> None:
    path = prompt / "prompt.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    refused(softprompt("predict", prompt, "--text", "good"), "truncated or corrupt")


def test_a_prompt_that_was_changed(softprompt: Command, prompt: Path) -> None:
    record = json.loads((prompt / "prompt.json").read_text())
    record["template"] = "{review} was {mask}."
    (prompt / "prompt.json").write_text(json.dumps(record))
    refused(softprompt("predict", prompt, "--text", "good"), "content hash does not match")


def test_a_prompt_that_holds_no_numbers(softprompt: Command, prompt: Path) -> None:
    from softprompt.prompts.record import content_hash

    tensors = load_file(prompt / "prompt.safetensors")
    tensors["rows"][0, 0] = torch.nan
    save_file(tensors, prompt / "prompt.safetensors", metadata={"format": "pt"})
    record = json.loads((prompt / "prompt.json").read_text())
    record["content_hash"] = content_hash(tensors, record)
    (prompt / "prompt.json").write_text(json.dumps(record))
    refused(softprompt("show", prompt), "prompt.safetensors", "rows")


def test_a_folder_that_is_no_prompt(softprompt: Command, here: Path) -> None:
    refused(softprompt("predict", "gone", "--text", "x"), "gone: expected a prompt folder")


def test_a_text_for_a_prompt_that_reads_two(softprompt: Command, here: Path, bert: Path) -> None:
    (here / "pairs.csv").write_text("a,b,y\n" + "good,dull,no\nbad,great,yes\n" * 8)
    task = {"train": "pairs.csv", "fields": ["a", "b"], "target": "y"}
    path = write_run_yaml(here, bert, task=task, template="{a} {mask} {b}", words=None, dev_size=0)
    assert softprompt("train", path).code == 0
    refused(softprompt("predict", "run", "--text", "x"), "has the fields a, b")


# --- the disk -----------------------------------------------------------------------------------

FULL = """
import resource, sys
from softprompt.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("size", [200, 3_000, 30_000])
def test_a_disk_that_refuses(start: Subprocess, here: Path, bert: Path, size: int) -> None:
    """A limit on the size of files is met as a full disk is: by the write that fails."""
    write_run_yaml(here, bert)
    process = start("train", "run.yaml", code=FULL.format(size))
    _, err = process.communicate()
    assert process.returncode == 1, err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "could not be written" in err or "cannot be written" in err
    assert "Traceback" not in err
    left = [p for p in (here / "run").rglob("*") if p.is_file()]
    assert not [p for p in left if p.name.endswith(".partial")]
    assert not (here / "run/done.json").exists()
    if (here / "run/prompt").exists():
        Prompt.load(here / "run/prompt")  # whole


def test_a_run_goes_on_when_there_is_room_again(
    start: Subprocess, softprompt: Command, here: Path, bert: Path
) -> None:
    path = write_run_yaml(here, bert)
    process = start("train", path, code=FULL.format(30_000))
    process.communicate()
    assert process.returncode == 1
    outcome = softprompt("train", path)
    assert outcome.code == 0, outcome.err


def test_a_folder_that_may_not_be_written(
    softprompt: Command, here: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "run").write_text("a file where the folder should be")
    outcome = softprompt("train", write_run_yaml(here, bert))
    refused(outcome, "is a file, expected a folder")


def test_predictions_are_not_written_over(softprompt: Command, here: Path, trained: Path) -> None:
    write_reviews(here / "new.csv")
    (here / "old.tsv").write_text("old")
    refused(softprompt("predict", trained, "new.csv", "--out", "old.tsv"), "--overwrite")
    assert (here / "old.tsv").read_text() == "old"
