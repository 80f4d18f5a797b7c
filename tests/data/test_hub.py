"""Data sets from the Hub: what it gives becomes a task; where it is out of reach, one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from softprompt.data.task import Task
from softprompt.errors import UsageError

datasets = pytest.importorskip("datasets")
huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def load_calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[tuple[Any, ...]]:
    """No Hub and an empty cache; what is asked of `load_dataset` is noted."""
    calls: list[tuple[Any, ...]] = []

    def load(*arguments: Any, **options: Any) -> Any:
        calls.append((arguments, options))
        raise ConnectionError("Couldn't reach the Hub\nand a long story")

    def unreachable(*arguments: Any, **options: Any) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    return calls


def test_out_of_reach_is_one_sentence_at_once(load_calls: list[Any]) -> None:
    with pytest.raises(UsageError) as caught:
        Task.from_hub("someone/reviews", "small", fields=["text"], target="label")
    assert str(caught.value).startswith(
        "someone/reviews/small: cannot reach the Hub, and no copy is cached; give the path of"
    )
    assert load_calls == []  # the library would have tried again for half a minute


def test_a_cached_copy_is_tried_when_the_hub_is_out_of_reach(
    load_calls: list[Any], tmp_path: Any
) -> None:
    (tmp_path / "someone___reviews").mkdir()
    with pytest.raises(UsageError, match=r"cannot be loaded: Couldn't reach the Hub$"):
        Task.from_hub("someone/reviews", fields=["text"], target="label")
    assert load_calls == [(("someone/reviews", None), {"split": "train"})]


def test_offline_mode_is_named(load_calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    with pytest.raises(UsageError, match="not in the local cache, and HF_HUB_OFFLINE forbids"):
        Task.from_hub("someone/reviews", fields=["text"], target="label")


def test_class_labels_become_names(load_calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    hidden = datasets.Dataset.from_dict({"text": ["c"], "label": [-1]}, features=features)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *a, **k: None)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, config, split: {"train": rows, "test": hidden}[split]
    )
    task = Task.from_hub("someone/reviews", fields=["text"], target="label", unlabelled="test")
    assert [row.target for row in task.examples("train")] == ["pos", "neg"]
    assert task.labels == ("neg", "pos")
    assert task.name == "someone/reviews"
    assert task.source == "https://huggingface.co/datasets/someone/reviews"
    with pytest.raises(UsageError, match="someone/reviews, test, line 1, field 'label'"):
        Task.from_hub("someone/reviews", fields=["text"], target="label", test="test")
