"""The pretraining run: tokenizer, corpus, model, loop, checkpoints; resumable at any moment.

Everything a step sees is a function of the settings and the step number, so a run that was
interrupted and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from softprompt.backbones.kept_positions import flat_positions, keep_positions
from softprompt.errors import RunError, SettingsError
from softprompt.pretraining.corpus import Mixture, Source, corpus_files, tokenise_source
from softprompt.pretraining.objectives import mask_tokens
from softprompt.pretraining.settings import PretrainSettings
from softprompt.pretraining.tokenizer import save_tokenizer, train_tokenizer
from softprompt.tuning.schedules import learning_rate_factor

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Vocabulary:
    """What the objective must know of the tokenizer."""

    start: int
    separator: int
    mask: int
    ordinary: NDArray[np.int64]
    special: NDArray[np.int64]


def pretrain(
    settings: PretrainSettings, corpus: Path, out: Path, report: Report = lambda record: None
) -> Path:
    """Train a model on a folder of text, or go on where an earlier call stopped.

    Args:
        settings: the recipe.
        corpus: folder of .txt, .txt.xz or .txt.gz files.
        out: the run folder; `out/model` is the finished model in f16.
        report: called with each record that also goes into `out/metrics.jsonl`.
    Returns:
        The folder of the finished model.
    Raises:
        RunError: the loss is no longer a number; the last checkpoint is kept.
        SettingsError: `out` holds a run with another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, settings)
    sources = _sources(settings, corpus)
    tokenizer = _tokenizer(settings, sources, out)
    vocabulary = _vocabulary(tokenizer)
    files = [tokenise_source(s, tokenizer, out / "tokens", vocabulary.separator) for s in sources]
    text_length = settings.length - 2  # a start and an end token frame every block
    mixture = Mixture(files, text_length, settings.held_out, settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _model(settings, tokenizer, vocabulary).to(device)
    loop = _Loop(settings, model, mixture, vocabulary, device, out)
    loop.run(report)
    return _finish(model, settings, out)


def _claim(out: Path, settings: PretrainSettings) -> None:
    """Write the recipe into the folder, or check that it is the one there (steps may differ)."""
    path = out / "recipe.json"
    recipe = settings.model_dump(mode="json")
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        free = ("steps", "evaluate_every", "checkpoint_every", "micro_batch", "bf16")
        differ = [k for k in recipe if k not in free and there.get(k) != recipe[k]]
        if differ:
            raise SettingsError(
                f"{out} holds a run with another recipe (differs in: {', '.join(differ)}); "
                "choose another folder, or the same recipe"
            )
    path.write_text(json.dumps(recipe, indent=2), encoding="utf-8")


def _sources(settings: PretrainSettings, corpus: Path) -> list[Source]:
    paths = {path.name.split(".")[0]: path for path in corpus_files(corpus)}
    unknown = [name for name in settings.rates if name not in paths]
    if unknown:
        raise SettingsError(
            f"rates: no file named {', '.join(unknown)} in {corpus}; there: {', '.join(paths)}"
        )
    return [
        Source(path, settings.rates.get(name, 1.0), settings.languages.get(name, name[:2]))
        for name, path in paths.items()
        if settings.rates.get(name, 1.0) > 0
    ]


def _tokenizer(settings: PretrainSettings, sources: Sequence[Source], out: Path) -> Any:
    from tokenizers import Tokenizer

    path = out / "tokenizer" / "tokenizer.json"
    if not path.exists():
        if settings.tokenizer_from:
            shutil.copytree(settings.tokenizer_from, path.parent, dirs_exist_ok=True)
        else:
            s = settings.tokenizer
            trained = train_tokenizer(sources, s.vocabulary, s.alphabet, s.characters)
            limit = int(settings.architecture.get("max_position_embeddings", settings.length))
            save_tokenizer(trained, path.parent, limit)
    return Tokenizer.from_file(str(path))


def _vocabulary(tokenizer: Any) -> Vocabulary:
    ids = {name: tokenizer.token_to_id(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
    missing = [name for name, number in ids.items() if number is None]
    if missing:
        raise SettingsError(f"the tokenizer lacks {', '.join(missing)}")
    special = np.asarray(sorted(ids.values()))
    ordinary = np.setdiff1d(np.arange(tokenizer.get_vocab_size()), special)
    return Vocabulary(ids["[CLS]"], ids["[SEP]"], ids["[MASK]"], ordinary, special)


def _model(settings: PretrainSettings, tokenizer: Any, vocabulary: Vocabulary) -> nn.Module:
    from transformers import AutoConfig, AutoModelForMaskedLM

    architecture = dict(settings.architecture)
    kind = architecture.pop("model_type", None)
    if kind is None:
        raise SettingsError("architecture: 'model_type' is missing (for example modernbert, bert)")
    config = AutoConfig.for_model(
        kind,
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=tokenizer.token_to_id("[PAD]"),
        cls_token_id=vocabulary.start,
        bos_token_id=vocabulary.start,
        sep_token_id=vocabulary.separator,
        eos_token_id=vocabulary.separator,
        **architecture,
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model: nn.Module = AutoModelForMaskedLM.from_config(config, attn_implementation="sdpa")
    return model


class _Loop:
    """The steps of one run, with what must be kept to go on."""

    def __init__(
        self,
        settings: PretrainSettings,
        model: nn.Module,
        mixture: Mixture,
        vocabulary: Vocabulary,
        device: torch.device,
        out: Path,
    ):
        self.settings, self.model, self.mixture = settings, model, mixture
        self.vocabulary, self.device, self.out = vocabulary, device, out
        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
        )

    def run(self, report: Report) -> None:
        s = self.settings
        step = self._restore()
        began, tokens = time.monotonic(), 0
        smooth: float | None = None
        self.model.train()
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as log:
            while step < s.steps:
                loss = self._step(step)
                if not math.isfinite(loss):
                    raise RunError(
                        f"the loss is {loss} at step {step}; the last checkpoint is kept in "
                        f"{self.out / 'checkpoint'}; try a lower learning_rate"
                    )
                step += 1
                tokens += s.batch_size * s.length
                smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
                record: dict[str, Any] = {"step": step, "steps": s.steps, "loss": round(smooth, 4)}
                seconds = time.monotonic() - began
                record["tokens_per_second"] = round(tokens / seconds)
                last = step == s.steps
                if step % s.evaluate_every == 0 or last:
                    record["validation"] = self.validate()
                if step % 20 == 0 or last:
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                report(record)
                if step % s.checkpoint_every == 0 or last:
                    self._keep(step)

    def _step(self, step: int) -> float:
        s = self.settings
        factor = learning_rate_factor(s.schedule, step, s.steps, s.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = s.learning_rate * factor
        ids = self._framed(self.mixture.step(step, s.batch_size))
        generator = np.random.default_rng([s.seed, 1, step])
        inputs, predict = self._corrupt(ids, generator)
        total = int(predict.sum())
        loss = 0.0
        for first in range(0, s.batch_size, s.micro_batch):
            part = slice(first, first + s.micro_batch)
            summed = self._loss(inputs[part], ids[part], predict[part]) / total
            summed.backward()
            loss += float(summed.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), s.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss

    def _framed(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put the start and end token around each block, `[B, length]`."""
        rows = len(blocks)
        start = np.full((rows, 1), self.vocabulary.start)
        end = np.full((rows, 1), self.vocabulary.separator)
        return np.concatenate([start, blocks, end], axis=1)

    def _corrupt(self, ids: NDArray[np.int64], generator: np.random.Generator) -> tuple[Any, Any]:
        return mask_tokens(
            ids,
            np.isin(ids, self.vocabulary.special),
            rate=self.settings.mask_rate,
            mask_id=self.vocabulary.mask,
            ordinary=self.vocabulary.ordinary,
            generator=generator,
        )

    def _loss(self, inputs: Any, targets: Any, predict: Any) -> Tensor:
        """Summed cross-entropy at the predicted positions."""
        ids = torch.from_numpy(np.ascontiguousarray(inputs)).to(self.device)
        gold = torch.from_numpy(np.ascontiguousarray(targets)).to(self.device)
        rows, columns = flat_positions(torch.from_numpy(np.ascontiguousarray(predict)).to(self.device))
        with (
            keep_positions(self.model, rows, columns),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16),
        ):
            logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        return nn.functional.cross_entropy(logits.float(), gold[rows, columns], reduction="sum")

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss per language on the held-out blocks, always with the same masks."""
        self.model.eval()
        sums: dict[str, list[float]] = {}
        for number, (source, blocks) in enumerate(self.mixture.validation()):
            ids = self._framed(blocks)
            inputs, predict = self._corrupt(ids, np.random.default_rng([7, number]))
            total = sums.setdefault(source.language, [0.0, 0.0])
            total[0] += float(self._loss(inputs, ids, predict))
            total[1] += int(predict.sum())
        self.model.train()
        return {language: round(a / b, 4) for language, (a, b) in sorted(sums.items())}

    def _keep(self, step: int) -> None:
        """Write a checkpoint beside the old one, then put it in its place."""
        partial, final = self.out / "checkpoint.partial", self.out / "checkpoint"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        tensors = dict(self.model.named_parameters())
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, partial / "weights.safetensors")
        moments = {}
        for name, parameter in tensors.items():
            for key, value in self.optimiser.state[parameter].items():
                moments[f"{name}|{key}"] = value.detach().contiguous()
        save_file(moments, partial / "optimiser.safetensors")
        (partial / "state.json").write_text(json.dumps({"step": step}))
        old = self.out / "checkpoint.old"
        if final.exists():
            final.rename(old)
        partial.rename(final)
        shutil.rmtree(old, ignore_errors=True)

    def _restore(self) -> int:
        """Take the last checkpoint's weights and moments; return its step, 0 without one."""
        folder = self.out / "checkpoint"
        if not (folder / "state.json").exists():
            folder = self.out / "checkpoint.old"  # interrupted between two renames
        if not (folder / "state.json").exists():
            return 0
        tensors = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(folder / "weights.safetensors").items():
                tensors[name].copy_(value)
        for key, value in load_file(folder / "optimiser.safetensors").items():
            name, _, part = key.rpartition("|")
            home = "cpu" if part == "step" else self.device
            self.optimiser.state[tensors[name]][part] = value.to(home)
        return int(json.loads((folder / "state.json").read_text())["step"])


def _finish(model: nn.Module, settings: PretrainSettings, out: Path) -> Path:
    """Write the model in f16 beside its tokenizer, loadable by the Auto classes."""
    partial, final = out / "model.partial", out / "model"
    shutil.rmtree(partial, ignore_errors=True)
    model.to("cpu").half().save_pretrained(str(partial))  # type: ignore[operator]
    shutil.copytree(out / "tokenizer", partial, dirs_exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return final
