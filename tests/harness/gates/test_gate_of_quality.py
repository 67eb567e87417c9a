"""Answers under a gate: worse ones regress, and no figure improves without a word on them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.figures.quality import quality
from harness.gates.gate import judge_session, merged
from harness.records.lines import ModelRecord, RunRecord
from tests.harness.gates.test_gate import baseline, session, verdict
from tests.harness.made_runs import header, stage_test, whole_pass

QUESTION = {"objects": ("van", "bus"), "reference": "A van and a bus."}


def answered(
    seconds: float = 1.0, text: str = "a van, a bus", ids: tuple[int, ...] = (1, 2, 3), **changes: Any
) -> RunRecord:
    """A session with the answers of two samples, of which the first is always the same."""
    first = whole_pass("egpt", "s1", text="a van and a bus", test="test_answers")
    second = whole_pass("egpt", "s2", text=text, token_ids=ids, test="test_answers")
    return session(seconds, header=header(("s1", "s2"), **QUESTION), passes=(first, second), **changes)


KNOWN = baseline(*[answered()] * 10)


@pytest.mark.parametrize(
    ("worse", "metric", "figures"),
    [
        ({"text": "a van"}, "quality.objects_named.egpt.eager", "0.75, baseline 1 (-25.0 points"),
        ({"ids": (1, 2, 4)}, "quality.as_before.egpt.eager", "0.5, baseline 1 (-50.0 points"),
        ({"ids": (1, 2)}, "length.answer_tokens.egpt.eager", "2.5, baseline 3 (-16.7 %"),
    ],
)
def test_worse_answers_regress_though_nothing_got_slower(worse: Any, metric: str, figures: str) -> None:
    bad = answered(**worse)
    assert figures in verdict(bad, KNOWN, metric).sentence
    both = merged(judge_session(bad, KNOWN), judge_session(bad, KNOWN))
    assert {each.metric: each.state for each in both}[metric] == "regressed"


@pytest.mark.parametrize(("size", "state"), [(1.019, "pass"), (1.021, "flagged"), (0.979, "flagged")])
def test_other_features_are_seen_though_the_answers_are_the_same(size: float, state: str) -> None:
    def features(of_second: float) -> RunRecord:
        seconds = {"s1": [1.0] * 2, "s2": [1.0] * 2}
        probes = {"s1": (4.0, -1.0), "s2": (4.0 * of_second, -1.0 * of_second)}
        stage = stage_test("egpt", "vision", seconds, engine="eager", probes=probes, test="test_vision")
        return session(header=header(("s1", "s2")), stages=(stage,))

    known = baseline(*[features(1.0)] * 10)
    assert verdict(features(size), known, "quality.same_features.egpt.eager").state == state


def test_worse_answers_are_shown_beside_those_of_the_baseline() -> None:
    sentence = verdict(answered(text="a van", ids=(1, 2)), KNOWN, "quality.objects_named.egpt.eager").sentence
    assert sentence.endswith("sample s2 now: 'a van', in the baseline: 'a van, a bus'")


def test_what_got_faster_with_worse_answers_regressed_and_names_both() -> None:
    bad = answered(0.5, text="a van")
    found = verdict(bad, KNOWN)
    assert found.state == "flagged"
    assert "500 ms, baseline 1000 ms (-50.0 %" in found.sentence
    assert "but quality.objects_named.egpt.eager got worse: 0.75, baseline 1" in found.sentence
    assert {"test_vision", "test_answers"} <= {*found.tests}
    both = {each.metric: each for each in merged(judge_session(bad, KNOWN), judge_session(bad, KNOWN))}
    assert both["time.vision.egpt"].state == "regressed"
    again = answered(0.5)
    both = {each.metric: each for each in merged(judge_session(bad, KNOWN), judge_session(again, KNOWN))}
    assert both["time.vision.egpt"].state == "pass"


def test_of_several_worse_answers_the_worst_is_named() -> None:
    found = verdict(answered(0.5, text="a van", ids=(1, 2)), KNOWN)
    assert "but quality.as_before.egpt.eager got worse: 0.5, baseline 1" in found.sentence


def test_another_engines_answers_do_not_spoil_a_figure_of_this_one() -> None:
    def of_both(seconds: float, text: str) -> RunRecord:
        stages = tuple(
            stage_test("egpt", "vision", {"s1": [took] * 2}, engine=engine, test="test_vision")
            for engine, took in (("eager", 1.0), ("graph", seconds))
        )
        passes = (whole_pass("egpt", text=text), whole_pass("egpt", text="a van and a bus", engine="graph"))
        of_two = header(("s1",), engines=("eager", "graph"), **QUESTION)
        return session(stages=stages, passes=passes, header=of_two)

    known = baseline(*[of_both(1.0, "a van and a bus")] * 10)
    found = verdict(of_both(0.5, "a van"), known, "time.vision.egpt.graph")
    assert found.state == "improved"
    assert "quality: 5 of 5 measures as before" in found.sentence


def test_a_speedup_has_the_answers_of_both_of_its_sides_beside_it() -> None:
    def of_both(draft_s: float, ids: tuple[int, ...]) -> RunRecord:
        passes = (
            whole_pass("egpt", seconds=(draft_s,) * 5, token_ids=ids),
            whole_pass("videollava", seconds=(4.0,) * 5),
        )
        return session(header=header(), passes=passes)

    known = baseline(*[of_both(1.0, (1, 2, 3))] * 10)
    found = verdict(of_both(0.5, (1, 2, 4)), known, "speedup.total.videollava.eager")
    assert found.state == "flagged"
    assert "but quality.as_before.egpt.eager got worse" in found.sentence


def test_what_got_faster_has_its_quality_beside_it() -> None:
    found = verdict(answered(0.5), KNOWN)
    assert found.state == "improved"
    assert "quality: 4 of 4 measures as before" in found.sentence


def test_longer_answers_and_more_objects_are_no_reason_for_a_new_baseline() -> None:
    known = baseline(*[answered(text="a van")] * 10)
    assert verdict(answered(), known, "quality.objects_named.egpt.eager").state == "pass"
    assert verdict(answered(ids=(1, 2, 3, 4)), KNOWN, "length.answer_tokens.egpt.eager").state == "pass"


def test_another_models_answers_do_not_spoil_a_figure() -> None:
    def of_both(seconds: float, ids: tuple[int, ...]) -> RunRecord:
        run = answered(seconds)
        other = whole_pass("videollava", "s1", token_ids=ids, test="test_answers")
        return msgspec.structs.replace(run, passes=(*run.passes, other))

    known = baseline(*[of_both(1.0, (1, 2, 3))] * 10)
    assert verdict(of_both(0.5, (4, 5, 6)), known).state == "improved"


@pytest.mark.parametrize(
    ("dtype", "temperature", "is_there"), [("float32", 0.0, True), ("float16", 0.0, False), ("float32", 0.7, False)]
)
def test_answers_need_to_repeat_only_where_they_are_greedy_and_exact(
    dtype: str, temperature: float, is_there: bool
) -> None:
    decode = stage_test("egpt", "decode", {"s1": [1.0] * 2}, engine="eager", not_repeated=("s1",))
    run = session(
        header=header(options={"gamma": 5, "temperature": temperature}),
        models=(ModelRecord("egpt", 1.0, 1, {"dtype": dtype}),),
        stages=(decode,),
    )
    found = {each.measure: each.value for each in quality(run)}
    assert found.get("repeated") == (0.0 if is_there else None)


def test_a_session_without_a_figure_of_the_baseline_has_its_answers_judged() -> None:
    gates = {each.metric: each.state for each in judge_session(answered(stages=()), KNOWN)}
    assert (gates["time.vision.egpt"], gates["quality.as_before.egpt.eager"]) == ("not run", "pass")


def test_a_baseline_from_before_answers_were_looked_at_is_not_missing() -> None:
    old = baseline(*[session(header=header(("s1", "s2")))] * 10)
    gates = judge_session(answered(), old)
    assert {each.metric for each in gates} == {"time.vision.egpt"}
