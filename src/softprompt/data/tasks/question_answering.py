"""Questions on a passage: SQuAD, MRQA's twelve sets, XQuAD, CMRC 2018, COVID-QA; free text.

Scores are SQuAD's exact match and token F1, the best of a row's answers; Chinese by character.
A masked model cannot generate: there is no template for it.
"""

from __future__ import annotations

from typing import Any

from softprompt.data.tasks.entry import Form, TaskEntry, TaskFile
from softprompt.data.tasks.glue import T5
from softprompt.data.tasks.layouts import mrqa, squad

ASKED_EN = {
    "causal": "{context} Question: {question!} Answer: {mask}",
    "encoder_decoder": "question: {question!} context: {context}",
}
ASKED_ZH = {
    "causal": "{context}问题：{question!}答案：{mask}",
    "encoder_decoder": "{context}问题：{question!}{decoder}答案：{mask}",
}
FORMS = {"t5": Form("question: {question!} context: {context}", source=T5)}
IN_DOMAIN = {
    "squad": "SQuAD",
    "news_qa": "NewsQA",
    "trivia_qa": "TriviaQA-web",
    "search_qa": "SearchQA",
    "hotpot_qa": "HotpotQA",
    "natural_questions": "NaturalQuestionsShort",
}
OUT_OF_DOMAIN = {
    "bio_asq": "BioASQ",
    "drop": "DROP",
    "duo_rc": "DuoRC.ParaphraseRC",
    "race": "RACE",
    "relation_extraction": "RelationExtraction",
    "textbook_qa": "TextbookQA",
}


def _qa(name: str, files: dict[str, TaskFile], **more: Any) -> TaskEntry:
    return TaskEntry(
        name=name,
        files=files,
        target="answers",
        kind="text",
        id="id",
        group="paragraph",  # a paragraph's questions are parted together
        dev_fraction=0.1,
        benchmark="question answering",
        **{
            "fields": ("context", "question"),
            "templates": ASKED_EN,
            "forms": FORMS,
            "language": "en",
            "metrics": ("exact_match", "token_f1"),
            **more,
        },
    )


def _file(name: str, optional: bool = False) -> TaskFile:
    return TaskFile(f"question_answering/{name}", layout=squad, optional=optional)


def _mrqa(name: str, title: str, inside: bool) -> TaskEntry:
    files = {"test": TaskFile(f"mrqa/dev/{title}.jsonl", layout=mrqa)}
    if inside:
        files = {"train": TaskFile(f"mrqa/train/{title}.jsonl", layout=mrqa), **files}
    part = "in domain" if inside else "out of domain: a test set only"
    return _qa(
        f"mrqa/{name}",
        files,
        hub="mrqa-workshop/mrqa",
        source=f"MRQA 2019 (Fisch et al. 2019), {title}; research use",
        note=f"{part}; test is its dev file" + ("; dev out of train" if inside else ""),
    )


QUESTION_ANSWERING = (
    _qa(
        "squad",
        {"train": _file("train-v1.1.json"), "test": _file("dev-v1.1.json")},
        variants={"half_dev_v2": {"train": _file("squad_half_dev_v2.json")}},
        test_fraction=0.1,
        hub="rajpurkar/squad",
        source="SQuAD 1.1 (Rajpurkar et al. 2016), CC BY-SA 4.0",
        note='test is its dev file (the official test is hidden); variant "half_dev_v2": the '
        "answerable questions of half of SQuAD 2.0's dev file, test and dev out of it",
    ),
    *(_mrqa(name, title, True) for name, title in IN_DOMAIN.items()),
    *(_mrqa(name, title, False) for name, title in OUT_OF_DOMAIN.items()),
    _qa(
        "covid_qa",
        {"test": _file("covidqa.json")},
        source="COVID-QA (Möller et al. 2020), Apache-2.0",
        note="a test set only, out of domain",
    ),
    _qa(
        "xquad_en",
        {"test": _file("xquad.en.json")},
        source="XQuAD English (Artetxe et al. 2020), CC BY-SA 4.0",
        note="a test set only; its paragraphs are SQuAD's dev",
    ),
    _qa(
        "xquad_zh",
        {"test": _file("xquad.zh.json")},
        templates=ASKED_ZH,
        forms={},
        language="zh",
        source="XQuAD Chinese (Artetxe et al. 2020), CC BY-SA 4.0",
        note="a test set only",
    ),
    _qa(
        "cmrc2018",
        {"train": _file("cmrc2018_train.json", True), "test": _file("cmrc2018_dev.json")},
        templates=ASKED_ZH,
        forms={},
        language="zh",
        metrics=("exact_match", "token_f1", "cmrc_f1"),
        source="CMRC 2018 (Cui et al. 2019), CC BY-SA 4.0",
        note="test is its dev file; dev out of train, where that file is there",
    ),
)
