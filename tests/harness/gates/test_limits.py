from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LimitsError
from harness.gates.limits import Vocabulary, judge, load_limits, measured
from harness.records.lines import RunRecord, VerdictRecord
from harness.records.quantities import MemoryPeak
from tests.harness.made_runs import agreement, full_run, header, host_peak, stage_test, whole_pass

REPOSITORY = Path(__file__).parents[3]
EVERY_MODEL = Vocabulary(("tiny", "full", "checkpoint"), ("eager", "graph"), ("egpt", "videollava", "llava"))
KNOWN = Vocabulary(model_sets=("tiny", "full"), engines=("eager", "graph"), models=("egpt", "videollava"))
MIB = 1024 * 1024


def limits_of(tmp_path: Path, content: str, model_set: str = "tiny", engines: tuple[str, ...] = ("eager",)) -> Any:
    path = tmp_path / "limits.toml"
    path.write_text(content, encoding="utf-8")
    return load_limits(path, KNOWN, model_set, engines)


EVERY_KIND = """
[tiny.eager]
speedup.videollava.stage1 = 2
speedup.videollava.stage3 = 1.5
speedup.videollava.total = 1.25
acceptance.videollava = 0.5
vision_lift.videollava = 0.125
ttft_ms.egpt = 200
ms_per_token.egpt = 30
total_ms.egpt = 900
median_ms.egpt.load = 60
host_memory_mib.egpt.decode = 2000
device_memory_mib.egpt.decode = 0
[tiny.graph]
acceptance.videollava = 0.75
[full.eager]
acceptance.videollava = 0.25
"""


def test_every_kind_of_limit_is_read_by_its_name(tmp_path: Path) -> None:
    assert limits_of(tmp_path, EVERY_KIND) == {
        "eager.speedup.videollava.stage1": 2.0,
        "eager.speedup.videollava.stage3": 1.5,
        "eager.speedup.videollava.total": 1.25,
        "eager.acceptance.videollava": 0.5,
        "eager.vision_lift.videollava": 0.125,
        "eager.ttft_ms.egpt": 200.0,
        "eager.ms_per_token.egpt": 30.0,
        "eager.total_ms.egpt": 900.0,
        "eager.median_ms.egpt.load": 60.0,
        "eager.host_memory_mib.egpt.decode": 2000.0,
        "eager.device_memory_mib.egpt.decode": 0.0,
    }


def test_only_the_limits_of_the_set_and_the_engines_that_run_are_taken(tmp_path: Path) -> None:
    assert limits_of(tmp_path, EVERY_KIND, "full") == {"eager.acceptance.videollava": 0.25}
    assert limits_of(tmp_path, EVERY_KIND, "full", ("graph",)) == {}
    assert limits_of(tmp_path, EVERY_KIND, "tiny", ("graph",)) == {"graph.acceptance.videollava": 0.75}


def test_an_empty_file_limits_nothing(tmp_path: Path) -> None:
    assert limits_of(tmp_path, "# nothing yet\n[tiny.eager]\n") == {}


@pytest.mark.parametrize("model_set", ["tiny", "full"])
@pytest.mark.parametrize(
    ("content", "unknown", "right"),
    [
        ("[tinny.eager]", "'tinny'", "tiny, full"),
        ("[tiny.eagre]", "'eagre' in [tiny]", "eager, graph"),
        (
            "[tiny.eager]\nspeedups.videollava.total = 1",
            "'speedups' in [tiny.eager]",
            "speedup, acceptance, vision_lift, quality, ttft_ms, ms_per_token, total_ms, median_ms, host_memory_mib, "
            "device_memory_mib",
        ),
        ("[tiny.eager]\nquality.egpt.colours = 1", "'colours'", "objects_named, ended, finite, repeated, as_eager"),
        ("[tiny.eager]\nspeedup.lava.total = 1", "'lava' in [tiny.eager.speedup]", "egpt, videollava"),
        ("[tiny.eager]\nacceptance.lava = 1", "'lava' in [tiny.eager.acceptance]", "egpt, videollava"),
        (
            "[tiny.eager]\nspeedup.videollava.stage2 = 1",
            "'stage2' in [tiny.eager.speedup.videollava]",
            "stage1, stage3, total",
        ),
        (
            "[tiny.eager]\nmedian_ms.egpt.lode = 1",
            "'lode' in [tiny.eager.median_ms.egpt]",
            "load, preprocess, vision, prefill, decode",
        ),
        ("[tiny.eager]\nhost_memory_mib.egpt.lode = 1", "'lode'", "load, preprocess"),
        ("[tiny.eager]\ndevice_memory_mib.egpt.lode = 1", "'lode'", "load, preprocess"),
    ],
)
def test_unknown_key_is_named_with_the_right_ones_in_whichever_set_it_stands(
    content: str, unknown: str, right: str, model_set: str, tmp_path: Path
) -> None:
    message = f"limits.toml: unknown key {re.escape(unknown)}.*; there are: {right}"
    with pytest.raises(LimitsError, match=message):
        limits_of(tmp_path, content, model_set)


