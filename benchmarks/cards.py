"""The card of a shipped backbone, from its pretraining run and what was measured.

    python -m benchmarks.cards tiny-mlm --run RUN

Recipe, tokens, losses and overlaps come from RUN (recipe.json, metrics.jsonl, corpus.json), scores from
benchmarks/results/backbones.jsonl. Written to the model's README.md; `--out FILE` writes elsewhere.
Nothing is typed in by hand but what the texts are, and what the model is for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.backbones import accuracies
from benchmarks.cells import Cells, markdown
from benchmarks.command import RESULTS
from softprompt.backbones.shipped import describe, shipped_folder, shipped_name

TEXTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "en_reviews_and_news": (
            "English reviews (products, films, places) and news",
            "research use",
        ),
        "zh_modern": ("modern Chinese: reviews, conversation, headlines", "research use"),
        "en_wikipedia_sentences": ("sentences of the English Wikipedia", "CC BY-SA"),
        "en_reference": ("English reference works", "public domain or CC"),
        "en_novels": ("English novels", "public domain"),
        "zh_poetry": ("classical Chinese verse", "public domain or MIT"),
    }
)
"""Corpus file to what it holds and its terms."""

OPENINGS: Mapping[str, str] = MappingProxyType(
    {
        "tiny-mlm": "A small bilingual masked language model: it fills blanks, in English and Chinese.",
        "tiny-t5@span": "A small bilingual T5 after span corruption, English and Chinese: it names what "
        "stands behind its sentinels and cannot answer otherwise. Base of `tiny-t5@lm`; for ablations.",
        "tiny-t5@lm": "A small bilingual T5 after LM adaptation, English and Chinese: given the "
        "beginning of a text, it goes on. What `softprompt/tiny-t5` means.",
        "tiny-lm": "A small bilingual causal language model, English and Chinese: it goes on with a text.",
    }
)

LIMITS = """For first steps, tests and demonstrations: prompts learn on it within a minute. It knows topics and
common turns, little of the world, and reads no irony; a bag of words may well beat a prompt on it (see
the table). What it generates is lower-case. Its Wikipedia sentences are the evidence of LAMA's facts, so
probing it on LAMA tests memory of its training text. Part of the text is for research use only: so treat
the weights. Do not use it for anything that matters."""


def card(name: str, run: Path, cells: Cells) -> str:
    """The card of a shipped backbone.

    Args:
        name: whole, as `tiny-t5@lm`.
        run: the folder of its pretraining run.
        cells: what was measured.
    """
    about = describe(f"softprompt/{name}")
    recipe = _read(run / "recipe.json")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    parts = [
        f"# softprompt/{name}",
        f"{OPENINGS[name]} {about.parameters:,} parameters, f16 safetensors, "
        f"{about.n_bytes / 1e6:.1f} MB.",
        _recipe_table(name, recipe),
        "Validation loss per said token (nats; held-out blocks, the same draws each time):",
        _losses(records),
        "## Text",
        _texts(recipe["rates"], _read(run / "corpus.json")),
        "Paragraphs that stood in the corpus twice, and those that hold a text of an evaluation set "
        "or share 13 words or 25 Chinese characters in a row with one, were left out "
        "(`preparation` in docs/pretraining.md). By set (those that took any):",
        _overlaps(_read(run / "corpus.json")),
        "## Scores",
        "Accuracy in per cent on at most 500 test rows, five seeds (mean ± standard deviation); made by "
        f"`python -m benchmarks.backbones --backbones {name.removesuffix('@lm')} --data FOLDER`; "
        "more in docs/results.md of the project.",
        accuracies(cells, name.removesuffix("@lm")) or "Not measured.",
        "## For and against",
        LIMITS,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _recipe_table(name: str, recipe: Mapping[str, Any]) -> str:
    config = _read(shipped_folder(f"softprompt/{name}") / "config.json")
    s = recipe["optimiser"]
    tokens = recipe["steps"] * recipe["batch_size"] * recipe["length"]
    long = recipe["long"]
    longer = (
        f", the last {long['share']:.0%} of the steps {long['length']}" if long["share"] else ""
    )
    size = " ".join(
        f"{key} {value}" for key, value in recipe["sizes"].get(recipe["size"], {}).items()
    )
    rows = [
        ["architecture", f"{config['architectures'][0]}: {size or 'as the model it went on from'}"],
        ["tokenizer", f"byte-fallback unigram, {config['vocab_size']:,} pieces, lower case, NFC"],
        [
            "objective",
            f"{recipe['objective'].replace('_', ' ')} ({recipe['layout'].replace('_', '-')})",
        ],
        ["input", f"{recipe['length']} positions{longer}"],
        [
            "training",
            f"{recipe['steps']:,} steps of {recipe['batch_size']} × {recipe['length']} positions = "
            f"{tokens / 1e6:.1f}M",
        ],
        [
            "optimiser",
            f"{s['name']}, peak rate {s['learning_rate']:g}, warm-up {s['warmup']}, {s['schedule']}",
        ],
        ["seed", str(recipe["seed"])],
    ]
    if recipe["start_from"]:
        rows.insert(0, ["from", "softprompt/tiny-t5@span"])
    return markdown(["", ""], rows)


def _losses(records: Sequence[Mapping[str, Any]]) -> str:
    found = {r["step"]: r["validation"] for r in records if "validation" in r}
    languages = list(next(iter(found.values())))
    rows = [
        [f"{step:,}", *(f"{losses[language]:.2f}" for language in languages)]
        for step, losses in found.items()
    ]
    return markdown(["step", *languages], rows)


def _texts(rates: Mapping[str, float], counts: Mapping[str, Any]) -> str:
    rows = []
    for name, (what, terms) in TEXTS.items():
        own = counts[name]
        rows.append(
            [
                what,
                terms,
                f"{rates[name]:g}",
                f"{own['read']['paragraphs']:,}",
                f"{own['duplicates']['dropped']:,}",
                f"{own['overlaps']['dropped']:,}",
            ]
        )
    return markdown(
        ["text", "terms", "passes per pass", "paragraphs", "duplicates", "held evaluation texts"],
        rows,
    )


def _overlaps(counts: Mapping[str, Any]) -> str:
    total: dict[str, int] = {}
    for own in counts.values():
        for name, number in own["overlaps"]["sets"].items():
            total[name] = total.get(name, 0) + number
    ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {number:,}" for name, number in ordered) + "."


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main(argv: Sequence[str] | None = None) -> None:
    """Write a card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="as tiny-mlm")
    parser.add_argument("--run", type=Path, required=True, help="folder of the pretraining run")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, help="another file than the model's README.md")
    arguments = parser.parse_args(argv)
    name = shipped_name(f"softprompt/{arguments.name}").removeprefix("softprompt/")
    written = card(name, arguments.run, Cells(arguments.results / "backbones.jsonl"))
    target = arguments.out or shipped_folder(f"softprompt/{name}") / "README.md"
    target.write_text(written, encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
