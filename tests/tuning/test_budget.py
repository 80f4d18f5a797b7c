"""A budget found from the memory, or halved where it was too much, changes no step beyond rounding."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from softprompt.errors import MemoryShortage, SettingsError
from softprompt.inference.budget import TOKEN_BUDGET, out_of_memory, retreat, smaller
from softprompt.inference.predict import predict
from softprompt.tuning import budget as budgets
from softprompt.tuning.budget import LEAST, MOST, SHARE, Budget, bytes_kept, fitting, free_memory
from softprompt.tuning.loop import Loop
from softprompt.tuning.settings import TrainingSettings
from tests.builders import FAMILIES, Backbones, fits_of, gradients, job, mood
from tests.inference.test_predict import items, prompts, same
from tests.tuning.test_loop import EXACT, close
from tests.tuning.test_resume import check_every_interruption

Shrinks = Callable[..., list[int]]


@pytest.fixture
def memory() -> Iterator[Shrinks]:
    """`memory(backbone, 60)`: a network that holds 60 positions; returns what it was asked for."""
    removed: list[Any] = []

    def holding(backbone: Any, most: int, error: Any = torch.OutOfMemoryError) -> list[int]:
        asked: list[int] = []
        model = backbone.model
        if backbone.family == "encoder_decoder":
            model = model.get_encoder()

        def check(module: Any, given: Any, named: Any) -> None:
            rows = named.get("inputs_embeds")
            asked.append(0 if rows is None else rows.shape[0] * rows.shape[1])
            if asked[-1] > most:
                raise error("CUDA out of memory. Tried to allocate 20.00 MiB")

        handle = model.register_forward_pre_hook(check, with_kwargs=True)
        removed.append(handle)
        return asked

    yield holding
    for handle in removed:
        handle.remove()


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same free memory at every look."""
    monkeypatch.setattr(budgets, "free_memory", lambda device: 1 << 22)


def labels_job(**training: Any) -> Any:
    return job(training={"batch_size": 7, "token_budget": 10_000, **training})


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_that_does_not_fit_is_taken_in_smaller_parts_with_the_same_gradient(
    backbones: Backbones, memory: Shrinks, name: str
):
    backbone = backbones(name, precision="float64")
    ((loss, gradient),) = gradients(backbone, fits_of(backbone, [labels_job()]))
    asked = memory(backbone, 40)
    (fit,) = fits_of(backbone, [labels_job()])
    loop = Loop(backbone, [fit])
    with pytest.warns(UserWarning, match="does not hold a token budget"):
        found = loop.backward({0: fit.draw()})
    (parameter,) = fit.parameters.values()
    assert parameter.grad is not None
    close(found[0]["loss"], loss, EXACT[name])
    close(parameter.grad, gradient, EXACT[name])
    assert max(asked) > 40
    with warnings.catch_warnings():  # the next step begins with what fits
        warnings.simplefilter("error")
        loop.backward({0: fit.draw()})
    parameter.grad = None


def test_what_half_a_step_left_is_forgotten_before_it_is_begun_again(
    backbones: Backbones, monkeypatch: pytest.MonkeyPatch
):
    backbone = backbones("bert", precision="float64")
    one = labels_job(token_budget=64)
    ((loss, gradient),) = gradients(backbone, fits_of(backbone, [one]))
    (fit,) = fits_of(backbone, [one])
    plain, calls = fit.loss, []

    def once(scores: Any, lessons: Any) -> Tensor:
        calls.append(len(lessons))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(scores, lessons)

    monkeypatch.setattr(fit, "loss", once)
    with pytest.warns(UserWarning, match="budget of 64"):
        ((found, other),) = gradients(backbone, [fit])
    assert len(calls) > 4
    close(found, loss, 1e-10)
    close(other, gradient, 1e-10)


