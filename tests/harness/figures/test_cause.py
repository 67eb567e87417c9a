from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.cause import Cause, Side, explain, short_name
from harness.records.work import REST, Call, WatchedWork

DECODE = {"norm_matvec <64,1,1>": (6400, 0.30), "attend_one <32,1,1>": (3200, 0.10), "Memcpy DtoH": (100, 0.0001)}
COUNTS = {"launches": 9600, "library_calls": 200, "copies": 100, "synchronisations": 100}


def work(calls: dict[str, tuple[int, float]], **changes: Any) -> WatchedWork:
    fields: dict[str, Any] = {
        "model": "egpt", "engine": "graph", "stage": "decode", "sample": "s1", "counts": COUNTS, "seconds": 0.42,
        "profiler": "cuda", "versions": {"torch": "2.11.0"},
    }  # fmt: skip
    return WatchedWork(**fields | {"calls": {name: Call(*each) for name, each in calls.items()}} | changes)


def side(
    by_clock: float = 0.41, calls: dict[str, tuple[int, float]] = DECODE, steps: int = 100, **changes: Any
) -> Side:
    return Side([by_clock], [work(calls, **changes)], steps)


def cause(now: Side, known: Side | None = None) -> Cause:
    return explain(known or sides(), now, {})


def sides(by_clock: float = 0.41, **how: Any) -> Side:
    """Three sessions of one program."""
    one = side(by_clock, **how)
    return Side([by_clock] * 3, [*one.works] * 3, one.steps)


def parts_of(found: Cause) -> dict[str, float]:
    return {part.name: round(part.seconds, 6) for part in found.parts}


def test_more_launches_of_a_kernel_are_the_cause_with_their_numbers_per_token() -> None:
    more = DECODE | {"norm_matvec <64,1,1>": (9600, 0.32)}
    found = cause(side(0.431, more, counts=COUNTS | {"launches": 12800}))
    assert found.blame == "program"
    assert found.sentence == "+0.2 ms of +0.21 ms per token in `norm_matvec` (64 -> 96 launches)"
    assert [(each.what, each.was, each.now) for each in found.changes] == [
        ("norm_matvec", 6400, 9600), ("launches", 9600, 12800),
    ]  # fmt: skip
    assert parts_of(found) == {"norm_matvec": 0.02, "attend_one": 0.0, "Memcpy DtoH": 0.0, "": 0.001}


def test_each_side_is_told_by_its_own_number_of_steps() -> None:
    found = cause(side(0.21, DECODE | {"attend_one <32,1,1>": (3250, 0.1)}, steps=50))
    assert found.price == "`attend_one` 32 -> 65 per token, 30.8 us each"


def test_a_kernel_that_takes_longer_while_others_do_not_is_the_program() -> None:
    found = cause(side(0.46, DECODE | {"attend_one <32,1,1>": (3200, 0.15)}))
    assert (found.blame, found.changes) == ("program", ())
    assert found.sentence == "the same work; +0.5 ms of +0.5 ms per token in `attend_one` (31.2 us -> 46.9 us each)"


@pytest.mark.parametrize("factor", [1.08, 0.92])
def test_kernels_that_all_change_alike_are_the_machine(factor: float) -> None:
    alike = {name: (count, factor * seconds) for name, (count, seconds) in DECODE.items()}
    found = cause(side(0.41 * factor, alike))
    assert found.blame == "machine"
    change = f"{100 * (factor - 1):+.1f} %"
    assert f"the same work, and no kernel stands out, the median one took {change}" == found.sentence


def test_a_reading_of_the_machine_that_moved_as_far_is_named() -> None:
    readings = {"the copy at the end took": (0.001, 0.0), "the matrix product at the end took": (0.08, 0.0)}
    found = explain(sides(), side(0.45), readings)
    assert found.blame == "machine"
    assert found.sentence == "the same work, and the matrix product at the end took +8.3 %"


def test_time_in_which_no_kernel_ran_is_the_program_that_waits() -> None:
    found = cause(side(0.46))
    assert (found.blame, parts_of(found)[""]) == ("program", 0.05)
    assert found.sentence == "the same work; +0.5 ms of +0.5 ms per token while no kernel ran: the program waits"


@pytest.mark.parametrize(
    ("slept_s", "waiting", "blame"), [(0.041, 0.0, "program"), (0.041, 0.05, "machine"), (0.015, 0.0, "machine")]
)
def test_a_device_that_idles_is_the_program_though_its_kernels_differ_between_few_sessions_but_not_for_want_of_a_core(
    slept_s: float, waiting: float, blame: str
) -> None:
    known = [{name: (count, factor * s) for name, (count, s) in DECODE.items()} for factor in (0.97, 1.0, 1.03)]
    sessions = Side([0.41] * 3, [work(each) for each in known], 100)
    found = explain(sessions, side(0.41 + slept_s), {"waiting for a core adds": (waiting, math.inf)})
    assert found.blame == blame
    assert ("waiting for a core adds +5.1 %" in found.sentence) == (waiting > 0)


