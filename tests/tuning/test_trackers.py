"""Trackers keep what a run reports; a resumed run's file equals an uninterrupted one's."""

from __future__ import annotations

import builtins
import json
import math
from pathlib import Path

import numpy as np
import pytest

from softprompt.errors import RunError, SettingsError
from softprompt.tuning.trackers import EarlyStopping, JsonlTracker, TensorBoardTracker, Tracker


def log_steps(tracker: Tracker, first: int, last: int) -> None:
    for step in range(first, last + 1):
        tracker.log(step, {"loss": 1 / step})
        if step % 2 == 0:
            tracker.log(step, {"dev": {"accuracy": step / 10}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "metrics.jsonl"


def test_each_record_is_one_line_on_disk_at_once(path: Path):
    tracker = JsonlTracker(path)
    tracker.log(1, {"loss": 0.5, "语言": "中文"})
    assert path.read_text(encoding="utf-8") == '{"step": 1, "loss": 0.5, "语言": "中文"}\n'
    tracker.log(2, {"text": "two\nlines"})
    assert len(path.read_bytes().splitlines()) == 2
    tracker.close()


def test_numpy_numbers_and_what_is_not_finite_are_written_as_json(path: Path):
    tracker = JsonlTracker(path)
    record = {"a": np.float32(0.5), "b": np.int64(3), "c": math.nan, "d": [-math.inf, None, True]}
    tracker.log(1, record)
    tracker.close()
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found == {"step": 1, "a": 0.5, "b": 3, "c": "nan", "d": ["-inf", None, True]}


@pytest.mark.parametrize(
    ("record", "message"),
    [({"step": 3}, "a key 'step' of its own"), ({"a": {"b": object()}}, "'a.b': a object is no")],
)
def test_a_record_that_cannot_be_a_line_is_refused_whole(path: Path, record, message):
    tracker = JsonlTracker(path)
    with pytest.raises(RunError, match=message):
        tracker.log(1, record)
    tracker.close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("at", [0, 3, 4, 9])
@pytest.mark.parametrize("half", ["", '{"step": 9, "lo', '{"step": 9, "lo\n'])
def test_after_resuming_the_file_is_that_of_an_uninterrupted_run(path: Path, at: int, half: str):
    whole = JsonlTracker(path.with_name("whole.jsonl"))
    log_steps(whole, 1, 12)
    whole.close()

    killed = JsonlTracker(path)
    log_steps(killed, 1, 9)
    killed.close()
    with path.open("a", encoding="utf-8") as file:
        file.write(half)

    resumed = JsonlTracker(path, resumed_at=at)
    log_steps(resumed, at + 1, 12)
    resumed.close()
    assert path.read_bytes() == path.with_name("whole.jsonl").read_bytes()
    assert {file.name for file in path.parent.iterdir()} == {"metrics.jsonl", "whole.jsonl"}


def test_without_resuming_the_file_begins_anew(path: Path):
    for _ in range(2):
        tracker = JsonlTracker(path)
        log_steps(tracker, 1, 1)
        tracker.close()
    assert len(path.read_bytes().splitlines()) == 1


def test_resuming_where_no_file_is_begins_one(path: Path):
    JsonlTracker(path, resumed_at=5).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("line", ["not json", "[1]", '{"loss": 1}', '{"step": "two"}'])
def test_a_broken_line_in_the_middle_is_named(path: Path, line: str):
    path.parent.mkdir()
    content = f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"metrics.jsonl, line 2: expected a JSON object"):
        JsonlTracker(path, resumed_at=3)
    assert path.read_text(encoding="utf-8") == content


def test_a_path_that_cannot_be_written_is_a_run_error(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be written"):
        JsonlTracker(tmp_path / "file" / "metrics.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_a_run_error():
    tracker = JsonlTracker(Path("/dev/full"))
    with pytest.raises(RunError, match="No space left on device; make room"):
        tracker.log(1, {"loss": 1})
    with pytest.raises(OSError, match="No space left"):
        tracker.close()


def test_tensorboard_gets_every_number_under_its_nested_name(tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker: Tracker = TensorBoardTracker(tmp_path)
    tracker.log(1, {"loss": 0.5, "note": "a text", "dev": {"accuracy": np.float32(0.75)}})
    tracker.log(2, {"loss": 0.25})
    tracker.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "dev/accuracy"}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5), (2, 0.25)]


def test_tensorboard_disregards_steps_beyond_the_resumed_one(tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resumed_at, first, last in [(None, 1, 5), (3, 4, 6)]:
        tracker = TensorBoardTracker(tmp_path, resumed_at)
        for step in range(first, last + 1):
            tracker.log(step, {"loss": step})
        tracker.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]


def test_without_tensorboard_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if "tensorboard" in name:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=r"pip install 'softprompt\[track\]'"):
        TensorBoardTracker(tmp_path)


def test_a_run_stops_when_patience_runs_out():
    stopping = EarlyStopping(patience=2)
    course = []
    for step, value in enumerate([0.5, 0.6, 0.6, 0.7, 0.1, math.nan], start=1):
        stopping = stopping.after(step, value)
        course.append((stopping.improved, stopping.should_stop))
    yes, no = True, False
    assert course == [(yes, no), (yes, no), (no, no), (yes, no), (no, no), (no, yes)]
    assert (stopping.best, stopping.best_step) == (0.7, 4)


def test_a_loss_is_better_lower():
    stopping = EarlyStopping(patience=1, higher_is_better=False).after(1, 2.0).after(2, 1.0)
    assert stopping.improved
    assert not stopping.should_stop
    assert stopping.after(3, 1.5).should_stop


def test_without_patience_a_run_never_stops_but_the_best_is_known():
    stopping = EarlyStopping(patience=None)
    for step in range(100):
        stopping = stopping.after(step, -step)
    assert not stopping.should_stop
    assert stopping.best_step == 0


def test_nan_from_the_start_is_never_the_best():
    stopping = EarlyStopping(patience=1).after(1, math.nan)
    assert stopping.should_stop
    assert not stopping.improved
    assert stopping.best is None


def test_its_state_goes_through_json():
    stopping = EarlyStopping(patience=3).after(10, 0.1 + 0.2).after(20, 0.2)
    assert EarlyStopping.from_state(json.loads(json.dumps(stopping.to_state()))) == stopping
    fresh = EarlyStopping(patience=3)
    assert EarlyStopping.from_state(json.loads(json.dumps(fresh.to_state()))) == fresh


def test_a_patience_of_nothing_is_refused():
    with pytest.raises(SettingsError, match="expected 1 or more evaluations, got 0"):
        EarlyStopping(patience=0)
