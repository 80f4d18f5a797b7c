"""A card says what the run and the measurements say."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.cards import TEXTS, card
from benchmarks.cells import Cells


def counted(paragraphs: int, sets: dict[str, int]) -> dict[str, object]:
    return {
        "read": {"documents": 1, "paragraphs": paragraphs},
        "duplicates": {"dropped": 2},
        "overlaps": {"dropped": sum(sets.values()), "sets": sets},
    }


def a_run(folder: Path) -> Path:
    recipe = {
        "size": "tiny",
        "sizes": {"tiny": {"hidden_size": 256}},
        "start_from": None,
        "objective": "masked",
        "layout": "encoder",
        "rates": dict.fromkeys(TEXTS, 0.5),
        "steps": 2_000,
        "batch_size": 64,
        "length": 128,
        "long": {"length": 512, "share": 0.1},
        "optimiser": {"name": "adamw", "learning_rate": 2e-3, "warmup": 9, "schedule": "linear"},
        "seed": 0,
    }
    first, *others = TEXTS
    counts = {name: counted(10, {}) for name in others}
    counts[first] = counted(4_321, {"a/test": 7, "b/dev": 12})
    losses = [
        {"step": 20, "loss": 9.0},
        {"step": 1_000, "validation": {"en": 4.005, "zh": 5.5}},
        {"step": 2_000, "validation": {"en": 3.456, "zh": 4.5}},
    ]
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "corpus.json").write_text(json.dumps(counts))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in losses))
    return folder


def test_a_card_holds_the_recipe_the_losses_the_overlaps_and_the_scores(tmp_path: Path):
    cells = Cells(tmp_path / "backbones.jsonl")
    for seed, accuracy in enumerate((0.5, 0.7)):
        place = {"backbone": "tiny-mlm", "test": "sst2", "method": "prompt tuning", "seed": seed}
        cells.add(place, {}, {"accuracy": accuracy, "n": 600})
    written = card("tiny-mlm", a_run(tmp_path), cells)
    assert written.startswith("# softprompt/tiny-mlm\n")
    assert "2,000 steps of 64 × 128 positions = 16.4M" in written
    assert "128 positions, the last 10% of the steps 512" in written
    assert "| 2,000 | 3.46 | 4.50 |" in written
    assert "b/dev 12, a/test 7." in written
    assert "| research use | 0.5 | 4,321 | 2 | 19 |" in written
    assert "60.0 ± 14.1" in written
