from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.examples import Example
from softprompt.errors import PromptError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.assemble import embed_rows
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predictor import Predictor, applied_prompt
from softprompt.prompts.addition import Addition, stack
from softprompt.prompts.peft_export import PeftBase, exported_prompt, write_peft_folder
from softprompt.prompts.peft_folder import PeftPrefix, PeftRows, read_peft_folder
from softprompt.prompts.prompt import Prompt
from softprompt.text.answers import Verbalizer
from softprompt.text.template import parse
from tests.tiny_models import save_checkpoint

TEXT = "the film was very good"
LENGTH = 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("exchanged")
    for name in ("gpt2", "llama", "t5-1.1", "bart", "pegasus", "bert"):
        save_checkpoint(name, home / name)
    return home


def prompt_of(backbone: Backbone, template: str, length: int = LENGTH) -> Prompt:
    """Random rows at the scale of the backbone's words."""
    answers = Verbalizer.read({"positive": "great", "negative": "dull"})
    objective = resolve_objective(ObjectiveSettings(), backbone.family, free_text=False)
    applied = apply(backbone, parse(template), answers, objective, n_rows=length)
    total, generator = applied.renderer.total_rows, torch.Generator().manual_seed(5)
    rows = backbone.rms * torch.randn(total, backbone.width, generator=generator)
    return Prompt(
        addition=Addition(rows),
        method="prompt_tuning",
        template=str(applied.renderer.template),
        answers=answers.to_json(),
        objective=asdict(objective),
        task={"name": "mood", "fields": ["text"], "kind": "label", "labels": list(answers.words)},
        backbone=backbone.identity,
        settings={"n_rows": length},
        scores=[{"split": "dev", "metric": "accuracy", "value": 0.5, "n": 4, "seed": 0}],
    )


def base_of(backbone: Backbone) -> PeftBase:
    return PeftBase(
        start=backbone.rows(backbone.tokenizer.start),
        layers=backbone.config.num_hidden_layers,
        heads=backbone.config.num_attention_heads,
        scale=backbone.traits.scale,
    )


def our_logits(backbone: Backbone, applied: Applied) -> tuple[tuple[int, ...], Tensor]:
    """The main sequence's ids up to the answer, and the logits at its end."""
    (query, *_) = applied.render(Example("1", {"text": TEXT})).queries
    prompts = stack([applied.addition])
    inputs = embed_rows(backbone, prompts, [query.ids], [0])
    first = torch.tensor([0])
    column = torch.tensor([query.reads[0].positions[0]])
    with torch.no_grad():
        if query.decoder is None:
            return query.ids[: int(column) + 1], backbone.logits(inputs, first, column)
        decoder = embed_rows(backbone, prompts, [query.decoder], [0], decoder=True)
        return query.ids, backbone.logits(decoder, first, column, backbone.encode(inputs))


def peft_model(models: Path, name: str, folder: Path, dtype: torch.dtype) -> Any:
    peft = pytest.importorskip("peft")
    import transformers

    two = name in ("t5-1.1", "bart")
    kind = transformers.AutoModelForSeq2SeqLM if two else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(models / name, dtype=dtype)
    return peft.PeftModel.from_pretrained(model, folder).eval()


