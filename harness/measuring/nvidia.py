"""Driver, power cap and clocks of a card, from NVIDIA's management library where it is installed."""

from collections.abc import Callable
from typing import Any

from harness.records.quantities import is_gpu

THROTTLE_REASONS = {
    "HwSlowdown": "hardware slowdown",
    "SwThermalSlowdown": "too hot (driver)",
    "HwThermalSlowdown": "too hot (hardware)",
    "HwPowerBrakeSlowdown": "power brake",
}


def stable(device: str) -> dict[str, Any]:
    """Return driver version and power cap in watts, or under `unknown` the reason why not."""
    return _read(
        device,
        lambda nvml, card: {
            "driver": nvml.nvmlSystemGetDriverVersion(),
            "power_cap_w": nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000,
        },
    )


def volatile(device: str) -> dict[str, Any]:
    """Return clocks in MHz, temperature in °C, power in watts, load in percent, or under `unknown` why not."""
    return _read(
        device,
        lambda nvml, card: {
            "sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM),
            "temperature_c": nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU),
            "power_w": nvml.nvmlDeviceGetPowerUsage(card) / 1000,
            "load_percent": nvml.nvmlDeviceGetUtilizationRates(card).gpu,
        },
    )


def disturbances(device: str) -> tuple[tuple[str, ...] | None, int | None]:
    """Return the reasons of throttling and the number of other processes on the card; None where not known."""

    # Idling, and keeping to the power cap under load, are no throttling.
    def throttled(nvml: Any, card: Any) -> dict[str, Any]:
        bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)
        names = [name for name in THROTTLE_REASONS if bits & getattr(nvml, f"nvmlClocksThrottleReason{name}")]
        return {"why": tuple(map(THROTTLE_REASONS.__getitem__, names))}

    # One of the processes is this one; its id cannot tell which, since it differs inside a container.
    users = _read(device, lambda nvml, card: {"processes": nvml.nvmlDeviceGetComputeRunningProcesses(card)})
    others = max(0, len(users["processes"]) - 1) if "processes" in users else None
    return _read(device, throttled).get("why"), others


def _read(device: str, readings: Callable[[Any, Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the `readings` of a card, `unknown` with the reason where that fails, and nothing on the CPU."""
    if not is_gpu(device):
        return {}
    import torch

    try:
        import pynvml
    except ImportError:
        return {"unknown": "driver, power cap and clocks: nvidia-ml-py is not installed (pip install nvidia-ml-py)"}
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        return readings(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
    except pynvml.NVMLError as error:
        return {"unknown": f"driver, power cap and clocks: {error}"}
