"""Causes of a slower stage, as wrappers around a model's stage, which `explain` must name."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from harness.measuring import clock

Call = Callable[[Any], Any]
# Whether on a GPU -> share of a stage's time that each cause adds; a CPU needs more, since its times vary more.
SHARES = {True: 0.1, False: 1.0}
NUMBERS = 1 << 22
# For a slower kernel on a GPU: cycles per second of its clock. On a CPU, a custom operation repeats a sum.
CYCLES_PER_S = 1.7e9
TENANT = (
    "import sys, torch\n"
    "factor = torch.ones(int(sys.argv[2]), int(sys.argv[2]), device=sys.argv[1])\n"
    "torch.set_num_threads(1)\n"
    "print('running', flush=True)\n"
    "while True:\n"
    "    torch.mm(factor, factor)\n"
)


@dataclass(frozen=True, slots=True)
class InjectedCause:
    """A cause that slows `stage`; `expected`: pattern for the first line of the explanation.

    `parts`: pattern for the names of the parts that the cause consists of; the time outside of all calls has the empty
    name. `engine`: "eager" where a graph would hide the calls.

    `make(pipeline, seconds, before)` returns the stage's call without the cause if `before`, else with it.
    """

    name: str
    stage: str
    expected: str
    make: Callable[[Any, float, bool], Call]
    parts: str = "."
    engine: str = ""
    devices: tuple[str, ...] = ("cpu", "cuda")


def stage_of(pipeline: Any, stage: str) -> Call:
    """Return the pipeline's method for a stage."""
    name = {"vision": "encode_vision"}.get(stage, stage)
    call: Call = getattr(pipeline, name)
    return call


def slower_kernel(pipeline: Any, seconds: float, before: bool) -> Call:
    """The same kernel, run as often, takes longer."""
    call = stage_of(pipeline, "vision")
    return _behind(call, _spin(pipeline, 0.02 * seconds + (0 if before else _added_s(pipeline, seconds))))


def extra_launches(pipeline: Any, seconds: float, before: bool) -> Call:
    """A small kernel is launched more often."""
    numbers = torch.ones(NUMBERS >> 4, device=pipeline.model.device)
    one = _seconds_of(numbers.tanh, pipeline)
    times = 0 if before else math.ceil(_added_s(pipeline, seconds) / one)
    return _behind(stage_of(pipeline, "vision"), lambda: [numbers.tanh() for _ in range(times)])


def added_synchronisations(pipeline: Any, seconds: float, before: bool) -> Call:
    """The host waits for the device (GPU) or reads a number back (CPU) many times."""
    numbers = torch.ones(4, device=pipeline.model.device)
    wait = torch.cuda.synchronize if numbers.is_cuda else numbers[0].item
    one = _seconds_of(wait, pipeline)
    times = 0 if before else math.ceil(_added_s(pipeline, seconds) / one)
    return _behind(stage_of(pipeline, "prefill"), lambda: [wait() for _ in range(times)])


def host_sleep(pipeline: Any, seconds: float, before: bool) -> Call:
    """The host sleeps before it calls the stage."""
    call = stage_of(pipeline, "prefill")

    def changed(given: Any) -> Any:
        time.sleep(_added_s(pipeline, seconds))
        return call(given)

    return call if before else changed


def extra_copies(pipeline: Any, seconds: float, before: bool) -> Call:
    """A buffer is copied many times."""
    source = torch.ones(NUMBERS, device=pipeline.model.device)
    target = torch.empty_like(source)
    one = _seconds_of(lambda: target.copy_(source), pipeline)
    times = 0 if before else math.ceil(_added_s(pipeline, seconds) / one)
    return _behind(stage_of(pipeline, "vision"), lambda: [target.copy_(source) for _ in range(times)])


def other_attention(pipeline: Any, _seconds: float, before: bool) -> Call:
    """Attention runs as separate products and a softmax, in float64."""
    call = stage_of(pipeline, "vision")

    def attend(query: Any, key: Any, value: Any, *_: Any, scale: float | None = None, **__: Any) -> Any:
        scores = (query.double() @ key.double().transpose(-1, -2)) * (scale or query.shape[-1] ** -0.5)
        return (scores.softmax(-1) @ value.double()).to(query.dtype)

    def changed(given: Any) -> Any:
        own = torch.nn.functional.scaled_dot_product_attention
        torch.nn.functional.scaled_dot_product_attention = attend
        try:
            return call(given)
        finally:
            torch.nn.functional.scaled_dot_product_attention = own

    return call if before else changed


def missed_graph(pipeline: Any, _seconds: float, before: bool) -> Call:
    """No captured graph is replayed: transformers' modules run under the same engine's name."""
    return stage_of(pipeline if before else pipeline.with_engine("eager"), "vision")


def upcast(pipeline: Any, _seconds: float, before: bool) -> Call:
    """The vision half runs in a dtype of twice the bits."""
    call, model = stage_of(pipeline, "vision"), pipeline.model.model
    parts, own = (model.visual_tower, model.visual_projector, model.feature_adaptor), pipeline.model.dtype
    wide = torch.float64 if own == torch.float32 else torch.float32

    def changed(inputs: Any) -> Any:
        features = call(replace(inputs, pixel_values=inputs.pixel_values.to(wide)))
        return replace(features, embeddings=features.embeddings.to(own), inputs=inputs)

    if before:
        return call
    # The original storage is kept for `undo`, since captured graphs read its addresses.
    kept = [(parameter, parameter.data) for part in parts for parameter in part.parameters()]
    for part in parts:
        part.to(wide)

    def undo() -> None:
        for parameter, data in kept:
            parameter.data = data

    changed.undo = undo  # type: ignore[attr-defined]
    return changed


