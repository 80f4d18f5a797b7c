"""Label-word search: which words should stand for the labels in a run's template.

Gao, Fisch & Chen 2020 (LM-BFF, arXiv 2012.15723), section 5.1: the words that the backbone itself expects at
the slot of each class's training rows, their combinations by zero-shot accuracy on these rows, and the best
of those fitted and ranked on dev. All of it up to the fits costs one forward pass over the training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from softprompt.backbones.backbone import Backbone
from softprompt.errors import SettingsError
from softprompt.inference.applied import Applied
from softprompt.recipes.run_data import RunData
from softprompt.recipes.schema import RunSettings
from softprompt.recipes.search.begin import Search, begin
from softprompt.recipes.search.candidates import Candidate, write_candidates
from softprompt.recipes.search.finishing import Searched, finish
from softprompt.recipes.search.fitting import bound_candidate
from softprompt.recipes.search.settings import WordSettings
from softprompt.recipes.search.words.cache import (
    Lists,
    kept_lists,
    load_table,
    made_for,
    save_table,
)
from softprompt.recipes.search.words.classes import classes_of, gold_of, own_tokens, own_words
from softprompt.recipes.search.words.listing import read_word_list
from softprompt.recipes.search.words.ranking import (
    Combinations,
    Floats,
    Gold,
    Ints,
    best_words,
    combine,
    nearest,
    scored,
)
from softprompt.recipes.search.words.report import Looked, word_blocks
from softprompt.recipes.search.words.table import Table, listed_table, read_table, slot_scores
from softprompt.recipes.search.words.whole_words import Vocabulary, slot_words, whole_words
from softprompt.recipes.watching import Watcher
from softprompt.tuning.jobs import Job, job_template

SCORE, LOSS = "train_score", "train_cross_entropy"
"""What a candidate's line says of it: zero-shot accuracy (Pearson's r of numbers) and loss on train."""


def search_words(
    run: RunSettings,
    settings: WordSettings,
    out: Path,
    watcher: Watcher | None = None,
    *,
    overwrite: bool = False,
    backbone: Backbone | None = None,
    data: RunData | None = None,
    keep: int = 1,
) -> Searched:
    """Search label words for a run's template, fit the best combinations, leave a folder.

    Args:
        run: its own words, if it has any, stand beside the result.
        out: the folder; an unfinished search there is gone on with.
        watcher: is told facts, stages and steps.
        overwrite: begin anew where a search stands already.
        backbone, data: what `run` names, where it was loaded or read already.
        keep: how many of the best fits keep the weights that they tuned.
    Raises:
        UsageError: settings, data, template or backbone that do not fit.
        RunError: every fit failed, or the disk refuses.
    """
    _check(run)
    search = begin(
        "words",
        run,
        settings,
        out,
        watcher,
        overwrite=overwrite,
        backbone=backbone,
        data=data,
        keep=keep,
    )
    with search.refusing():
        looked = _look(search, settings)
    return finish(search, "Label words", word_blocks(looked, settings.fits), SCORE)


def _check(run: RunSettings) -> None:
    if run.answers in ("candidates", "text"):
        raise SettingsError(
            f"answers: {run.answers}: label words are searched for labels or a number"
        )
    if run.method.reads_classes:
        raise SettingsError(
            f"method: {run.method.name} answers by class vectors, so label words change nothing; use "
            "full_tuning, prompt_tuning or another whose words answer"
        )


def _look(search: Search, settings: WordSettings) -> Looked:
    """Words, combinations and the file of candidates; of a search that goes on, what stands there."""
    task, told = search.task, search.told
    labels = classes_of(task)
    source = Job(task, search.run.method, template=search.run.template)
    template = job_template(source, search.backbone.family)
    if len(template.slot_names) > 1:
        raise SettingsError(
            f"template: words are searched for one answer slot, '{template}' has {len(template.slot_names)}"
        )
    gold = gold_of(task, labels)
    # Any words will do: the template is bound before its words are known.
    unsaid = Candidate(str(template), {label: label for label in labels})
    applied = bound_candidate(search.run, unsaid, task, search.backbone)
    current = _current(search, settings, str(template))
    own = [] if current is None else own_words(current, task.examples("train")[0])
    manual = None if settings.neighbours is None else own_tokens(own)
    lists = None if settings.words is None else _lists(search, settings.words, labels)
    vocabulary = None if lists is not None else _vocabulary(search, applied, settings)
    table = _kept(search, settings, lists)
    if table is None:
        table = _read(search, applied, gold, lists, vocabulary)
        save_table(search.folder.work, table, lists)
    pools = _pools(search, settings, table, labels, lists, vocabulary, manual)
    mine = _own_columns(own, table, vocabulary) if own else None
    columns = np.unique(np.concatenate([*pools, *(() if mine is None else (mine,))]))
    log_p = _of_pools(search, applied, table, columns, vocabulary)
    words = [table.words[column] for column in columns]
    found = combine(
        log_p,
        gold,
        [np.searchsorted(columns, pool) for pool in pools],
        settings.combinations,
        most=settings.most,
        width=settings.beam,
        repeats=settings.repeats,
    )
    compared = None
    if mine is not None:
        compared = float(scored(log_p, gold, np.searchsorted(columns, mine)[None])[0])
    looked = Looked(
        labels=labels,
        template=str(template),
        metric="accuracy" if gold.values is None else "Pearson's r",
        n_rows=len(gold.classes),
        n_words=len(table.words),
        listed=lists is not None,
        passes=1 if table.log_p is not None else 2,
        pools=[[table.words[column] for column in pool] for pool in pools],
        found=found,
        best=[words[column] for column in found.words[0]],
        own=[word for word, _ in own],
        own_score=compared,
        unsaid=_unsaid(applied, lists is not None),
    )
    told.note(looked.sentence)
    if not search.folder.candidates.is_file():
        listed = _candidates(found, words, labels, str(template))
        write_candidates(search.folder.candidates, listed)
    return looked


# --- what is searched -------------------------------------------------------------------------


def _current(search: Search, settings: WordSettings, template: str) -> Applied | None:
    """The template with the words that stand there now; None: a number's two ends have no words yet.

    Raises:
        SettingsError: there are none, and their neighbours are asked for.
    """
    task = search.task
    if task.kind == "number" and task.words is None and search.run.words is None:
        if settings.neighbours is not None:
            raise SettingsError(
                f"neighbours: task '{task.name}' has no words of its own, so nothing is near them; give "
                "words: {lower: …, upper: …}, or leave neighbours out"
            )
        return None
    return bound_candidate(search.run, Candidate(template), task, search.backbone)


def _lists(search: Search, given: str, labels: Sequence[str]) -> Lists:
    """A user's words of each label; once candidates were made of them, the file may be gone."""
    known = kept_lists(search.folder.work) if search.folder.candidates.is_file() else None
    if known is not None and not Path(given).exists():
        return known
    return read_word_list(Path(given), labels)


