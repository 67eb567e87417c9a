"""What the plugin tells pytest-benchmark of the machine."""

from pathlib import Path
from types import SimpleNamespace

import pytest_benchmark.plugin

from harness.options import Options
from harness.session.plugin import SESSION, pytest_benchmark_generate_machine_info
from harness.session.session import Session


def told():
    session = Session(Options(), Path("out"), measures=True, terminal=None)
    return pytest_benchmark_generate_machine_info(SimpleNamespace(stash={SESSION: session}))


def test_it_has_what_pytest_benchmark_itself_would_tell_but_for_the_processor(monkeypatch):
    monkeypatch.setattr(pytest_benchmark.plugin, "get_cpu_info", dict)
    theirs = pytest_benchmark.plugin.pytest_benchmark_generate_machine_info()
    ours = told()
    assert {name: ours[name] for name in theirs if name != "cpu"} == {
        name: value for name, value in theirs.items() if name != "cpu"
    }
    assert set(ours) - set(theirs) == {"event_vlm_perf"}


def test_of_the_processor_it_has_what_stays_the_same():
    assert set(told()["cpu"]) == {"brand_raw", "count", "arch_string_raw"}
    assert told() == told()


def test_the_stable_conditions_are_added():
    assert {"cpu", "usable_cores", "python", "libraries", "gpu"} < set(told()["event_vlm_perf"])
