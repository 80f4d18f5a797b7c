"""The tasks known by name: the tables of `tasks/`, one file per benchmark, joined.

Adding a task is one entry in the table where it belongs. A complete one, for files that lie in
`<folder>/cr/`, without a header, label first:

    TaskEntry(
        name="cr",
        files={
            "train": TaskFile("cr/train.csv", header=("label", "text")),
            "test": TaskFile("cr/test.csv", header=("label", "text")),
        },
        fields=("text",),
        target="label",
        labels={"0": "negative", "1": "positive"},
        words={"negative": "terrible", "positive": "great"},
        template="{text} It was {mask}.",
        templates={"causal": "{text} It was {mask}", "encoder_decoder": "{text} It was"},
        language="en",
        source="Hu and Liu 2004, customer reviews; research use",
        dev_fraction=0.2,
    )

Knows no rows: `registry.py` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from softprompt.data.tasks.chinese import CHINESE
from softprompt.data.tasks.classification import CLASSIFICATION
from softprompt.data.tasks.entry import Form, TaskEntry, TaskFile
from softprompt.data.tasks.generation import GENERATION
from softprompt.data.tasks.glue import GLUE
from softprompt.data.tasks.lm_bff import LM_BFF
from softprompt.data.tasks.pet_tasks import PET_TASKS
from softprompt.data.tasks.question_answering import QUESTION_ANSWERING
from softprompt.data.tasks.shipped import SHIPPED
from softprompt.data.tasks.super_glue import SUPER_GLUE

__all__ = ["TASKS", "Form", "TaskEntry", "TaskFile"]

TABLES = (
    *(SHIPPED, CLASSIFICATION, PET_TASKS, GLUE, SUPER_GLUE),
    *(LM_BFF, CHINESE, QUESTION_ANSWERING, GENERATION),
)
TASKS: Mapping[str, TaskEntry] = MappingProxyType(
    {entry.name: entry for table in TABLES for entry in table}
)