@pytest.mark.filterwarnings("ignore")  # PEFT's own, on its way
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("gpt2", "{text} it was {mask}"),
        ("gpt2", "{soft:2}{soft:3}{text} it was {mask}"),
        ("llama", "{text} it was {mask}"),
        ("llama", "{soft:3}{start}{text} it was {mask}"),
        ("t5-1.1", "{text} it was"),
        ("bart", "{text} it was"),
    ],
)
def test_peft_computes_what_the_prompt_does(
    models: Path, tmp_path: Path, name: str, template: str, precision: str
) -> None:
    backbone = load_backbone(models / name, precision=precision, device="cpu")
    prompt = prompt_of(backbone, template)
    write_peft_folder(prompt, base_of(backbone), tmp_path / "peft")
    model = peft_model(models, name, tmp_path / "peft", backbone.dtype)
    ids, expected = our_logits(backbone, applied_prompt(backbone, prompt))
    side = json.loads((tmp_path / "peft" / "softprompt.json").read_text())
    text_ids = [number for number in ids if number >= 0][side["start_rows"] :]
    given = {"input_ids": torch.tensor([text_ids]), "attention_mask": torch.ones(1, len(text_ids))}
    if backbone.family == "encoder_decoder":
        given["decoder_input_ids"] = torch.tensor([backbone.decoder_start])
    with torch.no_grad():
        found = model(**given).logits[:, -1]
    torch.testing.assert_close(found.to(expected.dtype), expected, atol=1e-5, rtol=1e-5)


def test_where_peft_has_the_start_tokens_behind_the_rows_its_text_is_the_tokenizers_own(
    models: Path, tmp_path: Path
) -> None:
    backbone = load_backbone(models / "llama", device="cpu")
    prompt = prompt_of(backbone, "{soft:3}{start}{text} it was {mask}")
    ids, _ = our_logits(backbone, applied_prompt(backbone, prompt))
    tokenised = backbone.tokenizer.wrapped(f"{TEXT} it was")["input_ids"]
    assert [number for number in ids if number >= 0] == tokenised
    assert ids[:3] == (-1, -2, -3)


@pytest.mark.parametrize(
    ("name", "template"), [("gpt2", "{text} it was {mask}"), ("llama", "{text} it was {mask}")]
)
def test_what_is_exported_and_imported_is_the_same_prompt(
    models: Path, tmp_path: Path, name: str, template: str
) -> None:
    backbone = load_backbone(models / name, device="cpu")
    prompt = prompt_of(backbone, template)
    write_peft_folder(prompt, base_of(backbone), tmp_path / "peft")
    again = returned(tmp_path / "peft")
    assert again.content_hash == prompt.content_hash
    assert again.scores == prompt.scores
    assert torch.equal(again.rows, prompt.rows)
    examples = [{"text": TEXT}, {"text": "a dull plot"}]
    assert Predictor(backbone, again).predict(examples) == Predictor(backbone, prompt).predict(
        examples
    )


def returned(folder: Path) -> Any:
    return exported_prompt(folder, read_peft_folder(folder))


def with_keys(backbone: Backbone, length: int = 3) -> Prompt:
    """Random keys and values of every layer, an instruction, and no rows."""
    generator = torch.Generator().manual_seed(6)
    tensors = {
        stack: torch.randn(s.layers, 2, length, s.heads, s.width, generator=generator)
        for stack, s in backbone.attentions.shapes.items()
    }
    prompt = prompt_of(backbone, "{text} it was" + " {mask}" * (backbone.family == "causal"), 0)
    return replace(prompt, addition=Addition(None, tensors), method="prefix_tuning")


