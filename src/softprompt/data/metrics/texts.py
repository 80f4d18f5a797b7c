"""Texts against texts: SQuAD's exact match and token F1, ReCoRD's, CMRC's F1, WSC's span match.

Of several golds the best one counts. Chinese is compared by character.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

from softprompt.data.metrics.metric import Given

ARTICLES = {"a", "an", "the"}
TRUE, FALSE = "True", "False"


def tokens(text: str) -> list[str]:
    """A text as SQuAD compares it: lower case, no punctuation, no articles; Chinese by
    character."""
    pieces: list[str] = []
    for character in text.lower():
        if "CJK" in unicodedata.name(character, ""):
            pieces.append(f" {character} ")
        elif not unicodedata.category(character).startswith("P"):
            pieces.append(character)
    return [word for word in "".join(pieces).split() if word not in ARTICLES]


def golds_of(gold: Any) -> tuple[str, ...]:
    """The gold texts of a row, one or several."""
    return (gold,) if isinstance(gold, str) else tuple(gold)


def exact_match(given: Given) -> float:
    """Share of rows whose text equals one of its golds, both as `tokens` has them (SQuAD's EM;
    ReCoRD's, Zhang et al. 2018)."""
    return _best(given, lambda found, wanted: float(found == wanted))


def token_f1(given: Given) -> float:
    """Mean over rows of the F1 of shared tokens, the best of the row's golds (SQuAD's F1)."""
    return _best(given, shared_f1)


def cmrc_f1(given: Given) -> float:
    """Mean over rows of an F1 of the longest run that both texts have, the best of the golds
    (Cui et al. 2019, the evaluation script of CMRC 2018)."""
    return _best(given, run_f1)


def wsc(given: Given) -> float:
    """Accuracy of WSC by generation: a span is meant when one's words contain the other's.

    A gold is the referent alone, or the span and "True" or "False", whether it is the referent;
    of a span that is not, naming another one is right (Raffel et al. 2020, section 2.1; PET).
    """
    right = 0
    for p, gold in given.pairs:
        span, *truth = golds_of(gold)
        meant = p is not None and same_meant(p, span)
        right += meant == (truth != [FALSE]) and p is not None
    return right / len(given.golds)


def shared_f1(found: list[str], wanted: list[str]) -> float:
    """F1 of the tokens that two texts share, as often as both have them."""
    if not found or not wanted:
        return float(found == wanted)
    shared = (Counter(found) & Counter(wanted)).total()
    return 2 * shared / (len(found) + len(wanted))


def run_f1(found: list[str], wanted: list[str]) -> float:
    """F1 of the longest run of tokens that both texts have."""
    if not found or not wanted:
        return float(found == wanted)
    longest, before = 0, [0] * (len(wanted) + 1)
    for one in found:
        now = [0] * (len(wanted) + 1)
        for place, other in enumerate(wanted, start=1):
            if one == other:
                now[place] = before[place - 1] + 1
        longest, before = max(longest, *now), now
    return 2 * longest / (len(found) + len(wanted))


def same_meant(one: str, other: str) -> bool:
    """Whether two texts mean the same span: the words of one are among the other's, and there are any."""
    mine, theirs = set(tokens(one)), set(tokens(other))
    return bool(mine) and bool(theirs) and (mine <= theirs or theirs <= mine)


def _best(given: Given, alike: Callable[[list[str], list[str]], float]) -> float:
    best = (
        0.0 if p is None else max(alike(tokens(str(p)), tokens(one)) for one in golds_of(gold))
        for p, gold in given.pairs
    )
    return sum(best) / len(given.golds)
