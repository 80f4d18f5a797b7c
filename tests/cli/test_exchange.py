from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from softprompt.prompts.prompt import Prompt
from tests.cli.conftest import Checkpoints, Command
from tests.small_runs import write_run_yaml

WORDS = ("--word", "positive=great", "--word", "negative=dull")


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory, checkpoint: Checkpoints) -> Path:
    """A finished run folder on a Llama; not to be changed."""
    from softprompt.cli.main import main

    folder = tmp_path_factory.mktemp("causal")
    path = write_run_yaml(folder, checkpoint("llama"), template="{review} it was {mask}")
    assert main(["train", str(path)]) == 0
    return folder / "run"


def predictions(softprompt: Command, prompt: str | Path) -> str:
    outcome = softprompt("predict", prompt, "--text", "a dull plot", "--text", "very good")
    assert outcome.code == 0, outcome.err
    return outcome.out


def test_a_prompt_goes_to_peft_and_comes_back(
    softprompt: Command, here: Path, causal: Path, checkpoint: Checkpoints
) -> None:
    outcome = softprompt("export", causal, "--to", "peft", "--out", "peft")
    assert outcome.code == 0, outcome.err
    assert "4 rows of width 32" in outcome.out
    assert "The first 1 stand for the tokenizer's start tokens" in outcome.out
    again = softprompt("export", causal, "--out", "peft")
    assert again.code == 2
    assert "something is there already" in again.err
    assert softprompt("export", causal, "--out", "peft", "--overwrite").code == 0
    outcome = softprompt("import", "peft", "--out", "back")
    assert outcome.code == 0, outcome.err
    assert "an export of softprompt" in outcome.out
    assert Prompt.load("back").content_hash == Prompt.load(causal / "prompt").content_hash
    assert predictions(softprompt, "back") == predictions(softprompt, causal)
    other = softprompt("import", "peft", "--backbone", checkpoint("gpt2"), "--out", "other")
    assert other.code == 2
    assert "does not fit" in other.err


def test_rows_without_a_word_about_themselves_need_a_task_and_a_backbone(
    softprompt: Command, here: Path, checkpoint: Checkpoints
) -> None:
    np.save("rows.npy", np.ones((3, 32), dtype=np.float32))
    llama = checkpoint("llama")
    outcome = softprompt("import", "rows.npy", "--out", "x")
    assert outcome.code == 2
    assert "give --backbone" in outcome.err
    outcome = softprompt("import", "rows.npy", "--backbone", llama, "--out", "x")
    assert outcome.code == 2
    assert "knows neither its task nor its text" in outcome.err
    template = ("--template", "{text} it was {mask}")
    outcome = softprompt("import", "rows.npy", "--backbone", llama, *template, *WORDS, "--out", "x")
    assert outcome.code == 0, outcome.err
    assert "rows           3 of width 32" in outcome.out
    assert len(predictions(softprompt, "x").splitlines()) == 2
    prompt = Prompt.load("x")
    assert prompt.rows is not None
    assert bool((prompt.rows == 1).all())
    assert prompt.task["labels"] == ["positive", "negative"]
    named = ("--task", "softprompt/reviews-en")
    outcome = softprompt("import", "rows.npy", "--backbone", llama, *named, "--out", "y")
    assert outcome.code == 0, outcome.err
    assert Prompt.load("y").template == "{text} It was {mask}"


def test_a_run_file_says_what_rows_are_for(
    softprompt: Command, here: Path, checkpoint: Checkpoints
) -> None:
    np.save("rows.npy", np.ones((3, 32), dtype=np.float32))
    run = write_run_yaml(here, checkpoint("bert"))
    outcome = softprompt(
        "import", "rows.npy", "--backbone", checkpoint("bert"), "--task", run, "--out", "x"
    )
    assert outcome.code == 0, outcome.err
    prompt = Prompt.load("x")
    assert prompt.template == "{review} It was {mask}."
    assert prompt.answers["words"]["negative"] == [["terrible"]]


