"""The card of a prompt, README.md: what it is, how good, on what evidence, and how to use it.

Knows the record of `prompt.json` and nothing else, so a card can be written again at any time.
The idea of an automatic card with labels, example texts and scores is SetFit's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from softprompt.prompts.addition import described

LONGEST_CELL = 300
"""Characters of an example text that a table shows."""


def write_card(record: Mapping[str, Any], folder: str) -> str:
    """Write the card.

    Args:
        record: the sealed record of a prompt (see `record.seal`).
        folder: the folder's own name, for the lines that show how to use it; not its path, which
            means nothing to whoever the prompt is sent to.
    Returns:
        Markdown, ending in a newline.
    """
    sections = [
        _opening(record),
        _section("Facts", _table(("", ""), _facts(record))),
        _section("Template", _fenced(record["template"], "")),
        _section("Answers", _answers(record["answers"])),
        _section("Scores", _scores(record["scores"])),
        _section("Training settings", _table(("setting", "value"), _flat(record["settings"]))),
        _section("Examples", _examples(record["examples"])),
        _section("How to use", _use(record, folder)),
        _section("Limits", _limits(record)),
        _section("Notes", str(record["notes"]).strip()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _opening(record: Mapping[str, Any]) -> str:
    task, method = record["task"].get("name", "a task"), record["method"]
    labels = record["task"].get("labels") or []
    what = f"It tells {len(labels)} labels apart." if labels else ""
    sentence = (
        f"A prompt learned with the method {_cell(method)} for {_cell(task)} "
        f"on {_cell(_backbone_name(record))}, {_weights(record)}. {what}"
    )
    return f"# {_cell(task)}, a prompt for {_cell(_backbone_name(record))}\n\n{sentence.strip()}"


def _weights(record: Mapping[str, Any]) -> str:
    settings = record["settings"]
    if not settings.get("opened_weights"):
        return "whose weights it leaves as they are"
    if "weights" not in settings:
        return "whose own weights it changed; they are not kept, so it cannot predict"
    return "with weights of its own (in `weights/`), so it shares no batch with other prompts"


def _facts(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    backbone, total = record["backbone"] or {}, record["backbone_parameters"]
    parameters = sum(_size(shape) for shape in record["tensors"].values())
    parameters += record["settings"].get("weights", {}).get("parameters", 0)
    return [
        ("backbone", _backbone_name(record)),
        ("family", backbone.get("family")),
        *described(record["tensors"]).items(),
        ("learned parameters", f"{parameters:,}"),
        ("share of the backbone", f"{100 * parameters / total:.2g} %" if total else None),
        ("bytes", f"{4 * parameters:,}"),
        ("objective", ", ".join(f"{key} {value}" for key, value in _flat(record["objective"]))),
        ("fields", ", ".join(map(str, record["task"].get("fields", ())))),
        ("labels", ", ".join(map(str, record["task"].get("labels") or ()))),
        ("versions", ", ".join(f"{key} {value}" for key, value in _flat(record["versions"]))),
        ("content hash", record["content_hash"]),
    ]


def _answers(answers: Mapping[str, Any]) -> str:
    """A mapping of label to words is a table of its own; what else there is stands in another."""
    plain = [(key, value) for key, value in answers.items() if not isinstance(value, Mapping)]
    tables = [_table(("answers", ""), plain)]
    for key, value in answers.items():
        if isinstance(value, Mapping):
            words = ((label, _alternatives(given)) for label, given in value.items())
            tables.append(_table(("label", key), words))
    return "\n\n".join(table for table in tables if table)


def _alternatives(given: Any) -> Any:
    """Alternatives of several words each (one for each answer slot): `very + good, so + fine`."""
    if not isinstance(given, list | tuple):
        return given
    return [" + ".join(map(str, a)) if isinstance(a, list | tuple) else a for a in given]


def _scores(scores: Sequence[Mapping[str, Any]]) -> str:
    if not scores:
        return "None recorded."
    columns = ("split", "metric", "value", "n", "seed", "selection", "step", "data_hash")
    rows = ([_number(score.get(column)) for column in columns] for score in scores)
    return _rows(columns, rows)


def _examples(examples: Sequence[Mapping[str, Any]]) -> str:
    columns = [
        column
        for column in ("text", "target", "prediction")
        if any(column in example for example in examples)
    ]
    return _rows(columns, ([example.get(c) for c in columns] for example in examples))


def _use(record: Mapping[str, Any], folder: str) -> str:
    name = str(record["task"].get("name", "task"))
    names = record["task"].get("fields", ("text",))
    fields = ", ".join(f'{_quoted(str(key))}: "…"' for key in names)
    python = (
        "import softprompt as sp\n\n"
        f"backbone = sp.load_backbone({_quoted(_backbone_name(record))})\n"
        f"model = sp.Predictor(backbone, {{{_quoted(name)}: {_quoted(folder)}}})\n"
        f"model.predict([({_quoted(name)}, {{{fields}}})])"
    )
    words = re.sub(r"[^\w@%+=:,./-]", r"\\\g<0>", folder.replace("\n", " "))
    shell = f"softprompt predict {words} examples.jsonl"
    return f"{_fenced(python, 'python')}\n\n{_fenced(shell, 'sh')}"


def _limits(record: Mapping[str, Any]) -> str:
    fits = (
        f"The prompt fits the exact weights of {_cell(_backbone_name(record))} and no other model."
        if record["backbone"]
        else "The prompt does not say which backbone it was learned on; on any other it is noise."
    )
    return (
        f"{fits} Its scores hold for the data that they were measured on; on texts of another "
        "kind, time or language measure again. It inherits what its backbone and its training "
        "data get wrong, and it was not examined for unfairness to groups of people."
    )


def _backbone_name(record: Mapping[str, Any]) -> str:
    return str(record["backbone"]["name"]) if record["backbone"] else "an unnamed backbone"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(head: Sequence[str], pairs: Iterable[tuple[Any, Any]]) -> str:
    """Two columns; a pair without a value is left out."""
    return _rows(head, [pair for pair in pairs if pair[1] not in (None, "", [], {})])


def _rows(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(map(_cell, head))} |", "|---" * len(head) + "|", *lines])


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{above}{key}"
        pairs += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return pairs


def _cell(value: Any) -> str:
    """One line of Markdown that shows the text and means nothing else."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(entry) for entry in value)
    text = " ".join(str(value).split())
    text = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", text)


def _number(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _fenced(text: str, language: str) -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
