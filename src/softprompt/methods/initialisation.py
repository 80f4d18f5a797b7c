"""Where learned rows start: initialisers bound to a backbone, a task and its texts.

Lester et al. 2021, section 3.2; each starts at the scale of the backbone's own embeddings.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbones.backbone import Backbone
from softprompt.errors import SettingsError
from softprompt.methods.method import Scene
from softprompt.prompts import initialisers
from softprompt.prompts.folder import read_record
from softprompt.prompts.initialisers import Initialiser
from softprompt.prompts.npy import is_npy, read_npy_prompt
from softprompt.prompts.prompt import Prompt

FREQUENT = 5_000
"""How many of the most frequent pieces rows are drawn from (Lester et al., section 3.2)."""

ENOUGH = 50
"""With fewer of them on the task's texts, the vocabulary's other words may be drawn too."""

WORD_MARKS = ("▁", "Ġ")

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
        text: for `text`, not empty.
        source: for `prompt`: a prompt folder or `.npy` file.
    Raises:
        SettingsError: a source that is none.
        PromptError: a text without pieces, a source that cannot be read or has another shape.
    """
    rows = INITIALISERS[name].bind(scene, text, source)(scene.renderer.total_rows, generator)
    return with_template_words(rows.to(torch.float32).cpu(), scene)


def with_template_words(rows: Float[Tensor, "P E"], scene: Scene) -> Float[Tensor, "P E"]:
    """Rows in which those of `{soft:'words'}` are the embeddings of their words, others as given."""
    rows = rows.clone()
    groups = scene.renderer.template.soft_groups(
        scene.renderer.n_rows, lambda words: len(scene.renderer.text_ids(words))
    )
    for group in groups:
        if group.text is not None and group.offset is not None:
            words = scene.backbone.rows(scene.renderer.text_ids(group.text)).cpu()
            rows[group.offset : group.offset + len(words)] = words.to(rows.dtype)
    return rows


def word_rows(scene: Scene, count: int, generator: torch.Generator) -> Float[Tensor, "n E"]:
    """Embeddings of `count` frequent words, drawn without replacement as far as there are so many."""
    return _vocabulary(scene, None, None)(count, generator).to(torch.float32).cpu()


def source_rows(source: str, backbone: Backbone, setting: str) -> Float[Tensor, "P E"]:
    """The rows of a prompt folder or a `.npy` file, float32 on the CPU.

    Args:
        source: where they lie.
        backbone: what they are to run on; a folder of another one is refused.
        setting: which setting named the source, for messages.
    Raises:
        SettingsError: neither a prompt folder nor a `.npy` file, or a prompt without rows.
        PromptError: it cannot be read, or does not fit the backbone.
    """
    path = Path(source)
    if path.is_dir():
        rows = Prompt.load(path, backbone.identity).rows
        if rows is None:
            raise SettingsError(f"{setting}: {source} has no learned rows to start from")
        return rows
    if path.is_file() and is_npy(path):
        return read_npy_prompt(path, backbone.width)
    raise SettingsError(f"{setting}: {source} is neither a prompt folder nor a .npy file")