def test_a_foreign_peft_folder_stands_before_the_start_tokens(
    softprompt: Command, here: Path, causal: Path, checkpoint: Checkpoints
) -> None:
    assert softprompt("export", causal, "--out", "peft").code == 0
    (here / "peft" / "softprompt.json").unlink()
    model = checkpoint("llama")
    asked = ("--template", "{review} it was {mask}", "--word", "positive=great")
    words = (*asked, "--word", "negative=terrible")
    outcome = softprompt("import", "peft", "--backbone", model, *words, "--out", "back")
    assert outcome.code == 0, outcome.err
    prompt = Prompt.load("back")
    assert prompt.template == "{soft:4}{start}{review} it was {mask}"
    assert prompt.rows is not None
    original = Prompt.load(causal / "prompt").rows
    assert original is not None
    assert torch.equal(prompt.rows[1:], original)
    shutil.copytree(model, here / "renamed")
    outcome = softprompt("import", "peft", "--backbone", "renamed", *words, "--out", "again")
    assert outcome.code == 0, outcome.err
    assert "on other weights it is noise" in outcome.err
    outcome = softprompt("import", "peft", "--backbone", checkpoint("t5"), *words, "--out", "no")
    assert outcome.code == 2
    assert "is for a causal backbone" in outcome.err


def test_keys_and_values_of_another_shape_are_refused(
    softprompt: Command, here: Path, causal: Path, checkpoint: Checkpoints
) -> None:
    assert softprompt("export", causal, "--out", "peft").code == 0
    path = here / "peft" / "adapter_config.json"
    config = json.loads(path.read_text())
    # 4 rows of width 32 are as many numbers as 2 layers × keys and values × 2 heads × 4
    changed = {"peft_type": "PREFIX_TUNING", "num_layers": 2, "token_dim": 8}
    path.write_text(json.dumps({**config, **changed, "num_attention_heads": 2}))
    (here / "peft" / "softprompt.json").unlink()
    outcome = softprompt("import", "peft", "--backbone", checkpoint("llama"), "--out", "x")
    assert outcome.code == 2
    assert "has keys of 2 layers × 2 heads × 4" in outcome.err
    assert not (here / "x").exists()


def test_what_peft_cannot_hold_is_refused(softprompt: Command, here: Path, trained: Path) -> None:
    outcome = softprompt("export", trained, "--out", "peft")
    assert outcome.code == 2
    assert "is a masked model" in outcome.err
    assert not (here / "peft").exists()
    assert softprompt("export", trained, "--to", "gguf", "--out", "x").code == 2
    outcome = softprompt("export", trained, "--to", "npy", "--out", "rows.npy")
    assert outcome.code == 0, outcome.err
    rows = Prompt.load(trained / "prompt").rows
    assert rows is not None
    assert np.array_equal(np.load("rows.npy"), rows.numpy())


def test_what_is_no_prompt_is_refused(softprompt: Command, here: Path, bert: Path) -> None:
    (here / "x.txt").write_text("text")
    for thing in ("nothing", "x.txt", bert):
        outcome = softprompt("import", thing, "--backbone", bert, "--out", "y")
        assert outcome.code == 2
        assert "expected a .npy file or a PEFT folder" in outcome.err
    np.save("rows.npy", np.ones((3, 5), dtype=np.float32))
    outcome = softprompt("import", "rows.npy", "--backbone", bert, *WORDS, "--out", "y")
    assert outcome.code == 2
    assert "expected shape [P, 32], got [3, 5]" in outcome.err
    outcome = softprompt("import", "rows.npy", "--word", "great", "--out", "y")
    assert "expected LABEL=WORD" in outcome.err
    outcome = softprompt("import", "rows.npy", "--number", "1", "--out", "y")
    assert "holds one prompt" in outcome.err


def test_the_authors_prompts_bind_to_a_t5_of_their_width(
    softprompt: Command, here: Path, shared: Path
) -> None:
    from tests.tiny_models import save_checkpoint

    save_checkpoint("t5-1.1", here / "t5", d_model=768)
    source = shared / "prompts" / "t5_1_1_lm100k_base" / "sst2.npy"
    words = ("--word", "negative=negative", "--word", "positive=positive")
    template = ("--template", "sentence: {text}")
    outcome = softprompt("import", source, "--backbone", "t5", *template, *words, "--out", "sst2")
    assert outcome.code == 0, outcome.err
    assert "100 of width 768" in outcome.out
    assert "1385 on average" in outcome.out
    assert len(predictions(softprompt, "sst2").splitlines()) == 2
    assert softprompt("export", "sst2", "--to", "peft", "--out", "peft").code == 0
    assert softprompt("import", "peft", "--out", "back").code == 0
    assert softprompt("export", "back", "--to", "npy", "--out", "sst2.npy").code == 0
    assert (here / "sst2.npy").read_bytes() == source.read_bytes()
