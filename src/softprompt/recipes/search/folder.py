"""The folder of a search on disk: taken once, gone on with under the same settings only.

`search.yaml` · `candidates.jsonl` · `fits/NNN/` (ordinary runs) · `best.yaml` · `report.md` · `done.json`
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softprompt.errors import SettingsError, UsageError
from softprompt.recipes.run_file import completed, differing
from softprompt.recipes.run_folder import DATA, DONE, REPORT, remove, write_text
from softprompt.recipes.search.candidates import CANDIDATES
from softprompt.settings import read_yaml, to_yaml

SEARCH, BEST, FITS = "search.yaml", "best.yaml", "fits"
WORK = "work"
"""What a kind of search keeps for itself until it has its candidates."""

FREE = ("search.fits", "run.out")
"""Settings that may differ when a search goes on: more candidates are fitted, the rest stays."""


@dataclass(frozen=True)
class SearchFolder:
    """A search's place on disk.

    Args:
        path: need not exist yet.
    """

    path: Path

    @property
    def candidates(self) -> Path:
        return self.path / CANDIDATES

    @property
    def fits(self) -> Path:
        return self.path / FITS

    @property
    def work(self) -> Path:
        """For a search's own state; what is there may be removed once there are candidates."""
        return self.path / WORK

    def check(self) -> None:
        """Refuse early, before a model is loaded.

        Raises:
            SettingsError: a file, or a folder of something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise SettingsError(f"--out: {self.path} is a file, expected a folder")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / SEARCH).is_file():
            found = ", ".join(sorted(entry.name for entry in self.path.iterdir())[:3])
            raise SettingsError(
                f"--out: {self.path} holds something that is no search ({found}); choose another folder"
            )

    def claim(
        self, config: Mapping[str, Any], data: Mapping[str, str], overwrite: bool = False
    ) -> bool:
        """Take the folder for a search with these settings on these data.

        Args:
            config: `{kind: …, search: its own settings, run: those of the run}`.
            data: content hashes of the splits.
            overwrite: remove what an earlier search left.
        Returns:
            Whether an earlier search goes on.
        Raises:
            SettingsError: the search to go on with had other settings or other data.
            RunError: the folder cannot be written.
        """
        if overwrite:
            self._clear()
        resumed = (self.path / SEARCH).is_file()
        if resumed:
            self._check_same(config, data)
        write_text(self.path / SEARCH, to_yaml(config))  # first: by it the folder is known
        write_text(self.path / DATA, json.dumps(dict(data), indent=2) + "\n")
        return resumed

    @contextmanager
    def refusing(self, *, resumed: bool) -> Iterator[None]:
        """What refuses to search before anything was found leaves no folder behind.

        Args:
            resumed: an earlier search goes on; what that one left in `work/` is kept.
        """
        try:
            yield
        except UsageError:
            bare = {entry.name for entry in self.path.iterdir()} <= {SEARCH, DATA}
            if bare or not (resumed or self.candidates.is_file()):
                self._clear()
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise

    def _check_same(self, config: Mapping[str, Any], data: Mapping[str, str]) -> None:
        other = "give --overwrite to begin anew, or another --out"
        saved = read_yaml(self.path / SEARCH)
        if isinstance(saved.get("run"), Mapping):
            saved["run"] = completed(saved["run"])
        keys = [k for k in differing(saved, json.loads(json.dumps(config))) if k not in FREE]
        if keys:
            raise SettingsError(
                f"{self.path} holds a search with other settings; these differ: {', '.join(keys)}. Put "
                f"them back to go on with it, {other}"
            )
        path = self.path / DATA
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else dict(data)
        changed = [split for split in data if known.get(split) != data[split]]
        if changed:
            raise SettingsError(
                f"{self.path} holds a search on other data: {', '.join(changed)} changed since. Put them "
                f"back, {other}"
            )

    def _clear(self) -> None:
        names = (FITS, WORK, CANDIDATES, BEST, REPORT, DONE, DATA, SEARCH)
        remove(*(self.path / name for name in names))
