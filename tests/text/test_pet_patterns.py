"""The patterns that ship, piece by piece as PET's released code (`pet/pvp.py`) makes them of a row."""

from __future__ import annotations

import re

import pytest

from softprompt.data.registry import task_without_rows
from softprompt.data.tasks.pattern import with_pet_spaces
from softprompt.data.tasks.patterns import PATTERNS, patterns_of
from softprompt.text.notations import from_pet
from softprompt.text.template import parse

MASK, SEP = object(), object()
A, B = "The plot is good.", "so dull"
TEXT = {"text": A}
NLI = {"premise": A, "hypothesis": "It is so dull."}
PASSAGE = {"passage": A, "question": "is it dull", "answer": B}
WIC = {"sentence1": A, "sentence2": B, "word": "plot"}
STRIPPED, HYPOTHESIS = A[:-1], NLI["hypothesis"]
BARE = HYPOTHESIS[:-1]

RELEASED = [
    ("yelp_review", 0, TEXT, ["It was", MASK, ".", A]),
    ("yelp_review", 1, TEXT, [A, ". All in all, it was", MASK, "."]),
    ("yelp_review", 2, TEXT, ["Just", MASK, "!", SEP, A]),
    ("yelp_review", 3, TEXT, [A, SEP, "In summary, the restaurant is", MASK, "."]),
    ("ag_news", 0, TEXT, [MASK, ":", A]),
    ("ag_news", 1, TEXT, [MASK, "News:", A]),
    ("ag_news", 2, TEXT, [A, "(", MASK, ")"]),
    ("ag_news", 3, TEXT, ["[ Category:", MASK, "]", A]),
    ("ag_news", 4, TEXT, [MASK, "-", A]),
    ("mnli_dev", 0, NLI, ['"', STRIPPED, '" ?', SEP, MASK, ', "', HYPOTHESIS, '"']),
    ("mnli_dev", 3, NLI, [STRIPPED, "?", SEP, MASK, ",", HYPOTHESIS]),
    ("super_glue/rte", 0, NLI, ['"', BARE, '" ?', SEP, MASK, ', "', A, '"']),
    ("super_glue/rte", 1, NLI, [BARE, "?", SEP, MASK, ",", A]),
    ("super_glue/rte", 2, NLI, ['"', BARE, '" ?', SEP, MASK, '. "', A, '"']),
    ("super_glue/rte", 3, NLI, [BARE, "?", SEP, MASK, ".", A]),
    (
        "super_glue/rte",
        4,
        NLI,
        [A, " question: ", HYPOTHESIS, " True or False? answer:", MASK],
    ),
    (
        "super_glue/cb",
        4,
        NLI,
        [A, " question: ", HYPOTHESIS, " true, false or neither? answer:", MASK],
    ),
    (
        "super_glue/boolq",
        0,
        PASSAGE,
        [A, ". Question: ", "is it dull", "? Answer:", MASK, "."],  # "? Answer: " in the release
    ),
    (
        "super_glue/boolq",
        2,
        PASSAGE,
        [A, ". Based on the previous passage, ", "is it dull", "?", MASK, "."],
    ),
    (
        "super_glue/boolq",
        4,
        PASSAGE,
        ["Based on the following passage, ", "is it dull", "?", MASK, ".", A],
    ),
    (
        "super_glue/wic",
        0,
        WIC,
        ['"', A, '" / "', B, '" Similar sense of "plot"?', MASK, "."],
    ),
    (
        "super_glue/wic",
        1,
        WIC,
        [A, B, "Does plot have the same meaning in both sentences?", MASK],
    ),
    ("super_glue/wic", 2, WIC, ["plot", ' . Sense (1) (a) "', A, '" (', MASK, ') "', B, '"']),
    (
        "super_glue/multirc",
        0,
        PASSAGE,
        [A, ". Question: ", "is it dull", "? Is it ", B, "?", MASK, "."],
    ),
    (
        "super_glue/multirc",
        1,
        PASSAGE,
        [A, ". Question: ", "is it dull", '? Is the correct answer "', B, '"?', MASK, "."],
    ),
    (
        "super_glue/multirc",
        2,
        PASSAGE,
        [
            *(A, ". Based on the previous passage, ", "is it dull", '? Is "', B),
            *('" a correct answer?', MASK, "."),
        ],
    ),
    ("super_glue/multirc", 3, PASSAGE, [A, "is it dull", "- [", MASK, "]", B]),
]


