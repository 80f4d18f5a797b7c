"""What the papers' own code gives for their own templates, token by token."""

from __future__ import annotations

import pytest

from softprompt.backbones.tokenizers import TextTokenizer
from softprompt.text.answers import Verbalizer
from softprompt.text.layout import Frame
from softprompt.text.notations import from_lm_bff, from_openprompt, from_pet
from softprompt.text.renderer import Renderer
from softprompt.text.rendering import RenderSettings
from softprompt.text.template import parse

ONE = {"text": "a very good film"}
PAIR = {"sentence1": "It was a good film.", "sentence2": "The plot is dull"}
MOOD = Verbalizer.read({"0": "terrible", "1": "great"})


def ids_of(renderer, fields):
    (query,) = renderer.score(fields).queries
    return list(query.ids)


def pieces_of(renderer, fields):
    return renderer.frame.tokenizer.pieces(tuple(ids_of(renderer, fields)))


# LM-BFF.


def lm_bff_ids(tokenizer, source, sentences):
    """`tokenize_multipart_input` of the release: every piece encoded by itself."""
    special = {
        "cls": tokenizer.start,
        "mask": (tokenizer.mask,),
        "sep": tokenizer.end,
        "sep+": tokenizer.end,
    }
    ids = []
    for part in (piece for piece in source.split("*") if piece):
        kind, _, number = part.partition("_")
        if part in special:
            ids += special[part]
            continue
        if kind in ("sent", "+sent", "sent-", "sentl", "sentu", "+sentl", "+sentu", "sentl-"):
            text = sentences[int(number)]
            text = text[0].lower() + text[1:] if "l" in kind else text
            text = text[0].upper() + text[1:] if "u" in kind else text
            text = text[:-1] if "-" in kind else text
            text = " " + text if kind[0] == "+" else text
        else:
            text = part.replace("_", " ")
        ids += tokenizer.encode(text, continues=True).ids
    return ids


MANUAL = [
    "*cls**sent_0*_It_was*mask*.*sep+*",
    "*cls**sent_0*_This_is*mask*.*sep+*",
    "*cls**mask*:*+sent_0**sep+*",
    "*cls**sent-_0*?*mask*,*+sentl_1**sep+*",
    "*cls**sent_0**mask*,*+sentl_1**sep+*",
]


@pytest.mark.parametrize("source", MANUAL)
@pytest.mark.parametrize("per_piece", [True, False])
def test_lm_bffs_manual_templates_give_lm_bffs_tokens(make, source, per_piece):
    renderer = make("roberta", from_lm_bff(source), per_piece=per_piece)
    fields = PAIR if "_1" in source else ONE
    expected = lm_bff_ids(renderer.frame.tokenizer, source, list(fields.values()))
    assert ids_of(renderer, fields) == expected


def test_lm_bffs_full_stop_has_no_space_and_its_word_has_one(make):
    renderer = make("roberta", from_lm_bff(MANUAL[0]))
    assert pieces_of(renderer, ONE) == [
        *("<s>", "a", "Ġvery", "Ġgood", "Ġfilm", "ĠIt", "Ġwas", "<mask>", ".", "</s>")
    ]
    read = renderer.score(ONE).queries[0].reads
    assert [renderer.frame.tokenizer.pieces(one.tokens) for one in read] == [
        ["Ġterrible"],
        ["Ġgreat"],
    ]


def test_lm_bffs_word_keeps_its_space_where_the_template_has_none(make):
    renderer = make("roberta", from_lm_bff(MANUAL[3]), {"no": "No", "yes": "Yes"})
    assert "?" in pieces_of(renderer, PAIR)[-12:]
    read = renderer.score(PAIR).queries[0].reads
    assert [renderer.frame.tokenizer.pieces(one.tokens) for one in read] == [["ĠNo"], ["ĠYes"]]


