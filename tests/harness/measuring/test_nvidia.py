"""What the driver says of a disturbed card, by a driver that is made up; the names are the library's own."""

from types import SimpleNamespace

import pytest
import torch

from harness.measuring import nvidia

pynvml = pytest.importorskip("pynvml")


@pytest.fixture
def driver(monkeypatch):
    """Answers of the driver, by the name of the question; an exception is raised."""
    answers = {"nvmlInit": None, "nvmlDeviceGetHandleByUUID": "card"}

    def answering(name):
        def answer(*_):
            if isinstance(answers[name], Exception):
                raise answers[name]
            return answers[name]

        return answer

    properties = {"cuda:1": SimpleNamespace(uuid="1")}
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties.__getitem__)
    for name in (*answers, "nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetComputeRunningProcesses"):
        monkeypatch.setattr(pynvml, name, answering(name))
    return answers


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        ((), ()),
        (("GpuIdle", "SwPowerCap", "ApplicationsClocksSetting"), ()),
        (("HwSlowdown", "HwThermalSlowdown"), ("hardware slowdown", "too hot (hardware)")),
        (("SwThermalSlowdown",), ("too hot (driver)",)),
        (("HwPowerBrakeSlowdown", "GpuIdle"), ("power brake",)),
    ],
)
def test_a_card_is_throttled_by_heat_and_faults_and_not_by_its_normal_work(driver, reasons, words):
    bits = sum(getattr(pynvml, f"nvmlClocksThrottleReason{name}") for name in reasons)
    driver |= {"nvmlDeviceGetCurrentClocksThrottleReasons": bits, "nvmlDeviceGetComputeRunningProcesses": []}
    assert nvidia.disturbances("cuda:1") == (words, 0)


@pytest.mark.parametrize(("processes", "others"), [(0, 0), (1, 0), (3, 2)])
def test_one_process_on_the_card_is_ours(driver, processes, others):
    driver |= {
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0,
        "nvmlDeviceGetComputeRunningProcesses": ["process"] * processes,
    }
    assert nvidia.disturbances("cuda:1") == ((), others)


def test_what_the_driver_does_not_tell_is_not_known(driver):
    error = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    driver |= {"nvmlDeviceGetCurrentClocksThrottleReasons": error, "nvmlDeviceGetComputeRunningProcesses": error}
    assert nvidia.disturbances("cuda:1") == (None, None)
    driver["nvmlInit"] = error
    assert nvidia.disturbances("cuda:1") == (None, None)


def test_of_the_cpu_the_driver_is_not_asked(driver):
    driver["nvmlInit"] = AssertionError("asked")
    assert (nvidia.stable("cpu"), nvidia.volatile("cpu"), nvidia.disturbances("cpu")) == ({}, {}, (None, None))
