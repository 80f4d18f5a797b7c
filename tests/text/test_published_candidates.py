"""Every template that LM-BFF published becomes the tokens that its notation stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.text.notations import from_lm_bff
from softprompt.text.template import Template

SEEDS = ("13", "21", "42", "87", "100")
TEXTS = ("The film was so Good and great fun, I say.", "Is it a Review of the best book?")


@pytest.fixture(scope="module")
def published(shared: Path) -> Mapping[Path, list[str]]:
    """File to its candidates, as they are written there: 15 tasks, 5 seeds, 3 orders."""
    folder = shared / "data" / "lm_bff_published"
    tasks = sorted({path.parent.name for path in folder.glob("[!l]*/16-*.txt")})
    if not tasks:
        pytest.skip(f"no published templates in {folder}")
    assert len(tasks) == 15
    found = {}
    for task in tasks:
        for seed in SEEDS:
            for ending in ("txt", "sort.txt", "score.txt"):
                path = folder / task / f"16-{seed}.{ending}"
                lines = path.read_text(encoding="utf-8").splitlines()
                found[path] = [line[line.index("*") :] for line in lines if line.strip()]
    return found


@pytest.fixture(scope="module")
def candidates(published: Mapping[Path, list[str]]) -> Mapping[str, Template]:
    """Each different line, as it is written, with what is read of it."""
    different = dict.fromkeys(line for lines in published.values() for line in lines)
    return {line: from_lm_bff(line) for line in different}


def test_all_tasks_and_seeds_have_their_candidates(published: Mapping[Path, list[str]]) -> None:
    assert len(published) == 15 * 5 * 3
    for path, lines in published.items():
        # MNLI's ranked lists are shorter, and MPQA's hold up to four templates twice.
        assert len(lines) == 100 or (path.parent.name == "MNLI" and len(lines) >= 88), path
        assert len(set(lines)) == len(lines) or path.parent.name == "mpqa", path
    for task in {path.parent for path in published}:
        for seed in SEEDS:
            sort, score = (published[task / f"16-{seed}.{end}.txt"] for end in ("sort", "score"))
            assert set(sort) <= set(score), (task, seed)


def released(source: str, tokenizer: TextTokenizer, mask: int) -> list[int]:
    """The tokens between start and end of a template in the released notation, piece by piece.

    Written from the notation alone: `_` is a space, `+` a space in front, `-` drops the last
    character, `l` lowers the first letter.
    """
    ids: list[int] = []
    pieces = [piece for piece in source.split("*") if piece]
    for number, piece in enumerate(pieces):
        sentence = re.fullmatch(r"(\+?)sent(l?)(-?)_([01])", piece)
        if piece == "mask":
            ids.append(mask)
        elif piece in ("cls", "sep+"):
            assert number == (0 if piece == "cls" else len(pieces) - 1), source
        elif sentence:
            space, lower, drop, which = sentence.groups()
            text = TEXTS[int(which)]
            text = text[0].lower() + text[1:] if lower else text
            text = text[:-1] if drop else text
            ids += tokenizer.encode(" " * len(space) + text, continues=True).ids
        else:
            ids += tokenizer.encode(piece.replace("_", " "), continues=True).ids
    return ids


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_published_candidates_render_to_the_tokens_of_their_notation(
    candidates: Mapping[str, Template],
    tokenizers: Mapping[str, TextTokenizer],
    make: Callable[..., Any],
    family: str,
) -> None:
    """Token for token, on WordPiece and on byte-level BPE.

    A space at the end of the text before the mask (`_**mask*`) is the one thing that is read
    otherwise: in the release a token of its own, here the space that the label word carries.
    """
    tokenizer = tokenizers[family]
    (mask,) = {tokenizer.mask}
    spaced = 0
    for source, template in candidates.items():
        fields = dict(zip(template.fields, TEXTS, strict=False))
        rendering = make(family, template, per_piece=True).score(fields)
        (query,) = rendering.queries
        wanted = released(source, tokenizer, mask)
        if "_**mask*" in source:
            spaced += 1
            wanted = released(source.replace("_**mask*", "**mask*"), tokenizer, mask)
        ids = list(query.ids)
        assert ids == [*tokenizer.start, *wanted, *tokenizer.end], source
        assert [position for read in query.reads for position in read.positions] == [
            ids.index(mask)
        ] * len(query.reads), source
    assert 0 < spaced < 0.01 * len(candidates)
