"""Several prompts, one answer: majority vote and averaged probabilities over the same rows.

Lester et al. 2021 (section 6) train five prompts on one frozen model and take a plain majority
vote; PET (Schick and Schütze 2021) weighs its patterns by their accuracy. Knows predictions, not
prompts or how they were made; `inference` runs many prompts in one pass.

An ensemble does not depend on the order of its members: sums are exact, and what remains tied is
settled by the labels alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from softprompt.analysis.significance import Spread, spread
from softprompt.data.columns import listed
from softprompt.data.metrics import PartScore, score
from softprompt.errors import UsageError

if TYPE_CHECKING:
    from softprompt.inference.predict import Prediction

Members = Mapping[str, Sequence["Prediction"]]
"""Name to predictions, the same rows in the same order for each."""


@dataclass(frozen=True)
class Ensemble:
    """What several members say together.

    Args:
        predictions: one per row, in the members' order.
        ties: rows on which the vote alone did not decide.
    """

    predictions: tuple[Prediction, ...]
    ties: int = 0


def majority_vote(members: Members, weights: Mapping[str, float] | None = None) -> Ensemble:
    """Each member has one vote; on a tie the tied label with the highest mean probability wins.

    An illegal answer is no vote; a row with no votes at all stays illegal. Free texts are voted on as
    they stand. Where the mean probabilities are tied too, or an answer was generated and has none,
    the alphabetically first answer wins.

    Args:
        members: name to predictions.
        weights: votes of each member, not negative; by default one.
    Returns:
        Predictions with mean probabilities (of the label voted for, not always the highest).
    Raises:
        UsageError: no members, other rows or labels in one of them, numbers instead of labels, or
            weights that are missing, negative or all zero.
    """
    share = _shares(members, weights)
    made, ties = [], 0
    for row in _rows(members):
        if any(one.value is not None for one in row.values()):
            raise UsageError(f"example {_any(row).id}: a number cannot be voted on; take the mean")
        votes: dict[str, list[float]] = {}
        for name, one in row.items():
            answer = one.answer
            if answer is not None and share[name] > 0:
                votes.setdefault(str(answer), []).append(share[name])
        counted = {answer: math.fsum(given) for answer, given in votes.items()}
        most = max(counted.values(), default=0.0)
        tied = sorted(a for a, count in counted.items() if math.isclose(count, most, rel_tol=1e-9))
        mean = _mean_probabilities(row, share)
        winner = max(tied, key=lambda answer: mean.get(answer, 0.0), default=None)
        ties += len(tied) > 1
        free = any(one.free for one in row.values())
        made.append(_merged(row, None if free else winner, mean, text=winner if free else None))
    return Ensemble(tuple(made), ties)


def mean_probabilities(members: Members, weights: Mapping[str, float] | None = None) -> Ensemble:
    """Average the members' probabilities, and numbers where they have them; the likeliest wins.

    Args:
        members: name to predictions, all with probabilities.
        weights: of each member, such as its dev accuracy, not negative; by default equal.
    Returns:
        Predictions; `ties` counts the rows with several likeliest labels, of which the
        alphabetically first wins.
    Raises:
        UsageError: as `majority_vote`, or a prediction without probabilities.
    """
    share = _shares(members, weights)
    made, ties = [], 0
    for row in _rows(members):
        for name, one in row.items():
            if not one.probabilities:
                raise UsageError(
                    f"member '{name}', example {one.id}: no probabilities to average, its answer "
                    "was generated; vote, or predict by rank"
                )
        mean = _mean_probabilities(row, share)
        most = max(mean.values())
        tied = sorted(label for label, p in mean.items() if math.isclose(p, most, rel_tol=1e-9))
        ties += len(tied) > 1
        made.append(_merged(row, tied[0], mean, value=_mean_value(row, share)))
    return Ensemble(tuple(made), ties)


@dataclass(frozen=True)
class EnsembleTable:
    """Mean, best and ensembles of N members on one test set.

    Args:
        members: each one's score.
        mean: mean ± sample sd of these.
        best: the name of the member with the highest dev score, the first of them on ties. Chosen
            on dev: the best *on the test set* would flatter.
        tied: how many members share that dev score.
        ensembles: name of the way to score; "weighted" by dev scores, where none is negative.
        ties: name of the way to tied rows.
    """

    members: Mapping[str, float]
    mean: Spread
    best: str
    tied: int
    ensembles: Mapping[str, float]
    ties: Mapping[str, int]

    def rows(self) -> list[tuple[str, str]]:
        """Name and score of each line of the table, for a report."""
        more = f", {self.tied} tied" if self.tied > 1 else ""
        chosen = f"best by dev ('{self.best}'{more})"
        lines = [(f"mean of {self.mean.n}", str(self.mean))]
        lines.append((chosen, f"{self.members[self.best]:.3f}"))
        for way, value in self.ensembles.items():
            lines.append((f"{way} ({self.ties[way]} tied)", f"{value:.3f}"))
        return lines


def ensemble_table(
    members: Members,
    golds: Sequence[Any],
    metric: str,
    dev_scores: Mapping[str, float],
    labels: Sequence[str] = (),
    groups: Sequence[str | None] | None = None,
    parts: Mapping[str, PartScore] | None = None,
) -> EnsembleTable:
    """Score the members, the best of them by dev, and their ensembles, on the same rows.

    Args:
        members: name to predictions on these rows.
        golds: one per row.
        metric: from `data.metrics.METRICS`.
        dev_scores: each member's score on dev, which chooses the best one and weighs them.
        labels: the task's labels in order.
        groups: which rows belong together, for metrics that need it.
        parts: how each task of a mixture is scored.
    Raises:
        UsageError: as the ensembles and metrics do, or a member without a dev score.
    """
    if missing := [name for name in members if name not in dev_scores]:
        raise UsageError(f"no dev score for {listed(missing)}; the best is chosen on dev")

    def worth(predictions: Sequence[Prediction]) -> float:
        given = [p.answer for p in predictions]
        return score([metric], given, golds, labels, groups, parts=parts)[metric]

    numbers = any(one.value is not None for rows in members.values() for one in rows)
    ranked = all(one.probabilities for rows in members.values() for one in rows)
    weights = {name: dev_scores[name] for name in members}
    made: dict[str, Ensemble] = {}
    if not numbers:
        made["majority vote"] = majority_vote(members)
    if ranked:
        made["mean of probabilities"] = mean_probabilities(members)
        if min(weights.values(), default=0.0) >= 0 and any(weights.values()):
            made["weighted by dev"] = mean_probabilities(members, weights)
    own = {name: worth(predictions) for name, predictions in members.items()}
    best = max(members, key=dev_scores.__getitem__)
    return EnsembleTable(
        members=own,
        mean=spread(list(own.values())),
        best=best,
        tied=sum(dev_scores[name] == dev_scores[best] for name in members),
        ensembles={way: worth(one.predictions) for way, one in made.items()},
        ties={way: one.ties for way, one in made.items()},
    )


def _shares(members: Members, weights: Mapping[str, float] | None) -> dict[str, float]:
    """Each member's weight, checked; one each by default."""
    if not members:
        raise UsageError("no members to put together; expected at least one")
    if weights is None:
        return dict.fromkeys(members, 1.0)
    if missing := [name for name in members if name not in weights]:
        raise UsageError(f"no weight for {listed(missing)}")
    share = {name: float(weights[name]) for name in members}
    if bad := [name for name, w in share.items() if not (math.isfinite(w) and w >= 0)]:
        raise UsageError(f"weights: expected numbers from 0, got {share[bad[0]]} for '{bad[0]}'")
    if not any(share.values()):
        raise UsageError("weights: at least one must be above 0")
    return share


