"""LAMA (Petroni et al. 2019): facts of a relation, and its text with a gap where the object stands.

Reads `relations.jsonl` (`[X] was born in [Y] .`) and one `<relation>.jsonl` of facts each. Knows
facts and ranks, not models: `recipes/lama.py` asks one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from softprompt.data.columns import did_you_mean, listed
from softprompt.data.examples import Example
from softprompt.data.jsonrows import json_lines
from softprompt.data.lines import LINE_LIMIT
from softprompt.errors import DataError, UsageError

SUBJECT, OBJECT = "[X]", "[Y]"
LONG = 64 * LINE_LIMIT
"""A fact carries all its evidence on its line."""


@dataclass(frozen=True)
class Relation:
    """One relation and its facts.

    Args:
        name: Wikidata's, such as "P36".
        label: what it is called.
        template: in this package's language: `{subject} is the capital of {mask} .`
        kind: "1-1", "N-1" or "N-M": how many subjects and objects belong together.
        facts: examples with the field `subject`; the target is the object. Each pair once.
    """

    name: str
    label: str
    template: str
    kind: str
    facts: tuple[Example, ...]


def read_lama(folder: str | Path, relations: Sequence[str] = ()) -> tuple[Relation, ...]:
    """The relations of LAMA's T-REx whose facts lie in a folder.

    Args:
        folder: with `relations.jsonl`, and facts beside it or in `TREx/`.
        relations: names; all that have a file by default.
    Raises:
        DataError: no such folder, a file is missing, or a bad row.
        UsageError: a name that is no relation.
    """
    root = Path(folder).expanduser()
    known = {}
    for line, row in json_lines(root / "relations.jsonl", LONG):
        try:
            known[str(row["relation"])] = (line, row)
        except KeyError:
            message = "expected a relation with its template"
            raise DataError(message, file=str(root / "relations.jsonl"), line=line) from None
    for name in relations:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(f"no relation {name!r} in LAMA; known: {listed(known)}{hint}")
    places = {name: _facts_file(root, name) for name in (relations or known)}
    there = {name: path for name, path in places.items() if relations or path.is_file()}
    if not there:
        raise DataError("no facts beside relations.jsonl: expected P36.jsonl …", file=str(root))
    return tuple(_relation(name, known[name][1], path) for name, path in there.items())


def lama_template(text: str) -> str:
    """`[X] was born in [Y] .` as a template: `{subject} was born in {mask} .`

    Raises:
        UsageError: not one [X] and one [Y].
    """
    if text.count(SUBJECT) != 1 or text.count(OBJECT) != 1:
        raise UsageError(f"expected one [X] and one [Y], got {text!r}")
    plain = text.replace("{", "{{").replace("}", "}}")
    return plain.replace(SUBJECT, "{subject}").replace(OBJECT, "{mask}")


def precision_and_rank(ranks: Sequence[int]) -> dict[str, float]:
    """P@1, P@10 and the mean reciprocal rank of the right objects.

    Args:
        ranks: of each fact's object among all tokens, from 1.
    Raises:
        UsageError: no ranks, or one below 1.
    """
    if not ranks or min(ranks) < 1:
        raise UsageError(f"expected ranks from 1, got {list(ranks)[:5]}")
    return {
        "p_at_1": fmean(rank == 1 for rank in ranks),
        "p_at_10": fmean(rank <= 10 for rank in ranks),
        "mrr": fmean(1 / rank for rank in ranks),
    }


def averaged(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean over relations, each counting alike (Petroni et al. 2019, table 2).

    Raises:
        UsageError: no relation.
    """
    rows = list(scores)
    if not rows:
        raise UsageError("no relation to take a mean of")
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def _facts_file(root: Path, name: str) -> Path:
    inner = root / "TREx" / f"{name}.jsonl"
    return inner if inner.is_file() else root / f"{name}.jsonl"


def _relation(name: str, row: Mapping[str, str], path: Path) -> Relation:
    facts: dict[tuple[str, str], Example] = {}
    for line, fact in json_lines(path, LONG):
        try:
            subject, wanted = str(fact["sub_label"]), str(fact["obj_label"])
        except KeyError as error:
            message = f"expected sub_label and obj_label, no {error}"
            raise DataError(message, file=str(path), line=line) from None
        facts.setdefault((subject, wanted), Example(f"{name}:{line}", {"subject": subject}, wanted))
    if not facts:
        raise DataError("no rows; expected at least one fact", file=str(path))
    text = lama_template(str(row["template"]))
    kind, label = str(row.get("type", "")), str(row.get("label", name))
    return Relation(name, label, text, kind, tuple(facts.values()))
