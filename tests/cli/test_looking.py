from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Checkpoints, Command
from tests.small_runs import write_run_yaml


def test_show_a_prompt(softprompt: Command, trained: Path) -> None:
    outcome = softprompt("show", trained)
    assert outcome.code == 0, outcome.err
    assert "rows      3 of width 32\n" in outcome.out
    assert "learned   96 parameters, 384 bytes" in outcome.out
    assert "answer    positive ← great" in outcome.out
    assert "dev    accuracy  8" in outcome.out
    assert "--backbone" in outcome.out


def test_show_a_prompt_with_its_neighbours(softprompt: Command, trained: Path, bert: Path) -> None:
    outcome = softprompt("show", trained / "prompt", "--backbone", bert, "--neighbours", "2")
    assert outcome.code == 0, outcome.err
    rows = [line for line in outcome.out.splitlines() if line.startswith("[P")]
    assert len(rows) == 3
    assert "do not explain" in outcome.out


def test_show_renders_an_example_as_the_model_sees_it(softprompt: Command, trained: Path) -> None:
    outcome = softprompt("show", trained, "--render", "--text", "a good film")
    assert outcome.code == 0, outcome.err
    table = outcome.out[outcome.out.index("position") :].splitlines()
    pieces = [line.split()[-1] for line in table[2:5]]
    assert pieces == ["[P1]", "[P2]", "[P3]"]
    assert any(line.split()[-3:] == ["[MASK]", "terrible", "great"] for line in table)
    assert any(line.split()[:3] == ["positive", "great", "great"] for line in table)


def test_show_a_run_before_it_is_trained(softprompt: Command, here: Path, bert: Path) -> None:
    path = write_run_yaml(here, bert, words={"positive": "moving", "negative": "unmoved"})
    outcome = softprompt("show", path, "--render")
    assert outcome.code == 0, outcome.err
    assert "learned   96 of" in outcome.out
    assert "warning: label word 'unmoved' of negative: splits into" in outcome.err
    assert not (here / "run").exists()


@pytest.mark.parametrize("name", ["bert", "t5", "llama"])
def test_show_a_backbone(softprompt: Command, checkpoint: Checkpoints, name: str) -> None:
    outcome = softprompt("show", checkpoint(name))
    assert outcome.code == 0, outcome.err
    family = {"bert": "masked", "t5": "encoder-decoder", "llama": "causal"}[name]
    assert f"family       {family}" in outcome.out


def test_show_a_task(softprompt: Command) -> None:
    outcome = softprompt("show", "softprompt/reviews-zh")
    assert outcome.code == 0, outcome.err
    assert "train: 160 rows (negative 80, positive 80)" in outcome.out


def test_show_something_unknown(softprompt: Command) -> None:
    outcome = softprompt("show", "./nothing")
    assert outcome.code == 2
    assert "no such folder" in outcome.err


def test_list_names_everything(softprompt: Command) -> None:
    outcome = softprompt("list")
    assert outcome.code == 0, outcome.err
    for name in (
        "sst2",
        "prompt_tuning",
        "labels",
        "lower_first",
        "macro_f1",
        "adafactor",
        "cosine",
    ):
        assert f"  {name}" in outcome.out
    settings = softprompt("list", "settings").out
    assert "training.optimiser.learning_rate" in settings


def test_list_backbones_says_what_each_one_is(softprompt: Command) -> None:
    lines = softprompt("list", "backbones").out.splitlines()
    (tiny,) = [line.split() for line in lines if line.startswith("softprompt/tiny-mlm")]
    assert tiny[1] == "masked"
    assert tiny[3] == "parameters"
    assert tiny[5] == "MB"


def test_doctor_examines_the_machine(softprompt: Command) -> None:
    outcome = softprompt("doctor")
    assert outcome.code == 0, outcome.err
    for word in ("python", "torch", "memory", "disk here", "model cache", "accelerator"):
        assert word in outcome.out


def test_pretrain_makes_a_backbone_and_goes_on(softprompt: Command, here: Path) -> None:
    (here / "texts").mkdir()
    lines = [
        f"the {n} film was good and the plot slow: zebra jumps over quick vexing fox dwarf"
        for n in range(400)
    ]
    (here / "texts" / "en_small.txt").write_text("\n".join(lines))
    (here / "small.yaml").write_text(
        "architecture: {model_type: bert, hidden_size: 16, num_hidden_layers: 1,\n"
        "  num_attention_heads: 2, intermediate_size: 16, max_position_embeddings: 32}\n"
        "tokenizer: {vocabulary: 400, ideographs: 8, characters: 100000}\n"
        "length: 16\nbatch_size: 4\nmicro_batch: 4\nheld_out: 2\noptimiser: {warmup: 2}\nbf16: false\n"
        "evaluate_every: 4\ncheckpoint_every: 2\n"
    )
    begin = ("pretrain", "small.yaml", "--corpus", "texts", "--out", "model")
    outcome = softprompt(*begin, "steps=4", "--every", "2")
    assert outcome.code == 0, outcome.err
    assert "step 2/4  loss" in outcome.out
    assert "validation en" in outcome.out
    assert softprompt("show", "model/model").code == 0
    wrong = softprompt(*begin, "stepz=4")
    assert wrong.code == 2
    assert "unknown key 'stepz'; did you mean 'steps'?" in wrong.err
