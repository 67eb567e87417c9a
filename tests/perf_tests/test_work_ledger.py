"""What stages of a real model do, counted in two runs."""

from dataclasses import replace

from harness.stages import STAGES

WATCHED = "test_work or load"


def test_what_stages_do_is_the_same_in_another_process_with_other_tests_before(suite, tmp_path):
    other = replace(suite, output=tmp_path / "other")
    assert suite.run("--models=llava,egpt", "-k", WATCHED).returncode == 0
    assert other.run("--models=egpt", "-k", WATCHED, "--stage_samples=1").returncode == 0
    before, after = (
        {each.stage: each for each in each.record().works if each.model == "egpt"} for each in (suite, other)
    )
    assert list(after) == list(STAGES)
    for stage, found in after.items():
        assert (found.profiler, found.reason) == ("cpu", "")
        assert (found.sample, found.counts, found.versions) == (
            before[stage].sample,
            before[stage].counts,
            before[stage].versions,
        )
        counts = [{name: call.count for name, call in each.calls.items()} for each in (before[stage], found)]
        assert counts[0] == counts[1]
    load, _, vision, _, decode = after.values()
    assert (load.counts["frames"], vision.counts["frames"], decode.counts["tokens"]) == (5, 5, 4)
    assert load.counts["read_bytes"] > load.counts["files"] > 0
    assert vision.counts["allocated_bytes"] > vision.counts["allocations"] > 0
    assert len(vision.calls) > 10
