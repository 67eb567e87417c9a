"""Peak rates of the device, measured at the start of a run; rooflines of all stages come from them."""

from collections.abc import Callable, Sequence

from harness.measuring import clock
from harness.records.lines import MachineRecord
from harness.records.quantities import is_gpu

# Arrays far larger than any cache, and products that fill a GPU; on a CPU some tenth of a second of work.
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
    return size / _fastest_s(source.amax), 2 * size / _fastest_s(lambda: target.copy_(source))


def _product_rate(device: str, dtype: str, side: int) -> float:
    """Return operations per second of a product of two matrices of random numbers (zeros would run faster)."""
    import torch

    how = {"device": device, "dtype": getattr(torch, dtype), "generator": torch.Generator(device).manual_seed(0)}
    if dtype == "int8":
        left, right = (torch.randint(-127, 128, (side, side), **how) for _ in range(2))
        return 2 * side**3 / _fastest_s(lambda: torch._int_mm(left, right.t()))
    left, right = (torch.randn((side, side), **how) for _ in range(2))
    product = torch.empty_like(left)
    return 2 * side**3 / _fastest_s(lambda: torch.mm(left, right, out=product))


def _fastest_s(work: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        work()
    return min(clock.seconds_of(work) for _ in range(_ROUNDS))