@pytest.mark.parametrize("value", ["-0.001", "nan", "inf", "-inf", "true", '"8.1"', "[1]", "{ stage1 = 1 }", "9" * 310])
def test_a_limit_is_a_finite_number_from_0_up(value: str, tmp_path: Path) -> None:
    with pytest.raises(LimitsError, match=r"limits\.toml: tiny\.eager\.median_ms\.egpt\.load must be a number"):
        limits_of(tmp_path, f"[tiny.eager]\nmedian_ms.egpt.load = {value}")
    with pytest.raises(LimitsError, match=r"tiny\.eager\.acceptance\.egpt must be a number"):
        limits_of(tmp_path, f"[tiny.eager]\nacceptance.egpt = {value}")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("tiny = 1", "tiny"),
        ("tiny.eager = 1", "tiny.eager"),
        ("tiny.eager.speedup = 1", "tiny.eager.speedup"),
        ("tiny.eager.speedup.videollava = 1", "tiny.eager.speedup.videollava"),
    ],
)
def test_a_number_too_early_is_named_with_what_goes_there(content: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(LimitsError, match=rf"limits\.toml: {re.escape(where)} must be a table with keys out of: \w+"):
        limits_of(tmp_path, content)


def test_a_file_that_is_not_toml_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimitsError, match=r"limits\.toml: is not TOML: Expected .*; correct it, or name"):
        limits_of(tmp_path, "[tiny.eager")
    (tmp_path / "limits.toml").write_bytes(b"\xff")
    with pytest.raises(LimitsError, match=r"limits\.toml: is not TOML"):
        load_limits(tmp_path / "limits.toml", KNOWN, "tiny", ("eager",))
    for content in ("a = [" + "[\n" * 5000, f"a = {'9' * 5000}", "a." * 15_000 + "b = 1", "# a comment\n" * 10_000):
        with pytest.raises(LimitsError, match=r"limits\.toml: (is not TOML: maximum recursion|has more than 100000)"):
            limits_of(tmp_path, content)
    with pytest.raises(LimitsError, match=r"other\.toml: cannot be read .*; --limits names a limits file"):
        load_limits(tmp_path / "other.toml", KNOWN, "tiny", ("eager",))


def run_of_known_figures(device: str = "cpu") -> RunRecord:
    """Median 62.5 ms, speedups 8 (stage 1), 4 (stage 3) and 5 (total), acceptance 0.5, lift 0.5, 64 and 32 MiB."""
    peak = MemoryPeak(host_bytes=64 * MIB, device_allocated_bytes=32 * MIB, device_reserved_bytes=99 * MIB)
    return RunRecord(
        header=header(device=device),
        stages=(
            stage_test("egpt", "load", {"s1": [0.0625]}, memory={"s1": peak}),
            stage_test("videollava", "load", {"s1": [0.5]}, variant="legacy reader"),
        ),
        passes=(
            whole_pass("egpt", "s1", (1, 0, 1, 1, 1), token_ids=(1, 2)),
            whole_pass("videollava", "s1", (8, 0, 4, 4, 4), token_ids=(1, 3, 4)),
        ),
        agreements=tuple(agreement(each, (True, True, False), (True, False, False)) for each in map(str, range(8))),
    )


def verdict_on(name: str, bound: float) -> VerdictRecord:
    device = "cuda:0" if name.startswith("device") else "cpu"
    (verdict,) = judge({f"eager.{name}": bound}, run_of_known_figures(device), "the_test")
    return verdict


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("speedup.videollava.stage1", 8.0),
        ("speedup.videollava.stage3", 4.0),
        ("speedup.videollava.total", 5.0),
        ("acceptance.videollava", 0.5),
        ("vision_lift.videollava", 0.5),
    ],
)
def test_a_lower_bound_holds_at_the_figure_itself_and_breaks_just_above_it(name: str, figure: float) -> None:
    kept, broken = verdict_on(name, figure), verdict_on(name, figure * (1 + 1e-9))
    assert (kept.state, kept.value, kept.bound) == ("pass", figure, figure)
    assert (broken.state, broken.value, broken.test) == ("broken", figure, "the_test")


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("ttft_ms.egpt", 3000.0),
        ("ms_per_token.videollava", 2000.0),
        ("total_ms.videollava", 20_000.0),
        ("median_ms.egpt.load", 62.5),
        ("host_memory_mib.egpt.load", 64.0),
        ("device_memory_mib.egpt.load", 32.0),
    ],
)
def test_an_upper_bound_holds_at_the_figure_itself_and_breaks_just_below_it(name: str, figure: float) -> None:
    kept, broken = verdict_on(name, figure), verdict_on(name, figure * (1 - 1e-9))
    assert (kept.state, kept.value, kept.bound) == ("pass", figure, figure)
    assert (broken.state, broken.value, broken.test) == ("broken", figure, "the_test")


