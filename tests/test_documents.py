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
LINKED = (*DOCUMENTS, "docs/README.md", "docs/cloze-prompt-tuning.md")


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


def test_the_benchmark_of_the_readme_runs_and_writes_its_table(tmp_path: Path) -> None:
    (typed,) = [words for words in commands("README.md") if words[0] == "python"]
    assert typed[1] == "benchmarks/quality.py"
    quick = ["topics-en", "--seeds", "1", "--steps", "6", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, ROOT / typed[1], *quick], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "quality-topics-en.json").read_text(encoding="utf-8"))
    assert set(found["scores"]) == {
        "zero-shot",
        "prompt tuning",
        "full tuning",
        "bag of words",
        "majority",
    }
    assert "| softprompt/topics-en | 84 |" in done.stdout


def test_the_table_of_the_readmes_is_the_benchmarks_own() -> None:
    table = (ROOT / "benchmarks/results/quality.md").read_text(encoding="utf-8").strip()
    for document in READMES:
        assert table in (ROOT / document).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_whole_benchmark_of_the_readme(shared: Path, tmp_path: Path) -> None:
    folders = ["--data", str(shared / "data"), "--models", str(shared / "models")]
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/quality.py", *folders, "--results", str(tmp_path)],
        check=False,
    )
    assert done.returncode == 0
    scores = json.loads((tmp_path / "quality-sst2.json").read_text(encoding="utf-8"))["scores"]
    assert min(scores["prompt tuning"]) > scores["zero-shot"][0] + 0.05


@pytest.mark.parametrize("document", LINKED)
def test_the_links_of_the_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (ROOT / document).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("document", LINKED)
def test_no_document_is_left_with_a_gap(document: str) -> None:
    assert "@@" not in (ROOT / document).read_text(encoding="utf-8")