def test_a_single_example_that_does_not_fit_is_an_error_that_says_what_to_do(
    backbones: Backbones, memory: Shrinks
):
    backbone = backbones("bert")
    memory(backbone, 4)
    (fit,) = fits_of(backbone, [labels_job(token_budget=20)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            MemoryShortage, match=r"a single example .* shorten the examples"
        ) as told:
            Loop(backbone, [fit]).run()
    assert told.value.exit_code == 2
    assert told.value.__context__ is None  # the failed pass and its memory are gone


def test_a_dev_set_that_does_not_fit_stops_the_run_with_what_to_do(
    backbones: Backbones, memory: Shrinks
):
    backbone = backbones("bert")
    dev = list(mood().examples("dev"))
    dev[0] = type(dev[0])("long", {"text": "very " * 40 + "good"}, "positive")
    (fit,) = fits_of(backbone, [job(mood().with_splits(dev=dev), training={"batch_size": 7})])
    memory(backbone, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            MemoryShortage, match="evaluation after step 2: the memory does not hold"
        ):
            Loop(backbone, [fit]).run()


def test_other_errors_are_not_taken_for_a_lack_of_memory(backbones: Backbones, memory: Shrinks):
    backbone = backbones("bert")
    memory(backbone, 4, RuntimeError)
    (fit,) = fits_of(backbone, [labels_job()])
    with pytest.raises(RuntimeError, match="Tried to allocate"):
        Loop(backbone, [fit]).run()


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_predictions_that_do_not_fit_are_made_in_smaller_parts(
    backbones: Backbones, memory: Shrinks, name: str
):
    backbone = backbones(name)
    applied = prompts(backbone)
    wanted = predict(backbone, applied, items(applied), "auto")
    memory(backbone, 150)
    with pytest.warns(UserWarning, match="does not hold a token budget"):
        got = predict(backbone, applied, items(applied), "auto")
    same(got, wanted)


# --- auto ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("roomy")
@pytest.mark.parametrize("name", FAMILIES)
def test_auto_gives_the_steps_of_a_fixed_budget(backbones: Backbones, name: str):
    backbone = backbones(name, precision="float64")
    found = []
    for budget in (10_000, "auto"):
        (fit,) = fits_of(backbone, [labels_job(token_budget=budget, evaluate_every=50, steps=3)])
        records: list[dict[str, Any]] = []
        loop = Loop(backbone, [fit], report=lambda fit, record, r=records: r.append(dict(record)))
        loop.run()
        found.append([(r["loss"], r["gradient_norm"]) for r in records])
    close(found[1], found[0], max(1e-9, EXACT[name]))
    assert loop.budgets["shared"].positions not in (budgets.FIRST, TOKEN_BUDGET)


@pytest.mark.usefixtures("roomy")
@pytest.mark.parametrize("training", [{}, {"dropout": True}])
def test_auto_resumes_bit_for_bit(
    backbones: Backbones,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training: dict[str, Any],
):
    monkeypatch.setattr(budgets, "FIRST", 30)
    monkeypatch.setattr(budgets, "LEAST", 1)
    monkeypatch.setattr(budgets, "free_memory", lambda device: 1_500_000)
    one = job(training={"token_budget": "auto", "steps": 4, **training})
    check_every_interruption(backbones("bert"), [one], tmp_path, reports=4)


def test_a_budget_given_anew_stands_before_the_one_of_the_checkpoint():
    found = Budget(["auto"])
    found.positions = 77
    other = Budget([50])
    other.restore(found.state())
    assert other.positions == 50
    again = Budget(["auto"])
    again.restore(found.state())
    assert again.positions == 77
    again.restore(None)
    assert again.positions == 77


def test_the_smallest_number_counts_and_auto_only_where_there_is_none():
    assert Budget([300, "auto", 200]).positions == 200
    assert Budget(["auto"]).positions == budgets.FIRST


def test_what_was_too_much_is_not_tried_again(backbones: Backbones):
    budget = Budget(["auto"])
    budget.positions = 512
    with pytest.warns(UserWarning, match="512"):
        budget.shrink([10] * 100)
    with budget.counting(backbones("bert").model, 2, 10):
        torch.ones(4, requires_grad=True).exp()
    assert budget.positions == 255


def test_the_share_of_the_free_memory_by_what_a_position_keeps():
    assert fitting(kept=1000 * 300, positions=1000, free=10**6) == int(SHARE * 10**6 / 300)
    assert fitting(kept=10**9, positions=10, free=10**6) == LEAST
    assert fitting(kept=1, positions=10**6, free=10**12) == MOST
    assert fitting(kept=1000, positions=10, free=None) == TOKEN_BUDGET


def test_what_is_kept_is_counted_once_and_without_the_weights():
    layer = torch.nn.Linear(8, 8, bias=False)
    x = torch.ones(5, 8, requires_grad=True)
    with bytes_kept(layer.parameters()) as kept:
        y = layer(x).exp()  # its output, [5, 8], is saved, and x for the weight's gradient
        (y * y.view(5, 8)).sum()
    assert sum(kept.values()) == 2 * 5 * 8 * 4


def test_counting_frees_the_graph_with_its_last_tensor_and_keeps_gradients():
    x = torch.ones(5, requires_grad=True)
    with bytes_kept([]):
        y = x.exp()
    (gradient,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    torch.testing.assert_close(gradient, torch.full((5,), torch.e))
    seen = weakref.ref(y)
    del y
    assert seen() is None


def test_a_cpu_tells_its_free_memory_and_an_unknown_device_does_not():
    free = free_memory(torch.device("cpu"))
    assert free is None or free > 1 << 20
    assert free_memory(torch.device("meta")) is None


def test_a_container_leaves_what_its_limit_leaves(tmp_path: Path):
    assert budgets._left_in_group(tmp_path) is None
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert budgets._left_in_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert budgets._left_in_group(tmp_path) == 600


@pytest.mark.parametrize("value", [0, -3, "much", 1.5, None])
def test_a_setting_that_is_no_budget_is_refused_in_one_sentence(value: Any):
    with pytest.raises(SettingsError) as told:
        TrainingSettings.read({"token_budget": value}, "training")
    got = "nothing" if value is None else repr(value)
    wanted = f"training: 'token_budget': expected a whole number from 1, or auto, got {got}"
    assert str(told.value) == wanted


# --- arithmetic ---------------------------------------------------------------------------------


def test_half_of_what_was_really_held_is_tried_next():
    assert smaller([10] * 8, 10_000) == 40  # 80 positions, whatever the budget
    assert smaller([10] * 8, 25) == 10  # parts of 2 rows
    assert smaller([30, 5, 5], 30) == 5  # the long row alone cannot be split
    assert smaller([10, 10], 10) is None
    with pytest.raises(MemoryShortage, match="takes 12 positions"):
        retreat([12], 100)


def test_a_lack_of_memory_is_known_on_every_device():
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError) as told:
        torch.empty(1 << 50)
    assert out_of_memory(told.value)