@pytest.mark.filterwarnings("ignore")  # PEFT's own, on its way
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_peft_computes_what_keys_and_values_do(
    models: Path, tmp_path: Path, name: str, precision: str
) -> None:
    backbone = load_backbone(models / name, precision=precision, device="cpu")
    prompt = with_keys(backbone)
    write_peft_folder(prompt, base_of(backbone), tmp_path / "peft")
    model = peft_model(models, name, tmp_path / "peft", backbone.dtype)
    ids, expected = our_logits(backbone, applied_prompt(backbone, prompt))
    with torch.no_grad():
        found = model(input_ids=torch.tensor([ids])).logits[:, -1]
    torch.testing.assert_close(found.to(expected.dtype), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_keys_and_values_come_back_as_they_went(models: Path, tmp_path: Path, name: str) -> None:
    prompt = with_keys(load_backbone(models / name, device="cpu"))
    made = write_peft_folder(
        prompt, base_of(load_backbone(models / name, device="cpu")), tmp_path / "peft"
    )
    assert (made.tensor.shape[0], made.start_rows) == (3, 0)
    again = returned(tmp_path / "peft")
    assert again.content_hash == prompt.content_hash
    assert torch.equal(again.addition.attended["self"], prompt.addition.attended["self"])


def test_keys_and_values_of_an_encoder_have_no_place_in_peft(models: Path, tmp_path: Path) -> None:
    backbone = load_backbone(models / "t5-1.1", device="cpu")
    with pytest.raises(PromptError, match=r"attended\.encoder.*keys and values of a causal"):
        write_peft_folder(with_keys(backbone), base_of(backbone), tmp_path / "peft")


def test_rows_that_were_trained_on_elsewhere_lose_their_scores(
    models: Path, tmp_path: Path
) -> None:
    backbone = load_backbone(models / "gpt2", device="cpu")
    prompt = prompt_of(backbone, "{text} it was {mask}")
    write_peft_folder(prompt, base_of(backbone), tmp_path / "peft")
    path = tmp_path / "peft" / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file({n: t + 1 for n, t in tensors.items()}, path)
    again = returned(tmp_path / "peft")
    assert (again.scores, again.template) == ((), prompt.template)
    assert "changed outside softprompt" in again.notes
    torch.testing.assert_close(again.rows, prompt.rows + 1)
    safetensors.torch.save_file({"prompt_embeddings": torch.ones(9, 32)}, path)
    values = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    (tmp_path / "peft" / "adapter_config.json").write_text(
        json.dumps({**values, "num_virtual_tokens": 9})
    )
    with pytest.raises(PromptError, match="remove it to import what is learned only"):
        returned(tmp_path / "peft")


@pytest.mark.parametrize(
    ("name", "template", "reason"),
    [
        ("bert", "{text} it was {mask}.", "is a masked model"),
        ("gpt2", "{text}{soft:3} it was {mask}", "rows inside the text"),
        ("gpt2", "{demo}{soft:3}{text} it was {mask}", "rows inside the text"),
        ("gpt2", "{soft:3#a}{#a}{text} it was {mask}", "the same rows twice"),
        ("llama", "{text}{start} it was {mask}", "text before {start}"),
        ("t5-1.1", "{text}{decoder}{soft:3}", "rows in the decoder"),
        ("pegasus", "{text} it was", "multiplies the embeddings of its text by"),
    ],
)
def test_what_peft_cannot_hold_is_refused_with_the_reason(
    models: Path, tmp_path: Path, name: str, template: str, reason: str
) -> None:
    backbone = load_backbone(models / name, device="cpu")
    prompt = prompt_of(backbone, template)
    with pytest.raises(PromptError, match=reason):
        write_peft_folder(prompt, base_of(backbone), tmp_path / "peft")
    assert not (tmp_path / "peft").exists()


def test_demonstrations_behind_the_rows_are_text_and_stay_the_users(
    models: Path, tmp_path: Path
) -> None:
    backbone = load_backbone(models / "gpt2", device="cpu")
    prompt = prompt_of(backbone, "{soft:3}{demo}{text} it was {mask}")
    write_peft_folder(prompt, base_of(backbone), tmp_path / "peft")
    assert "demonstrations, where there are any, are text" in (
        tmp_path / "peft" / "README.md"
    ).read_text("utf-8")


def test_an_export_replaces_an_export_and_nothing_else(models: Path, tmp_path: Path) -> None:
    backbone = load_backbone(models / "gpt2", device="cpu")
    prompt, base = prompt_of(backbone, "{text} it was {mask}"), base_of(backbone)
    write_peft_folder(prompt, base, tmp_path / "peft")
    with pytest.raises(PromptError, match="something is there already"):
        write_peft_folder(prompt, base, tmp_path / "peft")
    write_peft_folder(prompt, base, tmp_path / "peft", overwrite=True)
    (tmp_path / "peft" / "mine.txt").write_text("mine")
    with pytest.raises(PromptError, match=r"mine\.txt"):
        write_peft_folder(prompt, base, tmp_path / "peft", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"peft"}


# --- folders that PEFT wrote --------------------------------------------------------------------


def written_by_peft(models: Path, name: str, folder: Path, kind: str, **settings: Any) -> Any:
    """A folder of random content, and the model that it was saved from."""
    peft = pytest.importorskip("peft")
    import transformers

    two = name == "t5-1.1"
    auto = transformers.AutoModelForSeq2SeqLM if two else transformers.AutoModelForCausalLM
    task = "SEQ_2_SEQ_LM" if two else "CAUSAL_LM"
    settings = {"task_type": task, **settings}
    if kind != "CPTConfig":
        settings["num_virtual_tokens"] = LENGTH
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = peft.get_peft_model(
            auto.from_pretrained(models / name), getattr(peft, kind)(**settings)
        )
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_()
    model.eval().save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("PromptTuningConfig", {}),
        ("PromptEncoderConfig", {"encoder_hidden_size": 16}),
        ("CPTConfig", {"cpt_token_ids": [5, 6, 7, 8]}),
        ("MultitaskPromptTuningConfig", {"num_tasks": 3, "num_ranks": 2}),
    ],
)
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5-1.1"])
@pytest.mark.filterwarnings("ignore")  # PEFT's own, on its way
def test_every_prompt_type_of_peft_becomes_rows(
    models: Path, tmp_path: Path, name: str, kind: str, settings: Mapping[str, Any]
) -> None:
    if (kind, name) == ("CPTConfig", "t5-1.1"):
        pytest.skip("CPT is for causal models only")
    model = written_by_peft(models, name, tmp_path / "peft", kind, **settings)
    chosen = 1 if kind == "MultitaskPromptTuningConfig" else None
    found = read_peft_folder(tmp_path / "peft", chosen)
    assert isinstance(found, PeftRows)
    length = 4 if kind == "CPTConfig" else LENGTH
    assert found.rows.shape == (length, 32)
    assert bool(found.notes) == (name == "t5-1.1" or chosen is not None)
    with torch.no_grad():
        tasks = torch.tensor([0 if chosen is None else chosen])
        used = model.get_prompt(1, tasks) if chosen is not None else model.get_prompt(1)
    torch.testing.assert_close(found.rows, used[0, :length])
    if name == "t5-1.1":
        return
    backbone = load_backbone(models / name, device="cpu")
    prompt = prompt_of(backbone, f"{{soft:{length}}}{{start}}{{text}} it was {{mask}}", length)
    applied = applied_prompt(backbone, prompt).with_addition(Addition(found.rows))
    ids, expected = our_logits(backbone, applied)
    given = {"input_ids": torch.tensor([[number for number in ids if number >= 0]])}
    if chosen is not None:
        given["task_ids"] = tasks
    with torch.no_grad():
        logits = model(**given).logits[:, -1]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5-1.1"])