def _vocabulary(search: Search, applied: Applied, settings: WordSettings) -> Vocabulary:
    tokens = whole_words(
        search.backbone.tokenizer, search.backbone.vocabulary, settings.punctuation
    )
    return slot_words(applied, tokens, search.task.examples("train"))


def _kept(search: Search, settings: WordSettings, lists: Lists | None) -> Table | None:
    """The table of a search that goes on; None: there is none, or the list was changed before it was used.

    Raises:
        SettingsError: the list was changed since candidates were made of it.
    """
    table = load_table(search.folder.work)
    if table is None or made_for(search.folder.work, lists):
        return table
    if search.folder.candidates.is_file():
        raise SettingsError(
            f"--words: {settings.words} was changed since {search.folder.path} made its candidates of it. Put "
            "it back to go on, give --overwrite to begin anew, or another --out"
        )
    return None


def _read(
    search: Search,
    applied: Applied,
    gold: Gold,
    lists: Lists | None,
    vocabulary: Vocabulary | None,
) -> Table:
    """The scores of all words."""
    rows, told = search.task.examples("train"), search.told
    classes, count = gold.classes, gold.count
    if vocabulary is not None:
        told.note(f"one pass over {len(rows):,} training rows: {len(vocabulary.ids):,} words")
        return read_table(search.backbone, applied, vocabulary, rows, classes, count, told)
    every = dict.fromkeys(word for own in (lists or {}).values() for word in own)
    told.note(f"{len(every):,} listed words, each in {len(rows):,} training rows")
    return listed_table(search.backbone, applied, list(every), rows, classes, count, told)


