"""The numbers that records hold, with the bounds that they are checked against when a file is read."""

import re
from collections.abc import Iterable
from typing import Annotated, Self

import msgspec

# Checked when a file is read, not when a record is made: a picosecond to thirty years, and up to a pebibyte.
Seconds = Annotated[float, msgspec.Meta(ge=1e-12, le=1e9)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=1e9)]  # 0 s where a clock moved by hand stood still
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class MemoryPeak(msgspec.Struct, frozen=True):
    """Peaks of memory over one call; `device_*` are PyTorch's allocations. None: not measurable on this system."""

    host_bytes: int | None = None  # the peak resident set of the whole process
    device_allocated_bytes: int | None = None
    device_reserved_bytes: int | None = None
    host_growth_bytes: int | None = None  # host_bytes less the resident set at the start of the call

    def on(self, device: str) -> int | None:
        """Return the peak in bytes of the memory that holds a model on `device`."""
        # With the model on a GPU, most of the host's memory is CUDA's libraries.
        return self.device_allocated_bytes if is_gpu(device) else self.host_bytes

    @classmethod
    def highest(cls, peaks: Iterable[Self]) -> Self:
        """Return the maximum of each kind of peak; None where none was measured."""
        known = list(peaks)
        sizes = {name: [getattr(peak, name) for peak in known] for name in cls.__struct_fields__}
        return cls(**{name: max((each for each in of if each is not None), default=None) for name, of in sizes.items()})


def is_gpu(device: str) -> bool:
    """Return whether a device by PyTorch's name ("cuda", "cuda:1", "cpu") is a GPU."""
    return device.startswith("cuda")


def in_digits(form: str, value: float) -> str:
    """Return `form.format(value)`; a large value as a whole number, where `g` would write an exponent."""
    shown = form.format(value)
    return re.sub(r"\.\dg", ".0f", form).format(value) if "e+" in shown else shown


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless it is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"


MIB = 1024 * 1024