def longer_prompt(pipeline: Any, _seconds: float, before: bool) -> Call:
    """The prompt has more visual tokens."""
    call = stage_of(pipeline, "prefill")

    def changed(features: Any) -> Any:
        more = features.embeddings[:, : features.embeddings.shape[1] * 3 // 4]
        return call(replace(features, embeddings=torch.cat([features.embeddings, more], dim=1)))

    return call if before else changed


def extra_images(pipeline: Any, _seconds: float, before: bool) -> Call:
    """The tower gets two more images."""
    call = stage_of(pipeline, "vision")

    def changed(inputs: Any) -> Any:
        return call(replace(inputs, pixel_values=torch.cat([inputs.pixel_values, inputs.pixel_values[:2]])))

    return call if before else changed


def slower_file(pipeline: Any, seconds: float, before: bool) -> Call:
    """The same files take longer to read."""
    return _behind(stage_of(pipeline, "load"), lambda: None if before else time.sleep(_added_s(pipeline, seconds)))


CAUSES = (
    InjectedCause("slower kernel", "vision", r"in `(spin_kernel|goals::spin)", slower_kernel, "spin"),
    InjectedCause("extra launches", "vision", r"`(aten::tanh|.*tanh.*)` \(0 -> ", extra_launches, "tanh"),
    InjectedCause(
        "added synchronisations",
        "prefill",
        r"synchronisations|aten::item",
        added_synchronisations,
        "^$|aten::(item|select)",
    ),
    InjectedCause("host sleep", "prefill", "the program waits|Python works, or waits", host_sleep, "^$"),
    InjectedCause("extra copies", "vision", r"Memcpy|aten::copy_", extra_copies, "Memcpy|aten::copy_"),
    InjectedCause(
        "other attention kernel",
        "vision",
        r"in place of `.*(attention|fmha|flash|sdpa)",
        other_attention,
        engine="eager",
    ),
    InjectedCause("missed graph", "vision", "graph is not replayed", missed_graph, "", devices=("cuda",)),
    InjectedCause("upcast", "vision", r"aten::to|float32|in place of", upcast, engine="eager"),
    InjectedCause("longer prompt", "prefill", r"tokens \d+ -> \d+", longer_prompt),
    InjectedCause("extra images", "vision", r"frames 5 -> 7", extra_images),
    InjectedCause("slower file", "load", "reading the same", slower_file, "^$"),
)


def one_more(what: str, pipeline: Any) -> tuple[str, str, Call]:
    """Return a stage, the name of a count, and a call of the stage that raises the count by exactly 1."""
    device = pipeline.model.device
    numbers = torch.ones(4, device=device)
    other = torch.ones(4, device=device)
    on_gpu = numbers.is_cuda
    more: dict[str, tuple[str, str, Callable[[], object]]] = {
        "launch": ("vision", "launches" if on_gpu else "library_calls", lambda: numbers.add_(1)),
        "copy": ("vision", "copies", lambda: numbers.copy_(other)),
        "file": ("load", "files", lambda: open(os.devnull, "rb").close()),  # noqa: PTH123
        "synchronisation": ("prefill", "synchronisations", torch.cuda.synchronize),
    }
    stage, count, work = more[what]
    return stage, count, _behind(stage_of(pipeline, stage), work)


@contextmanager
def other_tenant(device: str, count: int) -> Iterator[None]:
    """Run `count` other processes that use the device while the block runs."""
    side = "4096" if device != "cpu" else "512"
    command = [sys.executable, "-c", TENANT, device, side]
    tenants = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for each in tenants:
            assert each.stdout is not None
            each.stdout.readline()
        yield
    finally:
        for each in tenants:
            each.kill()
            each.wait()


def _added_s(pipeline: Any, seconds: float) -> float:
    return SHARES[pipeline.model.device.type == "cuda"] * seconds


def _spin(pipeline: Any, seconds: float) -> Callable[[], object]:
    """A call of one kernel that takes `seconds`."""
    if pipeline.model.device.type == "cuda":
        return lambda: torch.cuda._sleep(round(CYCLES_PER_S * seconds))  # type: ignore[no-untyped-call]
    numbers = torch.ones(NUMBERS >> 8)
    spin = _spin_operation()
    one = _seconds_of(lambda: spin(numbers, 100), pipeline) / 100
    return lambda: spin(numbers, math.ceil(seconds / one))


def _spin_operation() -> Any:
    if not hasattr(torch.ops.goals, "spin"):

        @torch.library.custom_op("goals::spin", mutates_args=())
        def spin(numbers: torch.Tensor, times: int) -> torch.Tensor:
            """Sum the numbers `times` times."""
            total = numbers.new_empty(())
            for _ in range(times):
                torch.sum(numbers, 0, out=total)
            return total

    return torch.ops.goals.spin


def _behind(call: Call, work: Callable[[], object]) -> Call:
    def changed(given: Any) -> Any:
        output = call(given)
        with torch.inference_mode():
            work()
        return output

    return changed


def _seconds_of(work: Callable[[], object], pipeline: Any) -> float:
    def many() -> None:
        with torch.inference_mode():
            for _ in range(20):
                work()

    many()
    return clock.seconds_of(many) / 20
