from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import pytest

from softprompt.errors import PromptError
from softprompt.prompts.identity import BackboneIdentity, check_backbone


def test_an_identity_survives_json(identity: BackboneIdentity) -> None:
    again = BackboneIdentity.from_json(json.loads(json.dumps(identity.to_json())))
    assert again == identity


@pytest.mark.parametrize("key", ["name", "family", "architecture", "weights", "sketch", "width"])
def test_a_missing_key_is_named(key: str, identity: BackboneIdentity) -> None:
    values = {k: v for k, v in identity.to_json().items() if k != key}
    with pytest.raises(PromptError, match=rf"prompt\.json: '{key}' is missing"):
        BackboneIdentity.from_json(values, "prompt.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [("width", "4"), ("width", True), ("name", None), ("sketch", "abc"), ("sketch", [1, "2"])],
)
def test_a_value_of_a_wrong_type_is_named(key: str, value: Any, identity: BackboneIdentity) -> None:
    with pytest.raises(PromptError, match=rf"'{key}': expected .*, got "):
        BackboneIdentity.from_json({**identity.to_json(), key: value})


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(PromptError, match="expected a mapping, got list"):
        BackboneIdentity.from_json([])


def test_the_same_weights_under_another_name_are_accepted_silently(
    identity: BackboneIdentity,
) -> None:
    identity.compare(replace(identity, name="/models/copy", sketch=()))


def test_another_precision_of_the_same_weights_is_accepted_with_a_warning(
    identity: BackboneIdentity,
) -> None:
    rounded = replace(
        identity, weights="c" * 16, dtype="bfloat16", sketch=(0.1255, -1.49, 1e-9, 3.01)
    )
    with pytest.warns(UserWarning, match=r"in float32, .* another precision .*\(bfloat16\)"):
        identity.compare(rounded)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float32"},  # the same precision: then the weights were trained further
        {"dtype": "bfloat16", "sketch": (0.14, -1.5, 0.0, 3.0)},  # 11 % off
        {"dtype": "bfloat16", "sketch": (0.125, -1.5, 0.0, -3.0)},
        {"dtype": "bfloat16", "sketch": (0.125, -1.5, 0.0)},
        {"dtype": "bfloat16", "sketch": (0.125, -1.5, 0.0, float("nan"))},
    ],
)
def test_other_weights_of_the_same_architecture_are_refused(
    changes: dict[str, Any], identity: BackboneIdentity
) -> None:
    other = replace(identity, name="acme/other", weights="c" * 16, **changes)
    with pytest.raises(PromptError) as refused:
        identity.compare(other)
    message = str(refused.value)
    assert "'softprompt/tiny-mlm'" in message
    assert "'acme/other'" in message
    assert "other weights (weights bbbbbbbbbbbbbbbb, here cccccccccccccccc)" in message


def test_two_identities_without_a_sketch_prove_nothing(identity: BackboneIdentity) -> None:
    bare = replace(identity, sketch=())
    with pytest.raises(PromptError, match="other weights"):
        bare.compare(replace(bare, weights="c" * 16, dtype="bfloat16"))


def test_what_differs_in_the_architecture_is_listed(identity: BackboneIdentity) -> None:
    other = replace(identity, family="causal", architecture="d" * 16, width=8)
    with pytest.raises(PromptError, match=r"other family and architecture and width \(family"):
        identity.compare(other)


def test_a_prompt_without_a_record_is_accepted_with_a_notice(identity: BackboneIdentity) -> None:
    with pytest.warns(UserWarning, match=r"sst2\.npy does not say which backbone"):
        check_backbone(None, identity, 4, "sst2.npy")


def test_a_prompt_of_another_width_is_refused(identity: BackboneIdentity) -> None:
    with pytest.raises(PromptError, match=r"width 768, .* expected width 4"):
        check_backbone(None, identity, 768)
    with pytest.raises(PromptError, match=r"width 768, .* expected width 4"):
        check_backbone(identity, identity, 768)


def test_a_prompt_without_rows_has_no_width_to_check(identity: BackboneIdentity) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_backbone(identity, identity, None)
