"""What of the corpus is kept: read, clean, drop duplicates, drop what evaluation sets hold.

Each source is one generator, and each has its counts: `corpus.json` says what was read, what every
filter took away, and what is left. Knows the order of the filters, not how any of them works.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, field_validator

from softprompt.errors import SettingsError
from softprompt.pretraining.cleaning import FilterCounts, clean, named_filters
from softprompt.pretraining.documents import Document, read_documents
from softprompt.pretraining.duplicates import (
    DuplicateCounts,
    drop_duplicates,
    drop_repeated_spans,
)
from softprompt.pretraining.evaluation_texts import evaluation_sets, is_evaluation_file
from softprompt.pretraining.overlap import (
    EvaluationSet,
    OverlapCounts,
    OverlapIndex,
    drop_overlaps,
)
from softprompt.settings import Settings

COUNTS_FILE = "corpus.json"
TOLD_EVERY = 20_000
"""Documents between two words about how far the reading is."""
Report = Callable[[Mapping[str, Any]], None]


class PreparationSettings(Settings):
    """What of the text is kept."""

    clean: list[str] = Field(
        default=[],
        description="filters in order, as [c4] for all of C4's rules or [javascript, min_words:5]",
    )
    deduplicate: bool = Field(
        default=True, description="keep one of equal paragraphs, in all of the corpus"
    )
    repeated_spans: bool = Field(
        default=False, description="drop spans of three sentences seen before (C4's rule)"
    )
    evaluation: str | None = Field(
        default=None, description="folder of evaluation data that must not stand in the corpus"
    )
    evaluation_without: list[str] = Field(default=[], description="folders or files in it that may")
    text_field: str = Field(
        default="text", description="key or column of the text (jsonl, parquet, hub)"
    )
    damaged: Literal["stop", "skip"] = Field(
        default="stop", description="at what cannot be read: stop, or leave it out and say so"
    )

    @field_validator("clean")
    @classmethod
    def _known_filters(cls, value: list[str]) -> list[str]:
        try:
            named_filters(value)
        except SettingsError as error:
            raise ValueError(str(error).removeprefix("clean: ")) from None
        return value


class Place(Protocol):
    """A source of text: what it is called, and the file or hub data set where it is."""

    @property
    def name(self) -> str: ...

    @property
    def place(self) -> Path | str: ...


@dataclass
class Amount:
    """Documents and paragraphs."""

    documents: int = 0
    paragraphs: int = 0


@dataclass
class Counts:
    """What happened to one source.

    Args:
        read, kept: before all filters and after them.
        cleaned: by filter.
        duplicates: paragraphs seen before.
        spans: sentences in spans seen before.
        overlaps: paragraphs that evaluation sets hold, by set.
        left_out: messages about what could not be read.
    """

    read: Amount = field(default_factory=Amount)
    kept: Amount = field(default_factory=Amount)
    cleaned: dict[str, FilterCounts] = field(default_factory=dict)
    duplicates: DuplicateCounts = field(default_factory=DuplicateCounts)
    spans: DuplicateCounts = field(default_factory=DuplicateCounts)
    overlaps: OverlapCounts = field(default_factory=OverlapCounts)
    left_out: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values, evaluation sets in order of how much they took."""
        values = asdict(self)
        sets = sorted(self.overlaps.sets.items(), key=lambda item: (-item[1], item[0]))
        values["overlaps"]["sets"] = dict(sets)
        return values


