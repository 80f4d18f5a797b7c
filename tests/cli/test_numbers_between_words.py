"""A number between two words, as STS-B is asked: its loss by hand, and a whole run of it.

LM-BFF (Gao et al. 2021), section 4.2: p(upper) is the softmax of two words, y = low + (high − low) ·
p(upper), and the loss is the KL divergence from the mixture that the number stands for. What is
printed as loss is cross-entropy with that mixture: KL plus the mixture's own entropy, a constant.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from softprompt.inference.scoring import label_loss
from softprompt.recipes.search.candidates import read_candidates
from softprompt.settings import read_yaml, to_yaml
from softprompt.text.answers import Poles
from tests.builders import rows
from tests.cli.conftest import Command
from tests.small_runs import write_jsonl

STS_B = Poles(("No", "Yes"), (0.0, 5.0))


def kl(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """KL(target ‖ softmax(logits)), written out; 0 · log 0 = 0."""
    log_p = torch.log_softmax(logits, dim=-1)
    terms = torch.where(target > 0, target * (target.clamp(min=1e-30).log() - log_p), 0.0)
    return terms.sum(dim=-1)


@pytest.mark.parametrize("value", [0.0, 0.7, 2.5, 3.8, 5.0])
def test_the_gradient_is_that_of_the_divergence_and_the_loss_is_it_plus_the_entropy(
    value: float,
) -> None:
    target = torch.tensor([STS_B.mixture(value)], dtype=torch.float64)
    mine = torch.tensor([[0.3, -1.1]], dtype=torch.float64, requires_grad=True)
    theirs = mine.detach().clone().requires_grad_()
    loss, divergence = label_loss(mine, target), kl(target, theirs)
    loss.sum().backward()
    divergence.sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    p = torch.softmax(mine.detach(), dim=-1)  # by hand: the gradient is p − target
    torch.testing.assert_close(mine.grad, p - target)
    entropy = -sum(share * math.log(share) for share in STS_B.mixture(value) if share > 0)
    assert loss.item() == pytest.approx(divergence.item() + entropy, abs=1e-12)


def test_the_divergence_is_none_exactly_where_the_prediction_is_the_number() -> None:
    for value in (0.5, 2.5, 4.9):
        low, high = STS_B.mixture(value)
        logits = torch.tensor([[math.log(low), math.log(high)]], dtype=torch.float64)
        assert float(kl(torch.tensor([[low, high]], dtype=torch.float64), logits)) < 1e-12
        assert STS_B.value(torch.softmax(logits, dim=-1)[0].tolist()) == pytest.approx(value)
    assert (STS_B.value((1.0, 0.0)), STS_B.value((0.0, 1.0))) == (0.0, 5.0)


@pytest.fixture
def run_file(here: Path, bert: Path) -> Path:
    """24 texts with one to five stars; a word of the text says whether they are few."""
    made = [
        {"text": one.fields["text"], "stars": [0.5, 4.0][one.target == "positive"] + n % 3 / 2}
        for n, one in enumerate(rows(24))
    ]
    write_jsonl(here / "stars.jsonl", made)
    values = {
        "backbone": str(bert),
        "task": {
            **{"train": "stars.jsonl", "fields": ["text"], "target": "stars"},
            **{"kind": "number", "bounds": [0, 5], "metrics": ["pearson", "spearman"]},
        },
        "template": "{text} it was {mask}.",
        "words": {"lower": "awful", "upper": "great"},
        "method": {"name": "prompt_tuning", "length": 3},
        "training": {"steps": 40, "batch_size": 8, "evaluate_every": 20},
        "k_shot": 4,
        "out": "run",
    }
    (here / "stars.yaml").write_text(to_yaml(values), encoding="utf-8")
    return here / "stars.yaml"


def test_a_run_learns_predicts_and_scores_numbers(
    softprompt: Command, run_file: Path, here: Path
) -> None:
    made = softprompt("train", run_file, "training.optimiser.learning_rate=0.3")
    assert made.code == 0, made.err
    scores = json.loads((here / "run/done.json").read_text("utf-8"))["scores"]["seed 0"]["dev"]
    assert set(scores) == {"pearson", "spearman", "loss"}
    again = softprompt("evaluate", "run", "stars.yaml", "--split", "dev")
    assert f"{scores['pearson']:.4f}" in again.out, again.err
    done = softprompt("predict", "run", "stars.jsonl", "--out", "found.jsonl")
    assert done.code == 0, done.err
    lines = (here / "found.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == 24
    for row in found:
        shares = row["probabilities"]
        assert row["prediction"] == pytest.approx(5 * shares["upper"], abs=1e-5)
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["words", "templates"])
def test_both_searches_rank_by_pearson(
    kind: str, softprompt: Command, run_file: Path, here: Path
) -> None:
    (here / "list.txt").write_text("{text} so {mask}\n{text} a {mask} one.\n", encoding="utf-8")
    given = ["--top", "4"] if kind == "words" else ["--candidates", "list.txt"]
    short = ["training.steps=2", "training.evaluate_every=2"]
    made = softprompt("search", kind, run_file, *short, *given, "--fits", "1", "--out", "found")
    assert made.code == 0, made.err
    assert "pearson" in made.out.casefold()
    listed = read_candidates(here / "found" / "candidates.jsonl")
    key = "train_score" if kind == "words" else "train pearson"
    ranked = [one.scores[key] for one in listed]
    assert ranked == sorted(ranked, reverse=True)
    assert all(-1 <= score <= 1 for score in ranked)
    best = read_yaml(here / "found" / "best.yaml")
    assert set(best["words"]) == {"lower", "upper"}
    trained = softprompt("train", "found/best.yaml", "training.steps=1", "out=last")
    assert trained.code == 0, trained.err
