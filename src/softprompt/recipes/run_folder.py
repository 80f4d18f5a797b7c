"""The run folder on disk: taken once, resumed with the same settings only, written whole.

`config.yaml` · `data.json` · `metrics.jsonl` · `checkpoints/` · `prompt/` · `predictions.jsonl` ·
`plots/` · `report.md` · `fit.json` · `done.json`; several seeds have a folder `seed-N/` each for what
is theirs, and the variants of a sweep one each, `KEY=VALUE,…/`, with their seeds inside.
Every file is written beside its place and renamed, so none is ever half there.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from softprompt.errors import RunError, SettingsError
from softprompt.recipes.run_file import CONFIG, completed, differing
from softprompt.settings import read_yaml, to_yaml

DATA, DONE, METRICS, PREDICTIONS = "data.json", "done.json", "metrics.jsonl", "predictions.jsonl"
FIT, PLOTS, PROMPT, REPORT = "fit.json", "plots", "prompt", "report.md"
OURS = (
    *(CONFIG, DATA, DONE, FIT, METRICS, PREDICTIONS, PLOTS, PROMPT, REPORT),
    *("checkpoints", "tensorboard"),
)
"""What a run leaves; overwriting removes nothing else."""


@dataclass(frozen=True)
class RunFolder:
    """A run's place on disk.

    Args:
        path: need not exist yet.
    """

    path: Path

    @property
    def finished(self) -> bool:
        """Whether a run was carried to its end here."""
        return (self.path / DONE).is_file()

    @property
    def begun(self) -> bool:
        """Whether there is anything to resume: a checkpoint, whole or moved aside, or a whole fit."""
        homes = [self.path, *self._variants()]
        places = [place for home in homes for place in (home, *home.glob("seed-*"))]
        return any(
            (place / FIT).is_file() or any((place / "checkpoints").glob("*")) for place in places
        )

    def check(self, overwrite: bool) -> None:
        """Refuse early, before a model is loaded.

        Raises:
            SettingsError: a finished run without `overwrite`; a file, or a folder of something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise SettingsError(f"out: {self.path} is a file, expected a folder")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if not (self.path / CONFIG).is_file() and not self.begun:
            found = sorted(entry.name for entry in self.path.iterdir())[:3]
            raise SettingsError(
                f"out: {self.path} holds something that is no run ({', '.join(found)}); choose "
                "another folder"
            )
        if self.finished and not overwrite:
            raise SettingsError(
                f"{self.path} holds a finished run; give --overwrite to train it anew, or another "
                "out=…"
            )

    def claim(
        self,
        config: Mapping[str, Any],
        data: Mapping[str, str],
        overwrite: bool,
        variants: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> bool:
        """Take the folder for a run with these settings on these data.

        Args:
            config: the resolved settings.
            data: content hashes of the splits.
            overwrite: remove what an earlier run left.
            variants: those of a sweep, name to resolved settings.
        Returns:
            Whether an earlier run goes on.
        Raises:
            SettingsError: the run to go on with had other settings or other data.
            RunError: the folder cannot be written.
        """
        if overwrite:
            self._clear()
        resumed = self.begun
        if resumed:
            self.check_same(config, data)
        else:
            remove(*self._variants())  # of a sweep that learned nothing
        self._mark(config, data)
        for name, own in variants.items():
            write_text(self.path / name / CONFIG, to_yaml(own))
        return resumed

    def take(self, config: Mapping[str, Any], data: Mapping[str, str]) -> None:
        """Mark the folder with these settings and data, or go on with what has the same.

        Raises:
            SettingsError: what stands there has others.
            RunError: the folder cannot be written.
        """
        if (self.path / CONFIG).is_file():
            self.check_same(config, data)
        self._mark(config, data)

    def _mark(self, config: Mapping[str, Any], data: Mapping[str, str]) -> None:
        write_text(self.path / CONFIG, to_yaml(config))  # first: by it the folder is known
        write_text(self.path / DATA, json.dumps(dict(data), indent=2) + "\n")

    def release(self) -> None:
        """After a failure before the first checkpoint: leave nothing behind."""
        if self.begun or self.finished:
            return
        with contextlib.suppress(OSError):
            self._clear()
            self.path.rmdir()

    def seed(self, seed: int, several: bool) -> Path:
        """Where one seed's own files go."""
        return self.path / f"seed-{seed}" if several else self.path

    def fit(self, variant: str, seed: int, several: bool) -> Path:
        """Where one fit's own files go; those of a sweep's variant always in a seed's folder."""
        return self.path / variant / f"seed-{seed}" if variant else self.seed(seed, several)

    def _variants(self) -> list[Path]:
        """Folders of a sweep's variants: a name with = in it, and a run file inside."""
        return [place for place in self.path.glob("*=*") if (place / CONFIG).is_file()]

    def check_same(self, config: Mapping[str, Any], data: Mapping[str, str]) -> None:
        """Refuse to take a run here for one with these settings on these data.

        Raises:
            SettingsError: it had other settings or other data; says which.
        """
        state = "a finished" if self.finished else "an unfinished"
        back = "Put them back" if self.finished else "Put them back to resume it"
        there = (self.path / CONFIG).is_file()
        saved = completed(read_yaml(self.path / CONFIG)) if there else {}
        keys = [key for key in differing(saved, json.loads(json.dumps(config))) if key != "out"]
        if keys:
            raise SettingsError(
                f"{self.path} holds {state} run with other settings; these differ: "
                f"{', '.join(keys)}. {back}, or give --overwrite or another out=…"
            )
        path = self.path / DATA
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else dict(data)
        changed = [split for split in data if known.get(split) != data[split]]
        if changed:
            raise SettingsError(
                f"{self.path} holds {state} run on other data: {', '.join(changed)} changed "
                f"since. {back}, or give --overwrite or another out=…"
            )

    def _clear(self) -> None:
        remove(*self._variants(), *(self.path / name for name in OURS), *self.path.glob("seed-*"))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's refusal into a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written: {error.strerror or error}; make room (or the folder "
            "writable) and run the same command again"
        ) from error


def remove(*paths: Path) -> None:
    """Files, and folders with all that is in them; what is not there is passed over.

    Raises:
        RunError: the system refused.
    """
    for path in paths:
        with writing(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one motion: whole, or as it was before.

    Raises:
        RunError: the system refused (no space left, no permission).
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text."""
    write_bytes(path, text.encode("utf-8", "surrogatepass"))


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path) -> list[Any]:
    """What `write_lines` wrote; nothing where there is no such file.

    A line ends with a newline alone: `str.splitlines` would also part a text at its U+2028.
    """
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
