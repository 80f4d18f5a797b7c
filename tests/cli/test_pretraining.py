"""`softprompt pretrain` as a user types it: a shipped recipe, a checkpoint, an interruption."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from softprompt.backbones.loading import load_backbone
from softprompt.cli.pretraining import recipe_file
from softprompt.pretraining import loop
from softprompt.pretraining.settings import PretrainSettings
from softprompt.settings import override, read_yaml
from tests.builders import content
from tests.cli.conftest import Checkpoints, Command, Subprocess
from tests.pretraining.toy_runs import write_corpus

SMALL = (
    "length=16",
    "long.share=0",
    "batch_size=8",
    "micro_batch=8",
    "steps=6",
    "held_out=4",
    "evaluate_every=3",
    "checkpoint_every=1",
    "optimiser.warmup=2",
)
TOKENIZER = ("tokenizer.vocabulary=440", "tokenizer.ideographs=40", "preparation.deduplicate=false")
MLM = ("pretrain", "mlm", "size=nano", *SMALL, *TOKENIZER)
SMALLER = ("sizes.nano.hidden_size=32", "sizes.nano.num_hidden_layers=1", "steps=12")


@pytest.fixture(autouse=True)
def _no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "matrix_rate", lambda device, dtype: 1e9)


@pytest.fixture
def texts(here: Path) -> Path:
    return write_corpus(here / "texts")


def test_a_recipe_that_ships_on_ones_own_text(softprompt: Command, here: Path, texts: Path) -> None:
    outcome = softprompt(*MLM, "--corpus", "texts", "--out", "run", "--every", 2)
    assert outcome.code == 0, outcome.err
    assert "rates name no file in texts" in outcome.out + outcome.err  # they are of another corpus
    lines = outcome.out.splitlines()
    assert any(line.startswith("en_toy ") for line in lines)  # what was read and kept
    shown = [line for line in lines if line.startswith("step ")]
    assert [line.split()[1] for line in shown] == ["2/6", "3/6", "4/6", "6/6"]
    assert "loss" in shown[0]
    assert "of the matrix rate" in shown[0]
    assert "validation en" in shown[-1]
    assert "validation zh" in shown[-1]
    assert lines[-2] == "the model: run/model"
    backbone = load_backbone(here / "run" / "model", device="cpu")
    assert (backbone.family, backbone.width) == ("masked", 128)


def test_a_t5_becomes_a_language_model(
    softprompt: Command, here: Path, texts: Path, checkpoint: Checkpoints
) -> None:
    start = checkpoint("t5-1.1")
    outcome = softprompt(
        *("pretrain", "--from", start, "--objective", "prefix-lm"),
        *("--corpus", "texts", "--out", "lm", *SMALL),
    )
    assert outcome.code == 0, outcome.err
    assert load_backbone(here / "lm" / "model", device="cpu").family == "encoder_decoder"
    recipe = (here / "lm" / "recipe.json").read_text()
    assert '"objective": "prefix_lm"' in recipe
    assert '"layout": "encoder_decoder"' in recipe


def test_the_layout_follows_the_objective_wherever_it_is_said(
    softprompt: Command, here: Path, texts: Path, checkpoint: Checkpoints
) -> None:
    start = checkpoint("gpt2")
    outcome = softprompt(
        *("pretrain", "objective=causal_lm", *SMALL, "steps=1"),
        *("--from", start, "--corpus", "texts", "--out", "run"),
    )
    assert outcome.code == 0, outcome.err
    assert '"layout": "decoder"' in (here / "run" / "recipe.json").read_text()


@pytest.mark.parametrize("name", ["mlm", "t5", "t5-lm", "lm"])
def test_every_recipe_that_ships_can_be_read(name: str) -> None:
    values = read_yaml(recipe_file(name))
    started = ["start_from=x"] if name == "t5-lm" else []
    settings = PretrainSettings.read(override(values, started))
    for size in settings.sizes:
        assert PretrainSettings.read(override(values, [f"size={size}"])).size == size
    assert set(settings.sizes) == (set() if started else {"nano", "tiny", "small"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bert-huge",), "no recipe 'bert-huge' ships; there: lm, mlm, t5, t5-lm; or give a YAML"),
        (("none.yaml",), "none.yaml: no such file"),
        (("mlm", "size=huge"), "no 'huge'; known: nano, tiny, small"),
        (("mlm", "sise=nano"), "unknown key 'sise'; did you mean 'size'?"),
        (("mlm", "rates={en_toy: 1, fr: 1}"), "no file named fr in texts.* there: en_toy, zh_toy"),
        (("t5-lm",), "give either an architecture or start_from"),
        (("--from", "nowhere"), "--from: nowhere: "),
        (("mlm", "--objective", "prefix-lm"), "prefix_lm does not fit layout encoder"),
        (("mlm", "--corpus", "nowhere"), "--corpus nowhere: expected a folder of text files"),
    ],
)
def test_wrong_use_is_a_sentence(
    arguments: tuple[str, ...], message: str, softprompt: Command, texts: Path
) -> None:
    given = [] if "--corpus" in arguments else ["--corpus", "texts"]
    outcome = softprompt("pretrain", *arguments, *given, "--out", "run")
    assert outcome.code == 2
    pattern_and_rest = message.split(".*")
    assert all(part in outcome.err for part in pattern_and_rest), outcome.err


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("rates={}", {}),
        ("rates={news: 2, zh_old: 0.5}", {"news": 2, "zh_old": 0.5}),
        ("rates={text} It was {mask}.", "{text} It was {mask}."),
        ("rates={soft:20}{text}", "{soft:20}{text}"),
        ("rates={text}", "{text}"),
        ("rates=[1, 2]", [1, 2]),
    ],
)
def test_a_mapping_can_be_typed_and_a_template_is_none(assignment: str, value: object) -> None:
    assert override({"rates": {"old": 1}}, [assignment]) == {"rates": value}


def test_a_corpus_must_be_given(softprompt: Command, here: Path) -> None:
    outcome = softprompt("pretrain", "mlm", "rates={}", "--out", "run")
    assert (outcome.code, "no text: give a corpus folder" in outcome.err) == (2, True)


def test_interrupted_by_the_user_and_taken_up_by_the_same_line(
    softprompt: Command, start: Subprocess, here: Path, texts: Path
) -> None:
    line = (*MLM, *SMALLER, "--corpus", "texts", "--every", "1")
    assert softprompt(*line, "--out", "whole").code == 0
    process = start(*line, "--out", "parts")
    assert process.stdout is not None
    for printed in process.stdout:
        if printed.startswith("step 3/"):
            process.send_signal(signal.SIGINT)
            break
    _, error = process.communicate()
    assert process.returncode == 130
    assert "interrupted; the same line goes on from the last checkpoint" in error
    assert "Traceback" not in error
    assert not (here / "parts" / "model").exists()
    outcome = softprompt(*line, "--out", "parts")
    assert outcome.code == 0, outcome.err
    first = next(shown for shown in outcome.out.splitlines() if shown.startswith("step "))
    assert int(first.split()[1].partition("/")[0]) >= 4
    assert content(here / "parts") == content(here / "whole")
