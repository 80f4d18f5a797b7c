"""The wheel, built and installed elsewhere, runs the quickstart without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

MEGABYTE = 1_000_000
MODELS = sorted(path for path in (ROOT / "src/softprompt/assets/models").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_backbone_data_and_recipes_and_stays_small(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in MODELS:
        for file in ("model.safetensors", "config.json", "tokenizer.json", "README.md"):
            assert f"softprompt/assets/models/{folder.name}/{file}" in names
    assert "softprompt/assets/data/reviews-zh/train.jsonl" in names
    for recipe in (ROOT / "src/softprompt/assets/pretraining").iterdir():
        assert f"softprompt/assets/pretraining/{recipe.name}" in names
    assert wheel.stat().st_size <= 60 * MEGABYTE
    assert not [name for name in names if name.startswith("tests/")]


def test_the_default_backbone_ships() -> None:
    assert "tiny-mlm" in [folder.name for folder in MODELS]


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_shipped_backbone_is_at_most_14_megabytes(folder: Path) -> None:
    weights = list(folder.rglob("*.safetensors"))
    assert [path.name for path in weights] == ["model.safetensors"]
    assert weights[0].stat().st_size <= 14 * MEGABYTE


def test_the_installed_wheel_runs_the_quickstart_offline(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    # The dependencies are lent by this environment, so that nothing is downloaded; softprompt's own
    # editable install is not among them: only the wheel's copy can be imported.
    site = next((home / "lib").glob("python3*/site-packages"))
    (site / "lent.pth").write_text(
        f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})\n", encoding="utf-8"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    where = subprocess.run(
        [python, "-c", "import softprompt; print(softprompt.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    assert str(home) in where.stdout
    done = subprocess.run(
        [home / "bin" / "softprompt", "quickstart", "--steps", "3", "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "prompt" / "prompt.safetensors").is_file()
    assert "softprompt predict" in done.stdout
    listed = subprocess.run(
        [home / "bin" / "softprompt", "list", "backbones"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names == [f"softprompt/{folder.name}" for folder in MODELS]