@pytest.mark.filterwarnings("ignore")  # PEFT's own, on its way
def test_prefix_tuning_becomes_keys_and_values_of_each_layer(
    models: Path, tmp_path: Path, name: str, projection: bool
) -> None:
    settings: dict[str, Any] = {"prefix_projection": projection}
    if projection:
        settings["encoder_hidden_size"] = 16
    model = written_by_peft(models, name, tmp_path / "peft", "PrefixTuningConfig", **settings)
    found = read_peft_folder(tmp_path / "peft")
    assert isinstance(found, PeftPrefix)
    with torch.no_grad():
        cache = model.get_prompt(1)
    layers = cache.self_attention_cache.layers if name == "t5-1.1" else cache.layers
    states = torch.stack(
        [torch.stack([layer.keys[0], layer.values[0]]).transpose(1, 2) for layer in layers]
    )  # [L, 2, P, K, D]
    torch.testing.assert_close(found.states, states)
    assert found.states.shape[3] == {"gpt2": 4, "llama": 2, "t5-1.1": 4}[name]
    if name == "t5-1.1":
        return
    backbone = load_backbone(models / name, device="cpu")
    prompt = replace(
        prompt_of(backbone, "{text} it was {mask}", 0),
        addition=Addition(None, {"self": found.states}),
    )
    ids, expected = our_logits(backbone, applied_prompt(backbone, prompt))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[:, -1]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


