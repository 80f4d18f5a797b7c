"""What a label-word search found before any fit, as a section of its report.

Pure functions of what was found; knows no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from softprompt.recipes.pages import Block, Grid, Heading, Lines, Paragraph
from softprompt.recipes.search.words.ranking import Combinations

SHOWN = 10
"""Words of a class that the report shows."""


@dataclass(frozen=True)
class Looked:
    """What was found.

    Args:
        labels: the classes.
        template: in whose slot the words stand.
        metric: of a combination on the training rows.
        n_rows: training rows.
        n_words: words that were scored.
        listed: whether a user listed them.
        passes: over the training rows.
        pools: the words of each class that were combined, the best first.
        found: the combinations.
        best: the words of the first of them.
        own: the run's own word of each class.
        own_score: their score; None: they were not among the words.
        unsaid: what a prediction counts and these scores do not.
    """

    labels: Sequence[str]
    template: str
    metric: str
    n_rows: int
    n_words: int
    listed: bool
    passes: int
    pools: Sequence[Sequence[str]]
    found: Combinations
    best: Sequence[str]
    own: Sequence[str]
    own_score: float | None
    unsaid: Sequence[str] = ()

    @property
    def sentence(self) -> str:
        """How many combinations there were, and the best."""
        found = self.found
        sizes = " × ".join(str(len(pool)) for pool in self.pools)
        how = "all scored" if found.exhaustive else "too many to score all: a beam"
        text = (
            f"{sizes} = {found.possible:,} combinations, {how}; the best: {' / '.join(self.best)}, zero-shot "
            f"{self.metric} {found.scores[0]:.3f} on train"
        )
        if found.tied > 1:
            text += f" ({found.tied:,} are tied)"
        if self.own_score is not None:
            text += f"; the run's own {' / '.join(self.own)}: {self.own_score:.3f}"
        elif self.own:
            text += f"; the run's own {' / '.join(self.own)} are not all among the words"
        return text


def word_blocks(looked: Looked, fits: int) -> list[Block]:
    """The section.

    Args:
        fits: how many of the combinations are fitted.
    """
    where = "the list" if looked.listed else "the vocabulary, one token each"
    blocks: list[Block] = [
        Heading("How the words were found"),
        Paragraph(
            f"Template: `{looked.template}`. {looked.sentence[0].upper()}{looked.sentence[1:]}."
        ),
        Lines(
            [
                f"{looked.n_words:,} words of {where}, scored at the slot of {looked.n_rows:,} training rows",
                f"passes over the training rows: {_passes(looked)}",
                _combined(looked),
                f"the first {len(looked.found.words):,} are candidates; at most {fits} are fitted",
                *looked.unsaid,
            ]
        ),
    ]
    rows = [
        (label, " ".join(pool[:SHOWN]))
        for label, pool in zip(looked.labels, looked.pools, strict=True)
    ]
    caption = f"the first {SHOWN} words of each class, before they are combined"
    blocks.append(Grid(("class", "words"), rows, caption))
    return blocks


def _passes(looked: Looked) -> str:
    if looked.listed:
        return "one for each length of the listed words"
    if looked.passes == 1:
        return "one"
    return "two, since all scores of all rows are too many to be kept"


def _combined(looked: Looked) -> str:
    order = (
        f"by zero-shot {looked.metric} on train, equals by cross-entropy, then by the words' ranks"
    )
    if looked.found.exhaustive:
        return f"all combinations were ranked {order}"
    return (
        f"combinations were ranked {order}; only those of a beam over the classes were scored, so a better "
        "one may have been passed over"
    )
