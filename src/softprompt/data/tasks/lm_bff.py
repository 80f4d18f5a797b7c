"""LM-BFF's sixteen tasks (Gao, Fisch, Chen 2021): its k-shot folders, templates, words, metrics.

Variants "13", "21", "42", "87", "100" are its seeds, K = 16 a label for train and for dev; without
a variant it is 13. `softprompt` can also draw them: `k_shot: 16, data_seed: 13` on a GLUE task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from softprompt.data.tasks.entry import Layout, TaskEntry, TaskFile, asked
from softprompt.data.tasks.layouts import labelled_csv, last_cell, numbered
from softprompt.data.tasks.wording import (
    ENTAILMENT_EN,
    NLI_EN,
    PARAPHRASE_EN,
    SENTIMENT_EN,
    STARS_EN,
    entails,
    paraphrases,
    quality,
)

SEEDS = ("13", "21", "42", "87", "100")
NOTE = "test is GLUE's validation file, as in the paper (or the set's own test)"
MATCHED = 9_815
"""Labelled rows of MNLI's matched validation set: in one file of both, the mismatched come after."""
_LABELS = "whose labels are not all those of GLUE"
NLI_TESTS = {
    "mnli": f"the first {MATCHED:,} labelled rows of `nli_dev/mnli/dev.csv`, {_LABELS}",
    "mnli_mm": f"the rows of `nli_dev/mnli/dev.csv` after those, {_LABELS}",
    "snli": "`nli_dev/snli/dev.csv`, SNLI's dev set",
}
QQP_TEST = "glue_samples/QQP/dev.json"
_PAIR = ("sentence1", "sentence2")
_CSV = ("label", "text")
_QUORA = {"sentence1": "question1", "sentence2": "question2"}


def _lm_bff(
    name: str,
    folder: str,
    ending: str = "tsv",
    header: bool | tuple[str, ...] = True,
    columns: Mapping[str, str] | None = None,
    dev: str = "dev",
    test: str = "test",
    optional: bool = False,
    layout: Layout | None = None,
    otherwise: TaskFile | None = None,
    **more: Any,
) -> TaskEntry:
    def files(seed: str) -> dict[str, TaskFile]:
        parts = {"train": "train", "dev": dev, "test": test}
        return {
            split: TaskFile(
                f"lm_bff_k_shot/{folder}/16-{seed}/{part}.{ending}",
                header=header,
                columns=columns or {},
                optional=optional and split == "test",
                layout=layout,
                otherwise=otherwise if split == "test" else None,
            )
            for split, part in parts.items()
        }

    return TaskEntry(
        name=f"lm_bff/{name}",
        files=files(SEEDS[0]),
        variants={seed: files(seed) for seed in SEEDS},
        language="en",
        source=f"{folder}, K = 16, as LM-BFF draws it; template and words: its table 1",
        benchmark="LM-BFF",
        **{"note": NOTE, **more},
    )


def _csv(name: str, folder: str, labels: Mapping[str, str], words: Any, **more: Any) -> TaskEntry:
    given = {**quality(), **more}
    return _lm_bff(
        name,
        folder,
        "csv",
        _CSV,
        fields=("text",),
        target="label",
        labels=labels,
        words=words,
        **given,
    )


def _nli(
    name: str, folder: str, test: str, optional: bool, part: tuple[int, int | None] = (0, None)
) -> TaskEntry:
    mnli = folder == "MNLI"
    other = TaskFile(
        f"nli_dev/{folder.lower()}/dev.csv",
        columns={"sentence1": "premise", "sentence2": "hypothesis"},
        target="label",
        layout=labelled_csv(*part),
    )
    return _lm_bff(
        name,
        folder,
        dev="dev_matched" if mnli else "dev",
        test=test,
        optional=optional,
        layout=None if mnli else last_cell,
        otherwise=other,
        note=f"test is LM-BFF's own file or, where it is not there, {NLI_TESTS[name]}",
        fields=_PAIR,
        target="gold_label",
        labels=("contradiction", "entailment", "neutral"),
        words=NLI_EN,
        **entails(*_PAIR, "Yes, No or Maybe"),
    )


