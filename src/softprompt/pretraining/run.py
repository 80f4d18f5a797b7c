"""The pretraining run: tokenizer, corpus, model, steps, the finished model; resumable at any moment.

Everything a step sees is a function of the settings and the step number, so a run that was
interrupted and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from softprompt.errors import RunError, SettingsError
from softprompt.pretraining.corpus import Source, TokenFile, tokenise
from softprompt.pretraining.documents import corpus_files
from softprompt.pretraining.examples import Examples, check_tokens
from softprompt.pretraining.layouts import LAYOUTS
from softprompt.pretraining.loop import Pretraining, Report
from softprompt.pretraining.models import (
    checkpoint_model,
    load_tokenizer,
    new_model,
    position_limit,
    started_as,
    vocabulary_of,
)
from softprompt.pretraining.objectives import Vocabulary
from softprompt.pretraining.preparation import Preparation
from softprompt.pretraining.settings import PretrainSettings
from softprompt.pretraining.tasks import task_pairs
from softprompt.pretraining.tokenizer import Sample, save_tokenizer, train_tokenizer

CHANGES_NO_EXAMPLE = (
    "evaluate_every",
    "checkpoint_every",
    "micro_batch",
    "bf16",
    "compile",
    "keep_models",
    "preparation",  # its digest decides: a folder of evaluation data may have moved
)
"""Settings that may differ when a run is resumed: what a step sees stays the same."""


def pretrain(
    settings: PretrainSettings,
    corpus: Path | None,
    out: Path,
    report: Report = lambda record: None,
) -> Path:
    """Train a model on text, or go on where an earlier call stopped.

    Args:
        settings: the recipe.
        corpus: folder of text files; None where `rates` names data sets of the hub only.
        out: the run folder; `out/model` is the finished model in f16.
        report: called after each step with its record; before, with `prepared` records.
    Returns:
        The folder of the finished model.
    Raises:
        RunError: the loss is no longer a number; the last checkpoint is kept.
        SettingsError: `out` holds a run with another recipe or corpus, or the architecture cannot
            be built.
        DataError: a corpus file that cannot be read.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    family = LAYOUTS[settings.layout].family
    sources = corpus_sources(settings, corpus, report)
    with accelerator.main_process_first():
        preparation = Preparation(settings.preparation, out, report)
        _claim(out, settings, sources, preparation, write=accelerator.is_main_process)
        folder = _tokenizer(settings, sources, preparation, out)
        wrapped = load_tokenizer(folder)
        vocabulary = vocabulary_of(wrapped, family)
        check_tokens(settings, vocabulary)
        model = (
            checkpoint_model(settings, len(wrapped))
            if settings.start_from
            else new_model(settings, vocabulary, len(wrapped))
        )
        files = _token_files(sources, preparation, wrapped, vocabulary, out)
    pairs = task_pairs(settings.tasks, wrapped, settings.length - 1)
    if family == "encoder_decoder":
        vocabulary = started_as(vocabulary, model)
    examples = Examples(settings, vocabulary, files, pairs, position_limit(model))

    def keep(trained: nn.Module, step: int) -> None:
        _write_model(trained, folder, out / "models" / f"step-{step:06d}")

    Pretraining(settings, model, examples, out, accelerator, keep).run(report)
    if accelerator.is_main_process:
        _write_model(model.to("cpu"), folder, out / "model")
    accelerator.wait_for_everyone()
    return out / "model"


