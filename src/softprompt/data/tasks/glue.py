"""GLUE (Wang et al. 2019): its tsv files, its metrics, and T5's text-to-text form of each task.

The official test sets have no labels. Here "test" is GLUE's validation file and "dev" comes out of
train; the test file, if it is there, is the split "unlabelled".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from softprompt.data.tasks.entry import Form, TaskEntry, TaskFile, asked
from softprompt.data.tasks.layouts import numbered
from softprompt.data.tasks.unfolding import stsb_t5
from softprompt.data.tasks.wording import (
    ENTAILMENT_EN,
    NLI_EN,
    PARAPHRASE_EN,
    SENTIMENT_EN,
    entails,
    paraphrases,
    quality,
)

T5 = "Raffel et al. 2020, appendix D"
NOTE = "test is GLUE's validation file (the official test set has no labels); dev out of train"
SAMPLES = "glue_samples"


def t5(prefix: str, *fields: str, words: Mapping[str, str] | None = None, **more: Any) -> Form:
    """T5's form: the task's name, and every field after its key."""
    text = " ".join([prefix, *(f"{name}: {{{name}}}" for name in fields)])
    return Form(text, words, source=T5, **more)


def _files(
    folder: str, dev: str = "dev.tsv", test: str = "test.tsv", **columns: str
) -> dict[str, TaskFile]:
    return {
        "train": TaskFile(f"glue/{folder}/train.tsv", columns=columns),
        "test": TaskFile(f"glue/{folder}/{dev}", columns=columns),
        "unlabelled": TaskFile(f"glue/{folder}/{test}", columns=columns, optional=True),
    }


def _samples(folder: str, *fields: str) -> dict[str, dict[str, TaskFile]]:
    """Both files come mostly out of GLUE's train: never to be tested on after the whole of it."""
    columns = dict(zip(fields, ("text_a", "text_b"), strict=False))
    return {
        "samples": {
            split: TaskFile(
                f"{SAMPLES}/{folder}/{name}.json", layout=numbered, columns=columns, target="label"
            )
            for split, name in (("train", "train"), ("test", "dev"))
        }
    }


def _glue(name: str, title: str, dev_fraction: float = 0.1, **more: Any) -> TaskEntry:
    return TaskEntry(
        name=f"glue/{name}",
        language="en",
        source=f"GLUE (Wang et al. 2019): {title}; research use",
        hub="nyu-mll/glue",
        dev_fraction=dev_fraction,
        benchmark="GLUE",
        **{"note": NOTE, **more},
    )


_COLA = ("source", "label", "mark", "sentence")
_PAIR = ("sentence1", "sentence2")
_NLI_FILES = {"premise": "sentence1", "hypothesis": "sentence2"}
_STSB_METRICS = ("pearson", "spearman")


def _mnli(name: str, dev: str) -> TaskEntry:
    return _glue(
        name,
        f"MNLI, {dev} (Williams et al. 2018)",
        files=_files("MNLI", f"dev_{dev}.tsv", f"test_{dev}.tsv", **_NLI_FILES),
        fields=("premise", "hypothesis"),
        target="gold_label",
        labels=tuple(NLI_EN),
        words=NLI_EN,
        **entails("premise", "hypothesis", "Yes, No or Maybe"),
        forms={"t5": t5("mnli", "hypothesis", "premise")},
        variants=_samples("MNLI", "premise", "hypothesis") if name == "mnli" else {},
        dev_fraction=0.01,
    )


def _entailment(name: str, folder: str, title: str, labels: Any, *fields: str) -> TaskEntry:
    words = {"not_entailment": "not_entailment", "entailment": "entailment"}
    return _glue(
        name,
        title,
        files=_files(folder),
        fields=fields,
        target="label",
        labels=labels,
        words={label: ENTAILMENT_EN[label] for label in words},
        **entails(*fields),
        forms={"t5": t5(name, *fields, words=words)},
        variants=_samples("RTE", *fields) if name == "rte" else {},
        dev_fraction=0.02 if name == "qnli" else 0.1,
    )


_MRPC_COLUMNS = {"sentence1": "#1 String", "sentence2": "#2 String"}
_BOTH = ("not_entailment", "entailment")