# --- folders that nobody should have written ------------------------------------------------------


def handmade(folder: Path, tensors: Mapping[str, Tensor] | None = None, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": 2,
        "token_dim": 4,
        "num_transformer_submodules": 1,
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    if tensors is None:
        tensors = {"prompt_embeddings": torch.ones(2, 4)}
    safetensors.torch.save_file(dict(tensors), folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "LORA"}, "change the backbone's weights"),
        ({"peft_type": ["LORA"]}, "'peft_type': expected one of"),
        ({"task_type": "SEQ_CLS"}, "'task_type': expected CAUSAL_LM or SEQ_2_SEQ_LM"),
        ({"num_virtual_tokens": 3}, r"expected shape \[3, 4\].*got \[2, 4\]"),
        ({"num_virtual_tokens": "2"}, "'num_virtual_tokens': expected a positive whole number"),
        ({"token_dim": 5}, r"expected shape \[2, 5\]"),
        ({"num_transformer_submodules": 7}, "expected 1 or 2"),
        ({"peft_type": "MULTITASK_PROMPT_TUNING"}, "expected the tensors prefix_task_cols"),
        ({"peft_type": "PREFIX_TUNING"}, "'num_layers': expected a positive whole number"),
    ],
)
def test_a_folder_that_does_not_fit_its_config_is_refused(
    tmp_path: Path, changes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        read_peft_folder(handmade(tmp_path / "x", **changes))


def test_a_pickled_folder_is_never_loaded(tmp_path: Path) -> None:
    folder = handmade(tmp_path / "x")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(PromptError, match="safe_serialization=True"):
        read_peft_folder(folder)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="no such folder"):
        read_peft_folder(tmp_path / "none")
    folder = handmade(tmp_path / "x", {"prompt_embeddings": torch.full((2, 4), torch.nan)})
    with pytest.raises(PromptError, match="8 of 8 numbers are not finite"):
        read_peft_folder(folder)
    handmade(folder, {"prompt_embeddings": torch.ones(2, 4, dtype=torch.long)})
    with pytest.raises(PromptError, match="expected floating point"):
        read_peft_folder(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"\x00" * 5)
    with pytest.raises(PromptError, match="truncated or corrupt"):
        read_peft_folder(folder)
    (folder / "adapter_config.json").write_text("[1")
    with pytest.raises(PromptError, match="not JSON"):
        read_peft_folder(folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(PromptError, match="is no PEFT folder"):
        read_peft_folder(folder)


def test_of_several_tasks_one_must_be_chosen(tmp_path: Path) -> None:
    tensors = {
        "prompt_embeddings": torch.full((2, 4), 3.0),
        "prefix_task_cols": torch.tensor([[[1.0], [1.0]], [[2.0], [5.0]]]),
        "prefix_task_rows": torch.ones(2, 1, 4),
    }
    folder = handmade(
        tmp_path / "x", tensors, peft_type="MULTITASK_PROMPT_TUNING", num_tasks=2, num_ranks=1
    )
    with pytest.raises(PromptError, match="holds 2 tasks"):
        read_peft_folder(folder)
    with pytest.raises(PromptError, match="task 2: expected 0 to 1"):
        read_peft_folder(folder, 2)
    found = read_peft_folder(folder, 1)
    assert isinstance(found, PeftRows)
    assert found.rows[:, 0].tolist() == [6.0, 15.0]
    with pytest.raises(PromptError, match="one task only"):
        read_peft_folder(handmade(tmp_path / "y"), 0)
