"""A user's own list of words to search among: one a line for all classes, or YAML `label: [words]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from softprompt.data.columns import did_you_mean
from softprompt.errors import DataError
from softprompt.settings import read_yaml


def read_word_list(path: Path, labels: Sequence[str]) -> dict[str, list[str]]:
    """The words of each label, each once, in their order.

    Args:
        path: `.yaml` or `.yml` for words of each label; else lines, for all of them.
        labels: all must have words.
    Raises:
        DataError: no such file, a label that is unknown or without words, a value that is no list of words.
    """
    if path.suffix in (".yaml", ".yml"):
        return _by_label(path, labels)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"--words: {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--words: {path}: cannot be read as UTF-8 text: {error}") from None
    words = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not words:
        raise DataError(f"--words: {path}: no words, expected one a line")
    return dict.fromkeys(labels, words)


def _by_label(path: Path, labels: Sequence[str]) -> dict[str, list[str]]:
    given = {str(label): words for label, words in read_yaml(path).items()}
    for label, words in given.items():
        if label not in labels:
            raise DataError(
                f"--words: {path}: '{label}' is none of the labels {', '.join(labels)}"
                f"{did_you_mean(label, labels)}"
            )
        if not isinstance(words, list) or not all(isinstance(w, str) and w.strip() for w in words):
            raise DataError(
                f"--words: {path}: '{label}': expected a list of words, in quotes where YAML would read a number"
            )
    missing = [label for label in labels if not given.get(label)]
    if missing:
        raise DataError(f"--words: {path}: no words for {', '.join(missing)}")
    return {label: list(dict.fromkeys(word.strip() for word in given[label])) for label in labels}
