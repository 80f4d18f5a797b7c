"""A recipe's report: what each seed found, what it is worth on dev and on test, mean and spread over the seeds.

A pure function from a finished recipe to Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

from softprompt.recipes.lm_bff.results import ENSEMBLE, FIT, Found, LmBffRun, SeedOutcome
from softprompt.recipes.outcomes import Outcome
from softprompt.recipes.pages import Block, Grid, Heading, Lines, Paragraph, markdown
from softprompt.recipes.search.begin import labels_of
from softprompt.recipes.search.candidates import Candidate

TITLES = {"lm_bff": "LM-BFF", "autoprompt": "AutoPrompt"}
_NAMES = {FIT: "final fit", ENSEMBLE: "ensemble"}


def recipe_report(run: LmBffRun, backbone: str, notes: Sequence[str]) -> str:
    """The report of a recipe.

    Args:
        backbone: its name.
        notes: what was decided about the data.
    Returns:
        Markdown, ending in a newline; its last line is the time.
    """
    s, task = run.settings, run.task
    metric = task.metrics[0]
    blocks: list[Block] = [
        Heading(f"{TITLES[s.recipe]}: {task.name} on {backbone}", 1),
        Paragraph(_what(run)),
        *([Lines(notes)] if notes else []),
        Heading("Scores"),
        score_grid(run),
        Paragraph(_warned(run)),
        Heading("Seeds"),
        _seeds(run, metric),
        *_searches(run, metric),
        Heading("Prompts"),
        Paragraph("Each is a run file, for `softprompt train`: `best.yaml` in the seed's folder."),
        Lines([_prompt(one, labels_of(task)) for one in run.seeds]),
        Paragraph(f"Time spent: {run.seconds / 3600:.2f} hours."),
    ]
    return markdown(blocks)


def score_grid(run: LmBffRun) -> Grid:
    """Mean ± population standard deviation over the seeds, of the fit and of the ensemble, as in the paper."""
    rows, count = [], len(run.seeds)
    for name in dict.fromkeys(name for one in run.seeds for name in one.products):
        outcomes = [one.products[name] for one in run.seeds if name in one.products]
        few = f" ({len(outcomes)} of {count} seeds)" if len(outcomes) < count else ""
        for split in outcomes[0].metrics:
            for metric in run.task.metrics:
                values = _values(outcomes, split, metric)
                if values:
                    n = str(outcomes[0].n[split])
                    rows.append([_NAMES[name] + few, split, metric, n, mean_and_sd(values)])
    spread = "mean ± population sd" if count > 1 else "score"
    said = f"{count} seed{'s' * (count > 1)}"
    return Grid(["", "split", "metric", "n", spread], rows, said)


def mean_and_sd(values: Sequence[float]) -> str:
    """`0.812 ± 0.013`, the population standard deviation, as LM-BFF reports it."""
    mean = fmean(values)
    return f"{mean:.3f}" if len(values) < 2 else f"{mean:.3f} ± {pstdev(values):.3f}"


def _what(run: LmBffRun) -> str:
    s = run.settings
    steps = [f"{step.find} ({step.fits} fits)" for step in s.search]
    count = len(s.seeds)
    rows = "each with rows of its own" if s.split_seed_with_seed else "all on the same rows"
    seeds = f"{count} seeds, {rows}" if count > 1 else f"Seed {s.seeds[0]}"
    searched = ", then ".join(steps) if steps else "nothing: the prompt is as it was given"
    text = f"{seeds}. Searched: {searched}. Method: {s.method.name}."
    if s.sweep:
        text += f" The final fit is the best on dev of its sweep over {', '.join(s.sweep)}."
    if s.ensemble:
        text += _together(run)
    return text


def _together(run: LmBffRun) -> str:
    """How many fits the ensemble has, and where it has fewer than were asked for."""
    asked, counts = run.settings.ensemble, sorted({one.members for one in run.seeds} - {0})
    none = [str(one.seed) for one in run.seeds if not one.members]
    text = ""
    if counts:
        number = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        fits = f"{number} best fit{'s' * (counts[-1] > 1)}"
        text = f" Ensemble: the {fits} of the last search, probabilities averaged."
    if counts and counts[0] < asked:
        text += f" {asked} were asked for; the last search left no more."
    if none:
        text += f" No ensemble for seed {', '.join(none)}: the last search left no fits."
    return text


def _warned(run: LmBffRun) -> str:
    if "test" not in run.task.split_names:
        return "There is no test split: everything was chosen on dev, and these scores flatter."
    return (
        "The prompt, the step and the variant were chosen on dev; its score is the highest of many and "
        "flatters. The test set took no part in any choice."
    )


def _seeds(run: LmBffRun, metric: str) -> Grid:
    head = ["seed", "product", "dev", "test", "dev − test", "step", "chosen"]
    rows = []
    for one in run.seeds:
        for name, outcome in one.products.items():
            dev, test = _value(outcome, "dev", metric), _value(outcome, "test", metric)
            gap = None if dev is None or test is None else dev - test
            fitted = name == FIT
            chosen = _chosen(one) if fitted else f"{one.members} fit{'s' * (one.members > 1)}"
            rows.append(
                [
                    str(one.seed),
                    _NAMES[name],
                    _number(dev),
                    _number(test),
                    "–" if gap is None else f"{gap:+.3f}",
                    str(outcome.step) if fitted else "–",
                    chosen,
                ]
            )
    return Grid(head, rows, metric)


def _chosen(one: SeedOutcome) -> str:
    fit = one.fit
    if not fit.values:
        return "–"
    tie = f", {fit.tied} tied, settled by {_settled(fit.settled)}" if fit.tied > 1 else ""
    return f"{fit.variant} of {fit.n_variants}{tie}"


def _searches(run: LmBffRun, metric: str) -> list[Block]:
    if not run.settings.search:
        return []
    labels = labels_of(run.task)
    head = ["seed", "search", "found", f"dev {metric}", "candidates", "fits", "tied at the top"]
    rows = [
        [
            str(one.seed),
            found.kind,
            _best(found, labels),
            _number(found.dev.get(metric)),
            str(found.n_candidates),
            str(found.n_fits),
            _tied(found),
        ]
        for one in run.seeds
        for found in one.found
    ]
    grid = Grid(head, rows, "what each search found, and what settled it")
    notes = [
        f"seed {one.seed}, {found.kind}: {found.note}"
        for one in run.seeds
        for found in one.found
        if found.note
    ]
    return [Heading("Searches"), grid, *([Lines(notes)] if notes else [])]


def _best(found: Found, labels: Sequence[str]) -> str:
    if found.kind == "words":
        return _words(found.words, labels)
    return f"`{found.template}`"


def _tied(found: Found) -> str:
    if found.tied < 2:
        return str(found.tied or "–")
    return f"{found.tied}, settled by {_settled(found.settled)}"


def _settled(how: str) -> str:
    return how.replace("coming first", "standing first in the list")


def _prompt(one: SeedOutcome, labels: Sequence[str]) -> str:
    words = f" with {_words(one.words, labels)}" if one.words else ""
    return f"seed {one.seed}: `{one.template or 'the task’s own template'}`{words}"


def _words(words: Mapping[str, object] | None, labels: Sequence[str]) -> str:
    return Candidate(None, words).ordered(labels).spelling or "the task's own"


def _values(outcomes: Sequence[Outcome], split: str, metric: str) -> list[float]:
    found = [_value(one, split, metric) for one in outcomes]
    return [value for value in found if value is not None]


def _value(outcome: Outcome, split: str, metric: str) -> float | None:
    return outcome.metrics.get(split, {}).get(metric)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