def _pools(
    search: Search,
    settings: WordSettings,
    table: Table,
    labels: Sequence[str],
    lists: Lists | None,
    vocabulary: Vocabulary | None,
    manual: Sequence[int] | None,
) -> list[Ints]:
    """The columns of the table that are combined, for each class, the best first.

    Args:
        manual: the token of each class's own word, whose neighbours are kept.
    """
    sums = table.sums.log_p if settings.by == "log_probability" else table.sums.logit
    if lists is not None:
        column = {word: number for number, word in enumerate(table.words)}
        pools = []
        for number, label in enumerate(labels):
            own = np.array([column[word] for word in lists[label]], dtype=np.int64)
            pools.append(own[best_words(sums[number : number + 1, own], settings.top)[0]])
        return pools
    pools = best_words(sums, settings.top)
    if settings.neighbours is None or vocabulary is None or manual is None:
        return pools
    ids = np.array(vocabulary.ids)
    head = search.backbone.head
    kept = []
    for pool, token in zip(pools, manual, strict=True):
        vectors = head.rows(ids[pool].tolist())[0].numpy()
        kept.append(nearest(pool, vectors, head.rows([token])[0][0].numpy(), settings.neighbours))
    return kept


def _unsaid(applied: Applied, listed: bool) -> list[str]:
    """What a prediction counts and the table does not."""
    found = []
    if applied.renderer.frame.family == "encoder_decoder" and not listed:
        found.append(
            "an answer's end token is not in these scores (a prediction counts it unless "
            "objective.answer_end is false)"
        )
    if applied.objective.without_content:
        found.append(
            "these scores are without the correction that objective.pmi or calibration makes"
        )
    return found


def _of_pools(
    search: Search,
    applied: Applied,
    table: Table,
    columns: Ints,
    vocabulary: Vocabulary | None,
) -> Floats:
    """Log p of some columns at every row, `[N, len(columns)]`: read again where the table was too large."""
    if table.log_p is not None:
        return np.ascontiguousarray(table.log_p[:, columns])
    assert vocabulary is not None
    rows = search.task.examples("train")
    found = np.empty((len(rows), len(columns)), dtype=np.float32)
    ids = np.array(vocabulary.ids)[columns].tolist()
    search.told.note(f"a second pass, for the {len(columns):,} words that were chosen")
    parts = slot_scores(search.backbone, applied, vocabulary.words[0], ids, rows, search.told)
    for places, log_p, _ in parts:
        found[places] = log_p
    return found


def _own_columns(
    own: Sequence[tuple[str, int | None]], table: Table, vocabulary: Vocabulary | None
) -> Ints | None:
    """Where the run's own words are in the table; None: one of them is not.

    By their tokens, for a tokenizer may write Yes as yes; of listed words by their texts.
    """
    known: Sequence[object] = table.words if vocabulary is None else vocabulary.ids
    column = {word: number for number, word in enumerate(known)}
    found = [column.get(word if vocabulary is None else token) for word, token in own]
    return None if None in found else np.array(found, dtype=np.int64)


def _candidates(
    found: Combinations, words: Sequence[str], labels: Sequence[str], template: str
) -> list[Candidate]:
    """Combinations as lines of the file."""
    return [
        Candidate(
            template,
            {label: words[column] for label, column in zip(labels, row, strict=True)},
            {SCORE: float(score), LOSS: float(loss)},
        )
        for row, score, loss in zip(found.words, found.scores, found.losses, strict=True)
    ]