def test_a_median_is_judged_in_the_state_of_most_rounds() -> None:
    for states in (("hit", "hit", "cold"), ("cold", "hit", "hit")):
        rounds = [0.5 if state == "hit" else 9 for state in states]
        run = RunRecord(header(), stages=(stage_test("egpt", "load", {"s1": rounds}, round_states=states),))
        assert measured(run)["eager.median_ms.egpt.load"].value == 500


@pytest.mark.parametrize(
    ("name", "bound", "sentence"),
    [
        ("median_ms.egpt.load", 60, "load of egpt was limited to 60 ms but was 62.5 ms (median of 1)"),
        ("median_ms.egpt.load", 70, "load of egpt was limited to 70 ms and was 62.5 ms (median of 1)"),
        ("median_ms.egpt.load", 12_500, "load of egpt was limited to 12500 ms and was 62.5 ms (median of 1)"),
        (
            "speedup.videollava.total",
            8.1,
            "total speedup of egpt over videollava must be at least 8.1x but was 5x (1 sample)",
        ),
        (
            "speedup.videollava.stage3",
            2.6,
            "stage-3 speedup of egpt over videollava must be at least 2.6x and was 4x (1 sample)",
        ),
        (
            "speedup.videollava.stage1",
            8.1,
            "stage-1 speedup of egpt over videollava by the legacy reader must be at least 8.1x but was 8x (1 sample)",
        ),
        (
            "acceptance.videollava",
            0.6,
            "acceptance of egpt drafting for videollava must be at least 0.6 but was 0.5 (8 samples)",
        ),
        (
            "vision_lift.videollava",
            0.6,
            "vision lift of egpt drafting for videollava, lower end of its interval, must be at least 0.6 but was 0.5 "
            "(8 samples)",
        ),
        (
            "host_memory_mib.egpt.load",
            50,
            "peak resident memory in load of egpt was limited to 50 MiB but was 64 MiB (memory rounds)",
        ),
        (
            "device_memory_mib.egpt.load",
            31,
            "peak GPU memory in load of egpt was limited to 31 MiB but was 32 MiB (memory rounds)",
        ),
    ],
)
def test_verdict_is_one_sentence_with_both_figures_and_their_unit(name: str, bound: float, sentence: str) -> None:
    assert verdict_on(name, bound).sentence == sentence


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("speedup.llava.total", "needs llava and the draft measured on the same samples"),
        ("acceptance.llava", "needs the speculative test of llava on two samples or more"),
        ("vision_lift.llava", "needs the speculative test of llava on 8 samples or more"),
        ("ttft_ms.llava", "needs whole passes of llava, its stages divided"),
        (
            "quality.llava.as_eager",
            "needs whole passes and stage tests of llava, and for as_eager the outputs to compare with",
        ),
        ("median_ms.egpt.decode", "needs the test of stage decode of egpt"),
        ("host_memory_mib.llava.load", "needs memory rounds of llava on a CPU, under Linux"),
        ("device_memory_mib.llava.load", "needs memory rounds of llava on a GPU"),
        (
            "speedup.llava-1.5.stage1",
            "needs llava-1.5 and the draft measured on the same samples, the files of both",
        ),
        ("acceptance.llava-1.5", "needs the speculative test of llava-1.5 on two samples or more"),
        ("median_ms.llava-1.5.decode", "needs the test of stage decode of llava-1.5"),
    ],
)
def test_a_limit_without_its_figure_is_not_run_and_says_what_it_takes(name: str, reason: str) -> None:
    verdict = verdict_on(name, 1.0)
    assert (verdict.state, verdict.value, verdict.bound) == ("not run", None, 1.0)
    assert reason in verdict.sentence


def test_a_lift_that_may_be_chance_is_judged_by_the_lower_end_of_its_interval() -> None:
    lifted, flat = ((True, True), (True, False)), ((True, True), (True, True))
    agreements = tuple(agreement(f"s{n}", *(lifted if n < 4 else flat)) for n in range(8))
    lift = measured(RunRecord(header(), agreements=agreements))["eager.vision_lift.videollava"]
    assert lift.value == pytest.approx(0.5 - 2.364624 * (1 / 28) ** 0.5)  # t of seven degrees of freedom


