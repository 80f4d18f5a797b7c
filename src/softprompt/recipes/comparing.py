"""Run a comparison: cell after cell with `train`, each in its folder; what stands there is read.

Interrupted at any moment, the same call goes on where it was. A cell that its backbone or task refuses,
and one that fails, is a row that says so; the others go on. Prints nothing.
"""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.overlap import Overlap
from softprompt.data.task import Task
from softprompt.errors import SettingsError, SoftpromptError, UsageError
from softprompt.recipes.compare_file import COMPARE, BackboneEntry, CompareSettings, resolved
from softprompt.recipes.comparison_baselines import baseline
from softprompt.recipes.comparison_plan import Cell, CellRun, Plan, plan
from softprompt.recipes.comparison_results import Result, complete, read_run_folder
from softprompt.recipes.comparison_running import carry_out, stands
from softprompt.recipes.comparison_watch import Clock
from softprompt.recipes.measuring import together
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.run_folder import RunFolder, remove, write_text
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.split_overlaps import split_overlaps
from softprompt.recipes.watching import Part, Silent, Watcher
from softprompt.settings import to_yaml

_DATA_KEYS = (
    *("task", "data", "variant", "dev_size", "k_shot", "train_limit", "dev_limit", "test_limit"),
    *("data_seed", "test_on", "test_on_dev", "train_balanced", "unlabelled", "unlabelled_limit"),
)