GLUE = (
    _glue(
        "cola",
        "CoLA (Warstadt et al. 2019)",
        files={
            "train": TaskFile("glue/CoLA/train.tsv", header=_COLA),
            "test": TaskFile("glue/CoLA/dev.tsv", header=_COLA),
            "unlabelled": TaskFile("glue/CoLA/test.tsv", optional=True),
        },
        fields=("sentence",),
        target="label",
        labels={"0": "unacceptable", "1": "acceptable"},
        words={"unacceptable": "incorrect", "acceptable": "correct"},
        metrics=("matthews",),
        **asked("{sentence} This is {mask}.", "{sentence} This is"),
        forms={
            "t5": t5(
                "cola",
                "sentence",
                words={"unacceptable": "unacceptable", "acceptable": "acceptable"},
            )
        },
        variants=_samples("CoLA", "sentence"),
    ),
    _glue(
        "sst2",
        "SST-2 (Socher et al. 2013)",
        files=_files("SST-2"),
        fields=("sentence",),
        target="label",
        labels={"0": "negative", "1": "positive"},
        words=SENTIMENT_EN,
        **quality("sentence"),
        forms={
            "t5": t5("sst2", "sentence", words={"negative": "negative", "positive": "positive"})
        },
        dev_fraction=0.02,
    ),
    _glue(
        "mrpc",
        "MRPC (Dolan and Brockett 2005)",
        files={
            "train": TaskFile(
                "mrpc/msr_paraphrase_train.txt", format=".tsv", columns=_MRPC_COLUMNS
            ),
            "test": TaskFile("mrpc/msr_paraphrase_test.txt", format=".tsv", columns=_MRPC_COLUMNS),
        },
        fields=_PAIR,
        target="Quality",
        labels={"0": "not_equivalent", "1": "equivalent"},
        words=PARAPHRASE_EN,
        metrics=("f1", "accuracy"),
        **paraphrases(*_PAIR),
        forms={"t5": t5("mrpc", *_PAIR, words={w: w for w in PARAPHRASE_EN})},
        variants={
            **_samples("MRPC", *_PAIR),
            "tsv": {
                "train": TaskFile("glue/MRPC/train.tsv", columns=_MRPC_COLUMNS),
                "test": TaskFile("glue/MRPC/dev.tsv", columns=_MRPC_COLUMNS),
            },
        },
        note="Microsoft's own files, whose test set is labelled; dev out of train; variant "
        '"tsv": GLUE\'s parts, test is its validation file',
    ),
    _glue(
        "qqp",
        "Quora question pairs",
        files=_files("QQP"),
        fields=("question1", "question2"),
        target="is_duplicate",
        labels={"0": "not_duplicate", "1": "duplicate"},
        words={"not_duplicate": "No", "duplicate": "Yes"},
        metrics=("f1", "accuracy"),
        **paraphrases("question1", "question2"),
        forms={
            "t5": t5(
                "qqp",
                "question1",
                "question2",
                words={"not_duplicate": "not_duplicate", "duplicate": "duplicate"},
            )
        },
        variants=_samples("QQP", "question1", "question2"),
        dev_fraction=0.01,
    ),
    _glue(
        "sts_b",
        "STS-B (Cer et al. 2017)",
        files=_files("STS-B"),
        fields=_PAIR,
        target="score",
        kind="number",
        bounds=(0.0, 5.0),
        words={"lower": "No", "upper": "Yes"},
        metrics=_STSB_METRICS,
        **paraphrases(*_PAIR),
        forms={
            "t5": t5(
                "stsb",
                *_PAIR,
                kind="text",
                target="score_text",
                metrics=_STSB_METRICS,
                unfold=stsb_t5,
            )
        },
        variants=_samples("STS-B", *_PAIR),
    ),
    _mnli("mnli", "matched"),
    _mnli("mnli_mm", "mismatched"),
    _entailment("qnli", "QNLI", "QNLI (Rajpurkar et al. 2016)", _BOTH, "question", "sentence"),
    _entailment("rte", "RTE", "RTE (Dagan et al. 2005 and later)", _BOTH, *_PAIR),
    _entailment(
        "wnli",
        "WNLI",
        "WNLI (Levesque et al. 2012)",
        {"0": "not_entailment", "1": "entailment"},
        *_PAIR,
    ),
)
