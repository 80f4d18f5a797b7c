"""A beginning run once and read from its cache is the beginning of a whole row, or it is not used."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from softprompt.backbones.backbone import Backbone
from softprompt.backbones.loading import load_backbone
from softprompt.backbones.prefix import Prefix
from softprompt.errors import BackboneError
from tests.backbones.by_hand import Ids, all_logits, embedded, everywhere, learned, one_prompt, same
from tests.backbones.conftest import Checkpoints, Tiny
from tests.tiny_models import TEXTS

BEGINNINGS: tuple[Ids, ...] = (learned(9), (), (*learned(3, 2), 40, 41))
OF = (2, 0, 0, 1, 2, 0)


def _prompt(backbone: Backbone) -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    return backbone.rms * torch.randn(9, backbone.width, generator=generator)


def _texts(backbone: Backbone) -> list[Ids]:
    return [backbone.tokenizer.encode(text, continues=False).ids for text in TEXTS]


def _begun(backbone: Backbone) -> Prefix:
    prompt = one_prompt(_prompt(backbone))
    inputs = embedded(backbone, BEGINNINGS, prompt=prompt)
    return backbone.prefill(inputs, *everywhere(inputs))[1].rows(OF)


def _whole(backbone: Backbone) -> list[Ids]:
    return [(*BEGINNINGS[n], *ids) for n, ids in zip(OF, _texts(backbone), strict=True)]


@torch.no_grad()
def test_every_position_after_a_beginning_has_the_logits_of_the_whole_row(causal: Backbone) -> None:
    rest = embedded(causal, _texts(causal))
    got = causal.logits(rest, *everywhere(rest), prefix=_begun(causal))
    whole = embedded(causal, _whole(causal), prompt=one_prompt(_prompt(causal)))
    expected = all_logits(causal, whole)
    wanted = [row[len(BEGINNINGS[n]) :] for n, row in zip(OF, expected, strict=True)]
    same(got, torch.cat(wanted))


@torch.no_grad()
def test_a_beginning_that_goes_on_from_another_has_the_logits_of_the_whole_row(
    causal: Backbone,
) -> None:
    texts, prefix = _texts(causal), _begun(causal)
    middle, rest = [ids[:2] for ids in texts], [ids[2:] or (9,) for ids in texts]
    second = embedded(causal, middle)
    inside, begun = causal.prefill(second, *everywhere(second), prefix=prefix)
    end = embedded(causal, rest)
    got = causal.logits(end, *everywhere(end), prefix=begun)
    rows = [(*BEGINNINGS[n], *m, *r) for n, m, r in zip(OF, middle, rest, strict=True)]
    whole = embedded(causal, rows, prompt=one_prompt(_prompt(causal)))
    expected = all_logits(causal, whole)
    starts = [len(BEGINNINGS[n]) for n in OF]
    pairs = list(zip(expected, starts, middle, strict=True))
    same(inside, torch.cat([row[n : n + len(m)] for row, n, m in pairs]))
    same(got, torch.cat([row[n + len(m) :] for row, n, m in pairs]))


@torch.no_grad()
def test_a_decoder_goes_on_from_what_it_read_once(encoder_decoder: Backbone) -> None:
    texts = _texts(encoder_decoder)
    start = encoder_decoder.decoder_start
    encoded = encoder_decoder.encode(embedded(encoder_decoder, texts))
    begun = [(*start, *learned(3)) for _ in texts]
    prompt = one_prompt(_prompt(encoder_decoder)[:3])
    first = embedded(encoder_decoder, begun, prompt=prompt, decoder=True)
    inside, prefix = encoder_decoder.prefill(first, *everywhere(first), encoded)
    of = [0, 0, 0, 1, 2, 2, 3, 5]
    rest = [(7,), (8, 9), (10,), (7, 8, 9), (11,), (12, 13), (7,), (14,)]
    tails = embedded(encoder_decoder, rest, decoder=True)
    reading = encoded.rows(of)
    got = encoder_decoder.logits(tails, *everywhere(tails), reading, prefix=prefix.rows(of))
    rows = [(*begun[n], *tail) for n, tail in zip(of, rest, strict=True)]
    whole = embedded(encoder_decoder, rows, prompt=prompt, decoder=True)
    expected = all_logits(encoder_decoder, whole, reading)
    same(got, torch.cat([row[len(begun[0]) :] for row in expected]))
    heads = all_logits(encoder_decoder, first, encoded)
    same(inside, torch.cat(heads))


@torch.no_grad()
@pytest.mark.parametrize("most", [1, 8, 60])
def test_what_is_generated_after_a_beginning_is_what_the_whole_row_gets(
    causal: Backbone, most: int
) -> None:
    rest = embedded(causal, _texts(causal))
    got = causal.generate(rest, most, prefix=_begun(causal))
    whole = embedded(causal, _whole(causal), prompt=one_prompt(_prompt(causal)), side="left")
    assert got == causal.generate(whole, most)
    for row, ids in enumerate(_texts(causal)):
        begun = Prefix(
            tuple((k[row : row + 1], v[row : row + 1]) for k, v in _begun(causal).layers),
            _begun(causal).mask[row : row + 1],
        )
        assert causal.generate(embedded(causal, [ids]), most, prefix=begun) == [got[row]]


@torch.no_grad()
def test_a_prefix_is_not_changed_by_being_read(tiny: Tiny) -> None:
    backbone = tiny("llama")
    begun, rest = _begun(backbone), embedded(backbone, _texts(backbone))
    first = backbone.logits(rest, *everywhere(rest), prefix=begun)
    backbone.generate(rest, 3, prefix=begun)
    assert torch.equal(first, backbone.logits(rest, *everywhere(rest), prefix=begun))
    assert begun.layers[0][0].shape[2] == begun.mask.shape[1] == 9


def test_pads_of_a_cache_move_to_the_left_with_their_keys() -> None:
    keys = torch.arange(6.0).view(2, 1, 3, 1)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    moved = Prefix(((keys, keys + 10),), mask).pads_first()
    assert moved.mask.tolist() == [[False, True, True], [True, True, True]]
    assert moved.layers[0][0][:, 0, :, 0].tolist() == [[2.0, 0.0, 1.0], [3.0, 4.0, 5.0]]
    assert moved.layers[0][1][:, 0, :, 0].tolist() == [[12.0, 10.0, 11.0], [13.0, 14.0, 15.0]]


def _loses_the_first_key(keys: torch.Tensor) -> torch.Tensor:
    return torch.cat([keys[:, :, 1:], keys[:, :, :1] * 0], dim=2)


@pytest.mark.parametrize("name", ["gpt2", "t5"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [(_loses_the_first_key, "its scores differ"), (torch.Tensor.detach, "its gradients differ")],
)
def test_a_cache_that_gives_other_numbers_is_not_used_and_that_is_said_once(
    checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch, spoil: Any, said: str, name: str
) -> None:
    backbone = load_backbone(checkpoint(name), device="cpu")
    plain = Prefix.of

    def of(cache: Any, mask: Any) -> Prefix:
        made = plain(cache, mask)
        spoilt = tuple((spoil(keys), values) for keys, values in made.layers)
        return Prefix(spoilt, mask, made.crossed)

    monkeypatch.setattr(Prefix, "of", of)
    with pytest.warns(UserWarning, match=f"cannot share a cache.*{said}.*whole rows run instead"):
        assert not backbone.shares_prefix
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not backbone.shares_prefix


def test_an_architecture_without_such_a_cache_runs_whole_rows(
    checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(checkpoint("gpt2"), device="cpu")
    model: Any = backbone.model
    forward = model.forward

    def forgetful(*args: Any, past_key_values: Any = None, **arguments: Any) -> Any:
        arguments["attention_mask"] = None
        return forward(*args, **arguments | {"use_cache": False})

    monkeypatch.setattr(model, "forward", forgetful)
    with pytest.warns(UserWarning, match="the network put no keys and values into its cache"):
        assert not backbone.shares_prefix


def test_only_networks_at_rest_that_do_not_see_what_follows_share(tiny: Tiny) -> None:
    assert not tiny("bert").shares_prefix
    assert tiny("t5").shares_prefix
    backbone = tiny("gpt2")
    assert backbone.shares_prefix
    with backbone.dropout():
        assert not backbone.shares_prefix
    backbone.share_prefix = False
    assert not backbone.shares_prefix
    backbone.share_prefix = True


def test_a_cache_of_another_kind_is_an_error() -> None:
    with pytest.raises(BackboneError, match="put no keys and values"):
        Prefix.of(None, torch.ones(1, 2, dtype=torch.bool))
