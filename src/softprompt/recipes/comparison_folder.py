"""What a comparison leaves: tables, the report in Markdown and HTML, figures.

Everything here is made anew from the cells each time, so an old report never stands beside new cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from softprompt.recipes.comparing import Comparison
from softprompt.recipes.comparison_mixtures import by_task
from softprompt.recipes.comparison_pictures import FIGURES
from softprompt.recipes.comparison_report import report
from softprompt.recipes.comparison_tables import (
    RESULTS,
    SUMMARY,
    Analysed,
    analysed,
    summary_rows,
    tidy_rows,
    write_table,
)
from softprompt.recipes.pages import Picture, markdown, page
from softprompt.recipes.run_folder import remove, write_bytes, write_text


def leave(comparison: Comparison) -> Sequence[Analysed]:
    """Make the statistics and write everything beside the cells.

    Raises:
        RunError: the disk refuses.
    """
    single = [own for one in comparison.tables for own in by_task(one)]
    tables = [analysed(one, comparison.settings) for one in single]
    folder = comparison.folder
    write_table(tidy_rows(comparison.tables), folder, RESULTS)
    write_table(summary_rows(tables), folder, SUMMARY)
    blocks = report(comparison, tables)
    remove(folder / FIGURES)
    for block in blocks:
        if isinstance(block, Picture):
            write_bytes(folder / block.name, block.content)
    write_text(folder / "report.md", markdown(blocks))
    write_text(folder / "report.html", page(blocks, "Comparison"))
    return tables