@pytest.mark.parametrize(("apart", "blame"), [(0.001, "program"), (0.02, "machine")])
def test_a_call_is_blamed_by_its_time_only_beyond_what_the_sessions_differ_by(apart: float, blame: str) -> None:
    known = [DECODE | {"attend_one <32,1,1>": (3200, 0.1 + apart * number)} for number in (-1, 0, 1)]
    slower = side(0.46, DECODE | {"attend_one <32,1,1>": (3200, 0.15)})
    assert cause(slower, Side([0.41] * 3, [work(each) for each in known], 100)).blame == blame


def test_one_session_is_too_few_to_blame_a_call_by_its_time() -> None:
    assert cause(side(0.46, DECODE | {"attend_one <32,1,1>": (3200, 0.15)}), side()).blame == "machine"


def test_added_synchronisation_is_told_with_the_time_that_it_leaves_the_device_idle() -> None:
    found = cause(side(0.46, counts=COUNTS | {"synchronisations": 200}))
    assert found.sentence == "+0.5 ms of +0.5 ms per token while no kernel ran: synchronisations 1 -> 2 per token"
    both = cause(side(0.46, counts=COUNTS | {"library_calls": 300, "synchronisations": 200}))  # each is a call, too
    assert both.sentence == found.sentence


def test_kernels_that_are_launched_one_by_one_again_are_a_graph_that_is_not_replayed() -> None:
    known, now = (
        sides(0.41 + calls / 1e5, counts=COUNTS | {"library_calls": calls, "launches": 9600}) for calls in (300, 9900)
    )
    found = cause(now, known)
    assert found.sentence == (
        "a captured graph is not replayed; "
        "+0.96 ms of +0.96 ms per token while no kernel ran: library calls 3 -> 99 per token"
    )
    slower = sides(0.41 + 1, calls=DECODE | {"attend_one <32,1,1>": (3200, 1.1)}, counts=now.works[0].counts)
    assert cause(slower, known).sentence.startswith(
        "a captured graph is not replayed, library calls 3 -> 99 per token; +10 ms of +9.97 ms per token in `attend"
    )


def test_another_kernel_in_the_place_of_one_is_one_part() -> None:
    other = {"norm_matvec <64,1,1>": DECODE["norm_matvec <64,1,1>"], "fmha_cutlassF <8,1,1>": (3200, 0.15)}
    found = cause(side(0.46, other | {"Memcpy DtoH": DECODE["Memcpy DtoH"]}))
    assert found.blame == "program"
    assert found.sentence == "+0.5 ms of +0.5 ms per token in `fmha_cutlassF` in place of `attend_one`"
    assert parts_of(found)["fmha_cutlassF"] == 0.05


def test_numbers_of_another_type_are_told_by_the_kernels_that_take_them() -> None:
    half, single = "ampere_fp16_s16816gemm_fp16_128x64 <4,1,1>", "ampere_sgemm_128x64_tn <4,1,1>"
    found = cause(side(0.5, {single: (64, 0.4)}, counts={}), side(0.41, {half: (64, 0.3)}, counts={}))
    assert "`ampere_sgemm_128x64_tn (float32)` in place of `ampere_fp16_s16816gemm_fp16_128x64 (float16)`" in (
        found.sentence
    )


def test_what_a_stage_is_given_comes_before_the_calls_that_follow_from_it() -> None:
    grown = DECODE | {"norm_matvec <64,1,1>": (6400, 0.34)}
    found = cause(
        side(0.45, grown, counts=COUNTS | {"tokens": 700, "launches": 9700}), side(counts=COUNTS | {"tokens": 640})
    )
    assert found.sentence.startswith(
        "tokens 640 -> 700; +0.4 ms of +0.4 ms per token in `norm_matvec` (46.9 us -> 53.1 us"
    )


def test_the_same_files_that_take_longer_to_read_are_told() -> None:
    counts = {"library_calls": 10, "files": 5, "read_bytes": 3 << 20}
    known, now = (
        sides(seconds, calls={"aten::div": (10, 0.001)}, steps=1, counts=counts, profiler="cpu", seconds=seconds)
        for seconds in (0.010, 0.014)
    )
    found = cause(now, known)
    assert (found.blame, found.sentence) == (
        "program", "the same work; +4 ms of +4 ms outside of library calls: reading the same 5 files took longer",
    )  # fmt: skip