def source_length(source: str, setting: str) -> int:
    """How many rows a prompt folder or a `.npy` file holds, read without a backbone.

    Raises:
        SettingsError: neither a prompt folder nor a `.npy` file, or a prompt without rows.
        PromptError: it cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        shape = read_record(path)["tensors"].get("rows")
        if shape is None:
            raise SettingsError(f"{setting}: {source} has no learned rows to start from")
        return int(shape[0])
    if path.is_file() and is_npy(path):
        return len(read_npy_prompt(path))
    raise SettingsError(f"{setting}: {source} is neither a prompt folder nor a .npy file")


def alike_rows(
    sources: Sequence[str], backbone: Backbone, setting: str
) -> list[Float[Tensor, "P E"]]:
    """The rows of several sources, all of one shape.

    Raises:
        SettingsError: two of different lengths, or what `source_rows` refuses.
        PromptError: one that cannot be read, or does not fit the backbone.
    """
    found = [source_rows(source, backbone, setting) for source in sources]
    for source, rows in zip(sources, found, strict=True):
        if len(rows) != len(found[0]):
            raise SettingsError(
                f"{setting}: {source} has {len(rows)} rows, {sources[0]} has {len(found[0])}; "
                "expected prompts of one length"
            )
    return found


def _vocabulary(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    return initialisers.vocabulary(scene.backbone, frequent_pieces(scene.backbone, scene.texts))


def _labels(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    rest = _vocabulary(scene, text, source)
    if not scene.labels:
        return rest
    pieces = [scene.renderer.text_ids(label) for label in scene.labels]
    return initialisers.labels(scene.backbone, [p for p in pieces if p], rest)


def _text(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    rest = _vocabulary(scene, text, source)
    return initialisers.from_text(scene.backbone, scene.renderer.text_ids(text or ""), rest)


def _prompt(scene: Scene, text: str | None, source: str | None) -> Initialiser:
    rows = source_rows(source or "", scene.backbone, "init_from")
    return initialisers.from_rows(scene.backbone, rows, source or "")


@dataclass(frozen=True)
class Start:
    """One way for rows to start.

    Args:
        bind: from the scene, `init_text` and `init_from` to an initialiser.
        does: one line of help.
        needs: the setting that must come with it, if any, and what that setting holds.
    """

    bind: Callable[[Scene, str | None, str | None], Initialiser]
    does: str
    needs: tuple[str, str] | None = None


INITIALISERS: Mapping[str, Start] = MappingProxyType(
    {
        "labels": Start(
            _labels, "one row per label word: the mean of its pieces; the rest as vocabulary"
        ),
        "vocabulary": Start(_vocabulary, "frequent whole words of the task's texts, each once"),
        "text": Start(
            _text, "the pieces of init_text; the rest as vocabulary", ("init_text", "the words")
        ),
        "prompt": Start(
            _prompt,
            "the rows of another prompt of the same shape (SPoT)",
            ("init_from", "a prompt folder or a .npy file"),
        ),
        "uniform": Start(
            lambda scene, text, source: initialisers.uniform(scene.backbone),
            "random, at the scale of the backbone's own embeddings",
        ),
        "uniform_paper": Start(
            lambda scene, text, source: initialisers.uniform_paper(scene.backbone),
            "random in [-0.5, 0.5], as the paper has it; meant for T5 1.1",
        ),
        "uniform_code": Start(
            lambda scene, text, source: initialisers.uniform_code(scene.backbone),
            "random in [0, 0.5), as the authors' code draws; meant for T5 1.1",
        ),
    }
)
"""What a run may name as `init`. Adding one is one entry here."""


def frequent_pieces(backbone: Backbone, texts: Sequence[str], most: int = FREQUENT) -> list[int]:
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
    marked = any(piece.startswith(WORD_MARKS) and len(piece) > 1 for piece in pieces)

    def whole(number: int) -> bool:
        return number not in tokenizer.special and is_whole_word(
            pieces[number], tokenizer.decode((number,)), marked
        )

    counted = [i for i, _ in sorted(counts.items(), key=lambda x: (-x[1], x[0])) if whole(i)]
    if len(counted) >= ENOUGH:
        return counted[:most]
    return (counted + [i for i in range(size) if i not in counts and whole(i)])[:most]


def is_whole_word(piece: str, text: str, marked: bool) -> bool:
    """Whether a piece stands for a word of its own, in any of the common notations.

    Args:
        piece: as the vocabulary writes it: `##ing`, `▁word`, `Ġword`.
        text: what it stands for.
        marked: whether the vocabulary marks where words begin (`▁`, `Ġ`), not where they go on.
    """
    if piece.startswith(("##", "[unused", "<")):
        return False
    word = text.strip()
    if any("\u3400" <= letter <= "\u9fff" for letter in word):
        return True  # Chinese marks no words
    if not word.isalpha() or (marked and not piece.startswith(WORD_MARKS)):
        return False
    return len(word) > 1 or "LATIN" not in unicodedata.name(word, "LATIN")
