from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from softprompt.prompts.prompt import Prompt
from softprompt.recipes.quickstart import QuickstartSettings, Voice, quickstart
from softprompt.recipes.quickstart_words import SENTENCES, WORDS
from softprompt.recipes.watching import Silent


class Ear:
    """Hears what the quickstart says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def table(self, rows: Sequence[Sequence[str]], head: Sequence[str]) -> None:
        self.lines += [" ".join(row) for row in ([head] if head else []) + list(rows)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def run(bert: Path, folder: Path, lang: str, *sentences: str) -> Ear:
    ear = Ear()
    settings = QuickstartSettings(
        backbone=str(bert), steps=3, batch_size=2, evaluate_every=3, length=4
    )
    chosen = "zh" if lang == "zh" else "en"
    quickstart(settings, chosen, folder, Voice(ear.say, ear.table, Silent()), sentences)
    return ear


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_quickstart_trains_evaluates_saves_and_uses(here: Path, bert: Path, lang: str) -> None:
    ear = run(bert, here / "q", lang)
    assert Prompt.load(here / "q/prompt").rows is not None
    for name in WORDS[lang].rows.values():
        assert name in ear.text
    for sentence in SENTENCES[QuickstartSettings().data[lang]]:
        assert sentence in ear.text
    assert "[P1]" in ear.text
    assert "p(" in ear.text
    assert "softprompt predict q/prompt" in ear.text


def test_ones_own_sentences_are_used(here: Path, bert: Path) -> None:
    ear = run(bert, here / "q", "en", "the film was very good")
    assert "the film was very good" in ear.text
    assert SENTENCES[QuickstartSettings().data["en"]][1] not in ear.text


def test_it_can_be_run_again(here: Path, bert: Path) -> None:
    run(bert, here / "q", "en")
    run(bert, here / "q", "en")


def test_both_languages_say_the_same_things() -> None:
    english, chinese = WORDS["en"], WORDS["zh"]
    for name in english.__dataclass_fields__:
        one, other = getattr(english, name), getattr(chinese, name)
        if isinstance(one, str):
            assert one.count("{") == other.count("{"), name
    assert set(english.rows) == set(chinese.rows)
