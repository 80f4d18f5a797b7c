"""A solved example that may be shown, as a prompt's JSON holds it.

Knows fields and words, not which of them are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from softprompt.text.spell import Demonstration, Fields


def row_to_json(demonstration: Demonstration) -> dict[str, Any]:
    """As JSON values; `row_from_json` reads it."""
    return {"fields": fields_to_json(demonstration.fields), "words": list(demonstration.words)}


def row_from_json(row: Mapping[str, Any]) -> Demonstration:
    """What `row_to_json` was given.

    Raises:
        KeyError, TypeError, AttributeError: it is something else.
    """
    return Demonstration(fields_from_json(row["fields"]), tuple(row["words"]))


def fields_to_json(fields: Fields) -> dict[str, Any]:
    """An example's fields as JSON values."""
    return {k: v if isinstance(v, str) else list(v) for k, v in fields.items()}


def fields_from_json(values: Mapping[str, Any]) -> Fields:
    """What `fields_to_json` was given."""
    return {k: v if isinstance(v, str) else tuple(v) for k, v in values.items()}
