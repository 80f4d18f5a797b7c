"""The tasks of PET's paper that stand in no other benchmark here: Yahoo questions and x-stance.

Schick and Schütze 2021, *Exploiting Cloze Questions*, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType

from softprompt.data.readers import Row
from softprompt.data.tasks.entry import TaskEntry, TaskFile, asked

YAHOO_LABELS = (
    *("Society & Culture", "Science & Mathematics", "Health", "Education & Reference"),
    *("Computers & Internet", "Sports", "Business & Finance", "Entertainment & Music"),
    *("Family & Relationships", "Politics & Government"),
)
YAHOO_WORDS = (
    *("Society", "Science", "Health", "Education", "Computer"),
    *("Sports", "Business", "Entertainment", "Relationship", "Politics"),
)
"""PET's, in the order of the labels."""

_ANSWER = MappingProxyType({"de": ("Nein", "Ja"), "fr": ("Non", "Oui")})


def _yahoo(row: Row, split: str) -> Iterable[Row]:
    """A question's title and its body as one text, as PET's code joins them; the best answer beside it."""
    parts = (_plain(row[name]) for name in ("title", "body"))
    question = " ".join(part for part in parts if part)
    return [{**row, "question": question, "answer": _plain(row["best"])}]


def _plain(text: object) -> str:
    r"""Line ends are written as \n, and what else is escaped begins with a backslash too."""
    return str(text or "").replace("\\n", " ").replace("\\", " ").strip()


def _spoken(language: str) -> Callable[[Row, str], Iterable[Row]]:
    """Rows of one language of x-stance."""

    def unfold(row: Row, split: str) -> Iterable[Row]:
        return [row] if row.get("language") == language else []

    return unfold


def _x_stance(language: str, title: str, question: str) -> TaskEntry:
    against, favor = _ANSWER[language]
    parts = {"train": "train", "dev": "valid", "test": "test"}
    return TaskEntry(
        name=f"x_stance_{language}",
        files={split: TaskFile(f"x_stance/{part}.jsonl") for split, part in parts.items()},
        fields=("question", "comment"),
        target="label",
        labels=("AGAINST", "FAVOR"),
        words={"AGAINST": against, "FAVOR": favor},
        metrics=("macro_f1", "accuracy"),
        **asked("{question}{sep}{mask}. {comment}", question),
        unfold=_spoken(language),
        language=language,
        source=f"x-stance (Vamvas and Sennrich 2020), {title}: questions of elections and comments on them",
        hub="ZurichNLP/x_stance",
        benchmark="classification",
    )


PET_TASKS = (
    TaskEntry(
        name="yahoo_answers",
        files={
            part: TaskFile(
                f"yahoo_answers/{part}.csv", header=("label", "title", "body", "best"), quoting=True
            )
            for part in ("train", "test")
        },
        fields=("question", "answer"),
        target="label",
        labels={str(number): name for number, name in enumerate(YAHOO_LABELS, start=1)},
        words=dict(zip(YAHOO_LABELS, YAHOO_WORDS, strict=True)),
        **asked("[ Category: {mask} ] {question} {answer}", "{question} {answer} Category:"),
        unfold=_yahoo,
        language="en",
        source="Yahoo! Answers (Zhang et al. 2015), ten topics; research use",
        hub="community-datasets/yahoo_answers_topics",
        dev_fraction=0.1,
        benchmark="classification",
        note="a question's title and body are one text",
    ),
    _x_stance("de", "German", "{question} {comment} Ja oder nein?"),
    _x_stance("fr", "French", "{question} {comment} Oui ou non ?"),
)
