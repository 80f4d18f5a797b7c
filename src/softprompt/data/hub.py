"""Rows of a data set on the Hugging Face Hub, or one clear sentence where it cannot be had.

Knows the `datasets` library, not tasks. Offline, that library tries again for about half a minute
before it gives up: here one short question to the Hub comes first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from softprompt.data.lines import Report, raise_it
from softprompt.data.readers import Rows
from softprompt.errors import UsageError

PATIENCE = 5.0
"""Seconds that the first question to the Hub may take."""
INSTEAD = "give the path of a file instead (Task.from_csv, from_tsv, from_jsonl, from_parquet)"


@dataclass(frozen=True)
class HubSource:
    """The rows of one split; class labels are handed on as names.

    Args:
        dataset: as `open_split` gives it.
        name: for messages.
    """

    dataset: Any
    name: str

    def rows(self, report: Report = raise_it) -> Rows:
        """Rows counted from 1. A class label of -1 (GLUE's hidden test labels) becomes None."""
        named = {
            column: list(feature.names)
            for column, feature in self.dataset.features.items()
            if hasattr(feature, "names")
        }
        for number, row in enumerate(self.dataset, start=1):
            cells = dict(row)
            for column, names in named.items():
                place = cells[column]
                if isinstance(place, int):
                    cells[column] = names[place] if place >= 0 else None
            yield number, cells


def open_split(name: str, config: str | None, split: str) -> HubSource:
    """Load one split, from the local cache where the Hub cannot be reached.

    Args:
        name: of the data set, such as "stanfordnlp/sst2".
        config: its configuration, such as "sst2" of "nyu-mll/glue".
        split: the Hub's own name for it.
    Raises:
        UsageError: the Hub cannot be reached and there is no copy in the cache, or it knows no such
            data set, configuration or split.
    """
    import datasets
    from huggingface_hub import is_offline_mode

    where = "/".join(part for part in (name, config) if part)
    try:
        if not is_offline_mode() and not _reachable(name) and not _in_cache(name):
            raise UsageError(f"{where}: cannot reach the Hub, and no copy is cached; {INSTEAD}")
        return HubSource(datasets.load_dataset(name, config, split=split), f"{where}, {split}")
    except UsageError:
        raise
    except Exception as error:
        if is_offline_mode():
            raise UsageError(
                f"{where}: not in the local cache, and HF_HUB_OFFLINE forbids to fetch it; unset "
                f"it, or {INSTEAD}"
            ) from error
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UsageError(f"{where}, split {split!r}: cannot be loaded: {first[0]}") from error


def _reachable(name: str) -> bool:
    """Ask once; an answer that is a refusal (no such data set, gated) counts as reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(name, timeout=PATIENCE)
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403, 404):
            raise UsageError(
                f"{name}: the Hub has no such data set, or it is private or gated; check the name, "
                f"log in with `hf auth login`, or {INSTEAD}"
            ) from error
        return False
    except Exception:
        return False  # no route, no name server, a timeout: the library below would only try longer
    return True


def _in_cache(name: str) -> bool:
    import datasets

    folder = os.path.join(datasets.config.HF_DATASETS_CACHE, name.replace("/", "___"))
    return os.path.isdir(folder)
