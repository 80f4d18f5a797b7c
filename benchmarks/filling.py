"""How long answers of several tokens take that are filled in the likeliest token first, and do scores agree.

    python -m benchmarks.filling --models MINILM tiny-mlm

Each model is a folder, or the name of one that ships. The task is made up: which of an example's own
candidates, of 2 to 4 tokens, stands in the text. They are either names, many of which have a first or a last
one in common, or invented words, of which few begin alike. Beside ours stand two loops over one example at a
time, as PET's released code runs them, on the same ids and the same model, with the logits of the whole
row: one candidate after the other (its COPA), and the candidates of one length by eight, their first pass
shared (its other tasks). All take turns in one process; times are of the processor.

Cells go to benchmarks/results/filling.jsonl as they are measured: interrupted, the same line goes on.
Table: filling.md.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cells import Cells, Values, markdown
from benchmarks.command import RESULTS, measuring
from benchmarks.gauges import timed
from benchmarks.measuring import open_backbone
from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import UsageError
from softprompt.inference.applied import Applied, apply
from softprompt.inference.filling import fill_in
from softprompt.inference.objective import ObjectiveSettings, resolve_objective
from softprompt.inference.predict import answer
from softprompt.inference.questions import Ranked, questions
from softprompt.text.answers import OwnCandidates
from softprompt.text.query import Query, Read
from softprompt.text.template import parse

TEMPLATE = "{text} The one who came was {mask}."
FILLER = """the a mayor said that old town river he when they met with some and then went home before
winter came to ask about new roads or the bridge near school while people were waiting"""
FIRST = """Mary John Peter Anna James Laura Robert Helen Edward Clara Thomas Alice Henry Grace Walter
Emma"""
LAST = """Whitfield Hargrove Ellison Marlowe Pemberton Langley Thornton Ashworth Caldwell Merrick Stanton
Holloway Bradley Osborne"""
SYLLABLES = "ba de ki lo mu na pe ri so tu va ze gor wen"
TOKENS = range(2, 5)

CANDIDATES: Mapping[str, Callable[[], Iterator[str]]] = {
    "names": lambda: (" ".join(pair) for pair in itertools.product(FIRST.split(), LAST.split())),
    "invented words": lambda: (
        "".join(three).capitalize() for three in itertools.permutations(SYLLABLES.split(), 3)
    ),
}
"""What a candidate can be, by its kind."""

BY_EIGHT = 8
"""Candidates that the released code puts through the network together."""


# --- the task --------------------------------------------------------------------------------------


def bound(backbone: Backbone) -> Applied:
    """The template on a backbone, candidates filled in the likeliest token first.

    Raises:
        UsageError: a backbone that is not masked.
    """
    settings = ObjectiveSettings(fill="max_first")
    objective = resolve_objective(settings, backbone.family, free_text=False)
    return apply(backbone, parse(TEMPLATE), OwnCandidates(), objective)


def possible(applied: Applied, kind: str) -> list[str]:
    """All candidates of a kind that the backbone's tokenizer makes 2 to 4 tokens of.

    Raises:
        UsageError: it makes so of none.
    """
    every = tuple(CANDIDATES[kind]())
    ids = applied.candidate_ids(Example(kind, {"text": "so"}, None, every))
    found = [name for name, own in zip(every, ids, strict=True) if len(own) in TOKENS]
    if not found:
        raise UsageError(f"this tokenizer makes 2 to 4 tokens of none of the {kind}")
    return found


def asked_of(applied: Applied, n: int, kind: str, candidates: int, words: int) -> list[Ranked]:
    """n questions about a text of so many words, each with candidates of its own."""
    draw, every = random.Random(0), possible(applied, kind)
    examples = [
        Example(
            id=str(number),
            fields={"text": " ".join(draw.choices(FILLER.split(), k=words))},
            target=None,
            candidates=tuple(draw.sample(every, k=min(candidates, len(every)))),
        )
        for number in range(n)
    ]
    made = questions([applied], [(0, example) for example in examples])
    return [question for question in made if isinstance(question, Ranked)]


# --- who answers -----------------------------------------------------------------------------------


Scores = list[list[float]]
"""log p of each candidate of each example."""


def ours(backbone: Backbone, applied: Applied, asked: Sequence[Ranked]) -> object:
    """All examples, candidates and rounds in batches, to the predictions."""
    return answer(backbone, [applied], asked)


def our_scores(backbone: Backbone, asked: Sequence[Ranked]) -> Scores:
    """What `ours` makes its predictions of."""
    renderings = [question.rendering for question in asked]
    none = [0] * len(asked)
    with torch.no_grad():
        found = fill_in(backbone, None, renderings, none, ["max_first"] * len(asked), 8192)
    parts = found.summed.split([len(rendering.label_of) for rendering in renderings])
    return [part.tolist() for part in parts]


@torch.no_grad()
def one_by_one(backbone: Backbone, asked: Sequence[Ranked]) -> Scores:
    """One example, one candidate, one token after the other."""
    found = []
    for question in asked:
        scores = {}
        for query in question.rendering.queries:
            for read in query.reads:
                scores[read.candidate] = _fill_together(backbone, query, [read], None)[0]
        found.append([scores[number] for number in sorted(scores)])
    return found


@torch.no_grad()
def by_eight(backbone: Backbone, asked: Sequence[Ranked]) -> Scores:
    """One example after the other; candidates of one length share the first pass, then go by eight."""
    found = []
    for question in asked:
        scores = {}
        for query in question.rendering.queries:
            first = _probabilities(backbone, torch.tensor([query.ids], device=backbone.device))
            for start in range(0, len(query.reads), BY_EIGHT):
                part = query.reads[start : start + BY_EIGHT]
                for read, value in zip(
                    part, _fill_together(backbone, query, part, first), strict=True
                ):
                    scores[read.candidate] = value
        found.append([scores[number] for number in sorted(scores)])
    return found


def _fill_together(
    backbone: Backbone, query: Query, reads: Sequence[Read], first: Tensor | None
) -> list[float]:
    """log p of candidates of one length, a row each, over and over through the network.

    Args:
        first: probabilities of the row as it is, `[1, T, V]`, if they are known.
    """
    ids = torch.tensor([query.ids] * len(reads), device=backbone.device)
    left = [dict(zip(read.positions, read.tokens, strict=True)) for read in reads]
    totals = [0.0] * len(reads)
    while left[0]:
        table = _probabilities(backbone, ids) if first is None else first.expand(len(reads), -1, -1)
        first = None
        for row, open_ones in enumerate(left):
            each = {place: table[row, place, token].log() for place, token in open_ones.items()}
            place = max(each, key=lambda one: float(each[one]))
            totals[row] += float(each[place])
            ids[row, place] = open_ones.pop(place)
    return totals


def _probabilities(backbone: Backbone, ids: Tensor) -> Tensor:
    """Of the whole vocabulary at every position, `[B, T, V]`."""
    model: Any = backbone.model
    return torch.softmax(model(input_ids=ids).logits, dim=-1)


# --- measuring -------------------------------------------------------------------------------------


WAYS = ("one by one", "by eight", "ours")


def compare(
    backbone: Backbone, kind: str, candidates: int, words: int, examples: int, rounds: int
) -> Values:
    """Seconds of an example, each way in turn, and how far the scores are apart."""
    applied = bound(backbone)
    asked = asked_of(applied, examples, kind, candidates, words)
    scores: dict[str, Scores] = {}

    def loop(name: str, way: Callable[[Backbone, Sequence[Ranked]], Scores]) -> None:
        scores[name] = way(backbone, asked)

    ways: Sequence[Callable[[], object]] = (
        partial(loop, "one by one", one_by_one),
        partial(loop, "by eight", by_eight),
        partial(ours, backbone, applied, asked),
    )
    ways[-1]()  # warm
    seconds: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        for place in range(len(ways)):
            which = (number + place) % len(ways)
            wall, processor = timed(ways[which], backbone.device)
            seconds[which].append(processor if backbone.device.type == "cpu" else wall)
    own = our_scores(backbone, asked)
    return {
        **{
            f"{name}, s": statistics.median(times) / examples
            for name, times in zip(WAYS, seconds, strict=True)
        },
        **{
            f"{name}, ratio": statistics.median(
                other / mine for other, mine in zip(times, seconds[-1], strict=True)
            )
            for name, times in zip(WAYS[:-1], seconds[:-1], strict=True)
        },
        "difference": max(_apart(own, other) for other in scores.values()),
        "row": statistics.mean(len(q.ids) for one in asked for q in one.rendering.queries),
    }


def _apart(one: Scores, other: Scores) -> float:
    """The largest difference of two scores of a candidate."""
    pairs = zip(itertools.chain(*one), itertools.chain(*other), strict=True)
    return max(abs(a - b) for a, b in pairs)


def measure(name: str, arguments: Any, cells: Cells) -> None:
    """One model, on each kind and number of candidates and each length of text."""
    backbone = open_backbone(name)
    settings = {
        "weights": backbone.identity.weights,
        "examples": arguments.examples,
        "rounds": arguments.rounds,
        "template": TEMPLATE,
    }
    what = itertools.product(CANDIDATES, arguments.candidates, arguments.words)
    for kind, candidates, words in what:
        place = {
            "model": Path(name).name,
            "kind": kind,
            "candidates": candidates,
            "words": words,
        }
        given = (kind, candidates, words, arguments.examples, arguments.rounds)
        cells.measure(place, settings, partial(compare, backbone, *given))


def table(cells: Cells) -> str:
    """A row for each model and length of text."""
    head = [
        "model",
        "candidates",
        "words of a text",
        "tokens of a row",
        *(f"{way}, s an example" for way in WAYS),
    ]
    head += ["one by one / ours", "by eight / ours", "largest difference of log p"]
    rows = []
    order = ("model", "kind", "candidates", "words")
    for cell in sorted(cells, key=lambda cell: [cell.place[name] for name in order]):
        record, place = cell.record, cell.place
        row = [place["model"], f"{place['candidates']} {place['kind']}", str(place["words"])]
        row.append(f"{record['row']:.0f}")
        row += [f"{record[f'{way}, s']:.3f}" for way in WAYS]
        row += [f"{record[f'{way}, ratio']:.1f}×" for way in WAYS[:-1]]
        rows.append([*row, f"{record['difference']:.0e}"])
    return markdown(head, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=[], metavar="MODEL")
    parser.add_argument("--examples", type=int, default=2, help="how many (default 2)")
    parser.add_argument(
        "--candidates",
        type=int,
        nargs="+",
        default=[10, 30, 100],
        help="of an example (10, 30, 100)",
    )
    parser.add_argument("--words", type=int, nargs="+", default=[15, 40], help="of a text (15, 40)")
    parser.add_argument("--rounds", type=int, default=3, help="timed, in turn (default 3)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="write the table, measure nothing")
    arguments = parser.parse_args(argv)
    if not arguments.models and not arguments.table:
        parser.error("--models is missing")
    with measuring(arguments.results / "filling.jsonl") as cells:
        for name in () if arguments.table else arguments.models:
            measure(name, arguments, cells)
        written = table(cells)
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / "filling.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