def test_every_published_template_gives_lm_bffs_tokens_on_a_real_tokenizer(shared, minilm):
    folder = shared / "data" / "lm_bff_published"
    files = sorted(p for p in folder.glob("*/*.txt") if p.parent.name != "label_mapping")
    if not files:
        pytest.skip(f"no published templates in {folder}")
    lines = {line for file in files for line in file.read_text(encoding="utf-8").splitlines()}
    published = sorted({line.split()[-1] for line in lines})  # a score may stand before it
    assert len(published) > 1000
    frame, settings = Frame("masked", minilm), RenderSettings(per_piece=True)
    for source in published:
        template = from_lm_bff(source)
        fields = ONE if template.fields in ((), ("text",)) else PAIR
        whole = source.removesuffix("*sep+*") + "*sep+*"  # T5 lost the end of one: it wrote "sssss"
        expected = lm_bff_ids(minilm, whole, list(fields.values()))
        assert ids_of(Renderer(template, MOOD, frame, 0, settings), fields) == expected


# PET.


def pet_ids(tokenizer, parts, fields):
    """PET's release on RoBERTa: every part of a pattern with a space before it."""
    ids = [*tokenizer.start]
    for part in parts:
        if part == "_":
            ids.append(tokenizer.mask)
        else:
            text = fields.get(part, part)
            ids += tokenizer.encode(f" {text}", continues=True).ids
    return [*ids, *tokenizer.end]


def test_pets_tokens_come_from_spaces_and_pieces_apart(make):
    fields = {"a": "good film"}
    renderer = make("roberta", from_pet(" It was _ . a", {"a": "a"}), per_piece=True)
    expected = pet_ids(renderer.frame.tokenizer, ["It was", "_", ".", "a"], fields)
    assert ids_of(renderer, fields) == expected
    lm_bff = make("roberta", "{a} It was {mask}.")
    assert pieces_of(lm_bff, fields)[-2:] == [".", "</s>"]
    assert pieces_of(renderer, fields)[4:7] == ["Ġ", ".", "Ġgood"]  # " ." is two pieces here


def test_pets_pair_pattern_has_the_tokenizers_boundary(make):
    fields = {"premise": "It was good.", "hypothesis": "It was bad."}
    given = {"a": "premise|strip_end", "b": "hypothesis"}
    renderer = make("bert", from_pet('"a" ? ‖ _ , "b"', given), {"x": "no", "y": "yes"})
    (query,) = renderer.score(fields).queries
    assert renderer.frame.tokenizer.pieces(query.ids) == [
        *("[CLS]", '"', "it", "was", "good", '"', "?", "[SEP]"),
        *("[MASK]", ",", '"', "it", "was", "bad", ".", '"', "[SEP]"),
    ]
    assert query.segments == (0,) * 8 + (1,) * 9


# Lester et al. and T5.


@pytest.fixture(scope="session")
def t5(shared) -> TextTokenizer:
    return _real(shared / "models" / "t5_tokenizer")


@pytest.fixture(scope="session")
def minilm(shared) -> TextTokenizer:
    return _real(shared / "models" / "minilm_mlm")


def _real(folder) -> TextTokenizer:
    from transformers import AutoTokenizer

    if not folder.is_dir():
        pytest.skip(f"no tokenizer in {folder}")
    return TextTokenizer(AutoTokenizer.from_pretrained(folder))


@pytest.mark.parametrize(
    ("template", "fields", "text"),
    [
        ("sentence: {text}", ONE, "sentence: a very good film"),
        ("{soft:5}sentence: {text}", ONE, "sentence: a very good film"),
        (
            "passage: {passage} question: {question}",
            {"passage": "Barq's -- Its  bottling\ncompany.", "question": "is it a root beer?"},
            "passage: Barq's -- Its  bottling\ncompany. question: is it a root beer?",
        ),
        (
            "sentence1: {a} sentence2: {b}",
            {"a": "Ærø costs £3.50.", "b": "é 中 …"},
            "sentence1: Ærø costs £3.50. sentence2: é 中 …",
        ),
    ],
)
def test_lesters_inputs_are_t5s_tokens_with_rows_in_front(t5, template, fields, text):
    frame = Frame("encoder_decoder", t5, decoder_start=(0,), decoder_end=t5.end)
    answers = Verbalizer.read({"0": "negative", "1": "positive"})
    query = Renderer(parse(template), answers, frame, n_rows=5).score(fields).queries[0]
    assert query.ids[:5] == (-1, -2, -3, -4, -5)
    assert list(query.ids[5:]) == t5.wrapped(text)["input_ids"]
    targets = [t5.wrapped(word)["input_ids"] for word in ("negative", "positive")]
    reads = {
        one.candidate: list(one.tokens)
        for q in Renderer(parse(template), answers, frame, n_rows=5).score(fields).queries
        for one in q.reads
    }
    assert [reads[0], reads[1]] == targets


