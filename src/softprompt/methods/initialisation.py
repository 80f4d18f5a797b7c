"""Where learned rows start: the five initialisers bound to a backbone, a task and its texts.

Lester et al. 2021, section 3.2; each starts at the scale of the backbone's own embeddings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.errors import SettingsError
from softprompt.methods.method import Scene
from softprompt.prompts import initialisers
from softprompt.prompts.initialisers import Initialiser
from softprompt.prompts.npy import is_npy, read_npy_prompt
from softprompt.prompts.prompt import Prompt

FREQUENT = 5_000
"""How many of the most frequent pieces rows are drawn from (Lester et al., section 3.2)."""

# Their vocabularies are sorted by frequency, and the reference draws from the first ids.
SORTED_BY_FREQUENCY = frozenset({"t5", "mt5", "umt5"})


def initial_rows(
    name: str,
    scene: Scene,
    generator: torch.Generator,
    *,
    text: str | None = None,
    source: str | None = None,
) -> Float[Tensor, "P E"]:
    """The starting rows of a fit, `[P, E]`; rows of `{soft:'words'}` start from their words.

    Args:
        name: which initialiser.
        text: for `text`.
        source: for `prompt`: a prompt folder or `.npy` file.
    Raises:
        SettingsError: an initialiser without what it needs.
        PromptError: a source that cannot be read or has another shape.
    """
    rows = _INITIALISERS[name](scene, text, source)(scene.renderer.total_rows, generator)
    rows = rows.to(torch.float32).cpu()
    groups = scene.renderer.template.soft_groups(
        scene.renderer.n_rows, lambda words: len(scene.renderer.text_ids(words))
    )
    for group in groups:
        if group.text is not None and group.offset is not None:
            words = scene.backbone.rows(scene.renderer.text_ids(group.text)).cpu()
            rows[group.offset : group.offset + len(words)] = words
    return rows


def _vocabulary(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    return initialisers.vocabulary(scene.backbone, frequent_pieces(scene.backbone, scene.texts))


def _labels(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    rest = _vocabulary(scene, text, source)
    if not scene.labels:
        return rest
    pieces = [scene.renderer.text_ids(label) for label in scene.labels]
    return initialisers.labels(scene.backbone, [p for p in pieces if p], rest)


def _text(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    if not text:
        raise SettingsError("init: text needs init_text, the words that rows start from")
    rest = _vocabulary(scene, text, source)
    return initialisers.from_text(scene.backbone, scene.renderer.text_ids(text), rest)


def _prompt(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    if not source:
        raise SettingsError("init: prompt needs init_from, a prompt folder or a .npy file")
    path = Path(source)
    if path.is_dir():
        rows = Prompt.load(path, scene.backbone.identity).rows
        if rows is None:
            raise SettingsError(f"init_from: {source} has no learned rows to start from")
    elif path.is_file() and is_npy(path):
        rows = read_npy_prompt(path, scene.backbone.width)
    else:
        raise SettingsError(f"init_from: {source} is neither a prompt folder nor a .npy file")
    return initialisers.from_rows(scene.backbone, rows, source)


_INITIALISERS: dict[str, Callable[[Scene, str | None, str | None], Initialiser]] = {
    "labels": _labels,
    "vocabulary": _vocabulary,
    "text": _text,
    "prompt": _prompt,
    "uniform": lambda scene, text, source: initialisers.uniform(scene.backbone),
    "uniform_paper": lambda scene, text, source: initialisers.uniform_paper(scene.backbone),
    "uniform_code": lambda scene, text, source: initialisers.uniform_code(scene.backbone),
}


def frequent_pieces(
    backbone: Backbone, texts: Sequence[str], most: int = FREQUENT
) -> list[int]:
    """Ids of the most frequent whole-word pieces, for drawing rows from.

    T5's first ids are its most frequent. Elsewhere id order is not frequency (bert-uncased's first
    5,000 hold 994 unused): the pieces are counted on the task's texts, and where these are few the
    rest comes from the vocabulary in its own order. Special, unused, byte and one-letter Latin
    pieces are never among them.
    """
    tokenizer = backbone.tokenizer
    size = min(tokenizer.size, backbone.vocabulary)
    if backbone.config.model_type in SORTED_BY_FREQUENCY:
        return [i for i in range(min(most, size)) if i not in tokenizer.special]
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(tokenizer.encode(text, continues=False).ids)
    pieces = tokenizer.pieces(tuple(range(size)))
    whole = [i for i in range(size) if i not in tokenizer.special and is_whole_word(pieces[i])]
    allowed = set(whole)
    counted = [i for i, _ in sorted(counts.items(), key=lambda x: (-x[1], x[0])) if i in allowed]
    if len(counted) >= 50:
        return counted[:most]
    return (counted + [i for i in whole if i not in counts])[:most]


def is_whole_word(piece: str) -> bool:
    """Whether a piece stands for a word of its own, in any of the common notations."""
    if piece.startswith(("##", "[unused", "<0x", "<extra", "<unused")):
        return False
    word = piece.lstrip("▁Ġ")
    if not word:
        return False
    if any("\u3400" <= letter <= "\u9fff" for letter in word):
        return True
    if not all(letter.isalpha() for letter in word):
        return False
    return len(word) > 1 or not word.isascii()