def test_of_fewer_than_eight_samples_a_lift_is_not_judged() -> None:
    for samples in (7, 8):
        agreements = tuple(agreement(f"s{n}", (True, True), (True, False)) for n in range(samples))
        found = measured(RunRecord(header(), agreements=agreements))
        assert ("eager.vision_lift.videollava" in found) == (samples == 8)


def test_a_draft_that_sees_nothing_may_pass_for_acceptance_and_breaks_the_lift_s_limit_of_this_repository() -> None:
    limits = load_limits(REPOSITORY / "limits.toml", EVERY_MODEL, "tiny", ("eager",))
    same = tuple(place % 3 != 1 for place in range(30))
    blind = {"own": same, "shuffled": same, "blind": same}
    agreements = tuple(agreement(f"s{n}", same, same, agrees=blind) for n in range(8))
    found = {each.limit: each for each in judge(limits, RunRecord(header(), agreements=agreements))}
    assert found["eager.acceptance.videollava"].state == "pass"
    assert "0.655 (8 samples; blind 0.655)" in found["eager.acceptance.videollava"].sentence
    assert found["eager.vision_lift.videollava"].state == "broken"


def test_one_sample_has_an_acceptance_and_no_lift_to_judge() -> None:
    found = measured(RunRecord(header(), agreements=(agreement("s1", (True, True), (True, False)),)))
    assert set(found) == {"eager.acceptance.videollava"}


def test_answers_written_independently_are_no_acceptance() -> None:
    passes = (whole_pass("egpt"), whole_pass("videollava"))
    assert "eager.acceptance.videollava" not in measured(RunRecord(header(), passes=passes))


def test_memory_is_judged_where_the_models_are_and_nowhere_else() -> None:
    names = {device: set(measured(run_of_known_figures(device))) for device in ("cpu", "cuda")}
    assert names["cpu"] - names["cuda"] == {"eager.host_memory_mib.egpt.load"}
    assert names["cuda"] - names["cpu"] == {"eager.device_memory_mib.egpt.load"}


def test_a_limit_broken_by_less_than_is_printed_is_written_with_every_digit() -> None:
    assert "must be at least 8.004x but was 8.0x" in verdict_on("speedup.videollava.stage1", 8.004).sentence
    assert "limited to 63.75 MiB but was 64.0 MiB" in verdict_on("host_memory_mib.egpt.load", 63.75).sentence
    assert "must be at least 8x and was 8x" in verdict_on("speedup.videollava.stage1", 7.999).sentence


def test_a_limit_of_another_engine_is_not_met_by_this_one() -> None:
    (verdict,) = judge({"graph.speedup.videollava.total": 1.0}, run_of_known_figures())
    assert verdict.state == "not run"


def test_stages_that_know_no_engine_count_for_every_engine_and_the_others_for_their_own() -> None:
    run = RunRecord(
        header=header(engines=("eager", "graph")),
        stages=(
            stage_test("egpt", "load", {"s1": [1]}),
            stage_test("egpt", "decode", {"s1": [1]}, engine="eager", memory={"s1": host_peak(10)}),
            stage_test("egpt", "decode", {"s1": [0.5]}, engine="graph"),
        ),
    )
    figures = {name: figure.value for name, figure in measured(run).items() if "median_ms" in name}
    assert figures == {
        "eager.median_ms.egpt.load": 1000,
        "graph.median_ms.egpt.load": 1000,
        "eager.median_ms.egpt.decode": 1000,
        "graph.median_ms.egpt.decode": 500,
    }


def test_a_variant_does_not_answer_for_the_stage_itself() -> None:
    stages = (stage_test("videollava", "load", {"s1": [1]}, variant="legacy reader", memory={"s1": host_peak(10)}),)
    assert measured(RunRecord(header=header(), stages=stages)) == {}


def test_every_figure_of_a_run_can_be_named_in_a_limits_file(tmp_path: Path) -> None:
    known = Vocabulary(("tiny",), ("eager",), ("egpt", "videollava", "llava"))
    names = list(measured(full_run()))
    content = "".join(f"{name.removeprefix('eager.')} = 1\n" for name in names)
    path = tmp_path / "limits.toml"
    path.write_text(f"[tiny.eager]\n{content}")
    assert list(load_limits(path, known, "tiny", ("eager",))) != []
    assert sorted(load_limits(path, known, "tiny", ("eager",))) == sorted(names)


def test_memory_that_could_not_be_measured_is_no_figure() -> None:
    stages = (stage_test("egpt", "load", {"s1": [1]}, memory={"s1": MemoryPeak()}),)
    assert list(measured(RunRecord(header=header(), stages=stages))) == ["eager.median_ms.egpt.load"]
