"""The device's peak rates, measured where the models run: what every stage's roofline is made of."""

from collections.abc import Callable, Sequence

from harness.measuring import clock
from harness.records.lines import MachineRecord
from harness.records.quantities import is_gpu

# Far beyond any cache, and a product that fills the device; on a CPU what takes a tenth of a second.
_GPU_BYTES, _CPU_BYTES = 2 << 30, 128 << 20
_GPU_SIDE, _CPU_SIDE = 8192, 1024
_WARM_UP, _ROUNDS = 2, 7


def measure_device_peaks(device: str, dtypes: Sequence[str]) -> MachineRecord:
    """Return the best rates of a large read, a large copy and products in `dtypes`; leaves no memory on `device`."""
    import torch

    on_gpu = is_gpu(device)
    read, copied = _memory_rates(device, _GPU_BYTES if on_gpu else _CPU_BYTES)
    rates = {name: _product_rate(device, name, _GPU_SIDE if on_gpu else _CPU_SIDE) for name in dtypes}
    if on_gpu:
        torch.cuda.empty_cache()
    return MachineRecord(read, copied, rates)


def _memory_rates(device: str, size: int) -> tuple[float, float]:
    """Return bytes per second of reading an array of `size` bytes, and of copying it, both sides counted."""
    import torch

    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return size / _best(source.amax), 2 * size / _best(lambda: target.copy_(source))


def _product_rate(device: str, dtype: str, side: int) -> float:
    """Return operations per second of a product of two matrices of random numbers (zeros would run faster)."""
    import torch

    how = {"device": device, "dtype": getattr(torch, dtype), "generator": torch.Generator(device).manual_seed(0)}
    if dtype == "int8":
        left, right = (torch.randint(-127, 128, (side, side), **how) for _ in range(2))
        return 2 * side**3 / _best(lambda: torch._int_mm(left, right.t()))
    left, right = (torch.randn((side, side), **how) for _ in range(2))
    product = torch.empty_like(left)
    return 2 * side**3 / _best(lambda: torch.mm(left, right, out=product))


def _best(work: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        work()
    return min(clock.seconds_of(work) for _ in range(_ROUNDS))
