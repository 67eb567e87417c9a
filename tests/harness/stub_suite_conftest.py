"""The conftest.py of a stub suite: models of known speed on samples of nothing, under a clock moved by hand.

Copied beside stub_suite_tests.py into a folder of its own by the end-to-end tests; STUB_* variables give it faults.
"""

import math
import os
import signal
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from harness.measuring import clock
from harness.measuring.model_slot import ModelSlot, recorded_loaders
from harness.measuring.reference_work import WORKLOADS
from harness.measuring.stopping import StopRequestedError, stop_if_asked
from harness.records.lines import MachineRecord, Plan, PlannedSample
from harness.records.quantities import MemoryPeak
from harness.session.session import Instruments
from tests.stub_pipeline import StubFacts, StubPipeline, StubSample  # noqa: F401 - tests append lines to this file

SECONDS = {"load": 0.5, "preprocess": 0.25, "vision": 0.125, "prefill": 1.0, "decode": 2.0}
# The second model takes this many times as long in every stage.
SLOWNESS = {"egpt": 1.0, "videollava": 4.0}
# "<model>:<stage or *>:<factor> …": what has got slower, and in a session that confirms another, what still is.
CONFIRMS = any(word.startswith("--confirm") for word in sys.argv)
SLOWER = os.environ.get("STUB_SLOWER_AGAIN" if CONFIRMS and "STUB_SLOWER_AGAIN" in os.environ else "STUB_SLOWER", "")
# The folder of the session that is to be ended from outside: it says that it is there, and waits.
for word in sys.argv:
    if os.environ.get("STUB_WAITS_IN") and word.endswith(os.environ["STUB_WAITS_IN"]):
        Path(word.partition("=")[2]).with_suffix(".waits").touch()
        time.sleep(60)
# The last id of the first model's answers is another one where STUB_ANSWER says so.
ANSWERS = {"egpt": (5, 6, int(os.environ.get("STUB_ANSWER", "7"))), "videollava": (5, 6, 9, 9)}


@dataclass
class Hand:
    """A clock that moves when told to."""

    time: float = 1000.0

    def read(self):
        return self.time


INSTANCES = weakref.WeakSet()
CACHES = weakref.WeakSet()
HAND = Hand()
clock.use_reader(HAND.read)
REFERENCE_WORK = weakref.WeakSet()


class Meter:
    """Finds 100 MiB; reference work that outlived the timed rounds would be counted as memory of the stage."""

    def __call__(self, call):
        call()
        if REFERENCE_WORK:
            raise ValueError("reference work is still alive")
        return MemoryPeak(host_bytes=100 << 20)


class StubWorkload:
    """Slower where STUB_MACHINE says, always or only during one test: "<factor>[:<part of its name>]"."""

    def __init__(self, _device):
        REFERENCE_WORK.add(self)

    def __call__(self):
        factor, _, test = os.environ.get("STUB_MACHINE", "1").partition(":")
        HAND.time += 0.01 * (float(factor) if test in os.environ.get("PYTEST_CURRENT_TEST", "") else 1)


INSTRUMENTS = Instruments(
    workloads=dict.fromkeys(WORKLOADS, StubWorkload),
    device_peaks=lambda device, dtypes: MachineRecord(1e9, 1e9, {}),
    memory_meter=lambda device: Meter(),
)


def wait_for_a_signal():
    """Be in the middle of a sample when this process is told to end: the first one in this folder that comes here."""
    try:
        Path("waited").touch(exist_ok=False)
    except FileExistsError:
        return
    end = time.monotonic() + 30
    with suppress(StopRequestedError):
        while time.monotonic() < end:
            stop_if_asked()
            time.sleep(0.01)


def slowness(model, stage):
    known = [each.split(":") for each in SLOWER.split()]
    return math.prod(float(factor) for key, at, factor in known if key == model and at in {stage, "*"})


@dataclass(frozen=True)
class Clip:
    sample: StubSample
    source: str = "nothing (stub)"
    state: str = ""


