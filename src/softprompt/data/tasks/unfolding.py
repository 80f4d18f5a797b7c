"""Records become rows: a passage with its questions and answers, a cloze cut at its gap.

Pure functions of one record and its split. Knows the official layouts' keys, not files.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from softprompt.data.columns import as_text
from softprompt.data.readers import Row
from softprompt.data.sampling import permutation

FINAL = " .?!,;:"
GAP, IDIOM = "@placeholder", "#idiom#"
TAUGHT = 10
"""Candidates of a row that PET learns ReCoRD from."""

CONNECTORS = {"cause": "because", "effect": "so"}
_HIGHLIGHT = re.compile(r"([.!?]?)\s*\n@highlight\n")


def copa(row: Row, split: str) -> Iterable[Row]:
    """COPA: the two choices as candidates, without their full stop, first letter in lower case
    (PET's code); `connector` is because or so."""
    choices = [_phrase(row["choice1"]), _phrase(row["choice2"])]
    if choices[0] == choices[1]:  # told apart by nothing but their end
        choices = [row["choice1"], row["choice2"]]
    made = {**row, "candidates": choices, "connector": CONNECTORS.get(row["question"], "")}
    if "label" in row:
        made["answer"] = choices[int(row["label"])]
    return [made]


def copa_both(row: Row, split: str) -> Iterator[Row]:
    """COPA with every row of train in both orders of its choices (PET's code); the two are one group,
    which no dev split parts."""
    orders = [("choice1", "choice2"), ("choice2", "choice1")]
    for number, (one, other) in enumerate(orders if split == "train" else orders[:1]):
        turned = {**row, "choice1": row[one], "choice2": row[other]}
        if "label" in row:
            turned["label"] = abs(number - int(row["label"]))
        name = str(row["idx"])
        for made in copa(turned, split):
            yield {**made, "id": f"{name}-{number}" if number else name, "group": name}


def multirc(row: Row, split: str) -> Iterator[Row]:
    """MultiRC: one row per answer; `group` is its question."""
    for number, question in enumerate(row["passage"]["questions"]):
        at = question.get("idx", number)
        for place, answer in enumerate(question["answers"]):
            yield {
                "id": f"{row['idx']}-{at}-{answer.get('idx', place)}",
                "passage": row["passage"]["text"],
                "question": question["question"],
                "answer": answer["text"],
                "group": f"{row['idx']}-{at}",
                **({"label": answer["label"]} if "label" in answer else {}),
            }


def record(row: Row, split: str) -> Iterator[Row]:
    """ReCoRD: one row per query, cut at its gap; the candidates are the passage's entities.

    To train on, one row per correct answer, the other correct ones no candidates (PET's code;
    Raffel et al. 2020, appendix B).
    """
    text = row["passage"]["text"]
    named = [text[place["start"] : place["end"] + 1] for place in row["passage"]["entities"]]
    entities = list(dict.fromkeys(named))
    for query in row["qas"]:
        golds = list(dict.fromkeys(answer["text"] for answer in query.get("answers", ())))
        before, _, after = query["query"].partition(GAP)
        made = {
            "id": f"{row['idx']}-{query['idx']}",
            "passage": _HIGHLIGHT.sub(lambda found: f"{found[1] or '.'} ", text),
            "query": query["query"],
            "before": before.rstrip(),
            "after": after,
            "entities": ", ".join(entities),
            "candidates": list(dict.fromkeys([*entities, *golds])),
        }
        if not golds:
            yield made
        elif split != "train":
            yield {**made, "answers": golds}
        else:
            for number, gold in enumerate(golds):
                own = [one for one in made["candidates"] if one == gold or one not in golds]
                at = f"{made['id']}-{number}"
                yield {**made, "id": at, "answers": [gold], "candidates": own}


def record_ten(row: Row, split: str) -> Iterator[Row]:
    """ReCoRD with at most ten candidates in a row of train, the right one and others drawn by its id (PET's
    code); elsewhere all of them."""
    for made in record(row, split):
        right, others = made.get("answers", ()), made["candidates"]
        if split == "train" and right:
            wrong = [one for one in others if one not in right]
            drawn = permutation(len(wrong), zlib.crc32(made["id"].encode()))[: TAUGHT - 1]
            kept = {*right, *(wrong[place] for place in drawn)}
            made = {**made, "candidates": [one for one in others if one in kept]}
        yield made


def wsc(row: Row, split: str) -> Iterable[Row]:
    """WSC: the pronoun, the noun, and the text with asterisks around the pronoun."""
    target = row["target"]
    words = row["text"].split(" ")
    place, pronoun = int(target["span2_index"]), target["span2_text"]
    marked = _marked(words, place, pronoun)
    made = {**row, "pronoun": pronoun, "span": target["span1_text"], "marked": marked}
    return [made]


def wsc_t5(row: Row, split: str) -> Iterable[Row]:
    """WSC as generation: train holds the true rows only; elsewhere the target is the span and
    whether it is the referent (Raffel et al. 2020, section 2.1; the metric is `wsc`)."""
    (made,) = wsc(row, split)
    made = dict(made)
    if "label" in row:
        label = as_text(row["label"]).lower() in ("true", "1")
        if split == "train":
            return [{**made, "referent": made["span"]}] if label else []
        made["referent"] = [made["span"], "True" if label else "False"]
    return [made]


def cluewsc(row: Row, split: str) -> Iterable[Row]:
    """CLUEWSC: as WSC; its indices count characters."""
    target = row["target"]
    at, pronoun = int(target["span2_index"]), target["span2_text"]
    text = row["text"]
    marked = f"{text[:at]}_{pronoun}_{text[at + len(pronoun) :]}"
    return [{**row, "pronoun": pronoun, "span": target["span1_text"], "marked": marked}]


def chid(row: Row, split: str) -> Iterable[Row]:
    """ChID: the text before and after the idiom's place; the answer is an index of candidates."""
    before, _, after = row["content"].partition(IDIOM)
    made = {**row, "before": before, "after": after}
    if "answer" in row:
        made["answer"] = row["candidates"][int(row["answer"])]
    return [made]


def csl(row: Row, split: str) -> Iterable[Row]:
    """CSL: the keywords as one text."""
    return [{**row, "keywords": "、".join(row["keyword"])}]


def stsb_t5(row: Row, split: str) -> Iterable[Row]:
    """STS-B's score rounded to the nearest 0.2, as text (Raffel et al. 2020, section 2.4)."""
    key = "score" if "score" in row else "label"
    return [{**row, "score_text": rounded(float(row[key]))}] if key in row else [row]


def rounded(score: float) -> str:
    """2.57 becomes "2.6": the nearest multiple of 0.2."""
    return f"{round(score * 5) / 5:.1f}"


def filled(*fields: str) -> Any:
    """Rows whose every one of these columns has text; the others are passed over."""

    def keep(row: Mapping[str, Any], split: str) -> Iterable[Row]:
        return [row] if all(str(row.get(name) or "").strip() for name in fields) else []

    return keep


def _phrase(text: str) -> str:
    bare = text.strip().rstrip(FINAL)
    return bare[:1].lower() + bare[1:] if bare[:2] not in ("I ", "I'") and bare != "I" else bare


def _marked(words: list[str], place: int, pronoun: str) -> str:
    """Asterisks around the pronoun, which may be several words and have marks at its ends."""
    long = len(pronoun.split(" "))
    there = " ".join(words[place : place + long])
    marked = there.replace(pronoun, f"*{pronoun}*", 1) if pronoun in there else f"*{there}*"
    return " ".join([*words[:place], marked, *words[place + long :]])
