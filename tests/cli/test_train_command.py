from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Checkpoints, Command, Subprocess
from tests.small_runs import write_jsonl, write_reviews, write_run_yaml


def test_train_shows_facts_progress_and_scores(softprompt: Command, here: Path, bert: Path) -> None:
    outcome = softprompt("train", write_run_yaml(here, bert), "seeds=[0, 1]")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert any(line.startswith("learned") and "96 of" in line for line in lines)
    assert "answer    positive ← great  great" in lines
    assert any(line.startswith("seed 1, step 6/6  loss") for line in lines)
    assert any(line.startswith("dev    accuracy  8") and "±" in line for line in lines)
    assert "next: softprompt predict run/seed-0/prompt FILE" in lines
    assert "warning: dev has 8 rows only" in outcome.err


def test_a_sweep_is_trained_chosen_and_used(softprompt: Command, here: Path, bert: Path) -> None:
    path = write_run_yaml(here, bert)
    swept = ("sweep.method.length=[2, 4]", "sweep.training.steps=[3, 6]")
    outcome = softprompt("train", path, *swept, "seeds=[0, 1]")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert "sweep     4 variants × 2 seeds = 8 fits" in lines
    assert any(line.startswith("fits 1–8 of 8, step 6/6  loss") for line in lines)
    assert lines.count("in a run file:") == 1
    (said,) = [line for line in lines if line.startswith("chosen: ")]
    best = said.removeprefix("chosen: ").partition(", the best of 4 variants by mean dev")[0]
    length, steps = (part.partition("=")[2] for part in best.split(","))
    given = lines[lines.index("in a run file:") + 1 :][:4]
    assert given == ["  method:", f"    length: {length}", "  training:", f"    steps: {steps}"]
    assert "next: softprompt predict run/seed-0/prompt FILE" in lines
    for folder in ("run/seed-1", f"run/{best}/seed-1"):
        scored = softprompt("evaluate", folder, "--split", "dev")
        assert scored.code == 0, scored.err
    alone = softprompt("train", f"run/{best}/config.yaml", "out=alone")
    assert alone.code == 0, alone.err
    again = softprompt("train", path, *swept, "seeds=[0, 1]")
    assert again.code == 2
    assert "finished run" in again.err


def test_a_sweep_that_cannot_be_is_one_sentence(
    softprompt: Command, here: Path, bert: Path
) -> None:
    outcome = softprompt("train", write_run_yaml(here, bert), "sweep.method.length=[2, none]")
    assert outcome.code == 2
    assert "run.yaml: sweep.method.length, value none: 'method.length'" in outcome.err
    assert not (here / "run").exists()
    shown = softprompt("show", write_run_yaml(here, bert, sweep={"method.length": [2, 4]}))
    assert "sweep     2 variants × 1 seed = 2 fits" in shown.out
    assert "sweep" in softprompt("list", "settings").out


def test_assignments_alone_are_enough(softprompt: Command, bert: Path) -> None:
    outcome = softprompt(
        "train", f"backbone={bert}", "task=softprompt/reviews-en", "training.steps=2",
        "train_limit=20", "dev_limit=6", "test_limit=6", "training.batch_size=2", "method.length=2",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert Path("runs/reviews-en/prompt/prompt.json").is_file()


def test_a_finished_run_is_refused_and_overwritten_on_demand(
    softprompt: Command, here: Path, bert: Path
) -> None:
    path = write_run_yaml(here, bert)
    assert softprompt("train", path).code == 0
    again = softprompt("train", path)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert again.out == ""  # nothing was loaded first
    assert softprompt("train", "run", "--overwrite").code == 0


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_the_other_families_train_evaluate_and_predict(
    softprompt: Command, here: Path, checkpoint: Checkpoints, name: str
) -> None:
    template = "{review} It was {mask}" if name == "llama" else "{review} mood:"
    path = write_run_yaml(here, checkpoint(name), template=template)
    outcome = softprompt("train", path)
    assert outcome.code == 0, outcome.err
    scored = softprompt("evaluate", "run", "reviews.csv", "--target", "mood")
    assert scored.code == 0, scored.err
    assert "test   accuracy" in scored.out
    assert ("illegal" in scored.out) == (name == "t5")
    write_jsonl(here / "x.jsonl", [{"review": "a good film"}, {"review": "very dull"}])
    found = softprompt("predict", "run", "x.jsonl")
    assert found.code == 0, found.err
    labels = [json.loads(line)["prediction"] for line in found.out.splitlines()]
    assert len(labels) == 2
    assert set(labels) <= {"positive", "negative"}


def test_free_text_is_learned_and_generated(
    softprompt: Command, here: Path, checkpoint: Checkpoints
) -> None:
    rows = [{"q": f"which film {n}", "a": ["good", "dull"][n % 2]} for n in range(8)]
    write_jsonl(here / "qa.jsonl", rows)
    task = {"train": "qa.jsonl", "fields": ["q"], "target": "a", "kind": "text"}
    path = write_run_yaml(
        here,
        checkpoint("t5"),
        task=task,
        words=None,
        template="{q}",
        dev_size=2,
        max_answer_tokens=4,
    )
    outcome = softprompt("train", path)
    assert outcome.code == 0, outcome.err
    assert "exact_match" in outcome.out
    assert softprompt("predict", "run", "--text", "which film").code == 0
    assert "[P1]" in softprompt("show", "run", "--render").out


def test_ctrl_c_leaves_a_run_that_goes_on(start: Subprocess, here: Path, bert: Path) -> None:
    path = write_run_yaml(here, bert, training__steps=4000, training__evaluate_every=10)
    process = start("train", path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 10/"):
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted; go on with: softprompt train run"
    assert "Traceback" not in err
    assert (here / "run/checkpoints/last/state.json").is_file()


def test_init_writes_a_run_file_that_trains(softprompt: Command, here: Path, bert: Path) -> None:
    write_reviews(here / "reviews.csv")
    made = softprompt("init", "reviews.csv", "--backbone", bert)
    assert made.code == 0, made.err
    assert "words     negative: terrible, positive: great" in made.out
    again = softprompt("init", "reviews.csv")
    assert again.code == 2
    assert "--force" in again.err
    outcome = softprompt("train", "reviews.yaml", "training.steps=2", "method.length=2")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(("lang", "word"), [("en", "zero-shot"), ("zh", "零样本")])
def test_the_quickstart_runs_in_both_languages(
    softprompt: Command, bert: Path, lang: str, word: str
) -> None:
    outcome = softprompt("quickstart", "--lang", lang, "--backbone", bert, "--steps", "3")
    assert outcome.code == 0, outcome.err
    assert word in outcome.out
    assert Path(f"runs/quickstart-{lang}/report.md").is_file()
