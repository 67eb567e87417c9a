"""A run that was gone on with elsewhere: its times stay apart, its answers do not."""

from __future__ import annotations

import msgspec

from harness.figures.passes import throughput
from harness.gates.limits import judge
from harness.legacy.writing import legacy_records
from harness.records.fingerprint import by_machine, machine_name
from harness.records.lines import AttemptRecord, MachineRecord, RunRecord
from tests.harness.made_runs import ENVIRONMENT, STARTED_AT, header, whole_pass

GPU = {"name": "NVIDIA H200", "uuid": "GPU-1", "count": 2, "driver": "570.1"}
LIMIT = "eager.speedup.videollava.total"


def moved() -> RunRecord:
    """The second sample of both models was measured elsewhere, in a tenth of the time."""
    here = [whole_pass(model, "s1", (1, 1, 1, 1, 1)) for model in ("egpt", "videollava")]
    there = [
        whole_pass(model, "s2", (0.1, 0.1, 0.1, 0.1, 0.1), machine="a fast one") for model in ("egpt", "videollava")
    ]
    return RunRecord(header=header(("s1", "s2")), passes=(*here, *there))


def test_a_run_on_one_machine_is_one_part() -> None:
    run = RunRecord(header=header(), passes=(whole_pass("egpt"),))
    assert by_machine(run) == {machine_name(run.header.environment): run}


def test_each_machine_has_its_own_samples() -> None:
    samples = [[each.sample for each in part.passes] for part in by_machine(moved()).values()]
    assert samples == [["s1", "s1"], ["s2", "s2"]]


def test_a_part_is_under_the_conditions_of_its_own_machine() -> None:
    """What no record ties to one of the machines, as how fast it moves bytes, is in no part."""
    elsewhere = ENVIRONMENT | {"memory_bytes": 1 << 40}
    attempt = AttemptRecord(STARTED_AT, elsewhere, machine="a fast one")
    run = msgspec.structs.replace(moved(), attempts=(attempt,), machine=MachineRecord(1e9, 1e9, {}))
    parts = by_machine(run).values()
    assert [part.header.environment for part in parts] == [ENVIRONMENT, elsewhere]
    assert [part.machine for part in parts] == [None, None]


def test_limits_of_times_on_several_machines_are_not_judged() -> None:
    (verdict,) = judge({LIMIT: 0.5}, moved())
    assert verdict.state == "not run"
    assert "times of several machines are not averaged" in verdict.sentence


def test_the_legacy_file_has_every_sample_and_its_agreement() -> None:
    records = legacy_records(moved())
    assert [record["id"] for record in records] == ["s1", "s2"]
    assert all(record["videollava_acceptance_compared"] == 3 for record in records)


def test_ranks_make_another_machine_and_another_card_of_the_kind_does_not() -> None:
    environment = ENVIRONMENT | {"gpu": GPU}
    assert machine_name(environment) == machine_name(environment | {"gpu": GPU | {"uuid": "GPU-2"}, "host": "b"})
    names = {
        machine_name(environment | changes)
        for changes in ({}, {"world_size": 2}, {"ranks_per_node": 2}, {"usable_cores": 64}, {"gpu": GPU | {"count": 1}})
    }
    assert len(names) == 5


def test_ranks_that_work_side_by_side_add_their_rates() -> None:
    def ahead(sample: str, seconds: float, rank: int) -> object:
        return whole_pass("egpt", sample, kind="throughput", stage_s={}, whole_s=seconds, rank=rank)

    passes = (ahead("s1", 2.0, 0), ahead("s2", 2.0, 0), ahead("s3", 1.0, 1))
    run = msgspec.structs.replace(moved(), passes=passes)
    assert throughput(run, "egpt", "eager") == 0.5 + 1.0
