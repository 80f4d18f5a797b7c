"""Whatever the template and the texts: a rendering keeps its promises, or a TemplateError says why."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from softprompt.errors import TemplateError
from softprompt.text.spell import Demonstration
from softprompt.text.template import Sep, parse

FAMILIES = ("bert", "roberta", "xlm-r", "albert", "t5", "bart", "pegasus", "gpt2", "llama")
NAMES = ("[MASK]", "</s>", "<s>", "<mask>", "<extra_id_0>", "[SEP]", "<pad>", "<|endoftext|>")
PARTS = st.one_of(
    st.sampled_from(
        [
            *("{a}", "{b}", "{a!}", "{b|lower_first}", "{mask}", " {mask}", "{sep}"),
            *("{soft}", "{soft:2#x}", "{soft:'good film'}", " ", "。", "是", "\n", "."),
            *(" It was ", "It was", "<mask>", "[SEP]", "电", "🙂", "ing"),
        ]
    ),
    st.text("ab 是好电🙂.\n", max_size=4),
)
ONCE = st.sampled_from([[], [" {mask}"], ["{mask}"], ["{demo}", "{mask}"], ["{start}", " {mask}"]])
RARE = st.sampled_from([[], [], [], ["{decoder}"]])
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text("ab goodfilm.,是好差电🙂 \n", max_size=60),
    st.lists(st.sampled_from([*NAMES, "good", " ", "film", "是"]), max_size=6).map("".join),
)
WORDS = st.text("ab good是好电🙂.", min_size=1, max_size=6).filter(str.strip)


@st.composite
def templates(draw):
    parts = draw(st.lists(PARTS, max_size=6)) + draw(ONCE) + draw(RARE)
    return parse("".join(draw(st.permutations(parts))))


@st.composite
def cases(draw):
    """A template, the words of two labels, fields, and a demonstration or two."""
    template = draw(templates())
    slots = max(1, len(template.answers))
    row = st.lists(WORDS, min_size=slots, max_size=slots)
    answers = {"no": [draw(row)], "yes": [draw(row), draw(row)]}
    fields = {"a": draw(TEXTS), "b": draw(TEXTS)}
    shown = draw(st.lists(st.builds(Demonstration, st.just(fields), row.map(tuple)), max_size=2))
    return template, answers, fields, shown if "{demo}" in str(template) else []


def rendered(make, family, case, **settings):
    """Renderer and rendering; None where a TemplateError says why not."""
    template, answers, fields, shown = case
    try:
        renderer = make(family, template, answers, n_rows=2, **settings)
        return renderer, renderer.score(fields, demonstrations=shown)
    except TemplateError:
        return None


@settings(max_examples=150)
@given(
    case=cases(), limit=st.one_of(st.none(), st.integers(5, 60)), family=st.sampled_from(FAMILIES)
)
def test_an_example_renders_within_its_limit_or_says_why_not(make, case, limit, family):
    made = rendered(make, family, case, limit=limit)
    if made is None:
        return
    _, rendering = made
    assert {one.candidate for query in rendering.queries for one in query.reads} == {0, 1, 2}
    for query in rendering.queries:
        read_from = query.ids if query.decoder is None else query.decoder
        assert len(query.segments) == len(query.ids)
        if limit is not None:
            assert len(query.ids) <= limit
        for one in query.reads:
            assert len(one.positions) == len(one.tokens) > 0
            assert all(0 <= place < len(read_from) for place in one.positions)
            assert all(token >= 0 for token in one.tokens)
    if limit is None:
        assert rendering.cut == 0


@settings(max_examples=150)
@given(case=cases(), per_piece=st.booleans(), family=st.sampled_from(FAMILIES))
def test_special_ids_stand_only_where_the_layout_puts_them(make, case, per_piece, family):
    made = rendered(make, family, case, per_piece=per_piece)
    if made is None:
        return
    renderer, rendering = made
    template, tokenizer = renderer.template, renderer.frame.tokenizer
    special = tokenizer.special - {tokenizer.unknown}
    boundaries = sum(isinstance(part, Sep) for part in template.parts)
    for query in rendering.queries:
        expected = Counter(tokenizer.start)
        if renderer.frame.family != "causal":
            expected.update(tokenizer.end)
        if renderer.frame.has_pairs:
            expected.update(tokenizer.between * boundaries * (1 + rendering.demonstrations))
        slots = len(template.answers) if "{decoder}" not in str(template) else 0
        if renderer.frame.family == "masked":
            expected[tokenizer.mask] += sum(len(one.tokens) for one in query.reads[:1])
        elif family == "t5":
            expected.update(tokenizer.sentinels[:slots])
        elif family == "bart":
            expected.update([tokenizer.mask] * slots)
        assert Counter(i for i in query.ids if i in special) == expected


@settings(max_examples=100)
@given(case=cases(), family=st.sampled_from(("bert", "roberta", "xlm-r", "albert")))
def test_a_masked_candidate_has_exactly_its_own_number_of_masks(make, case, family):
    made = rendered(make, family, case)
    if made is None:
        return
    renderer, rendering = made
    tokenised = renderer.candidate_ids(case[2], demonstrations=case[3])
    lengths = [sum(map(len, ids)) for _, ids in tokenised]
    mask = renderer.frame.tokenizer.mask
    for query in rendering.queries:
        for one in query.reads:
            assert query.ids.count(mask) == len(one.tokens) == lengths[one.candidate]
            assert {query.ids[place] for place in one.positions} == {mask}


@settings(max_examples=100)
@given(text=st.text(max_size=40))
def test_an_uncut_text_can_be_read_back(make, text):
    """Byte-level tokens lose nothing, so the whole rendering is the template filled in."""
    for family in ("roberta", "gpt2"):
        renderer = make(family, "<{a}> It was {mask} .", {"x": "great"})
        (query,) = renderer.score({"a": text}).queries
        decoder = renderer.frame.tokenizer.wrapped.backend_tokenizer.decode
        shown = decoder([i for i in query.ids if i != renderer.frame.tokenizer.mask])
        answer = " great" if family == "gpt2" else ""
        assert shown.startswith(f"<{text}> It was{answer}")


@settings(max_examples=150)
@given(a=TEXTS, b=TEXTS, limit=st.integers(8, 40), family=st.sampled_from(("roberta", "gpt2")))
def test_cutting_takes_only_the_ends_of_fields(make, a, b, limit, family):
    a, b = a.replace("|", ""), b.replace("|", "")
    renderer = make(family, "|{a}|{b}|{mask}", {"x": "good"}, limit=limit)
    (query,) = renderer.score({"a": a, "b": b}).queries
    text = renderer.frame.tokenizer.wrapped.backend_tokenizer.decode(list(query.ids))
    _, first, second, _ = text.split("|")
    assert a.startswith(first)
    assert b.startswith(second)
    assert "\ufffd" not in (first + second).replace(a[: len(first)], "").replace(b, "")


@settings(max_examples=60)
@given(
    case=cases(), limit=st.integers(10, 40), family=st.sampled_from(("t5", "bart", "gpt2", "llama"))
)
def test_what_is_generated_from_is_what_is_scored(make, case, limit, family):
    made = rendered(make, family, case, limit=limit)
    if made is None:
        return
    renderer, rendering = made
    source = renderer.source(case[2], demonstrations=case[3])
    for query in rendering.queries:
        if query.decoder is None:
            assert query.ids[: len(source.ids)] == source.ids
        else:
            assert query.ids == source.ids
            assert query.decoder[: len(source.decoder)] == source.decoder


@settings(max_examples=60)
@given(case=cases(), limit=st.integers(10, 40), family=st.sampled_from(FAMILIES))
def test_the_gold_answers_query_is_among_those_of_all_answers(make, case, limit, family):
    made = rendered(make, family, case, limit=limit)
    if made is None:
        return
    renderer, rendering = made
    scored = {
        one.candidate: (query.ids, query.decoder, one.positions, one.tokens)
        for query in rendering.queries
        for one in query.reads
    }
    for number, candidate in enumerate(renderer.answers.candidates(None)):
        gold = renderer.gold(case[2], candidate.words, demonstrations=case[3])
        (query,) = gold.queries
        (read,) = query.reads
        assert (query.ids, query.decoder, read.positions, read.tokens) == scored[number]
