"""What failed: samples of whole passes and of stage tests, side by side; and how a run ended."""

from __future__ import annotations

import msgspec
import pytest

from harness.records.lines import EndRecord, Failure, GateRecord, RunRecord, VerdictRecord
from harness.report.blocks import Sentences, Table, plain
from harness.report.content import report_of
from harness.report.sections.judgement import baseline, limits
from harness.report.sections.verdict import verdict
from harness.report.terminal import gate_lines
from tests.harness.made_runs import STARTED_AT, failed_pass, header, run_with, stage_test
from tests.harness.report.reading import section


def test_samples_that_failed_in_passes_and_in_stage_tests_are_all_told() -> None:
    torn = Failure("s2", "load", "MediaError", "it is torn")
    passes = failed_pass("egpt", "s1", "decode", "too long"), failed_pass("videollava", "s1", "decode", "too long")
    test = msgspec.structs.replace(stage_test("egpt", "load", {"s1": [1.0]}), failures=(torn, torn))
    report = report_of(run_with(*passes, test), "x")
    assert list(map(plain, report.problems)) == [
        "egpt: decode of sample 's1' failed: SampleError: too long",
        "videollava: decode of sample 's1' failed: SampleError: too long",
        "egpt: load of sample 's2' failed: MediaError: it is torn",
    ]
    (table,) = (each for each in section(report, "failures").blocks if isinstance(each, Table))
    assert [list(map(plain, row)) for row in table.rows] == [
        ["egpt", "s1", "decode", "SampleError: too long"],
        ["videollava", "s1", "decode", "SampleError: too long"],
        ["egpt", "s2", "load", "MediaError: it is torn"],
    ]


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (None, ("doubt", "unfinished")),
        (0, ("good", "passed")),
        (1, ("bad", "failed")),
        (2, ("bad", "ended early")),
        (10, ("doubt", "not measured")),
        (11, ("doubt", "not decided")),
        (12, ("doubt", "no baseline")),
    ],
)
def test_only_a_run_that_passed_is_green(end: int | None, shown: tuple[str, str]) -> None:
    found = verdict(RunRecord(header(), end=None if end is None else EndRecord(STARTED_AT, end, "why")))
    assert found is not None
    assert (found.tone, found.label) == shown


def test_of_figures_that_pass_the_nearest_to_its_own_limit_comes_first() -> None:
    gates = tuple(
        GateRecord(f"time.{stage}.egpt", "pass", "as it was", ("t",), 0.1, 0.0, loss, limit)
        for stage, loss, limit in (("load", 0.05, 0.1), ("vision", 0.02, 0.03), ("decode", -0.2, 0.01))
    )
    (found,) = baseline(RunRecord(header(), gates=gates))
    (table,) = (each for each in found.blocks if isinstance(each, Table))
    assert [plain(row[0]) for row in table.rows] == ["time.vision.egpt", "time.load.egpt", "time.decode.egpt"]
    assert "PASS             time.vision.egpt: as it was" in gate_lines(gates)


@pytest.mark.parametrize(
    ("device", "rest"),
    [("cpu", "2 do not apply here, 3 not measured"), ("cuda", "1 do not apply here, 4 not measured")],
)
def test_limits_of_memory_that_the_device_has_not_got_are_told_from_those_not_measured(device: str, rest: str) -> None:
    kinds = (
        "device_memory_mib.egpt.load",
        "device_memory_mib.egpt.decode",
        "host_memory_mib.egpt.load",
        "ttft_ms.egpt",
    )
    left_out = [VerdictRecord(f"eager.{kind}", "not run", "not measured") for kind in (*kinds, "total_ms.egpt")]
    kept = VerdictRecord("eager.median_ms.egpt.load", "pass", "it was fast")
    broken = VerdictRecord("eager.median_ms.egpt.decode", "broken", "it was slow")
    (found,) = limits(RunRecord(header(device=device), verdicts=(kept, *left_out, broken)))
    (line,) = (each for each in found.blocks if isinstance(each, Sentences))
    assert line.lines == [f"2 of 7 limits checked, 1 broken; {rest}"]
