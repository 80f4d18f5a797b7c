"""The pretraining run: tokenizer, corpus, model, steps, the finished model; resumable at any moment.

Everything a step sees is a function of the settings and the step number, so a run that was
interrupted and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from softprompt.errors import SettingsError
from softprompt.pretraining.corpus import Mixture, Source, corpus_files, tokenise_source
from softprompt.pretraining.loop import Pretraining, Report, Vocabulary
from softprompt.pretraining.settings import PretrainSettings
from softprompt.pretraining.tokenizer import (
    SPECIAL_TOKENS,
    TOKENIZER_FILES,
    save_tokenizer,
    train_tokenizer,
)

CHANGES_NO_BLOCK = ("steps", "evaluate_every", "checkpoint_every", "micro_batch", "bf16")
"""Settings that a run may be resumed without: which blocks and masks a step sees stays the same."""


def pretrain(
    settings: PretrainSettings, corpus: Path, out: Path, report: Report = lambda record: None
) -> Path:
    """Train a model on a folder of text, or go on where an earlier call stopped.

    Args:
        settings: the recipe.
        corpus: folder of .txt, .txt.xz or .txt.gz files.
        out: the run folder; `out/model` is the finished model in f16.
        report: called after each step with its record.
    Returns:
        The folder of the finished model.
    Raises:
        RunError: the loss is no longer a number; the last checkpoint is kept.
        SettingsError: `out` holds a run with another recipe or corpus, or the architecture cannot
            be built.
        DataError: a corpus file that cannot be read.
    """
    sources = _sources(settings, corpus)
    _claim(out, settings, sources)
    tokenizer = _tokenizer(settings, sources, out)
    vocabulary = _vocabulary(tokenizer)
    model = _model(settings, tokenizer, vocabulary)
    files = [tokenise_source(s, tokenizer, out / "tokens", vocabulary.separator) for s in sources]
    text_length = settings.length - 2  # a start and an end token frame every block
    mixture = Mixture(files, text_length, settings.held_out, settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    Pretraining(settings, model.to(device), mixture, vocabulary, device, out).run(report)
    return _finish(model, out)


def _claim(out: Path, settings: PretrainSettings, sources: Sequence[Source]) -> None:
    """Write the recipe into the folder, or check that it is the one there."""
    path = out / "recipe.json"
    contents = {source.name: source.digest for source in sources}
    recipe = {**settings.model_dump(mode="json"), "corpus": contents}
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        differ = [k for k in recipe if k not in CHANGES_NO_BLOCK and there.get(k) != recipe[k]]
        if differ:
            raise SettingsError(
                f"{out} holds a run with another recipe (differs in: {', '.join(differ)}); "
                "choose another folder, or the same recipe"
            )
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "recipe.json.partial"
    partial.write_text(json.dumps(recipe, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _sources(settings: PretrainSettings, corpus: Path) -> list[Source]:
    paths = corpus_files(corpus)
    for what, names in (("rates", settings.rates), ("languages", settings.languages)):
        unknown = [name for name in names if name not in paths]
        if unknown:
            raise SettingsError(
                f"{what}: no file named {', '.join(unknown)} in {corpus}; there: {', '.join(paths)}"
            )
    found = [
        Source(path, settings.rates.get(name, 1.0), settings.languages.get(name, name[:2]))
        for name, path in paths.items()
        if settings.rates.get(name, 1.0) > 0
    ]
    if not found:
        raise SettingsError("rates: all are 0, nothing is left to train on")
    return found


def _tokenizer(settings: PretrainSettings, sources: Sequence[Source], out: Path) -> Any:
    from tokenizers import Tokenizer

    folder, partial = out / "tokenizer", out / "tokenizer.partial"
    if not folder.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
        if settings.tokenizer_from:
            _copy_tokenizer(Path(settings.tokenizer_from), partial)
        else:
            s = settings.tokenizer
            trained = train_tokenizer(sources, s.vocabulary, s.alphabet, s.characters)
            limit = int(settings.architecture.get("max_position_embeddings", settings.length))
            save_tokenizer(trained, partial, limit)
        partial.rename(folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _copy_tokenizer(source: Path, target: Path) -> None:
    if not (source / "tokenizer.json").is_file():
        raise SettingsError(f"tokenizer_from: {source} holds no tokenizer.json")
    target.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _vocabulary(tokenizer: Any) -> Vocabulary:
    ids = {name: tokenizer.token_to_id(name) for name in SPECIAL_TOKENS}
    missing = [name for name, number in ids.items() if number is None]
    if missing:
        raise SettingsError(f"the tokenizer lacks {', '.join(missing)}")
    special = np.asarray(sorted(ids.values()))
    ordinary = np.setdiff1d(np.arange(tokenizer.get_vocab_size()), special)
    return Vocabulary(ids["[CLS]"], ids["[SEP]"], ids["[MASK]"], ordinary, special)


def _model(settings: PretrainSettings, tokenizer: Any, vocabulary: Vocabulary) -> nn.Module:
    from transformers import AutoModelForMaskedLM

    config = _config(
        settings.architecture,
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=tokenizer.token_to_id("[PAD]"),
        cls_token_id=vocabulary.start,
        bos_token_id=vocabulary.start,
        sep_token_id=vocabulary.separator,
        eos_token_id=vocabulary.separator,
    )
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and limit < settings.length:
        raise SettingsError(
            f"length: blocks of {settings.length} tokens do not fit the architecture's "
            f"max_position_embeddings of {limit}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        try:
            model: nn.Module = AutoModelForMaskedLM.from_config(config, attn_implementation="sdpa")
        except ValueError as error:
            raise SettingsError(f"architecture: {str(error).splitlines()[0]}") from None
    return model


def _config(architecture: Mapping[str, Any], **ids: int) -> Any:
    from transformers import AutoConfig

    values = dict(architecture)
    kind = values.pop("model_type", None)
    if kind is None:
        raise SettingsError("architecture: 'model_type' is missing (for example modernbert, bert)")
    try:
        known = AutoConfig.for_model(kind)
        unknown = [name for name in values if not hasattr(known, name)]
        if unknown:  # transformers would take it and say nothing
            close = difflib.get_close_matches(unknown[0], list(vars(known)), n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise SettingsError(f"architecture: {kind} has no '{unknown[0]}'{hint}")
        return AutoConfig.for_model(kind, **ids, **values)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"architecture: {str(error).splitlines()[0]}") from None


def _finish(model: nn.Module, out: Path) -> Path:
    """Write the model in f16 beside its tokenizer, loadable by the Auto classes."""
    partial, final = out / "model.partial", out / "model"
    shutil.rmtree(partial, ignore_errors=True)
    model.to("cpu").half().save_pretrained(str(partial))  # type: ignore[operator]
    shutil.copytree(out / "tokenizer", partial, dirs_exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return final
