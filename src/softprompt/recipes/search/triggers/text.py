"""Trigger slots of a template, and the way back: triggers written as plain text in its place.

Text is only as good as rows where the tokenizer reads it back as the same ids in place; every example that
is given is rendered both ways and compared. Knows templates and renderings, not models or losses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

from softprompt.data.examples import Example
from softprompt.errors import UsageError
from softprompt.inference.applied import Applied
from softprompt.text.answers import FreeText
from softprompt.text.parts import Part
from softprompt.text.query import Query
from softprompt.text.template import Literal, Soft, Start, Template

Bind = Callable[[Template, int], Applied]
"""A template on the backbone, with so many rows in its soft slots."""


@dataclass(frozen=True)
class Slots:
    """A template with a number in every trigger slot.

    Args:
        template: each soft slot has a length, or repeats a group that has one.
        starts: the ids that each trigger starts from, where the template says so; else None.
    """

    template: Template
    starts: tuple[int | None, ...]


def trigger_slots(
    template: Template, length: int, text_ids: Callable[[str], tuple[int, ...]]
) -> Slots:
    """The places of triggers: the soft slots of a template, or its beginning where it has none.

    Args:
        length: triggers of a bare `{soft}`, or in front.
        text_ids: ids of the words of `{soft:'It was'}`, which triggers then start from.
    Raises:
        TemplateError: words without tokens.
    """
    parts = list(template.parts)
    if not template.has_soft:
        first = int(bool(parts) and isinstance(parts[0], Start))
        parts.insert(first, Soft(length=length))
        return Slots(Template.from_parts(parts), (None,) * length)
    starts: list[int | None] = []
    for group in template.soft_groups(length, lambda text: len(text_ids(text))):
        assert group.length is not None
        own = text_ids(group.text) if group.text is not None else (None,) * group.length
        starts += own
        first = group.slots[0]
        slot = parts[first]
        assert isinstance(slot, Soft)
        parts[first] = replace(slot, length=group.length, text=None)
    return Slots(Template.from_parts(parts), tuple(starts))


def as_text(
    slots: Template,
    ids: Sequence[int],
    decode: Callable[[tuple[int, ...]], str],
    bind: Bind,
    examples: Sequence[Example],
    rows: Collection[int] = (),
) -> Template | None:
    """The template with its triggers as plain text, or None where no spelling gives the same ids.

    Slot after slot is written as its triggers are decoded, or with a space before or behind them or
    neither: whichever is read back as the same ids in every example, the later slots still being rows.

    Args:
        slots: from `trigger_slots`.
        ids: the triggers.
        decode: ids to text.
        bind: a template on the backbone.
        examples: rows that must be rendered alike; at least one.
        rows: triggers that stay rows, whatever they are; the others are written around them.
    """
    parts, own = _named(slots, ids, rows)
    asked = [_queries(bind(slots, len(ids)), example) for example in examples]
    wanted = [[_filled(query, ids) for query in each] for each in asked]
    for number, part in enumerate(parts):
        if not isinstance(part, Soft):
            continue
        assert part.group is not None
        if own[part.group][0] in rows:
            continue
        for text in _spellings(decode(own[part.group])):
            trial = [*parts[:number], Literal(text), *parts[number + 1 :]]
            if _reads_alike(_template(trial, own), own, bind, examples, wanted):
                parts = trial
                break
        else:
            return None
    return _template(parts, own)


def _named(
    slots: Template, ids: Sequence[int], rows: Collection[int]
) -> tuple[list[Part], dict[str, tuple[int, ...]]]:
    """The parts with a name for every group of rows, and the ids of each; a group of which some stay rows is
    cut into those and what is between them."""
    own: dict[str, tuple[int, ...]] = {}
    cut: dict[int, list[Part]] = {}
    for number, group in enumerate(slots.soft_groups(None)):
        assert group.offset is not None
        assert group.length is not None
        mine = ids[group.offset : group.offset + group.length]
        runs = [tuple(run) for _, run in groupby(mine, key=lambda one: one in rows)]
        names = [f"t{number}r{place}" for place in range(len(runs))]
        own |= zip(names, runs, strict=True)
        cut |= {slot: [Soft(group=name) for name in names] for slot in group.slots}
    each = [cut.get(number, [part]) for number, part in enumerate(slots.parts)]
    return [part for several in each for part in several], own


def _template(parts: Sequence[Part], own: Mapping[str, Sequence[int]]) -> Template:
    """Of parts whose groups are named: the first slot of each says how long it is."""
    seen: set[str] = set()
    found: list[Part] = []
    for part in parts:
        if isinstance(part, Soft) and part.group is not None and part.group not in seen:
            seen.add(part.group)
            part = replace(part, length=len(own[part.group]))
        found.append(part)
    return Template.from_parts(found)


def _spellings(text: str) -> list[str]:
    """As it was decoded first, then with other spaces around it."""
    bare = text.strip(" ")
    around = [before + bare + after for before, after in product((" ", ""), repeat=2)]
    return list(dict.fromkeys([text, *around]))


def _reads_alike(
    template: Template,
    own: Mapping[str, Sequence[int]],
    bind: Bind,
    examples: Sequence[Example],
    wanted: Sequence[Sequence[Query]],
) -> bool:
    left = [n for g in template.soft_groups(None) if g.name is not None for n in own[g.name]]
    try:
        applied = bind(template, len(left))
        for example, expected in zip(examples, wanted, strict=True):
            if [_filled(query, left) for query in _queries(applied, example)] != list(expected):
                return False
    except UsageError:
        return False
    return True


def _queries(applied: Applied, example: Example) -> list[Query]:
    """What a network is asked, whether answers are ranked or written."""
    if not isinstance(applied.answers, FreeText):
        return list(applied.render(example).queries)
    source = applied.source(example)
    return [Query(source.ids, source.segments, (), source.decoder)]


def _filled(query: Query, ids: Sequence[int]) -> Query:
    """With each trigger's own id in place of its row."""

    def own(row: Sequence[int]) -> tuple[int, ...]:
        return tuple(ids[-1 - n] if n < 0 else n for n in row)

    decoder = None if query.decoder is None else own(query.decoder)
    return replace(query, ids=own(query.ids), decoder=decoder)