def corpus_sources(
    settings: PretrainSettings, corpus: Path | None, report: Report = lambda record: None
) -> list[Source]:
    """The texts of a run: the files of a folder and data sets of the hub, those with a rate.

    A recipe whose rates name no file of the folder at all was written for another corpus (those that
    ship were): each file is then drawn once a pass, and `report` gets a warning.

    Raises:
        SettingsError: a rate or language for a text that is not there, or nothing is left.
    """
    places: dict[str, Path | str] = dict(corpus_files(corpus)) if corpus else {}
    places |= {name: name for name in settings.rates if name.startswith("hub:")}
    if not places:
        raise SettingsError(
            "no text: give a corpus folder, or name data sets of the hub in rates "
            "(hub:owner/name: 1)"
        )
    rates = settings.rates
    if rates and not set(rates) & set(places):
        report({"warning": f"the recipe's rates name no file in {corpus}: each is drawn alike"})
        rates = {}
    for what, names in (("rates", rates), ("languages", settings.languages)):
        unknown = [name for name in names if name not in places]
        if unknown:
            raise SettingsError(
                f"{what}: no file named {', '.join(unknown)} in {corpus}; there: "
                f"{', '.join(places)}; say which to use, as {what}={{{next(iter(places))}: …}}"
            )
    found = [
        Source(
            name.removeprefix("hub:").replace("/", "--"),
            place,
            rates.get(name, 1.0),
            settings.languages.get(name, name.removeprefix("hub:")[:2]),
        )
        for name, place in places.items()
        if rates.get(name, 1.0) > 0
    ]
    if not found:
        raise SettingsError("rates: all are 0, nothing is left to train on")
    return found


def _claim(
    out: Path,
    settings: PretrainSettings,
    sources: Sequence[Source],
    preparation: Preparation,
    write: bool,
) -> None:
    """Check that the recipe is the one in the folder, and write it there."""
    path = out / "recipe.json"
    contents = {source.name: source.digest for source in sources}
    recipe = {
        **settings.model_dump(mode="json"),
        "preparation_digest": preparation.digest,
        "corpus": contents,
    }
    if path.exists():
        there = _recipe_there(path)
        differ = [k for k in recipe if k not in CHANGES_NO_EXAMPLE and there.get(k) != recipe[k]]
        if differ:
            raise SettingsError(
                f"{out} holds a run with another recipe (differs in: {', '.join(differ)}); "
                "choose another folder, or the same recipe"
            )
    if not write:
        return
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "recipe.json.partial"
    partial.write_text(json.dumps(recipe, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _recipe_there(path: Path) -> dict[str, Any]:
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error}); delete the folder, or put it right") from None
    if not isinstance(recipe, dict):
        raise RunError(f"{path}: expected a recipe, found {recipe!r:.60}; delete the folder")
    return recipe


def _tokenizer(
    settings: PretrainSettings, sources: Sequence[Source], preparation: Preparation, out: Path
) -> Path:
    """The folder of the run's tokenizer: the checkpoint's, a given one, or a new one."""
    folder, partial = out / "tokenizer", out / "tokenizer.partial"
    if not folder.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
        given = settings.start_from or settings.tokenizer_from
        if given:
            load_tokenizer(given).save_pretrained(str(partial))
        else:
            s = settings.tokenizer
            samples = [
                Sample(source.language, source.rate, preparation.lines_of(source))
                for source in sources
            ]
            trained = train_tokenizer(samples, s.vocabulary, s.ideographs, s.characters)
            family = LAYOUTS[settings.layout].family
            limit = int(settings.config.get("max_position_embeddings", 512))
            save_tokenizer(trained, partial, family, limit)
        partial.rename(folder)
    return folder


def _token_files(
    sources: Sequence[Source],
    preparation: Preparation,
    wrapped: Any,
    vocabulary: Vocabulary,
    out: Path,
) -> list[TokenFile]:
    tokenizer = wrapped.backend_tokenizer
    # What frames a text is no part of the text's ids.
    spelling = {**json.loads(tokenizer.to_str()), "post_processor": None}
    spelled = hashlib.sha256(json.dumps(spelling, sort_keys=True).encode()).hexdigest()
    files = []
    for source in sources:
        key = hashlib.sha256(
            f"{spelled}{vocabulary.end}{source.digest}{preparation.digest}".encode()
        ).hexdigest()
        documents = preparation.documents_of(source)
        files.append(tokenise(source, documents, tokenizer, vocabulary.end, key, out / "tokens"))
    preparation.finish()
    return files


def _write_model(model: nn.Module, tokenizer: Path, final: Path) -> None:
    """Write the model in f16 beside its tokenizer, loadable by the Auto classes."""
    from softprompt.pretraining.weights import save_half

    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_half(model, partial)
    shutil.copytree(tokenizer, partial, dirs_exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
