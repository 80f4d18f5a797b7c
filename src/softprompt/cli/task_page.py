"""`docs/tasks.md`: the page of all tasks by benchmark, made from the tables themselves.

A test compares the page with what this makes. Knows entries, no files or models.
"""

from __future__ import annotations

from softprompt.data.known_tasks import TASKS, TaskEntry
from softprompt.data.metrics import DEFAULTS
from softprompt.data.registry import find_entry
from softprompt.data.tasks.patterns import patterns_of

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
  write `bleu:zh`, `rouge_l:zh`. MultiRC's exact match counts whole questions, so it needs their `group`, and
  `test_limit` and `dev_limit` keep its questions whole (at most so many rows, then).
- **Answers of each example's own**, as COPA has, are texts in a column of lists: `kind: text, candidates: COLUMN`.
- **LAMA** is no task but a probe: `softprompt.recipes.lama.probe(backbone, read_lama(FOLDER))` gives P@1, P@10 and
  the mean reciprocal rank by relation.

- **Patterns.** Many tasks have several clozes with words of their own, PET's (Schick and Schütze 2021) or, in Chinese,
  ours; `softprompt show yelp_review` prints them, `sp.patterns_of("yelp_review")` gives them.

## Few labelled rows, many unlabelled ones

`train_limit: 50` draws rows of train, `train_balanced: true` spreads them evenly over the labels; for one `data_seed`
fewer rows are a part of more. Unlabelled rows are the split `unlabelled` of a task: they are read when something needs
them, and no target of theirs is read.

```yaml
task: {train: train.csv, unlabelled: more.jsonl, fields: [text], target: label}   # a file of the same fields; or
unlabelled: train            # the rows of train that are neither learned from nor chosen on; or
unlabelled:                  # text from anywhere else
  files: [a.jsonl, b.csv.gz] #   a path or several
  fields: {text: body}       #   field: column; or the columns, in the order of the fields
unlabelled_limit: 10000      # draw so many, by data_seed
```

Without `unlabelled:` they are the task's own, where it has some (GLUE's and SuperGLUE's test files, FewGLUE's and
FewCLUE's unlabelled ones: the column "files" says which).

## Several tasks at once

One prompt or one set of weights for a mixture of tasks, in a run file or as a task of `compare`:

```yaml
task:
  mix: [super_glue/rte, super_glue/copa, softprompt/topics-en]   # names, or your own files: {train: …, fields: …}
  rates: temperature   # examples (default), temperature or equal
  temperature: 2
  limit: 1000          # K: the most that a task counts, with examples and temperature
method: full_tuning    # the multi-task baseline; or lora, prompt_tuning, …
```

Every row becomes text as T5 writes it: by the task's form `:t5`, which a bare name stands for too, else by T5's
general rule, the task's name and `key: text` for the sorted keys, answered by the label (`topics-en text: …` →
sports). The answer is written freely, so the backbone is an encoder-decoder or causal. An answer that is none of the
task's words is wrong, and the share of them stands beside the scores as `illegal`. Refused with the reason: numbers
(STS-B's form has them as text), candidates of an example's own, a test or dev split that only some of the tasks have.

- **Train** is drawn by the rates (Raffel et al. 2020, section 3.5.2), the same for the same `data_seed`: no example of
  a task comes again before all of it were drawn. An epoch has `size` rows, by default the tasks' own, up to `limit` each.
- **Dev and test** are those of all tasks. Each task has its own metrics, `task:super_glue/rte:t5 accuracy`; `task_mean`,
  the mean of their first ones, chooses the step. In a report of `compare` each task has its own table.
- `dev_size` (where a task has no dev), `k_shot` and the limits hold for each task by itself. A row that is too long
  loses its end.
- In Python: `sp.mix_tasks([sp.load_task("super_glue/rte:t5", FOLDER), …], "equal")`, a task as any other.
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
    n_patterns = len(patterns_of(entry.name))
    counted = f"; {n_patterns} pattern{'s' * (n_patterns > 1)}" if n_patterns else ""
    return f"- `{entry.name}`: {entry.source}{note}{counted}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page to standard output."""
    import sys

    sys.stdout.write(page())


if __name__ == "__main__":
    main()