def _entailment(name: str, folder: str, columns: Mapping[str, str]) -> TaskEntry:
    return _lm_bff(
        name,
        folder,
        columns=columns,
        fields=_PAIR,
        target="label",
        labels=("not_entailment", "entailment"),
        words=ENTAILMENT_EN,
        **entails(*_PAIR),
    )


POLAR = {"0": "negative", "1": "positive"}
FIVE = ("very negative", "negative", "neutral", "positive", "very positive")
TREC = ("description", "entity", "expression", "human", "location", "number")

LM_BFF = (
    _lm_bff(
        "sst2",
        "SST-2",
        fields=("text",),
        columns={"text": "sentence"},
        target="label",
        labels=POLAR,
        words=SENTIMENT_EN,
        **quality(),
    ),
    _csv(
        "sst5",
        "sst-5",
        {str(number): label for number, label in enumerate(FIVE)},
        dict(zip(FIVE, STARS_EN, strict=True)),
    ),
    _csv("mr", "mr", POLAR, SENTIMENT_EN),
    _csv("cr", "cr", POLAR, SENTIMENT_EN),
    _csv("mpqa", "mpqa", POLAR, SENTIMENT_EN),
    _csv(
        "subj",
        "subj",
        {"0": "subjective", "1": "objective"},
        {"subjective": "subjective", "objective": "objective"},
        **asked("{text} This is {mask}.", "{text} This is"),
    ),
    _csv(
        "trec",
        "trec",
        {str(number): label for number, label in enumerate(TREC)},
        {label: label.capitalize() for label in TREC},
        **asked("{mask}: {text}", "{text} This question is about a"),
    ),
    _lm_bff(
        "cola",
        "CoLA",
        header=("source", "label", "mark", "sentence"),
        columns={"text": "sentence"},
        fields=("text",),
        target="label",
        labels={"0": "unacceptable", "1": "acceptable"},
        words={"unacceptable": "incorrect", "acceptable": "correct"},
        metrics=("matthews",),
        **asked("{text} This is {mask}.", "{text} This is"),
    ),
    _nli("mnli", "MNLI", "test_matched", True, (0, MATCHED)),
    _nli("mnli_mm", "MNLI", "test_mismatched", False, (MATCHED, None)),
    _nli("snli", "SNLI", "test", True),
    _entailment("qnli", "QNLI", {"sentence1": "question", "sentence2": "sentence"}),
    _entailment("rte", "RTE", {}),
    _lm_bff(
        "mrpc",
        "MRPC",
        columns={"sentence1": "#1 String", "sentence2": "#2 String"},
        fields=_PAIR,
        target="Quality",
        labels={"0": "not_equivalent", "1": "equivalent"},
        words=PARAPHRASE_EN,
        metrics=("f1", "accuracy"),
        **paraphrases(*_PAIR),
    ),
    _lm_bff(
        "qqp",
        "QQP",
        columns=_QUORA,
        optional=True,
        otherwise=TaskFile(
            QQP_TEST,
            layout=numbered,
            columns={"sentence1": "text_a", "sentence2": "text_b"},
            target="label",
            without=tuple(
                TaskFile(f"lm_bff_k_shot/QQP/16-{seed}/{part}.tsv", columns=_QUORA)
                for seed in SEEDS
                for part in ("train", "dev")
            ),
        ),
        note=f"test is GLUE's validation file or, where it is not there, `{QQP_TEST}` without the rows "
        "that train or dev of any seed holds",
        fields=_PAIR,
        target="is_duplicate",
        labels={"0": "not_duplicate", "1": "duplicate"},
        words={"not_duplicate": "No", "duplicate": "Yes"},
        metrics=("f1", "accuracy"),
        **paraphrases(*_PAIR),
    ),
    _lm_bff(
        "sts_b",
        "STS-B",
        fields=_PAIR,
        target="score",
        kind="number",
        bounds=(0.0, 5.0),
        words={"lower": "No", "upper": "Yes"},
        metrics=("pearson", "spearman"),
        **paraphrases(*_PAIR),
    ),
)
