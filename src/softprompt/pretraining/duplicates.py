"""What stands in the corpus more than once is kept once: paragraphs, or spans of sentences.

Both filters go through the corpus once and keep the first occurrence. What they have seen is a set
of 8-byte digests, about 110 bytes of memory each as Python holds them: 110 MB for a million. With
n digests, the chance that any two different texts share one is n**2 / 2**65, 3e-8 for a million.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from softprompt.data.normalising import n_chinese, normalised_words
from softprompt.pretraining.documents import Document

_SENTENCE_END = re.compile(
    r"(?:(?<![.!?])[.!?]++[\"'”’)\]]*+(?=\s|$)"  # a full stop inside 3.14 or example.org ends none
    r"|(?<![。！？…])[。！？…]++[\"'”’」』）]*+)\s*"
)


@dataclass
class DuplicateCounts:
    """What a filter saw and did.

    Args:
        texts: paragraphs (or sentences) that came by.
        dropped: those that were dropped.
        documents: documents that lost all of theirs.
    """

    texts: int = 0
    dropped: int = 0
    documents: int = 0


def drop_duplicates(
    documents: Iterable[Document],
    counts: DuplicateCounts,
    seen: set[bytes],
    shortest: int = 60,
) -> Iterator[Document]:
    """Keep the first of paragraphs that are equal once normalised, wherever they stand.

    Args:
        documents: their order is kept; one that loses every paragraph is dropped.
        counts: added to as paragraphs go by.
        seen: digests of earlier paragraphs, added to; one set for all files of a corpus.
        shortest: paragraphs below this many letters and digits (a Chinese character counts as two)
            are left alone: a line of dialogue or a heading may stand in many books.
    """
    for document in documents:
        kept = [text for text in document if not _is_repeated(text, seen, shortest)]
        counts.texts += len(document)
        counts.dropped += len(document) - len(kept)
        if kept:
            yield tuple(kept)
        else:
            counts.documents += 1


def _is_repeated(paragraph: str, seen: set[bytes], shortest: int) -> bool:
    if 2 * len(paragraph) < shortest:
        return False
    words = normalised_words(paragraph)
    if sum(map(len, words)) + n_chinese(words) < shortest:
        return False
    key = _digest(" ".join(words))
    if key in seen:
        return True
    seen.add(key)
    return False


def drop_repeated_spans(
    documents: Iterable[Document],
    counts: DuplicateCounts,
    seen: set[bytes],
    sentences: int = 3,
) -> Iterator[Document]:
    """Drop every sentence of a span of `sentences` that has occurred before (C4's rule).

    Raffel et al. 2020, section 2.2: "we discarded all but one of any three-sentence span occurring
    more than once in the data set". A span may go over the end of a paragraph, not of a document.

    Args:
        documents: their order is kept; one that loses every sentence is dropped.
        counts: added to as sentences go by.
        seen: digests of earlier spans, added to; not the set of `drop_duplicates`.
        sentences: sentences in a span.
    """
    for document in documents:
        cut = [split_sentences(paragraph) for paragraph in document]
        flat = [sentence for paragraph in cut for sentence in paragraph]
        repeated = _repeated_sentences(flat, seen, sentences)
        counts.texts += len(flat)
        counts.dropped += len(repeated)
        kept, place = [], 0
        for paragraph in cut:
            places = range(place, place + len(paragraph))
            rest = [flat[number] for number in places if number not in repeated]
            place += len(paragraph)
            if text := "".join(rest).strip():
                kept.append(text)
        if kept:
            yield tuple(kept)
        else:
            counts.documents += 1


def split_sentences(paragraph: str) -> list[str]:
    """Sentences, each with the space behind it, so that joining them gives back the paragraph.

    Cut behind . ! ? before a space, and behind 。！？…, with closing quotes. Abbreviations end a
    sentence too, as they do in every copy of it.
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(paragraph)]
    starts = [0, *ends]
    pieces = [paragraph[a:b] for a, b in zip(starts, [*ends, len(paragraph)], strict=True)]
    return [piece for piece in pieces if piece]


def _repeated_sentences(flat: Sequence[str], seen: set[bytes], width: int) -> set[int]:
    """Places of the sentences in spans that were seen before, in `seen` or in this document."""
    words = [" ".join(normalised_words(sentence)) for sentence in flat]
    first: dict[bytes, int] = {}
    repeated: set[int] = set()
    for start in range(len(flat) - width + 1):
        key = _digest("\n".join(words[start : start + width]))
        # A span that overlaps with itself ("Ha! Ha! Ha! Ha!") would take the kept one along.
        if key in seen or start - first.setdefault(key, start) >= width:
            repeated.update(range(start, start + width))
    seen.update(first)
    return repeated


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
