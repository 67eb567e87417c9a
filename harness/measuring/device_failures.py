"""What to do after a sample failed on the GPU: give memory back, or end a process whose device is lost."""

from __future__ import annotations

import gc
import sys

from harness.measuring.stopping import StopRequestedError
from harness.records.lines import Failure

# By name: the harness records what an exception is called, and imports no torch to know it.
OUT_OF_MEMORY, DEVICE_LOST = "OutOfMemoryError", "AcceleratorError"


def recover_from(failure: Failure | None) -> None:
    """Give memory back after the GPU ran out of it; its allocator's words in the record say what was asked and free.

    Raises StopRequestedError where CUDA itself failed: nothing works in this process any more, and every further
    sample would be recorded as failed that a new process could measure.
    """
    if failure is None:
        return
    if failure.type == OUT_OF_MEMORY and "torch" in sys.modules:
        gc.collect()
        sys.modules["torch"].cuda.empty_cache()  # does nothing where CUDA was not used
    if failure.type == DEVICE_LOST:
        raise StopRequestedError(f"the GPU cannot be used any more by this process: {failure.text.splitlines()[0]}")
