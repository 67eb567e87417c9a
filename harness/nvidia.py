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