def test_a_full_stop_behind_a_t5_sentinel_has_no_lone_mark(t5):
    frame = Frame("encoder_decoder", t5, decoder_start=(0,), decoder_end=t5.end)
    renderer = Renderer(parse("{text} It was {mask}. So good"), MOOD, frame)
    pieces = t5.pieces(renderer.score(ONE).queries[0].ids)
    assert pieces[-6:] == ["▁was", "<extra_id_0>", ".", "▁So", "▁good", "</s>"]
    assert t5.pieces(tuple(t5.wrapped("It was <extra_id_0>.")["input_ids"]))[-3:-1] == ["▁", "."]
    (read,) = (q.reads[0] for q in renderer.score(ONE).queries if q.reads[0].candidate == 1)
    assert t5.pieces(read.tokens) == ["▁great", "<extra_id_1>"]


def test_a_users_special_names_stay_text_for_the_real_t5(t5):
    frame = Frame("encoder_decoder", t5, decoder_start=(0,), decoder_end=t5.end)
    renderer = Renderer(parse("{text}"), MOOD, frame)
    ids = renderer.score({"text": "</s> <extra_id_0> <pad> </s>"}).queries[0].ids
    assert [i for i in ids if i in t5.special - {t5.unknown}] == [1]


# A pair on a real tokenizer.


def test_a_pair_is_the_real_tokenizers_pair(minilm):
    renderer = Renderer(parse("{sentence1}{sep}{sentence2} {mask}"), MOOD, Frame("masked", minilm))
    (query,) = renderer.score(PAIR).queries
    expected = minilm.wrapped(*PAIR.values())
    assert list(query.ids[:-2] + query.ids[-1:]) == expected["input_ids"]
    assert list(query.segments[:-2] + query.segments[-1:]) == expected["token_type_ids"]


# OpenPrompt.


def test_openprompts_example_renders_as_its_documentation_says(make):
    template = from_openprompt('{"placeholder":"text_a"} It was {"mask"}.')
    renderer = make("roberta", template)
    assert ids_of(renderer, {"text_a": "a good film"}) == ids_of(
        make("roberta", "{text} It was {mask}."), {"text": "a good film"}
    )


def test_openprompts_soft_pieces_are_rows_where_they_stand(make):
    template = from_openprompt('{"soft"}the film {"soft"}is {"mask"} .')
    renderer = make("bert", template, n_rows=1)
    ids = ids_of(renderer, {})
    assert ids[:2] == [renderer.frame.tokenizer.start[0], -1]
    assert ids[4] == -2
    shown = renderer.frame.tokenizer.pieces(tuple(i for i in ids if i >= 0))
    assert shown == ["[CLS]", "the", "film", "is", "[MASK]", ".", "[SEP]"]


# The Chinese walk-through.


def test_the_chinese_walk_through(make):
    renderer = make(
        "bert",
        "{soft:4}{text}。总体评价是{mask}的。",
        {"negative": "差", "positive": "好"},
        n_rows=4,
    )
    (query,) = renderer.score({"text": "这部电影很有趣"}).queries
    assert query.ids[1:5] == (-1, -2, -3, -4)
    assert "".join(renderer.frame.tokenizer.pieces(query.ids[5:])) == (
        "这部电影很有趣。总体评价是[MASK]的。[SEP]"
    )
    assert [len(one.tokens) for one in query.reads] == [1, 1]
    words = [renderer.frame.tokenizer.pieces(one.tokens) for one in query.reads]
    assert words == [["差"], ["好"]]
    again = renderer.score({"text": "特效很棒，但剧情糟糕"}).queries[0]
    assert again.ids[:5] == query.ids[:5]
