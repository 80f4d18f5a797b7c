"""Looks at a data file and guesses: which columns are text, which is the target, what words to use.

Every guess is a proposal that a person will read; what cannot be guessed is said to be so. Reads
rows, knows no models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from softprompt.analysis.baselines import mostly_han
from softprompt.data.columns import as_text, did_you_mean, is_missing, listed, plain
from softprompt.data.readers import iter_rows
from softprompt.errors import DataError, SettingsError

LOOKED_AT = 20_000
"""Rows looked at: enough to see every label."""

MOST_LABELS = 50
TARGET_NAMES = (
    *("label", "target", "class", "category", "sentiment", "stars", "rating", "score", "answer"),
    *("labels", "topic", "intent", "polarity", "y", "标签", "类别", "情感", "分类", "评分", "星级"),
)
ID_NAMES = ("id", "idx", "index", "uid", "guid", "编号", "序号")

SENTIMENT_EN = MappingProxyType(
    {
        **dict.fromkeys(("negative", "neg", "bad", "0", "1 star", "-1"), "terrible"),
        **dict.fromkeys(("positive", "pos", "good", "1", "5 stars"), "great"),
        **dict.fromkeys(("neutral", "neu", "mixed"), "okay"),
    }
)
SENTIMENT_ZH = MappingProxyType(
    {
        **dict.fromkeys(("negative", "neg", "bad", "0", "-1", "负面", "消极", "差评"), "差"),
        **dict.fromkeys(("positive", "pos", "good", "1", "正面", "积极", "好评"), "好"),
        **dict.fromkeys(("neutral", "neu", "中性", "中评"), "中"),
    }
)
STARS_EN = ("terrible", "bad", "okay", "good", "great")
STARS_ZH = ("糟", "差", "中", "好", "优")


@dataclass(frozen=True)
class Guess:
    """What a run file for a data file should hold.

    Args:
        fields: field name to column.
        target: the target's column.
        labels: raw value to count, in the order in which labels are listed.
        language: en or zh.
        template: proposed.
        words: raw label to word.
        sure: whether the words are more than a placeholder.
        rows: how many rows were looked at.
        columns: all columns of the file.
    """

    fields: Mapping[str, str]
    target: str
    labels: Mapping[str, int]
    language: str
    template: str
    words: Mapping[str, str]
    sure: bool
    rows: int
    columns: tuple[str, ...]


@dataclass
class _Column:
    """What was seen in one column."""

    name: str
    values: Counter[str]
    length: float
    rows: int

    @property
    def distinct(self) -> int:
        return len(self.values)

    @property
    def is_id(self) -> bool:
        return self.name.lower() in ID_NAMES or (
            self.distinct == self.rows and all(value.isdecimal() for value in self.values)
        )


def guess(path: Path, fields: Sequence[str] = (), target: str | None = None) -> Guess:
    """Look at a file.

    Args:
        path: csv, tsv, jsonl, json or parquet.
        fields, target: columns that the user names.
    Raises:
        DataError: a file that cannot be read, or no column that could be the target or the text.
        SettingsError: a named column that is not there.
    """
    columns = _look(path)
    names = [column.name for column in columns]
    for name in (*fields, *([target] if target is not None else [])):
        if name not in names:
            hint = did_you_mean(name, names)
            raise SettingsError(
                f"{path}: no column '{name}'; the columns are {listed(names)}{hint}"
            )
    by_name = {column.name: column for column in columns}
    chosen = by_name[target] if target is not None else _target(path, columns, fields)
    texts = [by_name[name] for name in fields] or _texts(path, columns, chosen)
    language = "zh" if mostly_han("".join(islice(texts[0].values, 200))) else "en"
    labels = dict(sorted(chosen.values.items(), key=_in_order))
    words, sure, sentiment = _words(labels, language)
    named = _field_names(texts)
    return Guess(
        fields=named,
        target=chosen.name,
        labels=labels,
        language=language,
        template=_template(list(named), language, sentiment),
        words=words,
        sure=sure,
        rows=chosen.rows,
        columns=tuple(names),
    )


def _look(path: Path) -> list[_Column]:
    columns: dict[str, _Column] = {}
    for _, row in islice(iter_rows(path), LOOKED_AT):
        for name, cell in row.items():
            value = plain(cell)
            if is_missing(value):
                continue
            column = columns.setdefault(name, _Column(name, Counter(), 0.0, 0))
            text = as_text(value).strip()
            column.values[text] += 1
            column.rows += 1
            column.length += (len(text) - column.length) / column.rows  # a running mean
    if not columns:
        raise DataError("no rows; expected at least one", file=str(path))
    return list(columns.values())


def _target(path: Path, columns: Sequence[_Column], fields: Sequence[str]) -> _Column:
    """By its name, else the column with the fewest values; both must repeat themselves."""
    able = [
        column
        for column in columns
        if column.name not in fields
        and not column.is_id
        and 2 <= column.distinct <= MOST_LABELS
        and column.distinct < column.rows
    ]
    named = [column for column in able if column.name.lower() in TARGET_NAMES]
    found = named or sorted(able, key=lambda column: column.distinct)
    if not found:
        raise DataError(
            f"no column looks like a label (2 to {MOST_LABELS} values that repeat); name it with "
            f"--target; the columns are {listed(column.name for column in columns)}",
            file=str(path),
        )
    return found[0]


def _texts(path: Path, columns: Sequence[_Column], target: _Column) -> list[_Column]:
    """The column with the longest texts, and others of the same kind beside it, in file order."""
    able = [
        column
        for column in columns
        if column is not target
        and not column.is_id
        and any(not _is_number(value) for value in islice(column.values, 50))
    ]
    if not able:
        raise DataError(
            "no column looks like text; name it with --field; the columns are "
            f"{listed(column.name for column in columns)}",
            file=str(path),
        )
    longest = max(able, key=lambda column: column.length)
    return [
        column
        for column in able
        if column is longest
        or (column.length >= longest.length / 3 and column.distinct > column.rows / 2)
    ][:3]


def _words(labels: Mapping[str, int], language: str) -> tuple[dict[str, str], bool, bool]:
    """A word for each label, whether it is more than a placeholder, and whether it is sentiment."""
    table, stars = (SENTIMENT_ZH, STARS_ZH) if language == "zh" else (SENTIMENT_EN, STARS_EN)
    if list(labels) == ["1", "2", "3", "4", "5"]:
        return dict(zip(labels, stars, strict=True)), True, True
    known = {label: table.get(label.lower()) for label in labels}
    if all(known.values()) and len(set(known.values())) == len(known):
        # 0 and 1 may mean anything: the words are sentiment's, but only a guess.
        sure = not all(_is_number(label) for label in labels)
        return {label: str(word) for label, word in known.items()}, sure, True
    if all(not _is_number(label) for label in labels):
        return {label: label.replace("_", " ") for label in labels}, True, False
    return {label: f"word{number}" for number, label in enumerate(labels, 1)}, False, False


def _template(fields: Sequence[str], language: str, sentiment: bool) -> str:
    first = f"{{{fields[0]}}}"
    if language == "zh":
        if len(fields) > 1:
            return f"{first}？{{mask}}，{{{fields[1]}}}"
        return (
            f"{first}总体评价是{{mask}}的。"
            if sentiment
            else f"这是一条关于{{mask}}的消息：{first}"
        )
    if len(fields) > 1:
        return f"{first} ? {{mask}} , {{{fields[1]}}}"
    return f"{first} It was {{mask}}." if sentiment else f"{first} This is about {{mask}}."


def _field_names(columns: Sequence[_Column]) -> dict[str, str]:
    """Column names are field names where a template can hold them."""
    named: dict[str, str] = {}
    for number, column in enumerate(columns, start=1):
        plain_name = column.name and not set(column.name) & set("{}|!#:'")
        reserved = column.name in ("mask", "soft", "sep", "start", "decoder", "demo")
        name = column.name if plain_name and not reserved else f"text{number}"
        named[name] = column.name
    return named


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _in_order(pair: tuple[str, int]) -> tuple[int, float, str]:
    label = pair[0]
    return (0, float(label), "") if _is_number(label) else (1, 0.0, label)
