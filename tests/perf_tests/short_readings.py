"""A plugin for suites that tests start: speeds are read in no time, since nobody asks how fast anything is."""

from __future__ import annotations

from harness.measuring import device_peaks, reference_work, speculation

device_peaks._CPU_BYTES, device_peaks._CPU_SIDE = 1 << 20, 64
device_peaks._WARM_UP, device_peaks._ROUNDS = 1, 2
reference_work.WARM_UP, reference_work.ROUNDS = 1, 3
speculation.measure_step_times.__kwdefaults__["turns"] = 1
