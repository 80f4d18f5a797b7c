from __future__ import annotations

import pytest
import torch

from softprompt.analysis.accounts import Account, n_bytes, of_prompt, percent, planned, soft_rows
from softprompt.methods.full_tuning import FullTuning
from softprompt.methods.method import Method
from softprompt.methods.mpt import Mpt
from softprompt.methods.p_tuning import PTuning
from softprompt.methods.prompt_tuning import PromptTuning
from softprompt.methods.residual import ResidualPromptTuning
from softprompt.methods.superpos import SuperPos
from softprompt.methods.ulpt import Ulpt
from softprompt.prompts.addition import Addition
from softprompt.prompts.prompt import Prompt


@pytest.mark.parametrize(
    ("width", "backbone", "learned", "share"),
    [
        (512, 76_961_152, 51_200, "0.067 %"),
        (768, 247_577_856, 76_800, "0.031 %"),
        (1024, 783_150_080, 102_400, "0.013 %"),
        (2048, 2_849_757_184, 204_800, "0.0072 %"),
        (4096, 11_135_332_352, 409_600, "0.0037 %"),
    ],
)
def test_a_hundred_rows_cost_what_lester_et_al_count(
    width: int, backbone: int, learned: int, share: str
) -> None:
    account = planned(PromptTuning(length=100), 100, width, backbone)
    assert account.learned == account.stored == soft_rows(100, width) == learned
    assert percent(account.share) == share
    assert account.total == backbone + learned


def test_full_tuning_learns_and_stores_the_backbone() -> None:
    account = planned(FullTuning(), 0, 768, 1_000_000, opened=1_000_000)
    assert account == Account(learned=1_000_000, stored=1_000_000, backbone=1_000_000)
    assert percent(account.share) == "100 %"


@pytest.mark.parametrize(
    ("method", "learned"),
    [
        (PromptTuning(), 76_800),
        (Ulpt(rank=2), 1_736),  # 1.7K and 7.9K, Wu et al. 2025, table 1
        (Ulpt(rank=64), 7_936),
        (Mpt(), 77_668),
        (SuperPos(tuned=False), 12_800),
        (SuperPos(), 12_800 + 100 * 128 * 768),
        (ResidualPromptTuning(), 76_800 + 2 * 768 * 400 + 400 + 3 * 768),
        (ResidualPromptTuning(bottleneck=800), 76_800 + 2 * 768 * 800 + 800 + 3 * 768),
        (PTuning(encoder="mlp"), 76_800 + 2 * (768 * 768 + 768)),
        # torch's nn.LSTM(768, 384, 2, bidirectional=True) has 7,090,176 parameters
        (PTuning(), 76_800 + 7_090_176 + 2 * (768 * 768 + 768)),
    ],
)
def test_a_hundred_rows_on_t5_base_cost_each_method_its_formula_and_are_stored_as_rows(
    method: Method, learned: int
) -> None:
    account = planned(method, 100, 768, 247_577_856)
    assert (account.learned, account.stored) == (learned, 76_800)


def test_a_prompt_is_counted_on_its_tensors() -> None:
    prompt = Prompt(
        addition=Addition(torch.zeros(20, 256)),
        method="prompt_tuning",
        template="{text} {mask}",
        answers={"kind": "words", "words": {}},
        objective={},
        task={"name": "t", "fields": ["text"]},
    )
    account = of_prompt(prompt, 10_000_000)
    assert account.stored == soft_rows(20, 256) == prompt.n_parameters
    assert account.n_bytes == prompt.n_bytes == 20_480
    assert str(account) == "5,120 of 10,000,000 (0.051 %)"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (30_720, "30.7 KB"), (2**31, "2.15 GB")]
)
def test_bytes_are_written_as_people_read_them(count: int, text: str) -> None:
    assert n_bytes(count) == text
