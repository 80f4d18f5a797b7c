"""`docs/tasks.md`: the page of all tasks by benchmark, made from the tables themselves.

A test compares the page with what this makes. Knows entries, no files or models.
"""

from __future__ import annotations

from softprompt.data.known_tasks import TASKS, TaskEntry
from softprompt.data.metrics import DEFAULTS
from softprompt.data.registry import find_entry

HEAD = """# Tasks

Made from the tables in `data/tasks/` by `python -m softprompt.cli.task_page > docs/tasks.md`; a test compares the two.

`softprompt train task=super_glue/rte data=FOLDER …` reads a task's official files below FOLDER, or below
`SOFTPROMPT_DATA`; FOLDER may also be the task's own folder, and a file may be packed (`.gz`, `.xz`). `softprompt list
tasks` says which files are there, `softprompt show super_glue/rte` shows texts, words and rows. Nothing is
downloaded, and nothing but the four small sets that ship is part of the package.

- **A form** is another way to ask, behind a colon: `task=super_glue/rte:t5` is T5's text and words (Raffel et al.
  2020, appendix D), for encoder-decoders; a causal backbone goes on with the answer.
- **A variant** is another choice of files: `variant=13`.
- **Hidden test sets.** GLUE and SuperGLUE publish no test labels. Their validation file is `test` here, and `dev`
  comes out of train (`data_seed`), so that nothing is chosen on what is reported. The note of each task says so.
- **Metrics**: the first one selects. `softprompt.data.metrics.overall` gives a benchmark's one number, the mean
  over its tasks of the mean of a task's metrics. BLEU and ROUGE need `pip install 'softprompt[text]'`; in Chinese
  write `bleu:zh`, `rouge_l:zh`. MultiRC's exact match counts whole questions, so it needs their `group`.
- **Several tasks at once**: `softprompt.data.mixing` has T5's three rules (in proportion to the examples up to K,
  with a temperature, equally) and a sampler that is the same for the same seed.
- **LAMA** is no task but a probe: `softprompt.recipes.lama.probe(backbone, read_lama(FOLDER))` gives P@1, P@10 and
  the mean reciprocal rank by relation.
"""


def page() -> str:
    """The whole page, in Markdown."""
    parts = [HEAD]
    for benchmark in dict.fromkeys(entry.benchmark for entry in TASKS.values()):
        own = [entry for entry in TASKS.values() if entry.benchmark == benchmark]
        parts.append(f"## {benchmark[0].upper()}{benchmark[1:]}\n")
        parts += [
            "| task | template, cloze or question | words | metrics | files |",
            "|---|---|---|---|---|",
            *map(_row, own),
            "",
        ]
        if any(entry.forms for entry in own):
            parts += ["| form | text | words |", "|---|---|---|"]
            parts += [row for entry in own for row in _forms(entry)] + [""]
        parts += [*map(_source, own), ""]
    return "\n".join(parts).rstrip() + "\n"


def _row(entry: TaskEntry) -> str:
    text = entry.template or entry.templates["encoder_decoder"]
    metrics = ", ".join(entry.metrics or DEFAULTS[entry.kind])
    files = "ships" if entry.shipped else ", ".join(f"`{f.path}`" for f in entry.files.values())
    if entry.variants:
        files += f"; variants {', '.join(entry.variants)}"
    name = f"`{entry.name}`" + "".join(f" `:{form}`" for form in entry.forms)
    return f"| {name} | `{_cell(text)}` | {_words(entry)} | {metrics} | {files} |"


def _forms(entry: TaskEntry) -> list[str]:
    rows = []
    for name, form in entry.forms.items():
        words = _words(find_entry(f"{entry.name}:{name}"))
        rows.append(f"| `{entry.name}:{name}` | `{_cell(form.template)}` | {words} |")
    return rows


def _words(entry: TaskEntry) -> str:
    if entry.words is None:
        if entry.kind == "text":
            return "own candidates" if entry.candidates else "any text"
        return "the labels"
    words = (w if isinstance(w, str) else w[0] for w in entry.words.values())
    return _cell(" / ".join(words))


def _source(entry: TaskEntry) -> str:
    note = f" ({entry.note})" if entry.note else ""
    return f"- `{entry.name}`: {entry.source}{note}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page to standard output."""
    import sys

    sys.stdout.write(page())


if __name__ == "__main__":
    main()
