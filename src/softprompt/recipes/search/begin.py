"""What every search begins with: its data, its backbone, its folder; refused before anything is written.

Knows runs and folders, not what is searched for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.data.task import Task
from softprompt.errors import SettingsError
from softprompt.recipes.run_data import RunData, run_task
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.folder import SearchFolder
from softprompt.recipes.search.settings import SearchSettings
from softprompt.recipes.watching import Fact, Silent, Watcher
from softprompt.text.answers import POLES


@dataclass(frozen=True)
class Search:
    """A search about to begin, or to go on.

    Args:
        run: the run whose template or words are searched.
        settings: the search's own.
        folder: claimed.
        data: the whole data of the run.
        backbone: loaded.
        told: is told what happens.
        resumed: whether an earlier search goes on.
        keep: how many of the best fits keep the weights that they tuned.
    """

    run: RunSettings
    settings: SearchSettings
    folder: SearchFolder
    data: RunData
    backbone: Backbone
    told: Watcher
    resumed: bool
    keep: int = 1

    @property
    def task(self) -> Task:
        """The task without its test rows: no search sees them."""
        return seen_task(self.data.task)

    @property
    def labels(self) -> Sequence[str]:
        return labels_of(self.task)

    def refusing(self) -> AbstractContextManager[None]:
        """What refuses to search before anything was found leaves no folder, if this call made it."""
        return self.folder.refusing(resumed=self.resumed)


def begin(
    kind: str,
    run: RunSettings,
    settings: SearchSettings,
    out: Path,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    backbone: Backbone | None = None,
    data: RunData | None = None,
    keep: int = 1,
) -> Search:
    """Read the data, load the backbone, take the folder.

    Args:
        kind: `words`, `templates` or `triggers`.
        out: the search's folder; an unfinished search there is gone on with.
        overwrite: begin anew where a search stands already.
        backbone, data: what `run` names, where it was loaded or read already.
        keep: how many of the best fits keep the weights that they tuned.
    Raises:
        UsageError: settings, data or backbone that do not fit; nothing was written.
    """
    told = watcher or Silent()
    folder = SearchFolder(out)
    folder.check()
    _check(run)
    data = data or run_task(run)
    if not ("dev" in data.task.split_names and data.task.examples("dev")):
        raise SettingsError(
            f"task '{data.task.name}' has no dev split, and candidates are ranked on dev; give a dev file, "
            "a dev_size above 0, or k_shot"
        )
    if backbone is None:
        told.note(f"loading {run.backbone}")
        backbone = load_backbone(
            run.backbone, family=run.family, precision=run.precision, device=run.device
        )
    task = data.task
    config = {"kind": kind, "search": settings.model_dump(mode="json"), "run": run.resolved()}
    hashes = {s: task.content_hash(s) for s in task.split_names if s != "unlabelled"}
    resumed = folder.claim(config, hashes, overwrite)
    told.facts(_facts(kind, task, backbone, run, data))
    if resumed:
        told.note(f"going on with the search in {out}")
    return Search(run, settings, folder, data, backbone, told, resumed, keep)


def seen_task(task: Task) -> Task:
    """A task with the splits that a search may look at: train, dev and what has no labels."""
    kept = {
        name: task.splits[name] for name in ("train", "dev", "unlabelled") if name in task.splits
    }
    return replace(task, splits=kept)


def labels_of(task: Task) -> Sequence[str]:
    """In whose order words stand: the task's labels; of a number the names of its ends."""
    return task.labels or (*(task.words or ()), *POLES)


def _check(run: RunSettings) -> None:
    if "recipe" in type(run).model_fields:
        raise SettingsError("recipe: a search fits ordinary runs; leave the key out")
    if run.sweep:
        raise SettingsError(
            "sweep: a search fits every candidate under one choice of settings; sweep the best one afterwards"
        )


def _facts(
    kind: str, task: Task, backbone: Backbone, run: RunSettings, data: RunData
) -> list[Fact]:
    family = backbone.family.replace("_", "-")
    rows = ", ".join(f"{s} {len(task.examples(s)):,}" for s in task.split_names)
    return [
        Fact("search", kind),
        Fact("backbone", f"{backbone.name} ({family}, {backbone.n_parameters:,} parameters)"),
        Fact("device", f"{backbone.device}, {backbone.precision}"),
        Fact("task", f"{task.name}: {rows}"),
        *(Fact("", note) for note in data.notes),
        Fact("method", run.method.name),
    ]
