"""What every search ends with: the best candidates fitted, `best.yaml`, `report.md`, `done.json` last.

Knows candidates and rankings, not how candidates were found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from softprompt.recipes.pages import Block, Grid, Heading, Paragraph, markdown
from softprompt.recipes.report import mean_and_spread
from softprompt.recipes.run_folder import DONE, REPORT, write_text
from softprompt.recipes.search.begin import Search
from softprompt.recipes.search.candidates import Candidate, read_candidates, titles
from softprompt.recipes.search.fitting import Fitted, Ranking, fit_candidates, write_best
from softprompt.recipes.search.folder import BEST, SEARCH
from softprompt.tuning.run import versions

SHOWN = 20
"""Candidates that a report shows; the file has all of them."""


@dataclass(frozen=True)
class Searched:
    """A finished search.

    Args:
        folder: where everything is.
        candidates: all of them, best first by the search's own score.
        ranking: of those that were fitted; None: none was.
        kept: of triggers that are no text, what was kept of them, in a sentence.
    """

    folder: Path
    candidates: Sequence[Candidate]
    ranking: Ranking | None
    kept: str = ""

    @property
    def best(self) -> Candidate:
        """Of the fitted ones the best, else the search's own first one."""
        return self.candidates[0] if self.ranking is None else self.ranking.best.candidate


def finish(search: Search, title: str, found: Sequence[Block], score: str) -> Searched:
    """Fit the first `fits` of the candidates in the folder's file, and leave what a search leaves.

    Args:
        title: of the report, such as "Label words".
        found: the report's section on how the candidates were found.
        score: name of the candidates' own score, for the report's table.
    Raises:
        UsageError: the file was edited and holds something that does not fit.
        RunError: every fit failed, or the disk refuses.
    """
    listed = read_candidates(search.folder.candidates)
    candidates = [one.ordered(search.labels) for one in listed]
    chosen = candidates[: search.settings.fits]
    ranking = None
    if chosen:
        ranking = fit_candidates(
            search.run,
            chosen,
            search.folder.fits,
            search.backbone,
            search.data,
            search.told,
            keep=search.keep,
        )
    made = Searched(search.folder.path, candidates, ranking)
    said = how_chosen(ranking) if ranking is not None else f"the best by {score}; none was fitted"
    write_best(search.folder.path / BEST, search.run, made.best, said)
    task, backbone = search.data.task.name, search.backbone.name
    blocks: list[Block] = [
        Heading(f"{title}: {task} on {backbone}", 1),
        Paragraph(
            f"Settings are in `{SEARCH}`; the best stands in `{BEST}`, for `softprompt train`."
        ),
        *found,
        *(fit_blocks(ranking) if ranking is not None else ()),
        *_candidate_blocks(candidates, score),
    ]
    write_text(search.folder.path / REPORT, markdown(blocks))
    write_text(search.folder.path / DONE, json.dumps(_record(made), indent=2) + "\n")
    return made


def how_chosen(ranking: Ranking) -> str:
    """One sentence: by what, of how many, how a tie was settled, what test says."""
    best, metric = ranking.best, ranking.metric
    seeds = len(best.outcomes)
    mean = f"mean dev {metric} over {seeds} seeds" if seeds > 1 else f"dev {metric}"
    dev = fmean(best.values("dev", metric))
    text = f"the best of {len(ranking.fits)} fitted candidates by {mean}, {dev:.3f}"
    if ranking.choice.tied > 1:
        settled = ranking.choice.settled.replace("coming first", "standing first in the list")
        text += f"; {ranking.choice.tied} are tied, and {settled} decided"
    if metric in ranking.test:
        test = ranking.test[metric]
        text += f"; test {test:.3f}, dev − test {dev - test:+.3f}"
    return text


def fit_blocks(ranking: Ranking) -> list[Block]:
    """The report's section on the fits: their ranking, and what it is worth."""
    metric, best = ranking.metric, ranking.best
    head = ("candidate", f"dev {metric}", "dev cross-entropy", "folder")
    rows = fit_rows(ranking)
    caption = f"{len(rows)} fits, the best first"
    blocks: list[Block] = [
        Heading("Fits"),
        Paragraph(f"Chosen: **{best.candidate.title}**, {how_chosen(ranking)}."),
        Paragraph(
            "Equal dev scores are ordered by dev cross-entropy, then by the order of the candidates. The "
            "highest of many dev scores flatters; test took no part in the choice, and only the chosen "
            "one was scored on it."
        ),
        Grid(head, rows, caption),
    ]
    if ranking.test:
        scores = [(name, f"{value:.3f}") for name, value in ranking.test.items()]
        blocks.append(Grid(("test metric", "the chosen one"), scores))
    return blocks


def fit_rows(ranking: Ranking) -> list[tuple[str, str, str, str]]:
    """Candidate, dev metric, dev cross-entropy, folder; the best one first."""
    named = titles([one.candidate for one in ranking.fits])
    return [
        _row(one, title, ranking.metric) for one, title in zip(ranking.fits, named, strict=True)
    ]


def _row(one: Fitted, title: str, metric: str) -> tuple[str, str, str, str]:
    where = f"fits/{one.place.name}"
    if one.failure is not None:
        return title, "failed", "–", where
    losses = one.values("dev", "loss")
    loss = mean_and_spread(losses) if losses else "–"
    return title, mean_and_spread(one.values("dev", metric)), loss, where


def _candidate_blocks(candidates: Sequence[Candidate], score: str) -> list[Block]:
    shown = candidates[:SHOWN]
    pairs = zip(titles(candidates), shown, strict=False)
    rows = [(title, _number(one.scores.get(score))) for title, one in pairs]
    caption = f"the first {len(shown)} of {len(candidates):,}; all are in `candidates.jsonl`"
    labels = next((one.words for one in shown if one.words), {})
    if labels:
        caption += f"; words stand in the order {' / '.join(labels)}"
    return [Heading("Candidates"), Grid(("candidate", score), rows, caption)]


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "–" if value is None else str(value)


def _record(made: Searched) -> dict[str, Any]:
    best = made.best
    record: dict[str, Any] = {"best": {"template": best.template, "words": best.words}}
    ranking = made.ranking
    if ranking is not None:
        dev = {name: fmean(ranking.best.values("dev", name)) for name in _names(ranking.best)}
        record |= {
            "fit": ranking.best.place.name,
            "scores": {"dev": dev, "test": dict(ranking.test)},
            "tied": ranking.choice.tied,
            "settled": ranking.choice.settled,
            "ranked": [one.place.name for one in ranking.fits if one.failure is None],
            "failed": [one.place.name for one in ranking.fits if one.failure is not None],
        }
    return {**record, "versions": versions()}


def _names(one: Fitted) -> list[str]:
    return list(one.outcomes[0].metrics.get("dev", {}))
