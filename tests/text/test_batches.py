"""Examples begun together, tokenised in one batch, are rendered exactly as one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softprompt.errors import TemplateError
from softprompt.text.answers import FreeText, OwnCandidates
from tests.text.test_rendering_properties import FAMILIES, TEXTS, templates

ROWS = st.lists(st.fixed_dictionaries({"a": TEXTS, "b": TEXTS}), min_size=1, max_size=8)


def outcome(call, *given, **named):
    """What a call gives, or what it complains of."""
    try:
        return call(*given, **named)
    except TemplateError as error:
        return str(error)


@settings(max_examples=150)
@given(
    template=templates(),
    rows=ROWS,
    limit=st.one_of(st.none(), st.integers(5, 40)),
    per_piece=st.booleans(),
    family=st.sampled_from(FAMILIES),
)
def test_a_batch_renders_as_one_by_one(make, template, rows, limit, per_piece, family):
    words = {"no": ["bad"] * max(1, len(template.answers)), "yes": ["good"] * len(template.answers)}
    words["yes"] = words["yes"] or ["good"]
    try:
        renderer = make(family, template, words, n_rows=2, limit=limit, per_piece=per_piece)
    except TemplateError:
        return
    drafts = renderer.drafts(rows)
    calls = [renderer.score] + [renderer.source] * (family not in ("bert", "roberta"))
    for fields, draft in zip(rows, drafts, strict=True):
        for call in calls:
            assert outcome(call, fields, draft=draft) == outcome(call, fields)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("limit", [None, 12])
def test_own_candidates_and_free_text_render_in_a_batch_as_one_by_one(make, family, limit):
    rows = [{"a": f"a good film {'plot ' * n}", "b": f"{n}"} for n in range(9)]
    slot = "" if family == "pegasus" else " {mask}"  # it was not taught to fill a mask
    own = make(family, "{a} {b!}" + slot, OwnCandidates(), limit=limit)
    for fields, draft in zip(rows, own.drafts(rows), strict=True):
        given = fields, ("good", "bad", "very good")
        assert own.score(*given, draft=draft) == own.score(*given)
        assert own.candidate_ids(*given, draft=draft) == own.candidate_ids(*given)
    if family in ("t5", "bart", "pegasus", "gpt2", "llama"):
        slot = " {mask}" if family in ("gpt2", "llama") else ""
        free = make(family, "{a} {b!}" + slot, FreeText(3), limit=limit)
        for fields, draft in zip(rows, free.drafts(rows), strict=True):
            assert free.source(fields, draft=draft) == free.source(fields)
            assert free.gold(fields, ("good",), draft=draft) == free.gold(fields, ("good",))


def test_an_example_that_cannot_be_spelled_is_left_to_say_so_itself(make):
    renderer = make("bert", "{a} {mask}")
    rows = [{"a": "film"}, {"b": "film"}, {"a": "plot"}]
    drafts = renderer.drafts(rows)
    assert [draft is None for draft in drafts] == [False, True, False]
    with pytest.raises(TemplateError, match="expected a field 'a'"):
        renderer.score(rows[1], draft=drafts[1])


def test_many_texts_are_tokenised_as_each_alone(tokenizers):
    texts = ["a good film", "film", "", " film ", "</s> [MASK]", "是好", "a good film", "\n🙂"]
    keys = [(text, continues) for text in texts for continues in (False, True)]
    for tokenizer in tokenizers.values():
        alone = [tokenizer.encode(text, continues=continues) for text, continues in keys]
        assert tokenizer.encode_many(keys) == alone
        assert tokenizer.encode_many(keys[:2]) == alone[:2]
        assert tokenizer.encode_many([]) == []
