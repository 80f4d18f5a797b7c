"""A task: named fields, a target, splits and metrics, from wherever the rows come.

Knows rows and examples, not templates' insides, tokens or models. A task never changes: what
derives another (a dev split, fewer rows, k shots) returns a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, get_args

from softprompt.data.assembly import Parts, TaskOptions, assemble
from softprompt.data.columns import KINDS, Kind, did_you_mean, listed
from softprompt.data.examples import Example
from softprompt.data.filesets import (
    FileOptions,
    LineOptions,
    TableOptions,
    check_options,
    file_sources,
)
from softprompt.data.hub import open_split
from softprompt.data.loading import Skipped, Split
from softprompt.data.metrics import PartScore, check_metric, find_metric, text_score
from softprompt.data.readers import FrameSource, RowSource
from softprompt.data.sampling import k_shot
from softprompt.data.splitting import coarse_label, dev_from_train, subsample
from softprompt.errors import UsageError
from softprompt.text.tokens import Family

if TYPE_CHECKING:
    import pandas

File = str | Path | None


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learned, and the examples to learn it from.

    Args:
        name: for reports and provenance.
        fields: the names that a template may use.
        kind: "label" (one of `labels`), "text" (one or several gold texts) or "number".
        labels: in order; empty unless `kind` is "label".
        splits: name to `Split`. "train", "dev" and "test" have targets, "unlabelled" has none.
        metrics: names from `softprompt.data.metrics.METRICS`; the first one selects.
        bounds: lowest and highest number, for kind "number".
        template: one to start from, or None.
        templates: family of backbones to its own, where `template`, a cloze, does not suit it.
        words: label to the words that may stand for it, or None; of a number, two names, its
            lower and its upper end.
        language: such as "en" or "zh", or None.
        source: where the rows come from and under what terms.
        parts: of a mixture, the tasks that it is made of, by name (`mixture.py`).
    """

    name: str
    fields: tuple[str, ...]
    kind: Kind
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    metrics: tuple[str, ...]
    bounds: tuple[float, float] | None = None
    template: str | None = None
    words: Mapping[str, tuple[str, ...]] | None = None
    language: str | None = None
    source: str = ""
    templates: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Task] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"kind: expected one of {listed(KINDS)}, got {self.kind!r}")
        if not self.metrics:
            raise UsageError("metrics: expected at least one; the first one selects")
        for name in self.metrics:
            check_metric(name, self.kind, self.labels)
        if strange := set(self.templates) - set(get_args(Family)):
            raise UsageError(f"templates: {listed(strange)}: no families of {get_args(Family)}")
        if self.kind == "number" and self.words is not None and len(self.words) != 2:
            raise UsageError("words: a number has two, of its lower and its upper end")
        for label, words in (self.words or {}).items():
            if self.kind != "number" and label not in self.labels:
                hint = did_you_mean(label, self.labels)
                raise UsageError(f"words: {label!r} is none of {listed(self.labels)}{hint}")
            if isinstance(words, str) or not words:
                raise UsageError(f"words of {label!r}: expected a list of words, got {words!r}")
        if self.words is not None and (missing := set(self.labels) - set(self.words)):
            raise UsageError(f"words: none are given for {listed(sorted(missing))}")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise UsageError(f"bounds: expected the lower one first, got {self.bounds}")

    # What is there

    @property
    def split_names(self) -> tuple[str, ...]:
        return tuple(self.splits)

    def examples(self, split: str) -> list[Example]:
        """The examples of a split, read at the first call.

        Raises:
            UsageError: no such split.
            DataError: the first bad row, with file, line and field.
        """
        if split not in self.splits:
            hint = did_you_mean(split, self.splits)
            if split == "dev":
                hint = "; take one out of train with `with_dev_from_train`"
            there = listed(self.splits)
            raise UsageError(f"task {self.name!r} has no split {split!r}; it has {there}{hint}")
        return list(self.splits[split].examples)

    @property
    def skipped(self) -> Skipped:
        """The bad rows passed over in the splits read so far (with `skip_bad_rows=True`)."""
        return sum((split.skipped for split in self.splits.values()), Skipped())

    def content_hash(self, split: str) -> str:
        """16 hex digits that change with any id, field, target, candidate, group, or row order."""
        digest = hashlib.sha256()
        for row in self.examples(split):
            cells = [row.id, dict(row.fields), row.target, row.candidates, row.group]
            text = json.dumps(cells, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()[:16]

    @property
    def part_scores(self) -> dict[str, PartScore]:
        """Of a mixture, how each of its tasks is scored."""
        return {name: text_score(t.metrics, t.written_words) for name, t in self.parts.items()}

    @property
    def written_words(self) -> dict[str, tuple[str, ...]]:
        """What stands for each label where answers are written without a cloze around them: the words
        of a template without a slot, else the label itself. (A cloze's words fit its sentence.)"""
        cloze = self.template is None or "{mask" in self.template
        words = {} if cloze or self.words is None else self.words
        return {label: tuple(words.get(label, (label,))) for label in self.labels}

    @property
    def facts(self) -> dict[str, Any]:
        """What a saved prompt says of its task, as JSON values."""
        return {
            **{"name": self.name, "fields": list(self.fields), "kind": self.kind},
            **{"labels": list(self.labels), "language": self.language, "source": self.source},
        }

    def template_for(self, family: Family) -> str | None:
        """The template to start from on a backbone of this family, or None."""
        return self.templates.get(family, self.template)

    # Other tasks from this one

    def with_splits(self, **splits: Sequence[Example]) -> Task:
        """The same task with these splits put in place or added."""
        made = {name: Split.of(rows) for name, rows in splits.items()}
        return replace(self, splits={**self.splits, **made})

    def without_split(self, name: str) -> Task:
        """The same task without this split, whether it had one or not."""
        return replace(self, splits={n: own for n, own in self.splits.items() if n != name})

    def with_dev_from_train(
        self,
        size: int | None = None,
        fraction: float | None = None,
        seed: int = 0,
        replace_dev: bool = False,
    ) -> Task:
        """Take a dev split out of train: its rows leave train, labels keep their proportions.

        Rows with the same fields or of one group stay together; dev may be a few rows short for that.

        Args:
            size: rows of dev. Give this or `fraction`.
            fraction: share of train, between 0 and 1.
            seed: whole number; the same split everywhere for the same rows.
            replace_dev: drop a dev split that is there already.
        Raises:
            UsageError: both or neither of size and fraction, out of range, or dev is there already.
        """
        if "dev" in self.splits and not replace_dev:
            message = f"task {self.name!r} has a dev split already; replace_dev=True drops it"
            raise UsageError(message)
        train = self.examples("train")
        stay, gone = dev_from_train(train, size, fraction, seed, by_label=self.kind == "label")
        return self.with_splits(train=stay, dev=gone)

    def subsample(self, split: str, n: int, seed: int = 0) -> Task:
        """Keep n rows of a split, in their order; with one seed, fewer rows are a part of more.

        Where a metric counts groups (MultiRC's questions), rows to be scored keep theirs whole: n at most.

        Raises:
            UsageError: n is not between 1 and the number of rows, or is less than a whole group.
        """
        counted = split != "train" and not self.parts
        whole = counted and any(find_metric(name)[0].grouped for name in self.metrics)
        return self.with_splits(**{split: subsample(self.examples(split), n, seed, whole=whole)})

    def few_shot(self, k: int, seed: int, test: str | None = None) -> Task:
        """K rows per label to train on and another k per label for dev, by LM-BFF's law.

        Numbers count as two labels, below the middle of `bounds` and not below. Other splits stay.

        Args:
            k: rows per label and part.
            seed: 0 to 2**32 - 1.
            test: the split that becomes "test"; LM-BFF tests on GLUE's dev: `test="dev"`.
        Raises:
            UsageError: a label has fewer than 2 k rows, free-text targets, numbers without bounds.
        """
        tested = {"test": self.examples(test)} if test is not None else {}
        train, dev = k_shot(self.examples("train"), k, seed, coarse_label(self.kind, self.bounds))
        return self.with_splits(train=train, dev=dev, **tested)

    # Tasks from files, frames and the Hub

    @classmethod
    def of(cls, parts: Parts) -> Task:
        """A task from what `assemble` found."""
        return cls(**{name: getattr(parts, name) for name in Parts.__dataclass_fields__})

    @classmethod
    def from_csv(
        cls,
        train: File = None,
        *,
        fields: str | Sequence[str],
        target: str | None,
        **options: Unpack[TableOptions],
    ) -> Task:
        """A task from comma-separated files (RFC 4180; plain, `.gz` or `.xz`; UTF-8).

        `Task.from_csv("reviews.csv", fields=["review"], target="stars")`

        Args:
            train: the file to train on.
            fields: names of the fields; see the option `columns` where a column is called
                otherwise.
            target: column of the target; None reads none.
            options: see `TableOptions`: dev, test, header, labels, and others.
        Raises:
            DataError: with file, line and field.
            UsageError: options that are unknown or contradict each other.
        """
        sources, rest = file_sources(".csv", TableOptions, train, options)
        return cls.of(assemble(sources, fields, target, **rest))

    @classmethod
    def from_tsv(
        cls,
        train: File = None,
        *,
        fields: str | Sequence[str],
        target: str | None,
        **options: Unpack[TableOptions],
    ) -> Task:
        """A task from tab-separated files; as `from_csv`, but quotes are ordinary by default."""
        sources, rest = file_sources(".tsv", TableOptions, train, options)
        return cls.of(assemble(sources, fields, target, **rest))

    @classmethod
    def from_jsonl(
        cls,
        train: File = None,
        *,
        fields: str | Sequence[str],
        target: str | None,
        **options: Unpack[LineOptions],
    ) -> Task:
        """A task from files with one JSON object a line, or files that are one array of objects."""
        sources, rest = file_sources(".json", LineOptions, train, options)
        return cls.of(assemble(sources, fields, target, **rest))

    @classmethod
    def from_parquet(
        cls,
        train: File = None,
        *,
        fields: str | Sequence[str],
        target: str | None,
        **options: Unpack[FileOptions],
    ) -> Task:
        """A task from Parquet files; a line number in a message counts rows from 1."""
        sources, rest = file_sources(".parquet", FileOptions, train, options)
        return cls.of(assemble(sources, fields, target, **rest))

    @classmethod
    def from_pandas(
        cls,
        train: pandas.DataFrame | None = None,
        *,
        fields: str | Sequence[str],
        target: str | None,
        dev: pandas.DataFrame | None = None,
        test: pandas.DataFrame | None = None,
        unlabelled: pandas.DataFrame | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """A task from data frames; a line number in a message counts rows from 1."""
        frames = {"train": train, "dev": dev, "test": test, "unlabelled": unlabelled}
        sources: dict[str, RowSource] = {
            split: FrameSource(frame, f"data frame {split!r}")
            for split, frame in frames.items()
            if frame is not None
        }
        check_options(options, TaskOptions)
        return cls.of(assemble(sources, fields, target, **options))

    @classmethod
    def from_hub(
        cls,
        name: str,
        /,
        config: str | None = None,
        *,
        fields: str | Sequence[str],
        target: str | None,
        train: str | None = "train",
        dev: str | None = None,
        test: str | None = None,
        unlabelled: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """A task from a data set on the Hugging Face Hub; class labels become their names.

        `Task.from_hub("nyu-mll/glue", "sst2", fields=["sentence"], target="label")`

        Args:
            name, config: the data set and its configuration.
            train, dev, test, unlabelled: the Hub's names of the splits.
        Raises:
            UsageError: the Hub cannot be reached (asked once), or knows no such data set or split.
        """
        check_options(options, TaskOptions)
        wanted = {"train": train, "dev": dev, "test": test, "unlabelled": unlabelled}
        sources: dict[str, RowSource] = {
            split: open_split(name, config, theirs) for split, theirs in wanted.items() if theirs
        }
        where = "/".join(part for part in (name, config) if part)
        options.setdefault("name", where)
        options.setdefault("source", f"https://huggingface.co/datasets/{name}")
        return cls.of(assemble(sources, fields, target, **options))