class Preparation:
    """The chain for all sources of a run; duplicates are looked for across them.

    Sources come in the order in which `documents_of` is called. Where one was not read (its tokens
    were there already) and a later one is, the earlier one is read first, if a filter remembers
    what it has seen: what is kept does not depend on where a run was interrupted.

    Args:
        settings: what is kept.
        out: the run folder, for `corpus.json`.
        report: gets `{"warning": message}` for what was left out, `{"preparing": name, "documents":
            number}` as reading goes on, and `{"prepared": {name: counts}}` when it is done.
    Raises:
        DataError: no such evaluation folder, none of its files can be used, or a name in
            `evaluation_without` is not in it.
    """

    def __init__(
        self, settings: PreparationSettings, out: Path, report: Report = lambda record: None
    ):
        self.settings, self.out, self.report = settings, out, report
        self.counts: dict[str, Counts] = {}
        self._filters = named_filters(settings.clean)
        self._paragraphs: set[bytes] = set()
        self._spans: set[bytes] = set()
        self._waiting: list[Place] = []
        # The index is built when text is there; what is wrong with its folder is said now.
        next(self._evaluation_sets(), None)

    @cached_property
    def digest(self) -> str:
        """Of all that decides what is kept, but the sources: settings, word lists, evaluation."""
        values = self.settings.model_dump(mode="json")
        values["clean"] = [step.digest for step in self._filters]
        if self.settings.evaluation is not None:
            values["evaluation"] = _folder_digest(Path(self.settings.evaluation))
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def documents_of(self, source: Place) -> Iterator[Document]:
        """What is kept of a source, to be read once.

        Raises:
            DataError: while reading, what cannot be read, if the setting `damaged` is `stop`.
        """
        self._waiting.append(source)
        return self._documents(source)

    def lines_of(self, source: Place) -> Callable[[], Iterable[str]]:
        """Makes a stream of a source's paragraphs as they are read, before all filters.

        Meant for the tokenizer's sample; nothing is counted, nothing is remembered as seen.
        """

        def lines() -> Iterator[str]:
            # `documents_of` reads the same text and reports what is left out.
            documents = self._read(source, lambda message: None)
            return (line for document in documents for line in document)

        return lines

    def finish(self) -> None:
        """Write the counts of the sources that were read; those of others stay as they are."""
        path = self.out / COUNTS_FILE
        if not self.counts:
            return
        there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        every = {**there, **{name: counts.as_json() for name, counts in self.counts.items()}}
        self.out.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{COUNTS_FILE}.partial")
        partial.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(path)

    @cached_property
    def _index(self) -> OverlapIndex:
        return OverlapIndex(self._evaluation_sets())

    def _evaluation_sets(self) -> Iterator[EvaluationSet]:
        if self.settings.evaluation is not None:
            yield from evaluation_sets(
                Path(self.settings.evaluation), self.settings.evaluation_without
            )

    def _read(self, source: Place, report: Callable[[str], None]) -> Iterator[Document]:
        s = self.settings
        return read_documents(source.place, s.text_field, s.damaged, report)

    def _documents(self, source: Place) -> Iterator[Document]:
        while (earlier := self._waiting.pop(0)) is not source:
            if self.settings.deduplicate or self.settings.repeated_spans:
                for _ in self._prepared(earlier):
                    pass
        yield from self._prepared(source)

    def _prepared(self, source: Place) -> Iterator[Document]:
        counts = Counts()

        def note(message: str) -> None:
            counts.left_out.append(message)
            self.report({"warning": message})

        documents = self._told(source, _counted(self._read(source, note), counts.read))
        documents = clean(documents, self._filters, counts.cleaned)
        if self.settings.deduplicate:
            documents = drop_duplicates(documents, counts.duplicates, self._paragraphs)
        if self.settings.repeated_spans:
            documents = drop_repeated_spans(documents, counts.spans, self._spans)
        if self.settings.evaluation is not None:
            documents = drop_overlaps(documents, self._index, counts.overlaps)
        yield from _counted(documents, counts.kept)
        self.counts[source.name] = counts
        self.finish()  # an interruption before the next source loses no counts
        self.report({"prepared": {source.name: counts.as_json()}})

    def _told(self, source: Place, documents: Iterable[Document]) -> Iterator[Document]:
        for number, document in enumerate(documents, start=1):
            if number % TOLD_EVERY == 0:
                self.report({"preparing": source.name, "documents": number})
            yield document


def _counted(documents: Iterable[Document], amount: Amount) -> Iterator[Document]:
    for document in documents:
        amount.documents += 1
        amount.paragraphs += len(document)
        yield document


def _folder_digest(folder: Path) -> str:
    """Of the evaluation files of a folder: their names and bytes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if is_evaluation_file(path):
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return digest.hexdigest()


def table(counts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Counts as lines of text: for each source what was read, dropped (-) and kept.

    Args:
        counts: by source, as in `corpus.json`.
    Returns:
        Aligned columns of documents and paragraphs, one row for each filter that did anything.
        Repeated spans are counted in sentences. A paragraph that two evaluation sets hold stands in
        the rows of both.
    """
    lines: list[str] = []
    for source, values in counts.items():
        rows = [(what, f"{d:,}" if d else "", f"{p:,}") for what, d, p in _rows(values)]
        width = max(len(source), *(len(what) + 2 for what, _, _ in rows))
        lines.append(f"{source:{width}}  documents  paragraphs")
        lines += [f"  {what:{width - 2}}  {d:>9}  {p:>10}" for what, d, p in rows]
        lines += [f"  left out: {message}" for message in values["left_out"]]
    return lines


def _rows(values: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """(what, documents, paragraphs) of one source, without rows of noughts between the ends."""
    rows: list[tuple[str, int, int]] = []
    for name, count in values["cleaned"].items():
        rows.append((f"- {name}", count["documents"], count["paragraphs"]))
        rows.append((f"  {name}: changed", 0, count["changed"]))
    duplicates, spans, overlaps = (values[k] for k in ("duplicates", "spans", "overlaps"))
    rows.append(("- duplicates", duplicates["documents"], duplicates["dropped"]))
    rows.append(("- repeated spans, in sentences", spans["documents"], spans["dropped"]))
    rows.append(("- held by evaluation sets", overlaps["documents"], overlaps["dropped"]))
    rows += [(f"  {name}", 0, number) for name, number in overlaps["sets"].items()]
    yield "read", values["read"]["documents"], values["read"]["paragraphs"]
    yield from (row for row in rows if any(row[1:]))
    yield "kept", values["kept"]["documents"], values["kept"]["paragraphs"]
