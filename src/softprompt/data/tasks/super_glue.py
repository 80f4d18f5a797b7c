"""SuperGLUE (Wang et al. 2019): eight tasks, their json lines, their metrics, FewGLUE's 32 rows.

The official test sets have no labels: "test" is the validation file, "dev" comes out of train.
Variant "fewglue" has the 32 + 32 rows of Schick and Schütze (2021): train.jsonl and dev32.jsonl. The form
"pet" asks COPA, ReCoRD and WSC as they do.
"""

from __future__ import annotations

from typing import Any

from softprompt.data.tasks.entry import Form, TaskEntry, TaskFile, asked
from softprompt.data.tasks.glue import T5, t5
from softprompt.data.tasks.unfolding import (
    copa,
    copa_both,
    multirc,
    record,
    record_ten,
    wsc,
    wsc_t5,
)
from softprompt.data.tasks.wording import ENTAILMENT_EN, NLI_EN, YES_NO

NOTE = "test is the validation file (the official test set has no labels); dev out of train"
TRUTH = {"false": "False", "true": "True", "0": "False", "1": "True"}
SAID = {"False": "False", "True": "True"}
PET = "PET (Schick and Schütze 2021)"


def _super(name: str, folder: str, dev_fraction: float = 0.1, **more: Any) -> TaskEntry:
    def file(part: str, optional: bool = False) -> TaskFile:
        return TaskFile(f"superglue/{folder}/{part}.jsonl", optional=optional)

    return TaskEntry(
        name=f"super_glue/{name}",
        files={
            "train": file("train"),
            "test": file("val"),
            "unlabelled": file("test", optional=True),
        },
        variants={
            "fewglue": {
                "train": file("train"),
                "dev": file("dev32"),
                "test": file("val", optional=True),
                "unlabelled": file("unlabeled", optional=True),
            }
        },
        language="en",
        source=f"SuperGLUE (Wang et al. 2019): {folder}; clozes after {PET}; research use",
        hub="aps/super_glue",
        dev_fraction=dev_fraction,
        benchmark="SuperGLUE",
        note=NOTE,
        **more,
    )


COPA = asked(
    '"{choice1|strip_end}" or "{choice2|strip_end}"? {premise|strip_end}, {connector} {mask}.',
    '"{choice1|strip_end}" or "{choice2|strip_end}"? {premise|strip_end}, {connector}',
)
CLOZE = "{passage} {before!} {mask}{after!}"
RECORD: dict[str, Any] = {
    "template": CLOZE,
    "templates": {"causal": CLOZE, "encoder_decoder": CLOZE},
}

SUPER_GLUE = (
    _super(
        "boolq",
        "BoolQ",
        fields=("passage", "question"),
        target="label",
        labels=TRUTH,
        words=YES_NO,
        **asked(
            "{passage} Question: {question!}? Answer: {mask}.",
            "{passage} Question: {question!}? Answer:",
        ),
        forms={"t5": t5("boolq", "passage", "question", words=SAID)},
    ),
    _super(
        "cb",
        "CB",
        fields=("premise", "hypothesis"),
        target="label",
        labels=("entailment", "contradiction", "neutral"),
        words=NLI_EN,
        metrics=("accuracy", "macro_f1"),
        **asked(
            '"{hypothesis|strip_end}"?{sep} {mask}, "{premise}"',
            "{premise} Question: {hypothesis|strip_end}. Yes, No or Maybe? Answer:",
        ),
        forms={"t5": t5("cb", "hypothesis", "premise")},
    ),
    _super(
        "copa",
        "COPA",
        fields=("premise", "choice1", "choice2", "question", "connector"),
        target="answer",
        kind="text",
        candidates="candidates",
        unfold=copa,
        metrics=("accuracy",),
        **COPA,
        forms={
            "pet": Form(
                **COPA,
                source=f"{PET}, released code: train has every row in both orders of its choices",
                unfold=copa_both,
                id="id",
                group="group",
            ),
            "t5": t5(
                "copa",
                "choice1",
                "choice2",
                "premise",
                "question",
                words={"choice1": "choice1", "choice2": "choice2"},
                kind="label",
                target="label",
                labels={"0": "choice1", "1": "choice2"},
            ),
        },
    ),
    _super(
        "multirc",
        "MultiRC",
        fields=("passage", "question", "answer"),
        target="label",
        labels=TRUTH,
        words=YES_NO,
        id="id",
        group="group",
        unfold=multirc,
        metrics=("multirc_f1a", "multirc_em"),
        **asked(
            "{passage|no_tags} Question: {question!} Is it {answer|strip_end!}? {mask}.",
            "{passage|no_tags} Question: {question!} Is it {answer|strip_end!}? Answer:",
        ),
        forms={
            "t5": Form(
                "multirc question: {question} answer: {answer} paragraph: {passage|no_tags}",
                SAID,
                source=T5,
            )
        },
    ),
    _super(
        "record",
        "ReCoRD",
        0.05,
        fields=("passage", "query", "before", "after", "entities"),
        target="answers",
        kind="text",
        id="id",
        candidates="candidates",
        strip=False,
        unfold=record,
        metrics=("record_em", "record_f1"),
        **RECORD,
        forms={
            "pet": Form(
                **RECORD,
                source=f"{PET}, released code: train has ten candidates a row",
                unfold=record_ten,
            ),
            "t5": t5(
                "record",
                "query",
                "entities",
                "passage",
                kind="text",
            ),
        },
    ),
    _super(
        "rte",
        "RTE",
        fields=("premise", "hypothesis"),
        target="label",
        labels=("not_entailment", "entailment"),
        words={label: ENTAILMENT_EN[label] for label in ("not_entailment", "entailment")},
        **asked(
            '"{hypothesis|strip_end}"?{sep} {mask}, "{premise}"',
            "{premise} Question: {hypothesis|strip_end}. Yes or No? Answer:",
        ),
        forms={"t5": t5("rte", "hypothesis", "premise", words={n: n for n in ENTAILMENT_EN})},
    ),
    _super(
        "wic",
        "WiC",
        fields=("sentence1", "sentence2", "word"),
        target="label",
        labels=TRUTH,
        words=YES_NO,
        **asked(
            '"{sentence1}" / "{sentence2}" Similar sense of "{word}"? {mask}.',
            '"{sentence1}" / "{sentence2}" Similar sense of "{word}"? Answer:',
        ),
        forms={"t5": t5("wic", "sentence1", "sentence2", "word", words=SAID)},
    ),
    _super(
        "wsc",
        "WSC",
        fields=("text", "pronoun", "span", "marked"),
        target="label",
        labels=TRUTH,
        words=YES_NO,
        unfold=wsc,
        **asked(
            '{text} Does the pronoun "{pronoun}" refer to "{span}"? {mask}.',
            '{text} Does the pronoun "{pronoun}" refer to "{span}"? Answer:',
        ),
        forms={
            "t5": Form(
                "wsc: {marked}",
                source=f"{T5}; section 2.1 for generation and its scoring",
                kind="text",
                target="referent",
                metrics=("wsc",),
                unfold=wsc_t5,
            ),
            "pet": Form(
                **asked(
                    "{marked} The pronoun '*{pronoun}*' refers to {mask:span}.",
                    "{marked} The pronoun '*{pronoun}*' refers to",
                ),
                source=f"{PET}: the span is written, train has the true rows",
                kind="text",
                target="referent",
                metrics=("wsc",),
                unfold=wsc_t5,
            ),
        },
    ),
)
