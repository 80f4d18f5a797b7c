"""What cannot be trained is said in a sentence, before anything is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from softprompt.errors import DataError, SettingsError
from softprompt.pretraining.run import pretrain
from softprompt.pretraining.settings import PretrainSettings
from tests.pretraining.toy_runs import (
    BERT,
    GPT2,
    T5,
    Record,
    recipe,
    write_corpus,
)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"rates": {"en_toy": 1.0, "fr_toy": 1.0}},
            SettingsError,
            "no file named fr_toy.*en_toy, zh_toy",
        ),
        ({"languages": {"fr_toy": "fr"}}, SettingsError, "languages: no file named fr_toy"),
        ({"rates": {"en_toy": 0.0, "zh_toy": 0.0}}, SettingsError, "nothing is left"),
        ({"held_out": 500}, DataError, "too short for a validation set"),
        ({"length": 128}, SettingsError, "blocks of 128 tokens do not fit.*64"),
        (
            {"long": {"length": 128, "share": 0.5}},
            SettingsError,
            "blocks of 128 tokens do not fit.*64",
        ),
        (
            {
                "architecture": GPT2,
                "layout": "decoder",
                "objective": "deshuffling",
                "length": 64,
            },
            SettingsError,
            "rows of 127 positions, but the model has 64",
        ),
        ({"architecture": {"hidden_size": 8}}, SettingsError, "'model_type' is missing"),
        ({"architecture": {"model_type": "bertt"}}, SettingsError, "bertt"),
        ({"architecture": T5}, SettingsError, "architecture: "),
        (
            {"architecture": {**BERT, "num_layer": 2}},
            SettingsError,
            "bert has no 'num_layer'; did you mean",
        ),
        ({"architecture": {**BERT, "hidden_size": 33}}, SettingsError, "architecture: .*33"),
        ({"architecture": {**BERT, "hidden_size": "wide"}}, SettingsError, "architecture: "),
        ({"architecture": {**BERT, "vocab_size": 9}}, SettingsError, "architecture: .*vocab_size"),
        ({"tokenizer_from": "nowhere"}, SettingsError, "nowhere: no tokenizer here"),
        ({"architecture": {}, "start_from": "nowhere"}, SettingsError, "nowhere: no tokenizer"),
    ],
)
def test_what_cannot_be_trained_is_said(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        pretrain(recipe(**changes), corpus, tmp_path)


def test_a_run_without_text_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="no text: give a corpus folder"):
        pretrain(recipe(), None, tmp_path / "run")


def test_a_damaged_corpus_file_is_named_and_skipped_only_on_request(
    tokenizers: dict[str, Path], tmp_path: Path
):
    folder = write_corpus(tmp_path / "corpus")
    with (folder / "en_toy.txt").open("ab") as file:
        file.write(b"caf\xe9\n")
    given = str(tokenizers["masked"])
    with pytest.raises(DataError, match=r"en_toy\.txt.*not UTF-8"):
        pretrain(recipe(tokenizer_from=given), folder, tmp_path / "run")
    records: list[Record] = []
    preparation = {"deduplicate": False, "damaged": "skip"}
    settings = recipe(tokenizer_from=given, preparation=preparation, steps=1)
    pretrain(settings, folder, tmp_path / "skipping", records.append)
    (warning,) = (record["warning"] for record in records if "warning" in record)
    assert "en_toy.txt" in warning


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": {"a": -1.0}}, "'rates.a'"),
        ({"rates": {"a": math.inf}}, "'rates.a'"),
        ({"optimiser": {"schedule": "steps"}}, "unknown schedule; known: constant"),
        ({"optimiser": {"betas": [0.9, 1.5]}}, "betas"),
        ({"optimiser": {"name": "sgd"}}, "adamw"),
        ({"noise_rate": 1.0}, "noise_rate"),
        ({"layout": "diagonal"}, "layout: no 'diagonal'; known: encoder, encoder_decoder"),
        ({"objective": "guessing"}, "objective: no 'guessing'; known: masked"),
        ({"size": "nano"}, "size: no 'nano'; known: none"),
        ({"architecture": {}}, "either an architecture or start_from"),
        ({"start_from": "x"}, "either an architecture or start_from"),
        ({"objective": "prefix_lm"}, "prefix_lm does not fit layout encoder: an encoder learns"),
        ({"layout": "decoder"}, "masked does not fit layout decoder"),
        (
            {"layout": "decoder", "objective": "causal_lm", "noise_rate": 0.2},
            "noise_rate has no effect on causal_lm",
        ),
        (
            {"layout": "decoder", "objective": "causal_lm", "whole_word": True},
            "whole_word has no effect on causal_lm",
        ),
        ({"tasks": {"rates": {"sst2": 1.0}}}, "an encoder cannot say their answers"),
        ({"long": {"length": 48, "share": 0.1}}, "must be a multiple of long.length"),
        ({"preparation": {"clean": ["soap"]}}, "soap"),
        ({"learning_rate": 1.0}, "unknown key 'learning_rate'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(SettingsError, match=message):
        recipe(**changes)


def test_settings_have_no_default_architecture():
    with pytest.raises(ValidationError, match="either an architecture or start_from"):
        PretrainSettings.model_validate({})
