"""Texts to write: translation, summaries, data to text; scored by BLEU and ROUGE.

A masked model cannot generate: there is no template for it.
"""

from __future__ import annotations

from typing import Any

from softprompt.data.tasks.entry import Form, TaskEntry, TaskFile
from softprompt.data.tasks.glue import T5
from softprompt.data.tasks.layouts import parallel, references, sides

LANGUAGES = {"de": "German", "fr": "French", "ro": "Romanian"}
SEPARATOR = "||"


def _text(name: str, files: dict[str, TaskFile], **more: Any) -> TaskEntry:
    return TaskEntry(
        name=name,
        files=files,
        target="target",
        kind="text",
        language="en",
        benchmark="generation",
        **{"fields": ("source",), **more},
    )


def _answered(text: str) -> dict[str, str]:
    """The same text before the answer of a causal model and of an encoder-decoder."""
    return {"causal": f"{text} {{mask}}", "encoder_decoder": text}


def _wmt(code: str, language: str) -> TaskEntry:
    text = f"translate English to {language}: {{source}}"
    return _text(
        f"wmt/en_{code}",
        {
            split: TaskFile(f"wmt/en-{code}/{split}.en", layout=parallel(f".{code}"))
            for split in ("train", "dev", "test")
        },
        templates={"causal": f"{text} {language}: {{mask}}", "encoder_decoder": text},
        forms={"t5": Form(text, source=T5)},
        metrics=("bleu",),
        source=f"WMT English-{language}; form: {T5}",
        note=f"parallel lines: train.en with train.{code}, likewise dev and test",
    )


def _cnn(split: str, name: str) -> TaskFile:
    return TaskFile(f"cnn_dailymail/{name}.source", layout=parallel(".target"))


def _e2e(part: str, layout: Any) -> TaskFile:
    return TaskFile(f"data_to_text/e2e_{part}.txt", layout=layout)


_SUMMARIZE = "summarize: {source}"
_LINES, _GROUPED = sides(SEPARATOR), references(SEPARATOR)

GENERATION = (
    *(_wmt(code, language) for code, language in LANGUAGES.items()),
    _text(
        "cnn_dailymail",
        {
            split: _cnn(split, name)
            for split, name in (("train", "train"), ("dev", "val"), ("test", "test"))
        },
        templates={
            "causal": "{source} Summary: {mask}",
            "encoder_decoder": _SUMMARIZE,
        },
        forms={"t5": Form(_SUMMARIZE, source=T5)},
        metrics=("rouge_l", "rouge_1", "rouge_2"),
        source="CNN/Daily Mail (Hermann et al. 2015; See et al. 2017)",
        note="parallel lines: train.source with train.target, likewise val and test",
    ),
    _text(
        "e2e",
        {
            "train": _e2e("train", _LINES),
            "dev": _e2e("valid", _GROUPED),
            "test": _e2e("test", _GROUPED),
        },
        variants={"small": {"train": _e2e("valid", _LINES), "test": _e2e("test", _GROUPED)}},
        templates=_answered("{source}. In words:"),
        dev_fraction=0.1,
        metrics=("bleu", "rouge_l"),
        source="E2E (Novikova et al. 2017), CC BY-SA 4.0",
        note="lines source||target; in dev and test all targets of one source are references; "
        'variant "small" trains on the dev file, with dev out of it',
    ),
)
