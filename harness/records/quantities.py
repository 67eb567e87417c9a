"""The numbers that records hold, with the bounds that they are checked against when a file is read."""

from __future__ import annotations

from typing import Annotated

import msgspec

# Checked when a file is read, not when a record is made. The largest are those of thirty years, and of a pebibyte.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=1e9)]  # a clock that was moved by hand may have stood still
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class MemoryPeak(msgspec.Struct, frozen=True):
    """Peaks in bytes over one call. None: could not be measured here.

    `host_bytes` is the peak resident set of the whole process, `device_*` are PyTorch's own allocations.
    """

    host_bytes: int | None = None
    device_allocated_bytes: int | None = None
    device_reserved_bytes: int | None = None
