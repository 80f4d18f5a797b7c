"""The template of a task's fields and nothing else."""

from __future__ import annotations

import pytest

from softprompt.errors import TemplateError
from softprompt.text.plain import plain_template
from softprompt.text.tokens import Family


@pytest.mark.parametrize(
    ("family", "source"),
    [
        ("masked", "{mask}{premise}{sep}{hypothesis}"),
        ("causal", "{premise}{sep}{hypothesis}"),
        ("encoder_decoder", "{premise}{sep}{hypothesis}"),
    ],
)
def test_fields_stand_in_their_order_and_a_mask_directly_behind_the_start(
    family: Family, source: str
):
    assert str(plain_template(["premise", "hypothesis"], family)) == source


def test_a_single_field_has_no_boundary_and_a_reserved_name_is_written_as_a_field():
    assert str(plain_template(["text"], "masked")) == "{mask}{text}"
    assert str(plain_template(["mask"], "causal")) == "{field:mask}"


def test_a_name_that_no_template_can_hold_is_refused():
    with pytest.raises(TemplateError):
        plain_template(["a|b"], "masked")
