from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.measuring import model_slot
from harness.measuring.model_slot import ModelSlot, recorded_loaders
from harness.measuring.stopping import empty_gpu_cache
from harness.records.lines import ModelRecord


class Model:
    """Points at itself, as modules with parents do: only the collector of cycles gets rid of it."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.itself = self


class Workshop:
    """Makes models, and watches which of them are still alive."""

    def __init__(self, *keys: str) -> None:
        self.made: list[str] = []
        self.released_beside: list[set[str]] = []
        self._watched: dict[str, weakref.ref[Model]] = {}
        self.loaders = {key: lambda key=key: self.load(key) for key in keys}
        self.live_while_loading: dict[str, set[str]] = {}

    def load(self, key: str) -> Model:
        self.live_while_loading[key] = self.live
        self.made.append(key)
        model = Model(key)
        self._watched[key] = weakref.ref(model)
        return model

    def release(self) -> None:
        empty_gpu_cache()
        self.released_beside.append(self.live)

    @property
    def live(self) -> set[str]:
        return {key for key, model in self._watched.items() if model() is not None}


@pytest.fixture
def workshop() -> Workshop:
    return Workshop("a", "b", "c")


@pytest.fixture
def slot(workshop: Workshop) -> ModelSlot[Model]:
    return ModelSlot(workshop.loaders, workshop.release)


def test_nothing_is_loaded_before_it_is_held(slot: ModelSlot[Model], workshop: Workshop) -> None:
    assert slot.live == frozenset()
    assert workshop.made == []


def test_only_the_held_model_is_alive(slot: ModelSlot[Model], workshop: Workshop) -> None:
    for key in ("a", "b", "a"):
        slot.hold(key)
        assert slot.live == workshop.live == {key}


def test_other_models_are_gone_before_a_new_one_is_loaded(slot: ModelSlot[Model], workshop: Workshop) -> None:
    slot.hold("a")
    slot.hold("b")
    assert workshop.live_while_loading["b"] == set()


def test_device_is_told_to_give_memory_back_after_a_model_is_gone(slot: ModelSlot[Model], workshop: Workshop) -> None:
    slot.hold("a")
    assert workshop.released_beside == []
    slot.hold("b")
    assert workshop.released_beside == [set()]


def test_a_model_that_is_held_again_is_not_loaded_again(slot: ModelSlot[Model], workshop: Workshop) -> None:
    (first,) = slot.hold("a")
    (second,) = slot.hold("a")
    assert first is second
    assert workshop.made == ["a"]
    assert workshop.released_beside == []


def test_two_are_held_together_in_the_order_asked_for(slot: ModelSlot[Model], workshop: Workshop) -> None:
    slot.hold("a")
    assert [model.key for model in slot.hold("b", "a")] == ["b", "a"]
    assert workshop.made == ["a", "b"]
    assert slot.live == workshop.live == {"a", "b"}


def test_of_two_the_one_that_is_no_longer_asked_for_goes(slot: ModelSlot[Model], workshop: Workshop) -> None:
    slot.hold("a", "b")
    slot.hold("b", "c")
    assert slot.live == workshop.live == {"b", "c"}
    assert workshop.made == ["a", "b", "c"]


def test_unknown_model_is_named_with_the_right_ones_and_nothing_is_freed(
    slot: ModelSlot[Model], workshop: Workshop
) -> None:
    slot.hold("a")
    with pytest.raises(HarnessError, match="'zeppelin'; there are: a, b, c"):
        slot.hold("b", "zeppelin")
    assert slot.live == workshop.live == {"a"}
    assert workshop.made == ["a"]


def test_a_loader_that_raises_leaves_the_slot_usable(slot: ModelSlot[Model], workshop: Workshop) -> None:
    def fail() -> Model:
        raise MemoryError("out of memory")

    broken = ModelSlot(workshop.loaders | {"b": fail}, workshop.release)
    broken.hold("c")
    with pytest.raises(MemoryError):
        broken.hold("a", "b")
    assert broken.live == workshop.live == {"a"}
    broken.hold("c")
    assert broken.live == workshop.live == {"c"}


def test_free_leaves_nothing_and_may_be_called_twice(slot: ModelSlot[Model], workshop: Workshop) -> None:
    slot.hold("a", "b")
    slot.free()
    slot.free()
    assert slot.live == workshop.live == set()
    assert len(workshop.released_beside) == 1


def test_torch_is_told_to_give_memory_back_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[str] = []
    cuda = SimpleNamespace(empty_cache=lambda: emptied.append("cache"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    empty_gpu_cache()
    assert emptied == ["cache"]
    monkeypatch.delitem(sys.modules, "torch")
    empty_gpu_cache()
    assert emptied == ["cache"]


def test_on_a_gpu_a_model_occupies_what_its_load_added(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Facts:
        parameter_bytes: int = 700

    allocated, records = iter([100, 900]), list[ModelRecord]()
    monkeypatch.setattr(model_slot, "_allocated", lambda device: next(allocated) if device == "cuda" else None)
    pipeline: Any = SimpleNamespace(facts=Facts)
    for device in ("cuda", "cpu"):
        recorded_loaders({"a": lambda: pipeline}, records.append, device)["a"]()
    assert [(each.model, each.memory_bytes) for each in records] == [("a", 800), ("a", 700)]