def test_a_change_too_small_for_the_difference_is_named_beside_what_is_not() -> None:
    found = cause(side(0.46, DECODE | {"tiny <1,1,1>": (100, 0.0001)}, counts=COUNTS | {"launches": 9700}))
    assert found.blame == "program"
    assert found.sentence == (
        "+0.499 ms of +0.5 ms per token while no kernel ran: the program waits; "
        "`tiny` 0 -> 1 per token, 1 us each; launches 96 -> 97 per token"
    )


@pytest.mark.parametrize("count", ["launches", "copies", "synchronisations", "files"])
def test_one_more_of_anything_moves_the_ledger(count: str) -> None:
    known = side(counts=COUNTS | {"files": 1})
    now = side(counts=COUNTS | {"files": 1} | {count: {**COUNTS, "files": 1}[count] + 1})
    assert [(each.what, each.now - each.was) for each in cause(now, known).changes] == [(count, 1)]


def test_a_count_moves_only_beyond_all_sessions_of_the_baseline() -> None:
    known = Side([0.4, 0.4], [work(DECODE, counts=COUNTS | {"files": files}) for files in (3, 5)], 100)
    assert not cause(side(counts=COUNTS | {"files": 4}), known).changes
    assert [each.what for each in cause(side(counts=COUNTS | {"files": 6}), known).changes] == ["files"]


def test_the_same_kernels_on_other_grids_are_other_work() -> None:
    other = {name.replace("<64,", "<72,"): each for name, each in DECODE.items()}
    assert [each.what for each in cause(side(calls=other)).changes] == ["norm_matvec on other grids"]


def test_a_call_that_may_be_among_the_rest_of_the_other_side_has_not_come_anew() -> None:
    known, now = ({"aten::mm": (9, 0.4), name: (3, 0.01), REST: (9, 0.01)} for name in ("aten::add", "aten::mul"))
    counts = {"library_calls": 21}
    found = cause(side(calls=now, counts=counts, profiler="cpu"), side(calls=known, counts=counts, profiler="cpu"))
    assert not found.changes


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (Side([0.5], []), "the run has no ledger of this work"),
        (
            side(0.5, {}, profiler="", reason="CUPTI is not permitted"),
            "no profile of this work: CUPTI is not permitted",
        ),
        (side(0.5, {"norm_matvec <64,1,1>": (1, 0.1)}), "a profile of the run is damaged and ignored"),
        (side(0.5, versions={"torch": "2.13.0"}), "other versions do not compare: torch was 2.11.0, is 2.13.0"),
        (side(0.5, profiler="cupti 9"), "other versions do not compare: profiler was cuda, is cupti 9"),
    ],
)
def test_what_does_not_compare_has_no_cause_and_says_why(now: Side, why: str) -> None:
    found = cause(now)
    assert (found.blame, found.parts, found.changes) == ("", (), ())
    assert found.sentence.startswith("the cause is not known: ")
    assert why in found.sentence


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("aten::linear", "aten::linear"),
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::Half>, "
            "std::array<char*, 3ul> >(int, std::array<char*, 3ul>) <128,1,1>",
            "CUDAFunctor_add (float16)",
        ),
        ("_norm_matvec_kernel <12288,1,1>", "_norm_matvec_kernel"),
        (
            "void cutlass::Kernel2<cutlass_80_tensorop_s16816gemm_bf16_256x64<int>, cut <8,1,1>",
            "cutlass_80_tensorop_s16816gemm_bf16_256x64 (bfloat16)",
        ),
        ("void attend::forward<64, attend::Layout<3>, cut <8,1,1>", "forward"),
        ("norm <various>", "norm"),
        ("Memcpy DtoD (Device -> Device)", "Memcpy DtoD"),
    ],
)
def test_names_of_kernels_fit_a_sentence(full: str, short: str) -> None:
    assert short_name(full) == short


CALLS = st.dictionaries(
    st.sampled_from(["mm <1>", "mm <2>", "copy_half <1>", "attend <1>", REST]),
    st.tuples(st.integers(1, 9), st.floats(0, 1)),
)


@given(CALLS, CALLS, st.floats(1e-3, 10), st.floats(1e-3, 10), st.sampled_from(["cpu", "cuda"]))
def test_parts_always_add_up_to_the_difference(
    before: dict[str, tuple[int, float]], after: dict[str, tuple[int, float]], was: float, has: float, profiler: str
) -> None:
    known, now = (
        side(seconds, calls, counts={}, profiler=profiler) for seconds, calls in ((was, before), (has, after))
    )
    found = cause(now, known)
    assert sum(part.seconds for part in found.parts) == pytest.approx(has - was, abs=1e-9)
    assert found.sentence
