"""PET's patterns: several clozes for one task, each with its own words for the labels.

From the released code of PET (`pet/pvp.py`; Schick and Schütze 2021, *Exploiting Cloze Questions*
and *It's Not Just Size That Matters*), in its order; our own for the tasks that
ship, and for Chinese (`patterns_zh.py`). The template of a pattern is running text, `spaced` is what PET's code tokenises: the same but
for white space (see `pattern.py`). Knows tasks by name, no rows, tokenizers or models.

Different from PET's code, because the data are: AG News is descriptions without titles here, so
that its third and fourth pattern fall together, and the sixth stands in; COPA has a comma before
both connectors (PET: before "so" alone); PET's code has a lone space before BoolQ's first mask,
which a template cannot have. ReCoRD is asked as in the table of tasks, WSC also by yes or no. Questions,
answers and choices are never shortened; `strip_end` stands where PET drops final punctuation.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from softprompt.data.tasks.classification import STARS
from softprompt.data.tasks.pattern import Pattern, Words, in_order, own, with_pet_spaces, words_for
from softprompt.data.tasks.patterns_zh import PATTERNS_ZH
from softprompt.data.tasks.pet_tasks import YAHOO_LABELS, YAHOO_WORDS
from softprompt.data.tasks.shipped import TOPICS
from softprompt.data.tasks.wording import STARS_EN

PET = "PET (Schick and Schütze 2021)"
MULTI = "PET with multiple masks (Schick and Schütze 2021)"
AFTER = "after PET's for Yelp and AG News"


def patterns_of(task: str) -> tuple[Pattern, ...]:
    """The patterns of a task by its name, in PET's order; none for a task that has none."""
    return PATTERNS.get(task, ())


def _pet(template: str, words: Words | None, spaced: str = "", source: str = PET) -> Pattern:
    return Pattern(template, words, source, spaced or with_pet_spaces(template))


# --- English ----------------------------------------------------------------------------------


def _yelp(words: Words) -> tuple[Pattern, ...]:
    return (
        _pet("It was {mask}. {text}", words),
        _pet("{text}. All in all, it was {mask}.", words),
        _pet("Just {mask}!{sep}{text}", words),
        _pet("{text}{sep}In summary, the restaurant is {mask}.", words),
    )


def _ag_news() -> tuple[Pattern, ...]:
    labels = ("World", "Sports", "Business", "Sci/Tech")
    words = words_for(labels, ("World", "Sports", "Business", "Tech"))
    return (
        _pet("{mask}: {text}", words),
        _pet("{mask} News: {text}", words),
        _pet("{text} ({mask})", words),
        _pet("[ Category: {mask} ] {text}", words),
        _pet("{mask} - {text}", words),
    )


def _yahoo() -> tuple[Pattern, ...]:
    words = words_for(YAHOO_LABELS, YAHOO_WORDS)
    both = "{question} {answer}"
    return (
        _pet(f"{{mask}}: {both}", words),
        _pet(f"{{mask}} Question: {both}", words),
        _pet("{question} ({mask}) {answer}", words),
        _pet(f"{both} ({{mask}})", words),
        _pet(f"[ Category: {{mask}} ] {both}", words),
        _pet(f"{{mask}} - {both}", words),
    )


def _x_stance(against: str, favor: str) -> tuple[Pattern, ...]:
    words = words_for(("AGAINST", "FAVOR"), (against, favor))
    return (
        _pet(
            '"{question}"{sep}{mask}. "{comment}"',
            words,
            ' " {question} "{sep} {mask} . " {comment} "',
        ),
        _pet("{question}{sep}{mask}. {comment}", words),
    )


def _nli(a: str, b: str, labels: tuple[str, ...]) -> tuple[Pattern, ...]:
    """MNLI: two patterns, first with Wrong/Right/Maybe, then with No/Yes/Maybe."""
    judged = {"contradiction": "Wrong", "entailment": "Right", "neutral": "Maybe"}
    answered = {"contradiction": "No", "entailment": "Yes", "neutral": "Maybe"}
    return tuple(
        _pet(template, in_order(words, labels), spaced)
        for words in (judged, answered)
        for template, spaced in (
            (
                f'"{{{a}|strip_end}}"?{{sep}}{{mask}}, "{{{b}}}"',
                f' " {{{a}|strip_end}} " ?{{sep}} {{mask}} , " {{{b}}} "',
            ),
            (f"{{{a}|strip_end}}?{{sep}}{{mask}}, {{{b}}}", ""),
        )
    )


