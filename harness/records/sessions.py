"""A session as a file of a baseline holds it: pytest-benchmark's own JSON, with our record under one key."""

import msgspec

from harness.records.fingerprint import Fingerprint
from harness.records.lines import RunRecord

BENCHMARK_FILE_NAME = "benchmark.json"
EXTRA_KEY = "event_vlm_perf"


class SessionRecord(msgspec.Struct, frozen=True):
    """What we add to pytest-benchmark's file: the whole run, its fingerprint, and the arguments that made it."""

    fingerprint: Fingerprint
    run: RunRecord
    arguments: tuple[str, ...] = ()


class SessionFile(msgspec.Struct, frozen=True):
    """What we read of a session's file."""

    event_vlm_perf: SessionRecord
