from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from softprompt.prompts.addition import Addition
from softprompt.prompts.prompt import Prompt

Make = Callable[..., Prompt]


def _card(prompt: Prompt, folder: Path) -> str:
    prompt.save(folder)
    return (folder / "README.md").read_text(encoding="utf-8")


def _block(card: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)\n```", card, flags=re.DOTALL)
    assert found
    return found[1]


def test_the_card_states_the_facts(make_prompt: Make, tmp_path: Path) -> None:
    card = _card(make_prompt(), tmp_path / "mood")
    assert card.startswith("# mood, a prompt for softprompt/tiny-mlm\n")
    for line in (
        "| backbone | softprompt/tiny-mlm |",
        "| family | masked |",
        "| rows | 3 of width 4 |",
        "| learned parameters | 12 |",
        "| share of the backbone | 1 % |",
        "| bytes | 48 |",
        "| good | great |",
        "| bad | bad, so |",
        "| dev | accuracy | 0.8125 | 32 | 13 | best dev checkpoint | 200 | cafe |",
        "| optimizer.name | adafactor |",
        "| optimizer.lr | 1e-05 |",
    ):
        assert line in card.splitlines()
    assert "\n{soft:3}{text} It was {mask}.\n" in card


def test_example_texts_cannot_break_the_table(make_prompt: Make, tmp_path: Path) -> None:
    card = _card(make_prompt(), tmp_path / "mood")
    assert "| 一部好电影 \\| five\\_stars | good | good |" in card
    hostile = [{"text": "a\n\n# b <img src=x> [c](d) `e`"}, {"text": "x" * 1000}]
    card = _card(make_prompt(examples=hostile), tmp_path / "hostile")
    assert "| a # b \\<img src=x\\> \\[c\\](d) \\`e\\` |" in card
    assert f"| {'x' * 300}… |" in card


def test_words_for_several_slots_stand_together(make_prompt: Make, tmp_path: Path) -> None:
    answers = {"kind": "words", "words": {"good": [["very", "good"], ["so", "fine"]]}}
    card = _card(make_prompt(answers=answers), tmp_path / "mood")
    assert "| good | very + good, so + fine |" in card


def test_the_python_and_the_shell_line_can_be_copied_from_any_folder(
    make_prompt: Make, tmp_path: Path
) -> None:
    folder = tmp_path / 'it\'s "my" mood'
    card = _card(make_prompt(), folder)
    ast.parse(_block(card, "python"))
    assert shlex.split(_block(card, "sh"))[2] == folder.name


def test_a_template_with_backticks_stays_in_its_fence(make_prompt: Make, tmp_path: Path) -> None:
    card = _card(make_prompt(template="```{text}``` {mask}"), tmp_path / "mood")
    assert "````\n```{text}``` {mask}\n````" in card


def test_a_bare_prompt_has_a_card_too(make_prompt: Make, tmp_path: Path) -> None:
    bare = make_prompt(
        addition=Addition(), backbone=None, scores=[], examples=[], settings={}, notes="",
        task={}, answers={}, backbone_parameters=None,
    )  # fmt: skip
    card = _card(bare, tmp_path / "mood")
    assert "a prompt for an unnamed backbone" in card
    assert "does not say which backbone" in card
    for absent in ("Examples", "Training settings", "Answers", "Notes", "None\n", "share of"):
        assert f"## {absent}" not in card
    ast.parse(_block(card, "python"))
