from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.figures import Axes, Line, lines_with_bands, mean_over
from benchmarks.sizes import main
from tests.benchmarks.conftest import TINY, Folders, content


def test_sizes_become_a_table_and_a_figure(
    folders: Folders, tmp_path: Path, never: Callable[[], None]
) -> None:
    models = ["--models", f"nano={folders('gpt2')}", f"tiny={folders('llama')}"]
    tests = ["--tests", "softprompt/reviews-en", "softprompt/topics-en", "--seeds", "2"]
    line = [*models, *tests, *TINY, "--results", str(tmp_path)]
    main(line)
    left = content(tmp_path)
    assert left["sizes.png"].startswith(b"\x89PNG")
    rows = left["sizes.md"].decode().splitlines()[2:]
    assert len(rows) == 2 * 2
    assert all(row.count("±") == 3 for row in rows)  # two test sets and their mean
    never()
    main(line)
    assert content(tmp_path) == left


def test_a_model_without_a_size_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--models", "folder"])
    assert "expected SIZE=MODEL" in capsys.readouterr().err


def test_the_mean_over_test_sets_is_taken_seed_by_seed() -> None:
    assert mean_over([[0.5, 0.6], [0.7, 1.0]]) == pytest.approx([0.6, 0.8])
    assert mean_over([[0.5, 0.6], [0.7]]) == pytest.approx([0.6])
    assert mean_over([]) == []


def test_one_seed_draws_without_a_band_and_the_same_bytes_again() -> None:
    axes = Axes("x", "y", "title", log=True, names={1e6: "nano"}, reference=("majority", 0.5))
    line = Line("prompt tuning", {1e6: [0.5], 2e6: [0.7]})
    assert lines_with_bands([line], axes) == lines_with_bands([line], axes)