@dataclass(frozen=True)
class Compared:
    """A table: one backbone, one task, a result for each row.

    Args:
        backbone, task: labels.
        data: the task with its splits; the first, where each seed draws its own.
        results: methods in the file's order, then baselines.
        overlaps: between the splits that were used.
    """

    backbone: str
    task: str
    data: RunData
    results: tuple[Result, ...]
    overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Args:
        folder: everything is there.
        settings, plan: what was compared.
        tables: backbone by backbone, task by task.
    """

    folder: Path
    settings: CompareSettings
    plan: Plan
    tables: tuple[Compared, ...]


def compare(
    settings: CompareSettings, watcher: Watcher | None = None, *, overwrite: bool = False
) -> Comparison:
    """Run all cells that are not done, and read them all.

    Args:
        watcher: is told of cells, steps and warnings.
        overwrite: begin anew where a comparison stands.
    Raises:
        SettingsError: settings that fit no cell; a cell that was run with other settings or on other
            data; a folder of something else; nothing at all that could be run.
        UsageError: data that cannot be read.
    """
    told = watcher or Silent()
    laid = plan(settings)
    folder = Path(settings.out or "comparison")
    _claim(folder, settings, overwrite)
    runner = _Runner(folder, settings, laid, told)
    runner.check()
    results = runner.run()
    if not any(one.tested for one in results.values() if one.kind == "method"):
        reasons = [one.refused or one.failed or "" for one in results.values()]
        _release(folder)
        raise SettingsError(f"no cell of the comparison could be run; the first: {reasons[0]}")
    return Comparison(folder, settings, laid, runner.tables(results))


def _claim(folder: Path, settings: CompareSettings, overwrite: bool) -> None:
    """Take the folder; a comparison that stands there goes on, and may have grown."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / COMPARE).is_file():
        found = sorted(entry.name for entry in folder.iterdir())[:3]
        raise SettingsError(
            f"out: {folder} holds something that is no comparison ({', '.join(found)}); choose "
            "another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"out: {folder} is a file, expected a folder")
    if overwrite:
        remove(*(folder / name for name in ("cells", "baselines", "overlap")))


def _release(folder: Path) -> None:
    """Leave nothing of a comparison in which nothing was run but its file."""
    if [entry.name for entry in folder.iterdir()] == [COMPARE]:
        remove(folder)


class _Runner:
    """Keeps what cells share: data by what they are read with, one loaded backbone, time gone."""

    def __init__(self, folder: Path, settings: CompareSettings, laid: Plan, told: Watcher):
        self._folder, self._settings, self._plan, self._told = folder, settings, laid, told
        self._data: dict[str, RunData | str] = {}
        self._hashes: dict[str, dict[str, str]] = {}
        self._backbone: tuple[str, Backbone | str] | None = None
        self._clock = Clock(laid)

    # --- before anything is trained ---------------------------------------------------------------

    def check(self) -> None:
        """Read the data; refuse cells that were run otherwise, before the first one is trained."""
        for label in self._plan.tasks:
            runs = [r for c in self._plan.cells if c.task == label for r in c.runs if r.settings]
            loaded = [self._read(run.settings) for run in runs if run.settings is not None]
            if loaded and all(isinstance(one, str) for one in loaded):
                raise SettingsError(f"task '{label}': {loaded[0]}")
        for cell in self._plan.cells:
            for run in cell.runs:
                if run.settings is not None and stands(run):
                    hashes = self._hashed(run.settings)
                    RunFolder(run.folder).check_same(run.settings.resolved(), hashes)
        write_text(self._folder / COMPARE, to_yaml(resolved(self._settings)))

    def _read(self, settings: RunSettings) -> RunData | str:
        """The data of a run, or why there are none; read once for all cells that read alike."""
        key = _data_key(settings)
        if key not in self._data:
            try:
                self._data[key] = run_task(settings)
            except UsageError as error:
                self._data[key] = str(error)
        return self._data[key]

    def _hashed(self, settings: RunSettings) -> dict[str, str]:
        key, data = _data_key(settings), self._read(settings)
        if isinstance(data, str):
            return {}
        if key not in self._hashes:
            names = [split for split in data.task.split_names if split != "unlabelled"]
            self._hashes[key] = {split: data.task.content_hash(split) for split in names}
        return self._hashes[key]

    # --- cells --------------------------------------------------------------------------------------

    def run(self) -> dict[tuple[str, str, str], Result]:
        """Every cell's result, by backbone, task and row; what is done is read."""
        found: dict[tuple[str, str, str], Result] = {}
        for number, cell in enumerate(self._plan.cells, start=1):
            name = f"{cell.row.label} on {cell.task}, {cell.backbone}"
            result = self._cell(cell, f"{number} of {len(self._plan.cells)}: {name}")
            found[cell.backbone, cell.task, cell.row.label] = result
            self._clock.done(cell)
        return found

    def _cell(self, cell: Cell, name: str) -> Result:
        empty = Result(
            label=cell.row.label,
            kind="baseline" if cell.row.once else "method",
            method=cell.row.method,
            selection="none",
            chosen="",
            tested=(),
            family=cell.row.family,
            varied=cell.row.varied,
            note=_note(cell),
        )
        if cell.refused is not None:
            return self._refused(empty, cell.refused, name)
        try:
            pending = [run for run in cell.runs if not complete(run)]
            if pending:
                self._told.note(f"cell {name}{self._clock.left()}")
                for run in pending:
                    self._run(cell, run, name)
            return self._read_cell(cell, empty)
        except UsageError as error:
            return self._refused(empty, str(error), name)
        except SoftpromptError as error:
            return self._failed(empty, str(error), name)
        except Exception as error:
            place = cell.runs[0].place
            path = place.with_name(f"{place.name}.failure.txt")
            with contextlib.suppress(SoftpromptError):
                write_text(path, traceback.format_exc())
            return self._failed(empty, f"{type(error).__name__}: {error}; see {path}", name)

    def _refused(self, empty: Result, reason: str, name: str) -> Result:
        reason = reason.removeprefix(f"{empty.method}: ")  # the row's name says that already
        self._told.note(f"cell {name}: refused: {' '.join(reason.split())}")
        return replace(empty, refused=reason)

    def _failed(self, empty: Result, reason: str, name: str) -> Result:
        self._told.warning(f"cell {name} failed, the others go on: {reason}")
        return replace(empty, failed=reason)

    def _run(self, cell: Cell, run: CellRun, name: str) -> None:
        assert run.settings is not None
        data = self._read(run.settings)
        if isinstance(data, str):
            raise SettingsError(data)
        backbone = self._loaded(cell.backbone)
        carry_out(cell, run, backbone, data, Part(self._told, name))

    def _read_cell(self, cell: Cell, empty: Result) -> Result:
        reads = []
        for run in cell.runs:
            assert run.settings is not None
            data = self._read(run.settings)
            if isinstance(data, str):
                raise SettingsError(data)
            reads.append(read_run_folder(run, data.task.metrics[0]))
        tested = [one for read in reads for one in read.tested]
        chosen = "; ".join(dict.fromkeys(read.chosen for read in reads if read.chosen))
        return replace(
            empty,
            tested=tested,
            selection="dev" if chosen else "none",
            chosen=chosen,
            costs=together([read.costs for read in reads if read.costs is not None]),
        )

    def _loaded(self, label: str) -> Backbone:
        """The backbone of a label, loaded when first needed; one is held at a time.

        Raises:
            SettingsError: it cannot be loaded.
        """
        if self._backbone is None or self._backbone[0] != label:
            self._backbone = None  # the earlier one goes before the next one comes
            entry = self._plan.backbones[label]
            self._told.note(f"loading {entry.name}")
            try:
                self._backbone = label, _load(entry, self._settings)
            except UsageError as error:
                self._backbone = label, str(error)
        loaded = self._backbone[1]
        if isinstance(loaded, str):
            raise SettingsError(loaded)
        return loaded

    # --- tables -------------------------------------------------------------------------------------

    def tables(self, results: Mapping[tuple[str, str, str], Result]) -> tuple[Compared, ...]:
        """A table for each backbone and task, with its baselines."""
        overlaps: dict[str, tuple[Overlap, ...]] = {}
        tables: list[Compared] = []
        for backbone in self._plan.backbones:
            for task in self._plan.tasks:
                cells = [c for c in self._plan.cells if (c.backbone, c.task) == (backbone, task)]
                data = self._splits(cells)
                first = next(iter(data.values()))
                if task not in overlaps and self._settings.overlap:
                    overlaps[task] = split_overlaps(first, self._folder / "overlap")
                tables.append(
                    Compared(
                        backbone=backbone,
                        task=task,
                        data=first,
                        results=(
                            *(results[backbone, task, cell.row.label] for cell in cells),
                            *self._baselines(cells[0], {key: d.task for key, d in data.items()}),
                        ),
                        overlaps=overlaps.get(task, ()),
                    )
                )
        return tuple(tables)

    def _splits(self, cells: list[Cell]) -> dict[tuple[int, int], RunData]:
        """(split, seed) to the task's data, as the file says it, without what a row varies."""
        plain = [
            cell
            for cell in cells
            if not {"k_shot", "train_limit"} & set(cell.row.varied)
            and cell.row.product is None
            and not cell.row.once
        ]
        for cell in [*plain, *cells]:
            found: dict[tuple[int, int], RunData] = {}
            for run in cell.runs:
                data = self._read(run.settings) if run.settings is not None else "refused"
                if not isinstance(data, str) and run.settings is not None:
                    found[run.split, run.settings.seeds[0]] = data
            if found:
                return found
        raise SettingsError(f"task '{cells[0].task}': no data")

    def _baselines(self, cell: Cell, tasks: Mapping[tuple[int, int], Task]) -> Iterator[Result]:
        home = self._folder / "baselines" / cell.runs[0].place.relative_to(self._folder).parts[2]
        for name in self._settings.baselines:
            if name in ("majority", "bag_of_words"):
                yield baseline(name, tasks, None, home)
            elif name == "linear_probe":
                own = home / cell.runs[0].place.relative_to(self._folder).parts[1]
                try:
                    yield baseline(name, tasks, self._loaded(cell.backbone), own)
                except UsageError as error:
                    yield Result(
                        "linear probe", "baseline", name, "none", "", (), refused=str(error)
                    )


def _note(cell: Cell) -> str | None:
    """What stands beside the row: its own note, and that its models read texts of the test rows."""
    said = dict.fromkeys(
        (cell.row.note, *(run.settings.remark for run in cell.runs if run.settings))
    )
    return "; ".join(note for note in said if note) or None


def _load(entry: BackboneEntry, settings: CompareSettings) -> Backbone:
    precision: Any = entry.precision or settings.precision
    family: Any = entry.family
    return load_backbone(entry.name, family=family, precision=precision, device=settings.device)


def _data_key(settings: RunSettings) -> str:
    values = settings.resolved()
    return json.dumps([values.get(key) for key in _DATA_KEYS], sort_keys=True)
