import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.metrics import Metric, gate_estimate, session_metrics
from harness.records.lines import RunRecord
from harness.records.quantities import MemoryPeak
from tests.harness.made_runs import agreement, full_run, header, headline_run, stage_test, whole_pass

SECONDS = st.floats(1e-6, 1e3)


def metrics_of(*stages, **changes) -> dict[str, Metric]:
    return session_metrics(RunRecord(header=header(**changes), stages=stages))


def test_a_session_has_every_kind_of_figure_under_its_name() -> None:
    found = session_metrics(full_run())
    assert {
        "time.load.egpt", "time.load.videollava.legacy reader", "time.decode.llava.eager", "ms_per_token.egpt.eager",
        "memory.prefill.videollava.eager", "acceptance.llava.eager", "speedup.stage1.videollava",
        "speedup.stage3.llava.eager", "speedup.total.videollava.eager",
    } <= set(found)  # fmt: skip
    assert all(name == metric.name for name, metric in found.items())


def test_samples_are_pooled_by_the_mean_of_each_ones_faster_half() -> None:
    rounds = {"s1": [100.0, 2.0, 200.0, 8.0], "s2": [9.0]}
    found = metrics_of(stage_test("egpt", "vision", rounds))["time.vision.egpt"]
    assert math.exp(found.value) == pytest.approx(6.0)  # the geometric mean of that of 2 and 8, and of 9
    assert found.rounds == 5


def test_a_sample_that_gets_slower_is_seen_whatever_the_others_take() -> None:
    before = metrics_of(stage_test("egpt", "load", {"s1": [1], "s2": [5], "s3": [9]}))
    after = metrics_of(stage_test("egpt", "load", {"s1": [1], "s2": [5], "s3": [18]}))
    assert after["time.load.egpt"].value > before["time.load.egpt"].value


@given(st.dictionaries(st.text(), st.lists(SECONDS, min_size=1), min_size=1), st.floats(0.1, 10))
def test_a_stage_that_takes_so_many_times_as_long_moves_by_that_logarithm(rounds, factor) -> None:
    slower = {sample: [factor * each for each in values] for sample, values in rounds.items()}
    assert gate_estimate(slower) - gate_estimate(rounds) == pytest.approx(math.log(factor), abs=1e-9)


def test_a_decoding_step_is_counted_from_the_second_token_on() -> None:
    decode = metrics_of(stage_test("egpt", "decode", {"s1": [3.0]}))["ms_per_token.egpt.eager"]
    assert decode.format(decode.value) == "1000 ms"  # four tokens, three steps
    assert decode.format(decode.value + math.log(12.5)) == "12500 ms"


def test_what_made_no_tokens_has_no_pace() -> None:
    assert not [name for name in metrics_of(stage_test("egpt", "load", {"s1": [1]})) if name.startswith("ms_per")]


def test_speedups_are_logarithms_and_acceptance_is_the_plain_share() -> None:
    found = session_metrics(headline_run())
    assert math.exp(found["speedup.total.videollava.eager"].value) == pytest.approx(9.463 / 1.851, rel=1e-3)
    accepted = session_metrics(full_run())["acceptance.llava.eager"]
    assert (accepted.value, accepted.rounds, accepted.tests) == (2 / 3, 2, ("test_speculative",))
    assert not found["speedup.total.videollava.eager"].lower_is_better


def test_answers_written_independently_have_no_acceptance() -> None:
    passes = (whole_pass("egpt"), whole_pass("videollava"))
    assert "acceptance.videollava.eager" not in session_metrics(RunRecord(header(), passes=passes))


def test_a_figure_names_the_tests_that_it_was_measured_by() -> None:
    passes = (whole_pass("egpt", test="whole[egpt]"), whole_pass("videollava", test="whole[videollava]"))
    stages = (
        stage_test("egpt", "load", {"s1": [1]}, test="load[egpt]"),
        stage_test("videollava", "load", {"s1": [1]}, test="load[videollava]"),
        stage_test("videollava", "load", {"s1": [1]}, test="legacy[videollava]", variant="legacy reader"),
    )
    agreements = tuple(
        agreement("s1", (True, True), (True, True), target=target, test=f"drafts[{target}]")
        for target in ("videollava", "llava")
    )
    of_three = header(models=("egpt", "videollava", "llava"), targets=("videollava", "llava"))
    found = session_metrics(RunRecord(header=of_three, stages=stages, passes=passes, agreements=agreements))
    assert found["acceptance.llava.eager"].tests == ("drafts[llava]",)
    assert found["speedup.total.videollava.eager"].tests == ("whole[egpt]", "whole[videollava]")
    assert found["speedup.stage1.videollava"].tests == ("load[egpt]", "legacy[videollava]")
    assert found["time.load.videollava"].tests == ("load[videollava]",)


def test_stage_1_is_compared_by_the_faster_half() -> None:
    draft, target = ([100.0, 2.0, 200.0, slower] for slower in (4.0, 16.0))
    stages = (
        stage_test("egpt", "load", {"s1": draft}),
        stage_test("videollava", "load", {"s1": target}, variant="legacy reader"),
    )
    found = session_metrics(RunRecord(header(), stages=stages))["speedup.stage1.videollava"]
    assert math.exp(found.value) == pytest.approx(3.0)


@pytest.mark.parametrize(("device", "mebibytes"), [("cpu", 7), ("cuda", 5)])
def test_memory_is_that_of_where_the_models_are(device: str, mebibytes: int) -> None:
    peak = MemoryPeak(host_bytes=7 * 2**20, device_allocated_bytes=5 * 2**20)
    stage = stage_test("egpt", "vision", {"s1": [1]}, memory={"s1": peak})
    found = metrics_of(stage, device=device)["memory.vision.egpt"]
    assert found.format(found.value) == f"{mebibytes} MiB"


def test_memory_that_could_not_be_measured_is_not_there() -> None:
    assert set(metrics_of(stage_test("egpt", "vision", {"s1": [1]}, memory={"s1": MemoryPeak()}))) == {
        "time.vision.egpt"
    }


def test_a_gpu_is_expected_to_repeat_itself_more_closely_than_a_cpu() -> None:
    decode = stage_test("egpt", "decode", {"s1": [1]})
    on_cpu, on_gpu = (
        metrics_of(decode, device=device)["time.decode.egpt.eager"].minimum_effect for device in ("cpu", "cuda")
    )
    assert on_gpu == pytest.approx(math.log(1.03))
    assert on_cpu > on_gpu


@pytest.mark.parametrize(("device", "decode"), [("cpu", 0.05), ("cuda", 0.03)])
def test_a_speedup_may_vary_as_much_as_what_it_is_made_of(device: str, decode: float) -> None:
    passes = (whole_pass("egpt"), whole_pass("videollava"))
    loads = (
        stage_test("egpt", "load", {"s1": [1]}),
        stage_test("videollava", "load", {"s1": [1]}, variant="legacy reader"),
    )
    found = session_metrics(RunRecord(header(device=device), stages=loads, passes=passes))
    effects = {name: math.expm1(each.minimum_effect) for name, each in found.items() if each.kind == "speedup"}
    assert effects == pytest.approx(
        {
            "speedup.stage1.videollava": 0.1,
            "speedup.stage3.videollava.eager": decode,
            "speedup.total.videollava.eager": 0.1,
        }
    )
