from __future__ import annotations

from softprompt.analysis.figures import COLOURS
from softprompt.analysis.plots import Course, learning_curve

LOSS = [(1, 0.9), (2, 0.7), (3, 0.6)]


def test_a_course_becomes_a_png() -> None:
    picture = learning_curve([Course("seed 0", LOSS, [(2, 0.5), (3, 0.75)], 3)], "accuracy", "mood")
    assert picture.startswith(b"\x89PNG")


def test_the_same_course_gives_the_same_bytes() -> None:
    course = Course("seed 0", LOSS, [(3, 0.75)], 3)
    assert learning_curve([course], "f1", "a") == learning_curve([course], "f1", "a")


def test_a_title_in_chinese_or_with_dollars_draws_without_a_warning() -> None:
    assert learning_curve([Course("seed 0", LOSS, [])], "accuracy", "情感 $x$")


def test_more_seeds_than_colours_can_be_drawn() -> None:
    courses = [Course(f"seed {n}", LOSS, [(3, 0.5)], 3) for n in range(len(COLOURS) + 2)]
    assert learning_curve(courses, "accuracy", "many")


def test_a_run_without_any_step_still_has_a_picture() -> None:
    assert learning_curve([Course("seed 0", [], [])], "accuracy", "nothing learned")