class Cache(list):
    """What prefill hands to decode; on a GPU it may be a gigabyte, so only one may be alive."""

    __hash__ = object.__hash__

    def __init__(self, samples):
        super().__init__(samples)
        CACHES.add(self)


def sample_of(given):
    """The sample in what a stage was given."""
    return given.sample if isinstance(given, Clip) else given[0] if isinstance(given, Cache) else given


class ModelOfKnownSpeed(StubPipeline):
    """Takes as long as SECONDS says; fails where STUB_FAIL says: "<stage>:<sample>[:<from which call on>] …"."""

    def __init__(self, key):
        super().__init__(key, ANSWERS[key])
        self.others_alive = len(INSTANCES)
        INSTANCES.add(self)
        self.calls = {}
        HAND.time += 8.0

    def take(self, stage, given):
        sample = sample_of(given)
        times = self.calls[stage, sample.id] = self.calls.get((stage, sample.id), 0) + 1
        HAND.time += SECONDS[stage] * SLOWNESS[self.key] * slowness(self.key, stage)
        sys.stderr.write(f"worked {self.key} {stage} {sample.id}\n")
        for fault in os.environ.get("STUB_FAIL", "").split():
            at, which, *since = fault.split(":")
            if (at, which) == (stage, sample.id) and times >= int(since[0] if since else 1):
                raise ValueError(f"{stage} of {which} cannot be done")
        here = f"{self.key}:{stage}:{sample.id}:{times}"
        is_first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if fnmatch(here, os.environ.get("STUB_KILL", "")) and is_first:
            os.kill(os.getpid(), signal.SIGKILL)
        if fnmatch(here, os.environ.get("STUB_WAIT", "")):
            wait_for_a_signal()
        time.sleep(float(os.environ.get("STUB_PAUSE_S", "0")))  # of real time, for others to draw samples meanwhile
        at, _, number = os.environ.get("STUB_SIGNAL", "").rpartition(":")
        if at == here:
            os.kill(os.getpid(), int(number))

    def load(self, sample):
        super().load(sample)
        states = os.environ.get("STUB_STATES", "").split()  # one a call and sample, the last for all further ones
        return Clip(sample, state=states[min(self.calls["load", sample.id], len(states)) - 1] if states else "")

    def prefill(self, features):
        super().prefill(features)
        if CACHES:
            raise ValueError("the cache of an earlier round is still alive")
        return Cache([features.sample])

    def decode(self, prefilled, *, max_new_tokens, stop_at_eos=True):
        answer = super().decode(prefilled, max_new_tokens=max_new_tokens, stop_at_eos=stop_at_eos)
        prefilled.pop()  # decoding the same state twice fails, as it would with a real cache
        sys.stderr.write(f"tokens {self.key} {max_new_tokens}\n")
        return answer


@pytest.fixture(scope="session")
def samples():
    return [StubSample(f"s{number}") for number in range(3)]


@pytest.fixture(scope="session")
def model_slot(samples, session, set_plan):
    planned = [PlannedSample(each.id, "test", "What?", f"{each.id}.npy", f"{each.id} frames") for each in samples]
    limits = dict(word.split("=") for word in os.environ.get("STUB_LIMITS", "").split())
    session.instruments = INSTRUMENTS
    set_plan(
        Plan(
            model_set="stub",
            device="cpu",
            engines=("eager",),
            models=tuple(SLOWNESS),
            draft="egpt",
            targets=("videollava",),
            dataset="Stub_Dataset.json",
            samples=tuple(planned),
            limits={name: float(bound) for name, bound in limits.items()},
        )
    )
    loaders = {key: lambda key=key: ModelOfKnownSpeed(key) for key in SLOWNESS}
    slot = ModelSlot(recorded_loaders(loaders, session.append, "cpu"))
    yield slot
    slot.free()


@pytest.fixture(scope="session")
def pipeline(request, model_slot):
    return model_slot.hold(request.param)[0]


def pytest_generate_tests(metafunc):
    if "pipeline" in metafunc.fixturenames:
        metafunc.parametrize("pipeline", tuple(SLOWNESS), indirect=True, scope="session")
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", ("eager",), scope="session")
