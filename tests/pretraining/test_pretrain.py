"""A whole pretraining on a toy corpus: resumable to the bit, and its model is a backbone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from softprompt.backbones.loading import load_backbone
from softprompt.errors import DataError, RunError, SettingsError
from softprompt.pretraining.corpus import Source
from softprompt.pretraining.run import pretrain
from softprompt.pretraining.settings import PretrainSettings
from softprompt.pretraining.tokenizer import save_tokenizer, train_tokenizer
from softprompt.tuning.checkpoints import checkpoint_folder, read
from tests.builders import content

ENGLISH = "the film was very good . a dull plot and a long story , but the book was fine .\n"
CHINESE = "这部电影很好看。\n故事没有意思，但是服务很好。\n"
SMALL = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "en_toy.txt").write_text((ENGLISH * 3 + "\n") * 40, encoding="utf-8")
    (folder / "zh_toy.txt").write_text((CHINESE * 3 + "\n") * 40, encoding="utf-8")
    return folder


def recipe(**changes: Any) -> PretrainSettings:
    settings: dict[str, Any] = {
        "architecture": SMALL,
        "tokenizer": {"vocabulary": 300, "alphabet": 100, "characters": 5_000},
        "length": 16,
        "batch_size": 8,
        "micro_batch": 8,
        "steps": 12,
        "warmup": 2,
        "learning_rate": 5e-3,
        "held_out": 4,
        "evaluate_every": 4,
        "checkpoint_every": 5,
        "bf16": False,
    }
    return PretrainSettings.read({**settings, **changes})


def stopping(at: int) -> Callable[[Mapping[str, Any]], None]:
    def report(record: Mapping[str, Any]) -> None:
        if record["step"] == at:
            raise KeyboardInterrupt

    return report


def test_a_tokenizer_for_two_languages_keeps_chinese_characters_apart(corpus: Path, tmp_path: Path):
    sources = [Source(corpus / "en_toy.txt"), Source(corpus / "zh_toy.txt", language="zh")]
    trained = train_tokenizer(sources, vocabulary=300, alphabet=100, characters=4_000)
    save_tokenizer(trained, tmp_path, 32)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("这电影很好") == list("这电影很好")
    assert tokenizer.tokenize("The FILM") == ["the", "film"]
    assert tokenizer.decode(tokenizer("a dull plot")["input_ids"]) == "[CLS] a dull plot [SEP]"
    assert tokenizer("good", "fine").input_ids.count(tokenizer.sep_token_id) == 2
    assert tokenizer.unk_token_id in tokenizer("龘").input_ids
    assert tokenizer.model_max_length == 32
    assert len(tokenizer) <= 300


def test_the_same_text_gives_the_same_tokenizer(corpus: Path):
    sources = [Source(corpus / "en_toy.txt"), Source(corpus / "zh_toy.txt")]
    made = {
        train_tokenizer(sources, 300, alphabet=100, characters=4_000).to_str() for _ in range(5)
    }
    assert len(made) == 1


def test_the_loss_falls_and_the_model_is_a_masked_backbone(corpus: Path, tmp_path: Path):
    records: list[Mapping[str, Any]] = []
    still = {**SMALL, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings = recipe(architecture=still, steps=150, evaluate_every=50, warmup=10)
    folder = pretrain(settings, corpus, tmp_path / "run", records.append)
    losses = [record["validation"] for record in records if "validation" in record]
    assert set(losses[0]) == {"en", "zh"}
    assert len(losses) == 3
    for language in ("en", "zh"):
        # 3.5 nats is how often each word occurs; less than that is what stands around it.
        assert losses[0][language] < 3.7
        assert losses[-1][language] < 3.1
    assert all(record["tokens_per_second"] > 0 for record in records)
    backbone = load_backbone(folder, device="cpu")
    assert (backbone.family, backbone.width, backbone.limit) == ("masked", 32, 32)
    assert backbone.tokenizer.mask == 4
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "architecture": {
                **SMALL,
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
            }
        },
        {"micro_batch": 3, "schedule": "linear"},
    ],
)
def test_interrupted_and_resumed_is_uninterrupted_to_the_bit(
    corpus: Path, tmp_path: Path, changes: dict[str, Any]
):
    settings = recipe(**changes)
    pretrain(settings, corpus, tmp_path / "whole")
    wanted = content(tmp_path / "whole")
    lines = [json.loads(line) for line in wanted["metrics.jsonl"].splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    for stops in ([3], [5], [6, 10], [11], [12]):
        home = tmp_path / f"stopped-{stops}"
        for at in stops:
            with pytest.raises(KeyboardInterrupt):
                pretrain(settings, corpus, home, stopping(at))
        pretrain(settings, corpus, home)
        assert content(home) == wanted


def test_a_finished_run_is_finished_again_without_a_step(corpus: Path, tmp_path: Path):
    pretrain(recipe(steps=3), corpus, tmp_path)
    before = content(tmp_path)
    pretrain(recipe(steps=3), corpus, tmp_path, stopping(1))
    assert content(tmp_path) == before


def test_another_recipe_or_corpus_is_refused(corpus: Path, tmp_path: Path):
    own = tmp_path / "corpus"
    own.mkdir()
    for path in corpus.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    pretrain(recipe(steps=2), own, tmp_path / "run")
    for changes in ({"seed": 1}, {"mask_rate": 0.3}, {"rates": {"en_toy": 2.0}}):
        with pytest.raises(
            SettingsError, match=rf"another recipe \(differs in: {next(iter(changes))}\)"
        ):
            pretrain(recipe(steps=2, **changes), own, tmp_path / "run")
    pretrain(recipe(steps=3, micro_batch=4), own, tmp_path / "run")  # these may differ
    (own / "en_toy.txt").write_text(ENGLISH * 90)
    with pytest.raises(SettingsError, match="differs in: corpus"):
        pretrain(recipe(steps=2), own, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"rates": {"fr_toy": 1.0}}, SettingsError, "no file named fr_toy.*en_toy, zh_toy"),
        ({"languages": {"fr_toy": "fr"}}, SettingsError, "languages: no file named fr_toy"),
        ({"rates": {"en_toy": 0.0, "zh_toy": 0.0}}, SettingsError, "nothing is left"),
        ({"held_out": 500}, DataError, "too short for a validation set"),
        ({"length": 64}, SettingsError, "blocks of 64 tokens do not fit.*32"),
        ({"architecture": {"hidden_size": 8}}, SettingsError, "'model_type' is missing"),
        ({"architecture": {"model_type": "bertt"}}, SettingsError, "bertt"),
        ({"architecture": {"model_type": "t5"}}, SettingsError, "architecture: "),
        (
            {"architecture": {**SMALL, "num_layer": 2}},
            SettingsError,
            "bert has no 'num_layer'; did you mean",
        ),
        ({"tokenizer_from": "nowhere"}, SettingsError, "nowhere holds no tokenizer.json"),
    ],
)
def test_what_cannot_be_trained_is_said(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        pretrain(recipe(**changes), corpus, tmp_path)


def test_settings_out_of_range_are_refused():
    for changes in ({"rates": {"a": -1.0}}, {"schedule": "steps"}, {"mask_rate": 1.0}):
        with pytest.raises(SettingsError, match=next(iter(changes))):
            recipe(**changes)
    with pytest.raises(ValidationError):
        PretrainSettings.model_validate({})


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(corpus: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"is (nan|inf) at step 2; the last checkpoint is kept"):
        pretrain(recipe(learning_rate=1e20, checkpoint_every=1), corpus, tmp_path)
    kept = read(checkpoint_folder(tmp_path, "last"))
    assert kept is not None
    assert kept.step == 1


def test_a_tokenizer_may_come_from_elsewhere(corpus: Path, tmp_path: Path):
    first = pretrain(recipe(steps=1), corpus, tmp_path / "first")
    settings = recipe(steps=1, tokenizer_from=str(first))
    second = pretrain(settings, corpus, tmp_path / "second")
    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    taken = {path.name for path in (tmp_path / "second" / "tokenizer").iterdir()}
    assert taken == {"tokenizer.json", "tokenizer_config.json"}


def test_a_step_that_masks_nothing_changes_no_number_to_nan(corpus: Path, tmp_path: Path):
    records: list[Mapping[str, Any]] = []
    settings = recipe(batch_size=1, length=8, mask_rate=0.02, steps=8)
    pretrain(settings, corpus, tmp_path, records.append)
    assert all(record["loss"] == record["loss"] for record in records)
