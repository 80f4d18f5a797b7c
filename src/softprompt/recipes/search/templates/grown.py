"""From a generator to templates: examples are shown in each form, outputs become templates that parse.

Knows a generator and forms; not what the templates are worth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from softprompt.backbones.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.errors import SettingsError, TemplateError
from softprompt.inference.budget import TOKEN_BUDGET
from softprompt.recipes.run_folder import write_text
from softprompt.recipes.search.templates.beam import Output, Rules, beam_search, text_rules
from softprompt.recipes.search.templates.forms import PARTS, Form, grown, source_ids
from softprompt.recipes.search.templates.joint import Combine, JointDecoder
from softprompt.recipes.watching import Progress, Watcher

SHOWN = 5
"""Of the best outputs of a beam, how many are shown when they are finished."""


@dataclass(frozen=True)
class Grown:
    """A template that a generator wrote.

    Args:
        template: its source.
        form: name of the form it grew in.
        score: of the output, per example: mean log p, or log p under the mean logits.
    """

    template: str
    form: str
    score: float


@dataclass
class Dropped:
    """Outputs that became no template, by reason."""

    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        """One more."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


@dataclass(frozen=True)
class Beam:
    """How a generator is asked.

    Args:
        width: outputs kept after each token.
        max_tokens: of an output, its sentinels included.
        combine: how examples are combined.
        limit: tokens of an example that the generator reads.
        token_budget: positions of a pass.
    """

    width: int = 100
    max_tokens: int = 20
    combine: Combine = "log_p"
    limit: int | None = 256
    token_budget: int = TOKEN_BUDGET


def check_generator(generator: Backbone) -> None:
    """Refuse a model that cannot fill blanks.

    Raises:
        SettingsError: not an encoder-decoder, or without sentinels.
    """
    if generator.family != "encoder_decoder":
        raise SettingsError(
            f"generator: {generator.name} is a {generator.family} model; templates are written by an "
            "encoder-decoder that fills blanks, such as T5"
        )
    if len(generator.tokenizer.sentinels) <= PARTS:
        raise SettingsError(
            f"generator: {generator.name} has {len(generator.tokenizer.sentinels)} sentinels "
            f"(<extra_id_0>, …), expected {PARTS + 1} or more, as T5 has"
        )


def rules_of(generator: Backbone) -> Rules:
    """What the generator may write; its own end token, and the sentinel behind the last blank, end it."""
    tokenizer = generator.tokenizer
    own = (tokenizer.end_of_text,) if tokenizer.end_of_text is not None else ()
    return text_rules(
        tokenizer.pieces(tuple(range(tokenizer.size))),
        [token for token in tokenizer.special if token < generator.vocabulary],
        tokenizer.sentinels[: PARTS + 1],
        own,
        generator.vocabulary,
    )


def grow(
    generator: Backbone,
    form: Form,
    examples: Sequence[Example],
    words: Sequence[str],
    beam: Beam,
    spaced: bool,
    place: Path,
    told: Watcher,
) -> tuple[list[Grown], Mapping[str, int]]:
    """All templates of one form, best first, each once; those found before are read from `place`.

    Args:
        words: the label word of each example.
        spaced: whether label words have a space before them.
        place: a file for the result.
    Returns:
        The templates, and how many outputs were dropped, by reason.
    """
    if place.is_file():
        known = json.loads(place.read_text(encoding="utf-8"))
        return [Grown(**one) for one in known["templates"]], known["dropped"]
    tokenizer, rules = generator.tokenizer, rules_of(generator)
    limits = [one for one in (beam.limit, generator.limit) if one is not None]
    limit = min(limits, default=None)
    sources = [
        source_ids(form, example.fields, word, tokenizer, limit)
        for example, word in zip(examples, words, strict=True)
    ]
    most = beam.max_tokens - 1  # the opening sentinel is given
    joint = JointDecoder(
        generator,
        sources,
        rules.sentinels[0],
        width=beam.width,
        most=most,
        combine=beam.combine,
        token_budget=beam.token_budget,
    )
    count = len(examples) if beam.combine == "log_p" else 1
    shown: set[tuple[int, ...]] = set()

    def watch(step: int, outputs: Sequence[Output]) -> None:
        told.progress(
            Progress(
                fit=0,
                name=f"form {form.name}",
                step=step,
                steps=most,
                examples=len(examples),
                metric="",
                record={"loss": -outputs[0].score / count},
            )
        )
        for one in outputs[:SHOWN]:
            if rules.part(one.ids) == PARTS and one.ids not in shown:
                shown.add(one.ids)
                template = template_of(form, rules.parts(one.ids), generator, spaced)
                if template is not None:
                    told.note(f"form {form.name}: {template}  ({one.score / count:.3f})")

    outputs = beam_search(joint, rules, beam.width, most, watch)
    found: dict[str, Grown] = {}
    dropped = Dropped()
    for one in outputs:
        template = template_of(form, rules.parts(one.ids), generator, spaced)
        if template is None:
            dropped.add("unreadable")
        elif template in found:
            dropped.add("the same template once more")
        else:
            found[template] = Grown(template, form.name, one.score / count)
    made = {"templates": [asdict(one) for one in found.values()], "dropped": dropped.reasons}
    write_text(place, json.dumps(made, ensure_ascii=False, indent=1) + "\n")
    return list(found.values()), dropped.reasons


def template_of(
    form: Form, parts: Sequence[Sequence[int]], generator: Backbone, spaced: bool
) -> str | None:
    """The template of an output; None: its tokens are no text that a template can hold."""
    texts = [written(part, generator) for part in parts]
    if any("\ufffd" in text or not text.isprintable() for text in texts):
        return None
    try:
        return str(grown(form, texts, spaced=spaced))
    except TemplateError:
        return None


def written(ids: Sequence[int], generator: Backbone) -> str:
    """The text of tokens in the middle of a text, its leading space kept."""
    tokenizer = generator.tokenizer
    before = tokenizer.encode("a", continues=False).ids
    return tokenizer.decode((*before, *ids)).removeprefix(tokenizer.decode(before))
