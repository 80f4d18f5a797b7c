"""Two of T5's questions asked of `nano` backbones, at equal tokens (Raffel et al. 2019, sections 3.2–3.4).

    python -m benchmarks.pretraining_studies architectures --corpus FOLDER --data FOLDER
    python -m benchmarks.pretraining_studies corpora --corpus FOLDER --data FOLDER

`architectures`: encoder-decoder, prefix-LM decoder, causal decoder, encoder; span corruption against
LM against deshuffling (an encoder fills masks). `corpora`: reviews and news, encyclopaedia, novels,
all of them; English, because the test sets are; encoders. Every run reads as many positions: steps ×
batch × length. One tokenizer for all. Downstream: a linear probe, prompt tuning, full tuning.

A prefix-LM decoder is read causally downstream: transformers has no such class, and a mask of its own
would be another measurement. Its prefix was seen in both directions in pretraining only.

Runs go to OUT, cells to benchmarks/results/pretraining-studies.jsonl as they are measured: interrupted,
the same line goes on, in the middle of a run too. Tables: pretraining-STUDY.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.cells import Cells, Values, markdown, spread
from benchmarks.command import amount_of, command, measuring
from benchmarks.measuring import (
    full_tuning,
    majority_class,
    open_backbone,
    probe,
    prompt_tuning,
    scene,
)
from benchmarks.recipes import TESTS
from softprompt.errors import UsageError
from softprompt.pretraining.documents import corpus_files
from softprompt.pretraining.layouts import LAYOUTS
from softprompt.pretraining.run import pretrain
from softprompt.pretraining.settings import PretrainSettings
from softprompt.pretraining.tokenizer import save_tokenizer
from softprompt.settings import override, read_yaml

SMALL_TESTS = ("sst2", "softprompt/topics-en")
METHODS = ("majority", "linear probe", "prompt tuning", "full tuning")


@dataclass(frozen=True)
class Model:
    """One pretraining run of a study.

    Args:
        layout, objective: as in a pretraining recipe.
        files: corpus files by name without ending; None for the recipe's own mixture.
    """

    layout: str
    objective: str
    files: tuple[str, ...] | None = None


BASES: Mapping[str, str] = MappingProxyType(
    {"encoder": "mlm", "encoder_decoder": "t5", "decoder": "lm", "prefix_decoder": "lm"}
)
"""Layout to the recipe that ships, whose `nano` it is."""

_NEWS = ("en_reviews_and_news",)
_REFERENCE = ("en_wikipedia_sentences", "en_reference")
_NOVELS = ("en_novels",)

STUDIES: Mapping[str, Mapping[str, Model]] = MappingProxyType(
    {
        "architectures": {
            "encoder-decoder, span corruption": Model("encoder_decoder", "span_corruption"),
            "encoder-decoder, LM": Model("encoder_decoder", "prefix_lm"),
            "encoder-decoder, deshuffling": Model("encoder_decoder", "deshuffling"),
            "prefix-LM decoder, span corruption": Model("prefix_decoder", "span_corruption"),
            "prefix-LM decoder, LM": Model("prefix_decoder", "prefix_lm"),
            "prefix-LM decoder, deshuffling": Model("prefix_decoder", "deshuffling"),
            "causal decoder, span corruption": Model("decoder", "span_corruption"),
            "causal decoder, LM": Model("decoder", "causal_lm"),
            "causal decoder, deshuffling": Model("decoder", "deshuffling"),
            "encoder, masked": Model("encoder", "masked"),
        },
        "corpora": {
            "reviews and news": Model("encoder", "masked", _NEWS),
            "encyclopaedia": Model("encoder", "masked", _REFERENCE),
            "novels": Model("encoder", "masked", _NOVELS),
            "all": Model("encoder", "masked", (*_NEWS, *_REFERENCE, *_NOVELS)),
        },
    }
)


def recipe(
    model: Model,
    steps: int,
    tokenizer: Path,
    texts: Iterable[str],
    overrides: Sequence[str] = (),
) -> PretrainSettings:
    """The settings of a run: the shipped recipe at `nano`, as many positions as all others.

    Args:
        tokenizer: framed for the model's family.
        texts: names of the corpus files that are there.
        overrides: KEY=VALUE of the recipe, the same for all runs.
    Raises:
        UsageError: a file of the study is not there.
    """
    base = BASES[model.layout]
    folder = Path(str(resources.files("softprompt"))) / "assets" / "pretraining"
    values = read_yaml(folder / f"{base}.yaml")
    there = list(texts)
    rates = {name: rate for name, rate in values["rates"].items() if name in there}
    if model.files is not None:
        missing = [name for name in model.files if name not in there]
        if missing:
            raise UsageError(f"--corpus: no file named {missing[0]}; there: {', '.join(there)}")
        rates = {name: float(name in model.files) for name in there}
    changes = {
        "size": "nano",
        "layout": model.layout,
        "objective": model.objective,
        "rates": rates,
        "tokenizer_from": str(tokenizer),
        "steps": steps,
        "evaluate_every": steps,
        "long": {"share": 0.0},
        "optimiser": {**values["optimiser"], "warmup": max(1, steps // 10)},
    }
    return PretrainSettings.read(override({**values, **changes}, overrides), f"{base}.yaml")


def framed_tokenizer(given: Path, family: str, out: Path) -> Path:
    """The one tokenizer of a study with the special tokens of a family around a text.

    Raises:
        UsageError: `given` holds no tokenizer.json.
    """
    from tokenizers import Tokenizer

    file, folder = given / "tokenizer.json", out / "tokenizers" / family
    if not file.is_file():
        raise UsageError(f"--tokenizer {given}: holds no tokenizer.json")
    if not (folder / "tokenizer_config.json").is_file():
        save_tokenizer(Tokenizer.from_file(str(file)), folder, family, 512)
    return folder


def pretrained(name: str, model: Model, arguments: Any) -> Path:
    """The folder of a model of a study, trained now as far as it is not."""
    out: Path = arguments.out
    tokenizer = framed_tokenizer(arguments.tokenizer, LAYOUTS[model.layout].family, out)
    texts = corpus_files(arguments.corpus)
    settings = recipe(model, arguments.pretraining_steps, tokenizer, texts, arguments.set)
    run = out / f"steps-{arguments.pretraining_steps}" / name.replace(", ", "-").replace(" ", "-")
    tokens = run / "tokens"
    if not tokens.exists():  # ids are kept under a key of their own: all runs share them
        (out / "tokens").mkdir(parents=True, exist_ok=True)
        run.mkdir(parents=True, exist_ok=True)
        tokens.symlink_to((out / "tokens").resolve(), target_is_directory=True)

    def report(record: Mapping[str, Any]) -> None:
        step = int(record.get("step", 0))
        if step and (step % 50 == 0 or step == arguments.pretraining_steps):
            line = f"{name}: step {step}/{arguments.pretraining_steps}, loss {record['loss']:.3f}"
            print(line, file=sys.stderr, flush=True)

    return pretrain(settings, arguments.corpus, run, report)


def measure(name: str, model: Model, arguments: Any, cells: Cells) -> None:
    """The downstream scores of one model."""
    backbone = open_backbone(str(pretrained(name, model, arguments)))
    amount, seeds = amount_of(arguments), range(arguments.seeds)
    for test in arguments.tests:
        here = scene(backbone, test, arguments.data, amount)
        place = {"study": arguments.study, "model": name, "test": test}
        settings = {**here.settings, "steps": arguments.pretraining_steps, "layout": model.layout}
        for method, function in (("majority", majority_class), ("linear probe", probe)):
            cells.measure({**place, "method": method}, settings, partial(function, here))
        own: Values = {**settings, "optimiser": dict(here.recipe.prompt)}
        tuned = {**place, "method": "prompt tuning"}
        cells.measure_seeds(tuned, own, seeds, partial(prompt_tuning, here))
        own = {**settings, "optimiser": dict(here.recipe.full)}
        tuned = {**place, "method": "full tuning"}
        cells.measure_seeds(tuned, own, seeds, partial(full_tuning, here))


def table(cells: Cells, study: str) -> str:
    """A row for each model and test set."""
    rows = []
    for test in TESTS:
        for name in STUDIES[study]:
            place = {"study": study, "model": name, "test": test}
            found = [cells.figures({**place, "method": method}) for method in METHODS]
            if any(found):
                rows.append([test, name, *map(spread, found)])
    return markdown(["test set", "pretraining", *METHODS], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Train and measure what is missing; write the table."""
    parser = command(__doc__, seeds=2)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--corpus", type=Path, help="folder of texts")
    parser.add_argument("--out", type=Path, default=Path("runs/pretraining-studies"))
    parser.add_argument(
        "--tokenizer", type=Path, default=shipped_tokenizer(), help="default: the shipped one"
    )
    parser.add_argument(
        "--pretraining-steps", type=int, default=300, help="of each run (default 300)"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="of every run's recipe"
    )
    parser.add_argument("--only", nargs="+", help="some models of the study, by name")
    parser.add_argument("--tests", nargs="+", default=list(SMALL_TESTS), choices=list(TESTS))
    arguments = parser.parse_args(argv)
    models = STUDIES[arguments.study]
    unknown = [name for name in arguments.only or () if name not in models]
    if unknown:
        parser.error(f"--only: no '{unknown[0]}'; known: {'; '.join(models)}")
    if arguments.corpus is None and not arguments.table:
        parser.error("--corpus is missing")
    with measuring(arguments.results / "pretraining-studies.jsonl") as cells:
        for name in () if arguments.table else arguments.only or models:
            measure(name, models[name], arguments, cells)
        written = table(cells, arguments.study)
        place = arguments.results / f"pretraining-{arguments.study}.md"
        place.write_text(written, encoding="utf-8")
    print(written)


def shipped_tokenizer() -> Path:
    """Where the tokenizer that all shipped backbones share lies."""
    return Path(str(resources.files("softprompt"))) / "assets" / "models" / "tiny-mlm"


if __name__ == "__main__":
    main()
