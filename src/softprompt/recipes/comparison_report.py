"""The report of a comparison: per task the scores with what they can bear, costs, selection, pictures.

Pure: from a finished comparison and its statistics to blocks of a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from softprompt.analysis.accounts import n_bytes, percent
from softprompt.analysis.comparison import Row, Table
from softprompt.analysis.significance import spread
from softprompt.data.overlap import Overlap
from softprompt.recipes.comparing import Compared, Comparison
from softprompt.recipes.comparison_pictures import overview_pictures, table_pictures
from softprompt.recipes.comparison_results import Result
from softprompt.recipes.comparison_tables import MAJORITY, Analysed, seconds_per_fit
from softprompt.recipes.pages import Block, Grid, Heading, Lines, Paragraph

NONE = "–"
NOT_TOLD = "not told apart"
MOST_TIED = 2
"""Rows of the same mean that are named."""


def report(comparison: Comparison, tables: Sequence[Analysed]) -> list[Block]:
    """The whole page.

    Args:
        tables: the comparison's, with their statistics, in their order.
    """
    names = {one.compared.backbone: None for one in tables}
    several = len(names) > 1
    blocks: list[Block] = [Heading("Comparison", 1), Lines(_facts(comparison))]
    for one in tables:
        blocks += _table(one, comparison, several)
    blocks += overview_pictures(tables)
    blocks += _not_run(comparison.tables)
    blocks += [Heading("How to read this"), Lines(_reading(comparison))]
    return blocks


def title_of(one: Compared, several: bool) -> str:
    """The heading of a table."""
    return f"{one.task} on {one.backbone}" if several else one.task


def _facts(comparison: Comparison) -> list[str]:
    settings, laid = comparison.settings, comparison.plan
    seeds = ", ".join(map(str, settings.seeds))
    drawn = "each also draws its own train and dev" if settings.split_seed_with_seed else ""
    facts = [
        f"backbones: {_entries((k, v.name, v.note) for k, v in laid.backbones.items())}",
        f"tasks: {_entries((label, label, v.note) for label, v in laid.tasks.items())}",
        f"rows: {len(laid.rows)} methods and settings"
        + (f"; baselines: {', '.join(settings.baselines)}" if settings.baselines else ""),
        f"seeds: {seeds}" + (f"; {drawn}" if drawn else ""),
        "every number is in results.csv and table.csv (and .parquet); every run in cells/",
    ]
    where = {r.costs.device for t in comparison.tables for r in t.results if r.costs is not None}
    return [*facts, f"device: {'; '.join(sorted(where))}"]


def _entries(found: Iterator[tuple[str, str, str | None]]) -> str:
    return ", ".join(
        label + (f" ({name})" if not name.endswith(label) else "") + (f" [{note}]" if note else "")
        for label, name, note in found
    )


# --- one table ----------------------------------------------------------------------------------


def _table(one: Analysed, comparison: Comparison, several: bool) -> list[Block]:
    compared, task = one.compared, one.compared.data.task
    rows = ", ".join(f"{name} {len(task.examples(name)):,}" for name in task.split_names)
    blocks: list[Block] = [
        Heading(title_of(compared, several)),
        Paragraph(f"{rows}. {' '.join(f'{note}.' for note in compared.data.notes)}".strip()),
    ]
    if one.table is None:
        blocks.append(
            Paragraph(
                "No score can be shown: there is no test set, and dev chose. Give a test file, or "
                "training.keep: last."
            )
        )
    else:
        where = "test" if one.shown == "test" else "dev (there is no test set; nothing chose on it)"
        said = f"{one.metric} on {where}, n = {one.table.n:,}"
        blocks.append(Grid(_score_head(one.table), list(score_cells(one)), said))
        blocks.append(Lines(list(_evidence(one, one.table))))
    costs = [result for result in compared.results if result.costs is not None]
    if costs:
        head = ("row", "learned", "formula", "stored", "applied", "share", "bytes")
        blocks.append(
            Grid(
                (*head, "FLOPs/example", "seconds/fit", "peak memory"),
                [_cost_row(result) for result in costs],
                "costs",
            )
        )
    blocks.append(
        Grid(
            ("row", "selection", "chosen", "kept step", "ties", "dev", one.shown, "dev − test"),
            [_selection_row(result, one) for result in compared.results if result.tested],
            "what chose, and what it cost: scores on dev flatter",
        )
    )
    if shift := list(_shift_rows(one)):
        blocks.append(
            Grid(
                ("row", f"{compared.task} ({one.metric})", "other task", "n", "there", "Δ"),
                shift,
                "domain shift: learned on this task, scored on others as it is",
            )
        )
    blocks += table_pictures(one, several)
    if compared.overlaps:
        blocks.append(Lines([_overlap(found) for found in compared.overlaps]))
    if watch := list(_watch(compared)):
        blocks += [Heading("Watch out", 3), Lines(watch)]
    return blocks


def _score_head(table: Table) -> tuple[str, ...]:
    versus = f"minus {table.reference}"
    could = "could show (rows · seeds)"
    return ("row", "mean ± sd", "95 % interval", "majority class", versus, "p (Holm)", could)


def score_cells(one: Analysed) -> Iterator[tuple[str, ...]]:
    """Row, mean ± sd, interval, majority class, difference, p, what could be shown; the best mean first,
    rows without a score last."""
    reference = one.table.reference if one.table is not None else None
    rows = {result.label: one.row(result) for result in one.compared.results}
    order = sorted(rows, key=lambda label: -_mean(rows[label]))
    found = {result.label: result for result in one.compared.results}
    for label in order:
        row = rows[label]
        if row is None:
            yield (label, _why_none(found[label]), *[NONE] * 5)
            continue
        d, interval = row.difference, row.interval
        yield (
            label + (" (reference)" if label == reference else ""),
            str(row.spread) + _tied(row),
            f"{interval.low:.3f} to {interval.high:.3f}" if interval else NONE,
            _against_majority(row),
            f"{d.value:+.3f} [{d.interval.low:+.3f}, {d.interval.high:+.3f}]" if d else NONE,
            _p(row.p),
            f"{_least(row.by_rows)} · {_least(row.by_seeds)}" if d else NONE,
        )


def _tied(row: Row) -> str:
    """Which rows have the same mean; how many, where they would fill the table."""
    if not row.tied:
        return ""
    few = len(row.tied) <= MOST_TIED
    return f" (tied with {', '.join(row.tied) if few else f'{len(row.tied)} others'})"


def _mean(row: Row | None) -> float:
    return row.spread.mean if row is not None else float("-inf")


def _why_none(result: Result) -> str:
    if result.refused:
        return "refused"
    if result.failed:
        return "failed"
    return "no test set"


def _against_majority(row: Row) -> str:
    if row.name == MAJORITY or row.majority is None:
        return NONE
    if row.above_majority:
        return f"above, p {_p(row.majority_p)}"
    below = row.majority_p is not None and row.majority_p <= 0.05
    return f"{'below' if below else NOT_TOLD}, p {_p(row.majority_p)}"


def _p(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _least(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}" if value <= 1 else "> 1"


def _evidence(one: Analysed, table: Table) -> Iterator[str]:
    yield (
        f"reference: {table.reference}, {table.why}; p-values are two-sided, of a paired bootstrap over "
        f"splits, seeds and rows, adjusted by Holm for {table.family} comparisons"
    )
    low = [
        row.name
        for row in table.rows
        if row.name != MAJORITY and row.majority is not None and not row.above_majority
    ]
    if low:
        yield f"cannot be told from the majority class, or lie below it: {', '.join(low)}"
    for kind, told in (
        ("test rows", [row.by_rows for row in table.rows if row.by_rows is not None]),
        ("seeds", [row.by_seeds for row in table.rows if row.by_seeds is not None]),
    ):
        if told:
            span = _least(min(told)) + (f" to {_least(max(told))}" if max(told) > min(told) else "")
            yield (
                f"the smallest difference to the reference that so many {kind} could have shown "
                f"(power 0.8 at Holm's first step): {span}, depending on the row"
            )
    kinds = {row.how for row in table.rows if row.interval is not None}
    if "Wilson" in kinds:
        yield "intervals are Wilson's, for there are fewer than 500 rows; they know rows, not seeds"
    for result in one.compared.results:
        if result.note:
            yield f"{result.label}: {result.note}"


def _cost_row(result: Result) -> tuple[str, ...]:
    costs = result.costs
    assert costs is not None
    seconds = seconds_per_fit(result)
    stored = costs.stored if costs.stored is not None else costs.stored_formula
    formula = "agrees" if costs.agrees else f"says {costs.learned_formula:,}"
    if costs.stored is not None and costs.stored != costs.stored_formula:
        formula += f", stored {costs.stored_formula:,}"
    return (
        result.label,
        f"{costs.learned:,}",
        formula,
        f"{stored:,}" + ("" if costs.stored is not None else " (not kept)"),
        f"{costs.applied:,}",
        percent(costs.share) if costs.learned else "0 %",
        n_bytes(costs.n_bytes),
        _operations(costs.operations),
        f"{seconds:.1f}" if seconds is not None else NONE,
        f"{n_bytes(costs.peak_bytes)} ({costs.memory})" if costs.peak_bytes else NONE,
    )


def _operations(count: float | None) -> str:
    if count is None:
        return NONE
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def _selection_row(result: Result, one: Analysed) -> tuple[str, ...]:
    dev, shown = result.values("dev", one.metric), result.values(one.shown, one.metric)
    steps = [str(run.step) for run in result.tested if run.step is not None]
    ties = [run for run in result.tested if run.tied > 1]
    both = one.shown == "test" and len(dev) == len(shown) > 0
    gap = spread([d - t for d, t in zip(dev, shown, strict=True)]) if both else None
    return (
        result.label,
        result.selection,
        result.chosen or NONE,
        ", ".join(steps) or NONE,
        ", ".join(f"{run.tied} of {run.looks} (seed {run.seed})" for run in ties) or NONE,
        str(spread(dev)) if dev else NONE,
        str(spread(shown)) if shown and result.shown == one.shown else NONE,
        f"{gap.mean:+.3f}" if gap is not None else NONE,
    )


def _shift_rows(one: Analysed) -> Iterator[tuple[str, ...]]:
    for result in one.compared.results:
        home = result.values(one.shown, one.metric) if result.shown == one.shown else []
        for name in one.compared.data.shifted:
            there = result.values(name, one.metric)
            if not there:
                continue
            n = result.tested[0].n[name]
            delta = NONE
            if len(home) == len(there):
                found = spread([b - a for a, b in zip(home, there, strict=True)])
                delta = f"{found.mean:+.3f}" + (
                    f" ± {found.sd:.3f}" if found.sd is not None else ""
                )
            at_home = str(spread(home)) if home else NONE
            other = name.removeprefix("on ")
            yield result.label, at_home, other, f"{n:,}", str(spread(there)), delta


def _overlap(found: Overlap) -> str:
    shared = found.equal.left or found.near.left
    return f"overlap: {found.sentence()}" if shared else f"no overlap: {found.sentence()}"


def _watch(compared: Compared) -> Iterator[str]:
    lines: dict[str, None] = {}
    for result in compared.results:
        for line in result.costs.warnings if result.costs is not None else ():
            lines[line] = None
        for run in result.tested:
            for alarm in run.alarms:
                lines[f"{result.label}, seed {run.seed}: {alarm}"] = None
        if result.costs is not None and not result.costs.agrees:
            lines[f"{result.label}: its parameters are not as many as its formula says"] = None
    yield from lines


# --- the rest -----------------------------------------------------------------------------------


def _not_run(tables: Sequence[Compared]) -> list[Block]:
    rows = [
        (result.label, one.task, one.backbone, "refused" if result.refused else "failed", reason)
        for one in tables
        for result in one.results
        if (reason := result.refused or result.failed)
    ]
    if not rows:
        return []
    return [
        Heading("What was not run"),
        Grid(("row", "task", "backbone", "", "reason"), rows),
    ]


def _reading(comparison: Comparison) -> list[str]:
    lines = [
        "mean ± sd: over a row's fits, of a sample (n − 1); LM-BFF gives the population's.",
        "selection: dev means that the step (or a sweep's variant) with the best dev score was kept; "
        "none means that nothing was chosen. No score of a table is of a set that chose anything.",
        "majority class: 'not told apart' where the difference may be chance (p above 0.05 after Holm).",
        "could show: the smallest true difference to the reference that a test would have found with "
        "power 0.8, by these test rows (McNemar) and by this many seeds (paired t); a smaller one may "
        "be there unseen.",
        "learned: moved by training; stored: kept for the task; applied: learned numbers that a pass "
        "over an example reads beside the frozen backbone. formula: the method's own formula agrees "
        "with what was counted.",
        "FLOPs/example: matrix products and attentions of predicting one example, padding as it came; "
        "a multiplication and an addition count as two.",
        "seconds/fit: training, evaluations and a sweep's other variants, over the fits; fits of one "
        "row share their batches.",
        "peak memory: of tensors on an accelerator; of the whole process on a CPU, backbone, data and "
        "whatever earlier cells left there included.",
    ]
    if comparison.settings.split_seed_with_seed and comparison.settings.overlap:
        lines.append("overlap: of the first seed's split of the data.")
    return lines
