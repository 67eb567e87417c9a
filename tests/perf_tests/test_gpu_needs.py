"""What a run needs of the machine, and the room that it makes for the longest answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fixtures.cache.frame_cache import FrameCache
from fixtures.model_sets.registry import MODELS
from fixtures.selection import Selection, select
from harness.options import Options
from perf_tests import suite_options
from perf_tests.gpu_needs import GIB, reason_not_to_begin, reason_to_skip, weight_bytes

LONGEST = max(entry.fixed_tokens for entry in MODELS.values())


@pytest.mark.parametrize(
    ("options", "room"),
    [
        (Options(model_set="full"), 512),
        (Options(model_set="full", max_new_tokens=12), LONGEST),
        (Options(model_set="full", fixed_tokens=700), 700),
        (Options(model_set="full", fixed_tokens=700, max_new_tokens=900), 900),
    ],
)
def test_room_is_for_the_longer_of_natural_and_fixed_answers(options: Options, room: int) -> None:
    chosen = select(suite_options.request_of(options, FrameCache()))
    assert chosen.settings.pipeline.max_answer_tokens == room


def selection(**wishes: Any) -> Selection:
    return select(suite_options.request_of(Options(**wishes), FrameCache()))


@pytest.mark.parametrize(("dtype", "gib"), [("float32", 25.1), ("float16", 12.6)])
def test_weights_of_the_full_set_take_what_their_shapes_say(dtype: str, gib: float) -> None:
    chosen = selection(model_set="full", device="cpu", dtype=dtype)
    assert weight_bytes(chosen, "llava") / GIB == pytest.approx(gib, abs=0.1)


def test_weights_of_a_checkpoint_take_what_its_files_do_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    chosen = selection(eventgpt_model_path=str(tmp_path), device="cpu", models=("egpt",))
    assert weight_bytes(chosen, "egpt") == 0
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    assert weight_bytes(chosen, "egpt") == 2000


def test_weights_that_do_not_fit_into_memory_are_told_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = selection(model_set="full", device="cpu")
    for free, reason in ((8 * GIB, "needs 25 GiB of memory for the weights of egpt, 8 are free"), (99 * GIB, None)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        assert reason_not_to_begin(chosen) == reason
    assert reason_not_to_begin(selection(model_set="tiny")) is None


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_audits_run_on_every_device(request: pytest.FixtureRequest, device: str) -> None:
    request.node.add_marker(pytest.mark.audit)
    chosen: Any = SimpleNamespace(device=device, model_set="tiny")
    assert reason_to_skip(request.node, chosen) is None


@pytest.mark.parametrize(("model_set", "named"), [("tiny", ("car",)), ("full", ())])
def test_random_weights_are_asked_for_no_objects(dataset_folder: Path, model_set: str, named: tuple[str, ...]) -> None:
    dataset = suite_options.open_dataset(dataset_folder, Options())
    chosen = selection(model_set=model_set, device="cpu")
    assert suite_options.plan_of(chosen, dataset, limits={}, identity="", objects=["car"]).objects == named


@pytest.mark.parametrize(
    ("quantize", "test", "gb"),
    [
        (None, "test_decode", 20),
        (None, "test_speculative[videollava-eager]", 40),
        ("nf4", "test_decode", 8),
        ("nf4", "test_speculative[videollava-eager]", 16),
        ("nf4", "test_speculative[egpt_unquantised-eager]", 22),
        ("int8", "test_speculative[videollava-eager]", 24),
        ("int8", "test_speculative[egpt_unquantised-eager]", 26),
    ],
)
def test_a_card_of_24_gb_is_enough_for_two_models_in_four_bits(
    monkeypatch: pytest.MonkeyPatch, quantize: str | None, test: str, gb: int
) -> None:
    asked: list[float] = []
    monkeypatch.setattr("perf_tests.gpu_needs.missing_gpu", lambda memory_gb, *_: asked.append(memory_gb))
    markers = {"stage": SimpleNamespace(kwargs={})}
    if "speculative" in test:
        markers["holds_two_models"] = SimpleNamespace(kwargs={})
    item: Any = SimpleNamespace(nodeid=test, get_closest_marker=markers.get)
    reason_to_skip(item, selection(model_set="full", quantize=quantize))
    assert asked == [gb]


def test_weights_in_four_bits_take_a_quarter_of_the_memory() -> None:
    halves = selection(model_set="full", device="cpu", dtype="float16")
    packed = selection(model_set="full", device="cpu", quantize="nf4")
    assert weight_bytes(packed, "llava") / weight_bytes(halves, "llava") == pytest.approx(0.26)
