"""Every command and every Python block of the documents, run as a reader would run it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from softprompt.cli.main import main
from tests.conftest import ROOT
from tests.small_runs import write_reviews

READMES = ("README.md", "README.zh-CN.md")
DOCUMENTS = (*READMES, "CONTRIBUTING.md", "docs/templates.md")
RESULTS = (*READMES, "docs/results.md")
LINKED = (*DOCUMENTS, "docs/README.md", "docs/cloze-prompt-tuning.md", "docs/results.md")


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(document: str) -> list[list[str]]:
    lines = "".join(blocks(document, "sh")).splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a reviews.csv, where the reader types."""
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path / "reviews.csv")
    return tmp_path


@pytest.mark.parametrize("document", READMES)
def test_the_softprompt_commands_of_the_readme_work_in_their_order(
    document: str, reader: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [words[1:] for words in commands(document) if words[0] == "softprompt"]
    assert len(typed) >= 5
    for words in typed:
        assert main(words) == 0, f"softprompt {shlex.join(words)}\n{capsys.readouterr().err}"
    rows = (reader / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 40
    assert "prediction" in json.loads(rows[0])
    assert (reader / "runs" / "mood" / "prompt" / "README.md").is_file()


@pytest.mark.parametrize("document", READMES)
def test_the_make_targets_of_the_readme_exist(document: str) -> None:
    typed = [words for words in commands(document) if words[0] == "make"]
    assert typed
    for words in typed:
        done = subprocess.run(
            [shutil.which("make") or "make", "-n", *words[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_python_of_the_documents_runs(document: str, reader: Path) -> None:
    code = "\n".join(blocks(document, "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", code],
        cwd=reader,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_benchmarks_of_the_documents_run(tmp_path: Path) -> None:
    (typed,) = [words for words in commands("README.md") if words[0] == "python"]
    assert typed[:3] == ["python", "-m", "benchmarks.backbones"]
    quick = ["--backbones", "tiny-mlm", "--tests", "softprompt/topics-en", "--results", tmp_path]
    small = ["--seeds", "1", "--steps", "4", "--evaluate-every", "2", "--limit", "24"]
    done = subprocess.run(
        [sys.executable, *typed[1:3], *quick, *small],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| softprompt/topics-en | 84 |" in done.stdout


@pytest.mark.parametrize("document", RESULTS)
def test_the_modules_that_the_results_name_can_be_run(document: str) -> None:
    typed = [words for words in commands(document) if words[:2] == ["python", "-m"]]
    assert typed
    for name in {words[2] for words in typed}:
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("document", RESULTS)
def test_the_tables_of_the_documents_are_the_benchmarks_own(document: str) -> None:
    measured = [path.read_text("utf-8") for path in (ROOT / "benchmarks/results").rglob("*.md")]
    text = (ROOT / document).read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert tables
    for table in tables:
        assert any(table in one for one in measured), table


@pytest.mark.parametrize("document", LINKED)
def test_the_links_of_the_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (ROOT / document).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("document", LINKED)
def test_no_document_is_left_with_a_gap(document: str) -> None:
    assert "@@" not in (ROOT / document).read_text(encoding="utf-8")
