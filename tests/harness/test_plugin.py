"""What the plugin tells pytest-benchmark of the machine."""

from pathlib import Path
from types import SimpleNamespace

from harness.options import Options
from harness.plugin import SESSION, pytest_benchmark_update_machine_info
from harness.session import Session


def machine_info_of(cpu):
    info = {"cpu": cpu}
    session = Session(Options(), Path("out"), measures=True, terminal=None)
    pytest_benchmark_update_machine_info(SimpleNamespace(stash={SESSION: session}), info)
    return info


def test_the_clock_rate_of_the_moment_does_not_make_one_machine_look_like_two():
    slow = machine_info_of({"brand_raw": "A", "hz_actual": [2_000_000_000, 0], "hz_actual_friendly": "2 GHz"})
    fast = machine_info_of({"brand_raw": "A", "hz_actual": [3_000_000_000, 0], "hz_actual_friendly": "3 GHz"})
    assert slow == fast
    assert slow["cpu"] == {"brand_raw": "A"}


def test_the_stable_conditions_are_added():
    conditions = machine_info_of({})["event_vlm_perf"]
    assert {"cpu", "usable_cores", "python", "libraries", "gpu"} < set(conditions)
