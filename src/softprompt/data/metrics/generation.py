"""Generated texts: BLEU by sacrebleu and ROUGE by rouge-score, both as shares of one.

The libraries are the extra `softprompt[text]`, imported when a score is asked for. An illegal output
counts as the empty text.
"""

from __future__ import annotations

import importlib
from typing import Any

from softprompt.data.metrics.metric import Given
from softprompt.data.metrics.texts import golds_of
from softprompt.errors import UsageError


def bleu(given: Given) -> float:
    """Corpus BLEU with all references of a row (Post 2018); "bleu:zh" cuts Chinese into characters.

    Raises:
        UsageError: sacrebleu is not installed, or no such tokenizer.
    """
    sacrebleu = _library("sacrebleu", "BLEU")
    tokenizer = given.option or "13a"
    if tokenizer not in ("13a", "zh", "char", "intl", "none"):
        raise UsageError(f"bleu:{tokenizer}: expected 13a, intl, zh, char or none")
    hypotheses = ["" if p is None else str(p) for p in given.predictions]
    golds = [golds_of(gold) for gold in given.golds]
    most = max(map(len, golds))
    references = [[row[n] if n < len(row) else None for row in golds] for n in range(most)]
    # `force`: a data set that is tokenised already is the data set's choice, not worth a warning.
    found = sacrebleu.corpus_bleu(hypotheses, references, tokenize=tokenizer, force=True)
    return float(found.score) / 100


def rouge_l(given: Given) -> float:
    """F1 of the longest common subsequence of words, stemmed (Lin 2004)."""
    return _rouge("rougeL", given)


def rouge_1(given: Given) -> float:
    """F1 of shared words, stemmed (Lin 2004)."""
    return _rouge("rouge1", given)


def rouge_2(given: Given) -> float:
    """F1 of shared pairs of neighbouring words, stemmed (Lin 2004)."""
    return _rouge("rouge2", given)


class Characters:
    """A tokenizer for rouge-score, whose own drops all but a to z and 0 to 9."""

    def tokenize(self, text: str) -> list[str]:
        """The characters of a text, spaces left out."""
        return [character for character in text if not character.isspace()]


def _rouge(name: str, given: Given) -> float:
    scorer_of = _library("rouge_score.rouge_scorer", "ROUGE").RougeScorer
    if given.option not in (None, "zh"):
        raise UsageError(f"rouge:{given.option}: expected zh (by character), or nothing")
    chosen = {"tokenizer": Characters()} if given.option else {"use_stemmer": True}
    scorer = scorer_of([name], **chosen)
    total = 0.0
    for p, gold in given.pairs:
        found = scorer.score_multi(list(golds_of(gold)), "" if p is None else str(p))
        total += float(found[name].fmeasure)
    return total / len(given.golds)


def _library(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(
            f"{what} needs the extra for texts: pip install 'softprompt[text]', or give other "
            "metrics (exact_match, token_f1)"
        ) from None
