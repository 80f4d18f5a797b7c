"""How long label words are searched: one pass over the training rows, then all combinations from its scores.

    python -m benchmarks.word_search --models MINILM tiny-mlm

Each model is a folder, or the name of one that ships. The rows are texts of a set that ships, their classes
made up in turn: seconds do not depend on them. Measured are the pass (log p of every whole word of the
vocabulary at the slot of every row), the combinations (the best words of each class, all combinations of
them by accuracy and cross-entropy, the best 100), and beside them one combination after the other from the
same scores, as the released code has it, and one evaluation of one combination by the network, as a search
that keeps no scores would need for each. Times are of the processor.

Cells go to benchmarks/results/word_search.jsonl as they are measured: interrupted, the same line goes on.
Table: word_search.md.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cells, Values, markdown
from benchmarks.command import RESULTS, measuring
from benchmarks.gauges import timed
from benchmarks.measuring import open_backbone
from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.data.registry import load_task
from softprompt.errors import UsageError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.evaluate import evaluate
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.recipes.search.words.ranking import Combinations, Gold, best_words, combine
from softprompt.recipes.search.words.table import Table, read_table
from softprompt.recipes.search.words.whole_words import Vocabulary, slot_words, whole_words
from softprompt.recipes.watching import Silent
from softprompt.text.answers import Verbalizer
from softprompt.text.template import parse

TASK, TEMPLATE = "softprompt/reviews-en", "{text} It was {mask}."
KEPT = 100
CASES = {"2 classes": (2, 100), "3 classes": (3, 100), "5 classes": (5, 30)}
"""Classes, and words of each: LM-BFF's SST-2, MNLI and SST-5."""

LOOPED = 10_000
"""Combinations that the loop is timed on; of more, so many are and the rest is reckoned."""


def made_rows(count: int, classes: int) -> tuple[list[Example], Gold]:
    """Texts that ship, over and over, their classes in turn."""
    texts = [row.fields for row in load_task(TASK).examples("train")]
    rows = [Example(str(n), texts[n % len(texts)], f"class {n % classes}") for n in range(count)]
    return rows, Gold(np.arange(count) % classes, classes)


def bound(backbone: Backbone, words: Sequence[str]) -> Applied:
    """The template on a backbone, a word for each class."""
    answers = Verbalizer.read({f"class {n}": word for n, word in enumerate(words)})
    objective = resolve_objective(ObjectiveSettings(), backbone.family, free_text=False)
    return apply(backbone, parse(TEMPLATE), answers, objective)


def loop(table: Table, gold: Gold, top: int) -> tuple[float, int]:
    """One combination after the other: the best accuracy, and how many were tried."""
    assert table.log_p is not None
    best, tried = 0.0, 0
    pools = best_words(table.sums.log_p, top)
    for words in itertools.islice(itertools.product(*pools), LOOPED):
        right = float((table.log_p[:, list(words)].argmax(axis=1) == gold.classes).mean())
        if len(set(words)) == len(words):
            best = max(best, right)
        tried += 1
    return best, tried


def ours(table: Table, gold: Gold, top: int) -> Combinations:
    """The best words of each class, and their best combinations."""
    assert table.log_p is not None
    pools = best_words(table.sums.log_p, top)
    columns = np.unique(np.concatenate(pools))
    places = [np.searchsorted(columns, pool) for pool in pools]
    return combine(np.ascontiguousarray(table.log_p[:, columns]), gold, places, KEPT)


def compare(
    backbone: Backbone, vocabulary: Vocabulary, rows: int, classes: int, top: int, rounds: int
) -> Values:
    """Seconds of each part, the median of some rounds."""
    examples, gold = made_rows(rows, classes)
    applied = bound(backbone, vocabulary.words[:classes])
    made: dict[str, Any] = {}

    def read() -> None:
        made["table"] = read_table(
            backbone, applied, vocabulary, examples, gold.classes, classes, Silent()
        )

    def prune() -> None:
        made["found"] = ours(made["table"], gold, top)

    def slowly() -> None:
        made["loop"] = loop(made["table"], gold, top)

    labels = [f"class {n}" for n in range(classes)]

    def by_network() -> None:
        evaluate(backbone, applied, examples, ["accuracy"], labels)

    parts: Sequence[tuple[str, Callable[[], None]]] = (
        ("pass", read),
        ("combinations", prune),
        ("loop", slowly),
        ("evaluation", by_network),
    )
    read()  # warm
    seconds: dict[str, list[float]] = {name: [] for name, _ in parts}
    for _ in range(rounds):
        for name, part in parts:
            wall, processor = timed(part, backbone.device)
            seconds[name].append(processor if backbone.device.type == "cpu" else wall)
    found: Combinations = made["found"]
    best, tried = made["loop"]
    return {
        **{f"{name}, s": statistics.median(times) for name, times in seconds.items()},
        "possible": found.possible,
        "exhaustive": found.exhaustive,
        "looped": tried,
        "same best": bool(best == found.scores[0]) if tried == found.possible else None,
        "words": len(vocabulary.ids),
    }


def measure(name: str, arguments: Any, cells: Cells) -> None:
    """One model, each number of classes and rows."""
    backbone = open_backbone(name)
    if backbone.family != "masked":
        raise UsageError(f"{name}: expected a masked backbone")
    tokens = whole_words(backbone.tokenizer, backbone.vocabulary)
    examples, _ = made_rows(4, 2)
    vocabulary = slot_words(bound(backbone, ("a", "b")), tokens, examples)
    for case, rows in itertools.product(arguments.cases, arguments.rows):
        classes, top = CASES[case]
        settings = {
            "weights": backbone.identity.weights,
            "rounds": arguments.rounds,
            "template": TEMPLATE,
            "kept": KEPT,
        }
        place = {"model": Path(name).name, "rows": rows * classes, "classes": classes, "top": top}
        given = (vocabulary, rows * classes, classes, top, arguments.rounds)
        cells.measure(place, settings, partial(compare, backbone, *given))


def table(cells: Cells) -> str:
    """A row for each model and case."""
    head = ["model", "words scored", "rows", "words of a class", "combinations", "one pass, s"]
    head += ["combinations, s", "one by one, s", "each by the network, h"]
    rows = []
    for cell in sorted(cells, key=lambda cell: tuple(cell.place.values())):
        place, record = cell.place, cell.record
        whole = record["possible"]
        looped = record["loop, s"] * whole / record["looped"]
        reckoned = "" if record["looped"] == whole else " (reckoned)"
        row = [place["model"], f"{record['words']:,}", f"{place['rows']:,}"]
        row += [f"{place['top']} of {place['classes']}"]
        row += [f"{whole:,}" + ("" if record["exhaustive"] else " (beam)")]
        row += [f"{record['pass, s']:.2f}", f"{record['combinations, s']:.3f}"]
        row += [f"{looped:,.2f}{reckoned}", f"{record['evaluation, s'] * whole / 3600:,.1f}"]
        rows.append(row)
    return markdown(head, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=[], metavar="MODEL")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[16, 128], help="of a class (default 16, 128)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="timed, in turn (default 3)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="write the table, measure nothing")
    arguments = parser.parse_args(argv)
    if not arguments.models and not arguments.table:
        parser.error("--models is missing")
    with measuring(arguments.results / "word_search.jsonl") as cells:
        for name in () if arguments.table else arguments.models:
            measure(name, arguments, cells)
        written = table(cells)
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / "word_search.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
