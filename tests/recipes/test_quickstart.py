from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from softprompt.backbones import shipped
from softprompt.backbones.loading import load_backbone
from softprompt.prompts.prompt import Prompt
from softprompt.recipes.quickstart import QuickstartSettings, Voice, quickstart, run_settings
from softprompt.recipes.quickstart_courses import COURSES
from softprompt.recipes.quickstart_words import SENTENCES, WORDS
from softprompt.recipes.watching import Silent
from softprompt.text.tokens import Family
from tests.tiny_models import save_checkpoint


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


def run(backbone: Path, folder: Path, lang: str, *sentences: str) -> Ear:
    ear = Ear()
    settings = QuickstartSettings(
        backbone=str(backbone), steps=3, batch_size=2, evaluate_every=3, length=4
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


@pytest.mark.parametrize("name", ["t5-1.1", "llama"])
def test_it_runs_on_the_other_families(here: Path, name: str) -> None:
    backbone = load_backbone(save_checkpoint(name, here / "model"), device="cpu")
    ear, words = run(here / "model", here / "q", "zh"), WORDS["zh"]
    assert Prompt.load(here / "q/prompt").rows is not None
    assert words.candidates[backbone.family].split("{")[0] in ear.text
    assert words.candidates["masked"].split("{")[0] not in ear.text
    assert (words.ways in ear.text) == (backbone.family == "encoder_decoder")
    assert ("<pad> ▁ 总 体 评 价 是" in ear.text) == (backbone.family == "encoder_decoder")
    if backbone.family == "encoder_decoder":
        (rank, greedy, illegal) = ear.lines[ear.lines.index(words.ways) + 2].split()[1:]
        assert float(greedy) + float(illegal) <= 1.0
        assert f"{words.rows['prompt']}" in ear.lines[ear.lines.index(words.ways) + 2]
        assert f" {rank}" in next(row for row in ear.lines if words.rows["prompt"] in row)


def test_every_family_has_its_course() -> None:
    assert set(get_args(Family)) <= set(COURSES)
    for name in set(COURSES) - set(get_args(Family)):
        assert name.startswith("softprompt/")


def test_a_t5_that_fills_sentinels_only_is_given_a_cloze(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "models_folder", lambda: here)
    asked = {}
    for variant in ("span", "lm"):
        save_checkpoint("t5-1.1", here / f"tiny-t5@{variant}")
        backbone = load_backbone(f"softprompt/tiny-t5@{variant}", device="cpu")
        settings = run_settings(QuickstartSettings(), "en", here / "q", backbone)
        assert settings.backbone == backbone.name
        asked[variant] = settings.template
    assert asked == {"span": "{text} This is about {mask}.", "lm": "{text} This is about"}


@pytest.mark.parametrize("name", shipped.shipped_models())
def test_every_shipped_backbone_runs_it(here: Path, name: str) -> None:
    ear, steps = Ear(), QuickstartSettings(backbone=name, steps=2, batch_size=4, evaluate_every=2)
    quickstart(steps, "en", here / "q", Voice(ear.say, ear.table, Silent()), ())
    assert Prompt.load(here / "q/prompt").backbone.name == name
    assert f"loading {name}" in ear.text


def test_what_is_given_goes_before_the_course(here: Path, bert: Path) -> None:
    backbone = load_backbone(bert, device="cpu")
    changed = QuickstartSettings(steps=7, init="vocabulary")
    settings = run_settings(changed, "en", here / "q", backbone)
    assert settings.training.steps == 7
    assert settings.method.model_dump()["init"] == "vocabulary"
    assert settings.training.batch_size == COURSES["masked"].batch_size


def test_both_languages_say_the_same_things() -> None:
    english, chinese = WORDS["en"], WORDS["zh"]
    for name in english.__dataclass_fields__:
        one, other = getattr(english, name), getattr(chinese, name)
        if isinstance(one, str):
            assert one.count("{") == other.count("{"), name
    assert set(english.rows) == set(chinese.rows)
    assert set(english.candidates) == set(chinese.candidates) == set(get_args(Family))
    assert all("{words}" in said for w in WORDS.values() for said in w.candidates.values())
