"""The report of a comparison: its numbers are the table's, and no name breaks the page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from softprompt.data.examples import Example
from softprompt.data.loading import Skipped, Split
from softprompt.data.task import Task
from softprompt.recipes.compare_file import CompareSettings
from softprompt.recipes.comparing import Compared, Comparison
from softprompt.recipes.comparison_plan import plan
from softprompt.recipes.comparison_report import report
from softprompt.recipes.comparison_results import Answers, Result, Scored
from softprompt.recipes.comparison_tables import analysed
from softprompt.recipes.measuring import Costs
from softprompt.recipes.pages import Grid, Heading, Lines, Paragraph, Picture, markdown, page
from softprompt.recipes.run_data import RunData

EVIL = '<script>alert("x")</script> | & 中文'


def example(number: int, split: str) -> Example:
    label = "good" if number % 2 else "bad"
    return Example(id=f"{split}:{number}", fields={"text": f"text {number}"}, target=label)


def scored(hits: int, seed: int) -> Scored:
    rows = [example(number, "test") for number in range(40)]
    golds = [row.target for row in rows]
    given = [gold if n < hits else None for n, gold in enumerate(golds)]
    return Scored(
        split=0,
        seed=seed,
        metrics={"dev": {"accuracy": 0.9}, "test": {"accuracy": hits / 40}},
        n={"dev": 10, "test": 40},
        answers={"test": Answers([row.id for row in rows], golds, given)},
        step=20,
        looks=5,
        tied=2 if seed else 1,
        alarms=["the loss rises"] if seed else [],
    )


COSTS = Costs(
    learned=1280,
    learned_formula=1280,
    stored=1280,
    stored_formula=1280,
    applied=1280,
    backbone=6_000_000,
    n_bytes=5120,
    operations=2.5e9,
    seconds=21.0,
    fits=2,
    peak_bytes=600_000_000,
    memory="process",
    device="cpu, float32",
)


def comparison() -> Comparison:
    splits = {s: Split.of([example(n, s) for n in range(40)], Skipped()) for s in ("train", "test")}
    task = Task("t", ("text",), "label", ("bad", "good"), splits, ("accuracy",))
    results = (
        Result(
            EVIL,
            "method",
            "prompt_tuning",
            "dev",
            "the best of 5 steps",
            [scored(36, 0), scored(30, 1)],
            COSTS,
        ),
        Result(
            "other", "method", "prompt_tuning", "none", "", [scored(20, 0), scored(21, 1)], COSTS
        ),
        Result("not here", "method", "spot", "none", "", [], refused=f"no {EVIL}"),
    )
    settings = CompareSettings.read(
        {"backbone": "b", "tasks": ["t"], "methods": ["prompt_tuning"], "resamples": 200}
    )
    table = Compared("b", EVIL, RunData(task, ("a note",), Skipped()), results)
    return Comparison(Path("nowhere"), settings, plan(settings), (table,))


def blocks() -> list[Heading | Paragraph | Lines | Grid | Picture]:
    made = comparison()
    return report(made, [analysed(table, made.settings) for table in made.tables])


class Seen(HTMLParser):
    """Collects tags and what stands in them; complains of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_names_are_escaped_in_html_and_nothing_is_fetched() -> None:
    seen = Seen()
    seen.feed(page(blocks(), EVIL))
    assert "script" not in seen.tags
    assert EVIL in seen.text
    assert seen.sources
    assert all(source.startswith("data:image/png;base64,") for source in seen.sources)


def test_a_bar_in_a_name_does_not_break_a_table_in_markdown() -> None:
    lines = markdown(blocks()).splitlines()
    row = next(line for line in lines if line.startswith("| <script>"))
    assert "\\|" in row
    head = next(line for line in lines if line.startswith("| row | mean ± sd"))
    assert row.replace("\\|", "").count("|") == head.replace("\\|", "").count("|")


def test_the_numbers_are_those_of_a_hand_computation() -> None:
    text = markdown(blocks())
    assert "0.825 ± 0.106 |" in text  # 36/40 and 30/40: mean 33/40, sd 0.15/√2
    assert "+0.075" in text or "+0.312" in text
    assert (
        "| 1,280 | agrees | 1,280 | 1,280 | 0.021 % | 5.12 KB | 2.5 G | 10.5 | 600 MB (process) |"
        in text
    )
    assert "2 of 5 (seed 1)" in text
    assert "0.900 ± 0.000 | 0.825 ± 0.106 | +0.075 |" in text
    assert "seed 1: the loss rises" in text


def test_what_was_not_run_says_why() -> None:
    text = markdown(blocks())
    assert "## What was not run" in text
    assert "| not here | refused |" in text


def test_the_reference_is_named_and_why() -> None:
    text = markdown(blocks())
    assert "the method with the highest mean on dev" in text
    assert "adjusted by Holm for 1 comparisons" in text
    assert "(reference)" in text


def test_a_page_holds_each_kind_of_block() -> None:
    made = [Heading("h", 1), Paragraph("p"), Lines(["a", "b"]), Grid(("x", "y"), [("1", "2")], "c")]
    assert markdown(made) == "# h\n\np\n\n- a\n- b\n\n*c*\n\n| x | y |\n|---|---:|\n| 1 | 2 |\n"
    seen = Seen()
    seen.feed(page(made, "t"))
    assert [tag for tag in seen.tags if tag in ("h1", "p", "li", "caption", "td")] == [
        *("h1", "p", "li", "li", "caption", "td")
    ]