def _rte(a: str, b: str, words: Words, asked: str, judged: Words) -> tuple[Pattern, ...]:
    """RTE and CB: hypothesis first, answered; and as a question whether it is true, judged."""
    stripped = f"{{{b}|strip_end}}"
    quoted = f' " {stripped} " ?{{sep}} {{mask}}'
    return (
        _pet(f'"{stripped}"?{{sep}}{{mask}}, "{{{a}}}"', words, f'{quoted} , " {{{a}}} "'),
        _pet(f"{stripped}?{{sep}}{{mask}}, {{{a}}}", words),
        _pet(f'"{stripped}"?{{sep}}{{mask}}. "{{{a}}}"', words, f'{quoted} . " {{{a}}} "'),
        _pet(f"{stripped}?{{sep}}{{mask}}. {{{a}}}", words),
        _pet(
            f"{{{a}}} question: {{{b}}} {asked}? answer: {{mask}}",
            judged,
            f" {{{a}}} question:  {{{b}}} {asked}? answer: {{mask}}",
        ),
    )


_TRUTH = ("False", "True")
_NO_YES, _UNTRUE_TRUE = words_for(_TRUTH, ("No", "Yes")), words_for(_TRUTH, ("false", "true"))


def _boolq() -> tuple[Pattern, ...]:
    return tuple(
        _pet(template, words, spaced, MULTI)
        for template, spaced in (
            (
                "{passage}. Question: {question!}? Answer: {mask}.",
                " {passage} . Question:  {question!} ? Answer: {mask} .",
            ),
            (
                "{passage}. Based on the previous passage, {question!}? {mask}.",
                " {passage} . Based on the previous passage,  {question!} ? {mask} .",
            ),
            (
                "Based on the following passage, {question!}? {mask}. {passage}",
                " Based on the following passage,  {question!} ? {mask} . {passage}",
            ),
        )
        for words in (_NO_YES, _UNTRUE_TRUE)
    )


def _wic() -> tuple[Pattern, ...]:
    return (
        _pet(
            '"{sentence1}" / "{sentence2}" Similar sense of "{word!}"? {mask}.',
            _NO_YES,
            ' " {sentence1} " / " {sentence2} " Similar sense of "{word!}"? {mask} .',
            MULTI,
        ),
        _pet(
            "{sentence1} {sentence2} Does {word!} have the same meaning in both sentences? {mask}",
            _NO_YES,
            source=MULTI,
        ),
        _pet(
            '{word!}. Sense (1) (a) "{sentence1}" ({mask}) "{sentence2}"',
            words_for(_TRUTH, ("2", "b")),
            ' {word!} . Sense (1) (a) " {sentence1} " ( {mask} ) " {sentence2} "',
            MULTI,
        ),
    )


def _multirc() -> tuple[Pattern, ...]:
    text, question, answer = "{passage|no_tags}", "{question!}", "{answer!}"
    based = f"Based on the previous passage, {question}?"
    return (
        _pet(
            f"{text}. Question: {question}? Is it {answer}? {{mask}}.",
            _NO_YES,
            f" {text} . Question:  {question} ? Is it  {answer} ? {{mask}} .",
            MULTI,
        ),
        _pet(
            f'{text}. Question: {question}? Is the correct answer "{answer}"? {{mask}}.',
            _NO_YES,
            f' {text} . Question:  {question} ? Is the correct answer " {answer} "? {{mask}} .',
            MULTI,
        ),
        _pet(
            f'{text}. {based} Is "{answer}" a correct answer? {{mask}}.',
            _NO_YES,
            f" {text} . Based on the previous passage,  {question} "
            f'? Is " {answer} " a correct answer? {{mask}} .',
            MULTI,
        ),
        _pet(
            f"{text} {question} - [{{mask}}] {answer}",
            words_for(_TRUTH, ("False", "True")),
            source=MULTI,
        ),
    )


def _copa() -> tuple[Pattern, ...]:
    one, other = "{choice1|strip_end|lower_first!}", "{choice2|strip_end|lower_first!}"
    because = "{premise|strip_end}, {connector!} {mask}."
    spaced = " {premise|strip_end} , {connector!} {mask} ."
    return (
        _pet(
            f'"{one}" or "{other}"? {because}', None, f' " {one} " or " {other} "?{spaced}', MULTI
        ),
        _pet(f"{one} or {other}? {because}", None, f" {one} or {other} ?{spaced}", MULTI),
    )


