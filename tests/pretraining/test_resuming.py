"""A run that was interrupted leaves the bytes of one that was not; another recipe is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from softprompt.errors import RunError, SettingsError
from softprompt.pretraining.run import pretrain
from softprompt.tuning.checkpoints import checkpoint_folder
from tests.builders import content
from tests.pretraining.toy_runs import (
    FAMILIES,
    STILL,
    Record,
    recipe,
    stopping,
    write_corpus,
)


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


LONG = {"length": 32, "share": 0.5}
RESUMED: dict[str, dict[str, Any]] = {
    "dropout": {},
    "no dropout, small parts": {"architecture": STILL, "micro_batch": 3},
    "averaged, long blocks at the end": {"average": {"last": 3, "every": 1}, "long": LONG},
    "adafactor, averaged": {
        **FAMILIES["encoder_decoder"],
        "optimiser": {"name": "adafactor", "learning_rate": 1e-2, "schedule": "cosine"},
        "average": {"last": 2, "every": 2},
    },
    "causal, bf16": {**FAMILIES["causal"], "bf16": True, "long": LONG},
}


@pytest.mark.parametrize("name", RESUMED)
def test_interrupted_and_resumed_is_uninterrupted_to_the_bit(
    name: str, corpus: Path, tokenizers: dict[str, Path], tmp_path: Path
):
    changes = RESUMED[name]
    family = {"encoder_decoder": "encoder_decoder", "decoder": "causal"}.get(
        str(changes.get("layout")), "masked"
    )
    settings = recipe(**changes, tokenizer_from=str(tokenizers[family]), keep_models=[0, 4])
    pretrain(settings, corpus, tmp_path / "whole")
    wanted = content(tmp_path / "whole")
    for stops in ([1], [2, 5], [6]):
        home = tmp_path / f"stopped-{stops}"
        for at in stops:
            with pytest.raises(KeyboardInterrupt):
                pretrain(settings, corpus, home, stopping(at))
        pretrain(settings, corpus, home)
        got = content(home)
        assert sorted(got) == sorted(wanted)
        assert [file for file in wanted if got[file] != wanted[file]] == []


def test_metrics_are_logged_at_validations(corpus: Path, tmp_path: Path):
    settings = recipe(average={"last": 2, "every": 1})
    pretrain(settings, corpus, tmp_path)
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == [3, 6, 7]
    assert all(set(line["validation"]) == {"en", "zh"} for line in lines)
    assert lines[-1]["averaged"] == 2


def test_a_finished_run_is_finished_again_without_a_step(corpus: Path, tmp_path: Path):
    settings = recipe(steps=3, average={"last": 2, "every": 1})
    pretrain(settings, corpus, tmp_path)
    before = content(tmp_path)
    records: list[Record] = []
    pretrain(settings, corpus, tmp_path, records.append)
    assert not [record for record in records if "loss" in record]
    assert content(tmp_path) == before


def test_another_recipe_or_corpus_is_refused(tmp_path: Path):
    own = write_corpus(tmp_path / "corpus")
    pretrain(recipe(steps=2), own, tmp_path / "run")
    for changes in ({"seed": 1}, {"noise_rate": 0.3}, {"rates": {"en_toy": 2.0}}, {"held_out": 3}):
        with pytest.raises(
            SettingsError, match=rf"another recipe \(differs in: {next(iter(changes))}\)"
        ):
            pretrain(recipe(steps=2, **changes), own, tmp_path / "run")
    # What changes no example may differ.
    pretrain(recipe(steps=2, micro_batch=4, evaluate_every=1), own, tmp_path / "run")
    (own / "en_toy.txt").write_text("another text\n" * 500)
    with pytest.raises(SettingsError, match="differs in: corpus"):
        pretrain(recipe(steps=2), own, tmp_path / "run")
    (tmp_path / "run" / "recipe.json").write_text('{"seed"')
    with pytest.raises(RunError, match=r"recipe\.json: not JSON"):
        pretrain(recipe(steps=2), own, tmp_path / "run")


def test_a_damaged_checkpoint_is_named(corpus: Path, tmp_path: Path):
    pretrain(recipe(steps=2), corpus, tmp_path)
    path = checkpoint_folder(tmp_path, "last") / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"four")
    with pytest.raises(RunError, match=r"tensors\.safetensors: this checkpoint cannot be read"):
        pretrain(recipe(steps=2), corpus, tmp_path)
