"""What only NVIDIA's management library tells of a card: driver, power cap, clocks. Empty where it is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def stable(uuid: str) -> dict[str, Any]:
    """Return driver version and power cap in watts, or why they are not known."""
    return _ask(uuid, _stable_readings)


def volatile(uuid: str) -> dict[str, Any]:
    """Return clocks in MHz, temperature in degrees Celsius, power in watts, load in percent, or why not."""
    return _ask(uuid, _volatile_readings)


def disturbances(uuid: str) -> tuple[tuple[str, ...] | None, int | None]:
    """Return why the card is throttled, and how many other processes use it; None for what the driver does not tell.

    A process counts as ours if it is the only one: inside a container its number is another.
    """
    found = _ask(
        uuid, lambda nvml, card: {"why": _throttle_reasons(nvml, card), "others": _other_processes(nvml, card)}
    )
    return found.get("why"), found.get("others")


def _throttle_reasons(nvml: Any, card: Any) -> tuple[str, ...] | None:
    """Reasons that slow a card down; that it idles, or keeps to its power cap under load, is its normal work."""
    names = {"HwSlowdown": "hardware slowdown", "SwThermalSlowdown": "too hot (driver)"}
    names |= {"HwThermalSlowdown": "too hot (hardware)", "HwPowerBrakeSlowdown": "power brake"}
    try:
        bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)
    except nvml.NVMLError:
        return None
    return tuple(words for name, words in names.items() if bits & getattr(nvml, f"nvmlClocksThrottleReason{name}"))


def _other_processes(nvml: Any, card: Any) -> int | None:
    try:
        return max(0, len(nvml.nvmlDeviceGetComputeRunningProcesses(card)) - 1)
    except nvml.NVMLError:
        return None


def _ask(uuid: str, readings: Callable[[Any, Any], dict[str, Any]]) -> dict[str, Any]:
    try:
        import pynvml
    except ImportError:
        return {"unknown": "driver, power cap and clocks: nvidia-ml-py is not installed (pip install nvidia-ml-py)"}
    try:
        pynvml.nvmlInit()
        return readings(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except pynvml.NVMLError as error:
        return {"unknown": f"driver, power cap and clocks: {error}"}


def _stable_readings(nvml: Any, card: Any) -> dict[str, Any]:
    return {
        "driver": nvml.nvmlSystemGetDriverVersion(),
        "power_cap_w": nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000,
    }


def _volatile_readings(nvml: Any, card: Any) -> dict[str, Any]:
    return {
        "sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM),
        "temperature_c": nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU),
        "power_w": nvml.nvmlDeviceGetPowerUsage(card) / 1000,
        "load_percent": nvml.nvmlDeviceGetUtilizationRates(card).gpu,
    }