def _rows(members: Members) -> list[dict[str, Prediction]]:
    """Row by row what each member says, once all are known to speak of the same thing."""
    first = next(iter(members))
    for name, predictions in members.items():
        if len(predictions) != len(members[first]):
            raise UsageError(
                f"member '{name}' has {len(predictions)} predictions, '{first}' has "
                f"{len(members[first])}; expected the same rows"
            )
        for number, (one, other) in enumerate(
            zip(predictions, members[first], strict=True), start=1
        ):
            if one.id != other.id:
                raise UsageError(
                    f"row {number}: member '{name}' has example {one.id}, '{first}' has {other.id}; "
                    "expected the same rows in the same order"
                )
    count = len(members[first])
    rows = [{name: members[name][number] for name in members} for number in range(count)]
    for row in rows:
        ranked = {name: one.probabilities for name, one in row.items() if one.probabilities}
        for name, found in ranked.items():
            known = next(iter(ranked))
            if found.keys() != ranked[known].keys():
                raise UsageError(
                    f"example {row[name].id}: member '{name}' has the labels {listed(found)}, "
                    f"'{known}' has {listed(ranked[known])}; expected the same"
                )
    return rows


def _mean_probabilities(
    row: Mapping[str, Prediction], share: Mapping[str, float]
) -> dict[str, float]:
    """Weighted mean over the members that have probabilities; empty if none has any weight."""
    ranked = {name: one for name, one in row.items() if one.probabilities and share[name] > 0}
    total = math.fsum(share[name] for name in ranked)
    labels = _any(ranked).probabilities if ranked else {}
    return {
        label: math.fsum(share[n] * one.probabilities[label] for n, one in ranked.items()) / total
        for label in labels
    }


def _mean_value(row: Mapping[str, Prediction], share: Mapping[str, float]) -> float | None:
    values = {name: one.value for name, one in row.items() if one.value is not None}
    if not values:
        return None
    return math.fsum(share[n] * v for n, v in values.items()) / math.fsum(share[n] for n in values)


def _merged(
    row: Mapping[str, Prediction],
    label: str | None,
    probabilities: Mapping[str, float],
    text: str | None = None,
    value: float | None = None,
) -> Prediction:
    cut = max(one.cut for one in row.values())
    free = any(one.free for one in row.values())
    return replace(
        _any(row),
        label=label,
        probabilities=dict(probabilities),
        text=text,
        value=value,
        cut=cut,
        free=free,
    )


def _any(row: Mapping[str, Prediction]) -> Prediction:
    return next(iter(row.values()))
