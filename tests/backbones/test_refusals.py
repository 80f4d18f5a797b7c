"""What cannot be loaded is refused in one sentence, at once, and without a network."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from softprompt.backbones.input_path import first_position, input_scale, probe_ids
from softprompt.backbones.loading import load_backbone
from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.errors import BackboneError
from tests.backbones.by_hand import embedded
from tests.backbones.conftest import Checkpoints, Tiny
from tests.tiny_models import ARCHITECTURES, build_tokenizer, config_of


@pytest.fixture(autouse=True)
def _libraries_are_imported(tiny: Tiny) -> None:
    """So that what is timed is the refusal."""
    tiny("bert")


def refused(name: str | Path, **options: Any) -> str:
    """The message with which a name is refused, one that a user can read."""
    with pytest.raises(BackboneError) as caught:
        load_backbone(name, device="cpu", **options)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    return message


def refused_at_once(name: str | Path) -> str:
    """Without the retries that a hub client makes (46 s; a refusal takes milliseconds)."""
    begun = time.perf_counter()
    message = refused(name)
    assert time.perf_counter() - begun < 10.0  # even where other work shares the machine
    return message


@pytest.fixture
def bert(checkpoint: Checkpoints, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to be broken."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


@pytest.mark.parametrize("name", ["t5", "t5-1.1", "mt5"])
def test_t5_in_float16_is_refused_and_told_what_to_use(checkpoint: Checkpoints, name: str) -> None:
    message = refused(checkpoint(name), precision="float16")
    assert "float16" in message
    assert "bfloat16 or float32" in message


def _save_headless(name: str, head: str, folder: Path, **changes: Any) -> Path:
    import transformers

    tokenizer = build_tokenizer(ARCHITECTURES[name].tokenizer)
    make = getattr(transformers, ARCHITECTURES[name].kind + head)
    make(config_of(name, tokenizer, **changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("bert", "Model"),
        ("bert", "ForSequenceClassification"),
        ("roberta", "Model"),
        ("albert", "Model"),
        ("deberta-v2", "Model"),
        ("electra", "ForPreTraining"),
        ("electra", "Model"),
        ("modernbert", "Model"),
        ("llama", "Model"),
        ("gpt-neox", "Model"),
    ],
)
def test_a_checkpoint_without_its_language_model_head_is_refused_not_filled_at_random(
    tmp_path: Path, name: str, head: str
) -> None:
    message = refused(_save_headless(name, head, tmp_path / "headless"))
    assert "lacks weights" in message
    assert "random" in message


def test_an_encoder_of_t5_alone_is_refused(tmp_path: Path) -> None:
    message = refused(_save_headless("t5-1.1", "EncoderModel", tmp_path / "headless"))
    assert "language-model head" in message


def test_a_body_whose_head_is_its_embedding_is_accepted(tmp_path: Path) -> None:
    """The published gpt2 is such a checkpoint: nothing in it would be random."""
    for name in ("gpt2", "bart"):
        folder = _save_headless(name, "Model", tmp_path / name, tie_word_embeddings=True)
        assert load_backbone(folder, device="cpu").vocabulary == 336


def test_truncated_weights_are_refused(bert: Path) -> None:
    weights = bert / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "weights cannot be loaded" in refused(bert)


def test_missing_weights_are_refused(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    assert "weights cannot be loaded" in refused(bert)


def test_weights_that_are_not_numbers_are_refused_by_name(bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    name = next(n for n in tensors if "layer.1.output.dense.weight" in n)
    tensors[name][3, 4] = float("nan")
    save_file(tensors, bert / "model.safetensors", {"format": "pt"})
    message = refused(bert)
    assert "NaN" in message
    assert "layer.1.output.dense.weight" in message


def test_weights_too_large_for_the_asked_precision_are_refused(bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    name = next(n for n in tensors if "layer.1.output.dense.weight" in n)
    tensors[name][3, 4] = 1e6
    save_file(tensors, bert / "model.safetensors", {"format": "pt"})
    assert "too narrow" in refused(bert, precision="float16")


def test_a_weight_of_another_shape_is_refused(bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    name = next(n for n in tensors if "word_embeddings" in n)
    tensors[name] = tensors[name][:-8].clone()
    save_file(tensors, bert / "model.safetensors", {"format": "pt"})
    assert "weights cannot be loaded" in refused(bert)


def test_a_folder_without_config_is_refused(bert: Path) -> None:
    (bert / "config.json").unlink()
    assert "holds no config.json" in refused(bert)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model_type": "no-such-architecture"}'])
def test_a_config_that_cannot_be_read_is_refused(bert: Path, content: str) -> None:
    (bert / "config.json").write_text(content, encoding="utf-8")
    assert "config" in refused(bert)


def test_an_architecture_without_a_language_model_is_refused(bert: Path) -> None:
    config = {"model_type": "vit", "architectures": ["ViTModel"]}
    (bert / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "language-model head" in refused(bert)


def test_a_folder_without_tokenizer_is_refused(bert: Path) -> None:
    for file in bert.glob("tokenizer*"):
        file.unlink()
    assert "tokenizer" in refused(bert)


def test_a_broken_tokenizer_is_refused(bert: Path) -> None:
    (bert / "tokenizer.json").write_text("{", encoding="utf-8")
    assert "tokenizer" in refused(bert)


def test_a_slow_tokenizer_is_refused() -> None:
    class SlowTokenizer:
        pass

    with pytest.raises(BackboneError, match="SlowTokenizer is not a fast tokenizer"):
        TextTokenizer(SlowTokenizer())


def test_a_tokenizer_of_another_model_is_refused(bert: Path) -> None:
    build_tokenizer("bytes_roberta").save_pretrained(bert)
    assert "belong together" in refused(bert)


def test_an_unknown_precision_is_refused_with_the_known_ones(checkpoint: Checkpoints) -> None:
    message = refused(checkpoint("bert"), precision="fp16")
    assert "fp16" in message
    assert "bfloat16" in message


def test_an_unknown_device_is_refused(checkpoint: Checkpoints) -> None:
    with pytest.raises(BackboneError, match="toaster"):
        load_backbone(checkpoint("bert"), device="toaster")


@pytest.mark.parametrize(
    "name",
    ["./no/such/folder", "/no/such/folder", "~/no-such-folder", "some/where/else", "a b", ""],
)
def test_a_mistyped_path_is_refused_at_once(name: str, tmp_path: Path) -> None:
    old = Path.cwd()
    os.chdir(tmp_path)
    try:
        refused_at_once(name)
    finally:
        os.chdir(old)


def test_a_file_in_place_of_a_folder_is_refused(bert: Path) -> None:
    assert "folder" in refused(bert / "config.json")


def test_an_unknown_shipped_name_is_refused_with_those_that_ship() -> None:
    assert "ships in the package" in refused("softprompt/no-such-model")


def test_an_unknown_hub_name_is_refused_when_offline() -> None:
    message = refused_at_once("nobody/no-such-model")
    assert "no folder here" in message
    assert "HF_HUB_OFFLINE" in message


def test_a_hub_that_cannot_be_reached_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    assert "cannot be reached" in refused_at_once("nobody/no-such-model")


def test_a_masked_backbone_does_not_generate(tiny: Tiny) -> None:
    with pytest.raises(BackboneError, match="cannot generate"):
        tiny("bert").generate(embedded(tiny("bert"), [(2, 5, 3)]), 3)


def test_decoders_of_several_lengths_do_not_generate(tiny: Tiny) -> None:
    backbone = tiny("t5")
    inputs = embedded(backbone, [(5, 6), (7, 8)])
    decoder = embedded(backbone, [(0,), (0, 5)], decoder=True)
    with pytest.raises(BackboneError, match="one length"):
        backbone.generate(inputs, 3, decoder)


class _Network(torch.nn.Module):
    """A network with one flaw."""

    def __init__(self, flaw: str):
        super().__init__()
        self.flaw = flaw
        self.table = torch.nn.Embedding(20, 4)
        self.positions = torch.nn.Embedding(40, 4)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.table

    def forward(
        self, input_ids: Any = None, inputs_embeds: Any = None, position_ids: Any = None
    ) -> Any:
        if inputs_embeds is not None and self.flaw == "takes no embeddings":
            raise ValueError("You have to specify input_ids")
        embedded = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        if inputs_embeds is not None and self.flaw == "ignores embeddings":
            embedded = torch.ones_like(embedded)
        first = 17 if self.flaw == "strange positions" else 2
        own = torch.arange(first, first + embedded.shape[1])
        embedded = embedded + self.positions(own if position_ids is None else position_ids)
        states = embedded if self.flaw == "no attention" else embedded.cumsum(dim=1)
        if self.flaw == "not a number":
            states = states * float("nan")
        return SimpleNamespace(last_hidden_state=states)


TWENTY = SimpleNamespace(size=20, special=frozenset({0, 1}))


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("takes no embeddings", "takes embeddings in place of ids"),
        ("ignores embeddings", "another output for embeddings"),
        ("no attention", "prompt would have no effect"),
        ("not a number", "NaN"),
    ],
)
def test_a_network_that_a_prompt_cannot_change_is_refused_with_the_reason(
    flaw: str, words: str
) -> None:
    network = _Network(flaw)
    ids = probe_ids(TWENTY, network, "toy")
    with pytest.raises(BackboneError, match=words):
        input_scale(network, network.table, ids, "toy")


def test_a_network_with_positions_of_its_own_is_measured_or_refused() -> None:
    ids = probe_ids(TWENTY, _Network("none"), "toy")
    assert first_position(_Network("none"), ids, None, "toy") == 2
    with pytest.raises(BackboneError, match="numbers its positions in none of the known ways"):
        first_position(_Network("strange positions"), ids, None, "toy")


def test_a_sound_network_is_accepted_at_its_own_scale() -> None:
    network = _Network("none")
    assert input_scale(network, network.table, probe_ids(TWENTY, network, "toy"), "toy") == 1.0


def test_a_vocabulary_of_special_tokens_only_is_refused() -> None:
    few = SimpleNamespace(size=5, special=frozenset({0, 1, 2}))
    with pytest.raises(BackboneError, match="2 ordinary tokens"):
        probe_ids(few, _Network("none"), "toy")


def test_every_tiny_backbone_loads_in_well_under_a_second(
    checkpoint: Checkpoints, tiny: Tiny
) -> None:
    for name in ("bert", "t5-1.1", "llama"):
        tiny(name)
        begun = time.process_time()
        load_backbone(checkpoint(name), device="cpu")
        assert time.process_time() - begun < 1.0