def pet_ids(tokenizer, pieces):
    """`PVP.encode` with RoBERTa's tokenizer: every piece apart, a space put before it where it has
    none, then the special tokens of one text or of a pair."""
    ids = [*tokenizer.start]
    for piece in pieces:
        if piece is MASK:
            ids.append(tokenizer.mask)
        elif piece is SEP:
            ids += tokenizer.between
        else:
            text = piece if piece.startswith(" ") else f" {piece}"
            ids += tokenizer.encode(text, continues=True).ids
    return [*ids, *tokenizer.end]


@pytest.mark.parametrize(("task", "number", "fields", "pieces"), RELEASED)
def test_spaced_patterns_give_pets_tokens(make, task, number, fields, pieces):
    pattern = patterns_of(task)[number]
    one_token_each = {"x": "good", "y": "bad"}
    renderer = make("roberta", pattern.spaced, one_token_each, per_piece=True)
    given = {name: fields[name] for name in renderer.template.fields}
    query = renderer.score(given).queries[0]
    assert list(query.ids) == pet_ids(renderer.frame.tokenizer, pieces)


@pytest.mark.parametrize(("task", "number", "fields", "pieces"), RELEASED[:16])
def test_pets_words_have_a_space_before_them_wherever_the_mask_stands(
    make, task, number, fields, pieces
):
    pattern = patterns_of(task)[number]
    renderer = make("roberta", pattern.spaced, {"x": "good", "y": "bad"}, per_piece=True)
    read = renderer.score(fields).queries[0].reads
    tokenizer = renderer.frame.tokenizer
    assert [one.tokens for one in read] == [
        tokenizer.encode(f" {word}", continues=True).ids for word in ("good", "bad")
    ]


@pytest.mark.parametrize("task", PATTERNS)
def test_running_text_and_pets_spaces_differ_in_white_space_alone(task):
    for pattern in patterns_of(task):
        if pattern.spaced is not None:
            one, other = (
                re.sub(r"\s", "", str(parse(t))) for t in (pattern.template, pattern.spaced)
            )
            assert one == other


@pytest.mark.parametrize(
    ("task", "number", "printed", "fields"),
    [
        ("yelp_review", 0, "It was _ . a", {"a": "text"}),
        ("yelp_review", 1, "a . All in all, it was _ .", {"a": "text"}),
        ("yelp_review", 2, "Just _ ! ‖ a", {"a": "text"}),
        ("ag_news", 1, "_ News: a", {"a": "text"}),
        ("mnli_dev", 0, '"a" ? ‖ _ , "b"', {"a": "premise|strip_end", "b": "hypothesis"}),
        ("super_glue/wic", 2, r'w . Sense (1) (\a) "a" ( _ ) "b"', None),
    ],
)
def test_the_table_says_what_the_papers_print(task, number, printed, fields):
    given = fields or {"w": "word!", "a": "sentence1", "b": "sentence2"}
    read, own = str(from_pet(printed, given)), patterns_of(task)[number].template
    assert re.sub(r"\s", "", read) == re.sub(r"\s", "", own)


def test_a_space_stands_before_every_piece():
    assert (
        with_pet_spaces("{a}. So {mask}!{sep}{mask}, {b}") == " {a} . So {mask} !{sep} {mask} , {b}"
    )


def test_every_pattern_of_the_papers_is_known_by_its_fields():
    for task in PATTERNS:
        fields = set(task_without_rows(task).fields)
        assert all(set(parse(p.template).fields) <= fields for p in patterns_of(task))
