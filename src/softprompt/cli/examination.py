"""What `softprompt doctor` finds out about a machine; reads, never changes."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

Rows = list[tuple[str, str]]

LIBRARIES = (
    *("torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "accelerate"),
    *("datasets", "numpy", "scipy", "scikit-learn", "pydantic", "ruamel.yaml", "typer", "rich"),
    *("matplotlib", "sentencepiece", "protobuf", "jaxtyping"),
)
OPTIONAL = (
    ("tensorboard", "tensorboard", "training.tensorboard=true", "softprompt[track]"),
    ("peft", "peft", "exchange of prompts with PEFT", "softprompt[peft]"),
    ("sacrebleu", "sacrebleu", "the metric bleu", "softprompt[text]"),
    ("rouge_score", "rouge-score", "the metrics rouge_l, rouge_1, rouge_2", "softprompt[text]"),
    ("pandas", "pandas", "tasks from data frames", "pandas"),
    ("pyarrow", "pyarrow", "tasks from Parquet files", "pyarrow"),
)
NEEDS_DISK = 1 << 30
"""A run folder takes megabytes; below 1 GiB something else will soon fail."""


def examine() -> dict[str, Rows]:
    """Title to findings."""
    return {
        "softprompt": _own(),
        "libraries": [(name, _version(name)) for name in LIBRARIES],
        "not required": [_optional(*entry) for entry in OPTIONAL],
        "machine": _machine(),
        "accelerator": _accelerators(),
        "folders": _folders(),
    }


def _own() -> Rows:
    import softprompt
    from softprompt.backbones.shipped import shipped_models
    from softprompt.data.known_tasks import TASKS

    shipped = [name for name, entry in TASKS.items() if entry.shipped]
    return [
        ("version", softprompt.__version__),
        ("place", str(Path(softprompt.__file__).parent)),
        ("backbones that ship", ", ".join(shipped_models()) or "none: install softprompt again"),
        ("tasks that ship", ", ".join(shipped)),
    ]


def _machine() -> Rows:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        ("python", f"{platform.python_version()} at {sys.executable}"),
        ("system", platform.platform()),
        ("cores", f"{cores}; torch uses {torch.get_num_threads()} threads"),
        ("memory", _memory()),
        ("disk here", _free(Path.cwd())),
    ]


def _memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    except (ValueError, OSError, AttributeError):
        return "unknown"
    return f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free"


def _accelerators() -> Rows:
    import torch

    rows = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(number)
        bf16 = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        rows.append(
            (f"cuda:{number}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {bf16}")
        )
    if torch.backends.mps.is_available():
        rows.append(("mps", "Apple; give device: mps"))
    return rows or [("none", "everything runs on the CPU")]


def _folders() -> Rows:
    from huggingface_hub import constants

    from softprompt.data.registry import FOLDER_VARIABLE

    cache = Path(constants.HF_HUB_CACHE)
    offline = "offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "may be asked"
    data = os.environ.get(FOLDER_VARIABLE)
    return [
        ("model cache", f"{cache}, {'there' if cache.is_dir() else 'not there yet'}"),
        ("hub", offline),
        (FOLDER_VARIABLE, data or "not set: named tasks need data=FOLDER"),
    ]


def _optional(module: str, package: str, purpose: str, install: str) -> tuple[str, str]:
    if importlib.util.find_spec(module) is None:
        return package, f"missing, needed for {purpose}: pip install '{install}'"
    return package, f"{_version(package)}, for {purpose}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "MISSING: install softprompt again"


def _free(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    short = "; that is little" if free < NEEDS_DISK else ""
    return f"{free / 2**30:.1f} GiB free in {folder}{short}"
