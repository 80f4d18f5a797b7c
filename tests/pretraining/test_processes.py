"""Two processes take the same steps as one, and one of them writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from softprompt.pretraining.run import pretrain
from softprompt.settings import to_yaml
from softprompt.tuning.checkpoints import checkpoint_folder, read
from tests.pretraining.toy_runs import LLAMA, STILL, recipe, values

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, sys
from pathlib import Path
import torch
from softprompt.pretraining import loop, weights
from softprompt.pretraining.run import pretrain
from softprompt.pretraining.settings import PretrainSettings
from softprompt.settings import read_yaml

torch.set_num_threads(1)
loop.matrix_rate = lambda device, dtype: 1e9
recipe, corpus, out = map(Path, sys.argv[1:])
reports = []
pretrain(PretrainSettings.read(read_yaml(recipe)), corpus, out, reports.append)
(out / f"reports-{os.environ['RANK']}").write_text(str(len(reports)))
torch.distributed.destroy_process_group()
"""

RECIPES: dict[str, dict[str, Any]] = {
    "encoder": {"architecture": STILL, "average": {"last": 2, "every": 1}, "keep_models": [0, 2]},
    # One example for two processes: the second has nothing to say.
    "decoder": {
        "architecture": LLAMA,
        "layout": "decoder",
        "objective": "causal_lm",
        "batch_size": 3,
        "long": {"length": 48, "share": 0.3},
    },
}


def launch(folder: Path, recipe_values: dict[str, Any], corpus: Path, out: Path) -> None:
    """Run the recipe on two processes of this machine."""
    (folder / "two.py").write_text(SCRIPT)
    (folder / "recipe.yaml").write_text(to_yaml(recipe_values), encoding="utf-8")
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    runner = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *runner, "two.py", "recipe.yaml", str(corpus), str(out)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_are_one(
    name: str, corpus: Path, tokenizers: dict[str, Path], tmp_path: Path
):
    family = "masked" if name == "encoder" else "causal"
    given = values(
        **{"tokenizer_from": str(tokenizers[family]), "steps": 3, "micro_batch": 3} | RECIPES[name]
    )
    pretrain(recipe(**given), corpus, tmp_path / "one")
    launch(tmp_path, given, corpus, tmp_path / "two")
    lasts = [read(checkpoint_folder(tmp_path / out, "last")) for out in ("one", "two")]
    one, two = (last.tensors for last in lasts if last is not None)
    assert sorted(one) == sorted(two)
    for key, tensor in one.items():
        if key.startswith(("weight|", "mean|")):
            assert torch.allclose(tensor, two[key], atol=1e-5), key
    logs = [
        [json.loads(line) for line in (tmp_path / out / "metrics.jsonl").read_text().splitlines()]
        for out in ("one", "two")
    ]
    assert [line["step"] for line in logs[0]] == [line["step"] for line in logs[1]]
    for line, other in zip(*logs, strict=True):
        assert line.get("loss", 0.0) == pytest.approx(other.get("loss", 0.0), abs=2e-4)
    told = [int((tmp_path / "two" / f"reports-{rank}").read_text()) for rank in range(2)]
    assert told[0] >= 3
    assert told[1] == 0
    assert not list(tmp_path.rglob("*.partial"))
