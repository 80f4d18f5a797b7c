"""The commands of the documents on exchange and explanation, run as a reader would run them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.small_runs import write_reviews
from tests.test_documents import commands


@pytest.mark.parametrize("document", ["docs/exchange.md", "docs/explain.md"])
def test_the_commands_of_the_document_work_in_their_order(
    document: str, here: Path, softprompt: Command
) -> None:
    write_reviews(here / "reviews.csv")
    typed = [words[1:] for words in commands(document) if words[0] == "softprompt"]
    assert len(typed) >= 5
    for words in typed:
        outcome = softprompt(*words)
        assert outcome.code == 0, f"softprompt {shlex.join(words)}\n{outcome.err}"