def _wsc() -> tuple[Pattern, ...]:
    refers = 'the pronoun "{pronoun!}" refer to "{span!}"?'
    return (
        own(f"{{text}} Does {refers} {{mask}}.", _NO_YES),
        own(f"{{text}} In the previous sentence, does {refers} {{mask}}.", _NO_YES),
        own(f"{{text}} Question: In the passage above, does {refers} Answer: {{mask}}.", _NO_YES),
    )


def _wsc_span() -> tuple[Pattern, ...]:
    """The span itself, in as many masks as it has tokens and some more."""
    asked = (
        "{marked} The pronoun '*{pronoun!}*' refers to {mask:span}.",
        "{marked} In the previous sentence, the pronoun '*{pronoun!}*' refers to {mask:span}.",
        "{marked} Question: In the passage above, what does the pronoun '*{pronoun!}*' refer to? "
        "Answer: {mask:span}.",
    )
    return tuple(_pet(one, None, f" {one}", MULTI) for one in asked)


def _reviews_en(words: Words) -> tuple[Pattern, ...]:
    return (
        own("It was {mask}. {text}", words, AFTER),
        own("{text} All in all, it was {mask}.", words, AFTER),
        own("Just {mask}!{sep}{text}", words, AFTER),
    )


def _topics_en(words: Words) -> tuple[Pattern, ...]:
    return (
        own("{mask}: {text}", words, AFTER),
        own("{mask} news: {text}", words, AFTER),
        own("{text} This is about {mask}.", words),
    )


# --- The table --------------------------------------------------------------------------------

_NLI_LABELS = ("entailment", "neutral", "contradiction")
_LM_BFF_LABELS = ("contradiction", "entailment", "neutral")
_TWO_WAY = ("not_entailment", "entailment")
_CB_LABELS = ("entailment", "contradiction", "neutral")
_RTE = (words_for(_TWO_WAY, ("No", "Yes")), "True or False")
_RTE_JUDGED = words_for(_TWO_WAY, ("false", "true"))
_POLAR = ("negative", "positive")

_CB = _rte(
    "premise",
    "hypothesis",
    words_for(_CB_LABELS, ("Yes", "No", "Maybe")),
    "true, false or neither",
    words_for(_CB_LABELS, ("true", "false", "neither")),
)
_MNLI = _nli("premise", "hypothesis", _NLI_LABELS)
_MNLI_K_SHOT = _nli("sentence1", "sentence2", _LM_BFF_LABELS)
_RTE_PAIR = _rte("sentence1", "sentence2", *_RTE, _RTE_JUDGED)

PATTERNS: Mapping[str, tuple[Pattern, ...]] = MappingProxyType(
    {
        "yelp_review": _yelp(words_for(STARS, STARS_EN)),
        "yelp_polarity": _yelp(words_for(_POLAR, ("bad", "good"))),
        "ag_news": _ag_news(),
        "yahoo_answers": _yahoo(),
        "x_stance_de": _x_stance("Nein", "Ja"),
        "x_stance_fr": _x_stance("Non", "Oui"),
        **dict.fromkeys(("mnli_dev", "snli_dev", "glue/mnli", "glue/mnli_mm"), _MNLI),
        **dict.fromkeys(("lm_bff/mnli", "lm_bff/mnli_mm", "lm_bff/snli"), _MNLI_K_SHOT),
        **dict.fromkeys(("glue/rte", "lm_bff/rte"), _RTE_PAIR),
        "super_glue/rte": _rte("premise", "hypothesis", *_RTE, _RTE_JUDGED),
        "super_glue/cb": _CB,
        "super_glue/boolq": _boolq(),
        "super_glue/wic": _wic(),
        "super_glue/multirc": _multirc(),
        **dict.fromkeys(("super_glue/copa", "super_glue/copa:pet"), _copa()),
        **dict.fromkeys(
            ("super_glue/record", "super_glue/record:pet"),
            (own("{passage} {before!} {mask}{after!}", None, MULTI),),
        ),
        "super_glue/wsc": _wsc(),
        "super_glue/wsc:pet": _wsc_span(),
        "softprompt/reviews-en": _reviews_en(words_for(_POLAR, ("terrible", "great"))),
        "softprompt/topics-en": _topics_en(words_for(TOPICS, TOPICS)),
        **PATTERNS_ZH,
    }
)
"""Task to its patterns."""
