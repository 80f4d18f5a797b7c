from __future__ import annotations

import pytest

from softprompt.cli.console import CHINESE, ENGLISH, Console, clock, columns, table, warn
from softprompt.recipes.watching import Fact, Progress


def a_step(step: int, fit: int = 0, **record: object) -> Progress:
    return Progress(fit, f"seed {fit}", step, 20, 16, "accuracy", {"loss": 0.5, **record})


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Console(terminal=False) as console:
        for step in range(1, 21):
            console.progress(a_step(step, **({"dev": {"accuracy": 0.75}} if step == 7 else {})))
    lines = capsys.readouterr().out.splitlines()
    shown = [int(line.split()[1].partition("/")[0]) for line in lines]
    assert shown == [2, 4, 6, 7, *range(8, 21, 2)]
    assert "dev accuracy 0.750" in lines[3]
    assert lines[0].startswith("step 2/20  loss 0.5000")
    assert lines[-1].endswith("0:00 left")


def test_on_a_terminal_there_is_a_bar_and_results_stand_below_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Console(terminal=True) as console:
        console.facts([Fact("learned", "96 of 1,000")])
        for step in (1, 2):
            console.progress(a_step(step))
            console.progress(a_step(step, fit=1))
        console.warning("all predictions are one [class]")
        console.note("halfway")
    out = capsys.readouterr().out
    assert "learned  96 of 1,000" in out
    assert "warning: all predictions are one [class]" in out
    assert "2/20" in out


def test_chinese_progress_speaks_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(CHINESE, terminal=False) as console:
        console.progress(a_step(20, dev={"accuracy": 0.5}))
    assert "步 20/20  损失 0.5000  验证 准确率 0.500" in capsys.readouterr().out
    assert set(ENGLISH) <= set(CHINESE)


def test_a_warning_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    warn("first\n  second")
    assert capsys.readouterr().err == "warning: first second\n"


def test_columns_line_up_in_chinese_too(capsys: pytest.CaptureFixture[str]) -> None:
    table([("学到的", "1"), ("zero", "2")])
    lines = capsys.readouterr().out.splitlines()
    assert columns(lines[0]) == columns(lines[1])
    table([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3_599.6, "1:00:00"), (7_325, "2:02:05")]
)
def test_times_are_written_as_clocks_show_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
