"""Passes over the samples: what is taken in which order, on a GPU and on a CPU, and which time is whose."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.figures.passes import pass_s
from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.reference_work import IN_TESTS
from harness.measuring.whole_pass import PassTally
from harness.options import Options
from harness.records.lines import JournalLine, PassRecord, Plan
from harness.session.recorder import Recorder
from harness.session.session import Instruments, Session
from harness.stages import STAGES, Length
from tests.harness.made_runs import planned, whole_pass
from tests.harness.measuring.test_interleaved import HandBenchmark

SAMPLES = [planned(name) for name in ("s0", "s1", "s2")]


class MadeSession(Session):
    """A session that keeps its lines in memory, and was begun with some passes done."""

    def prepare(self, device: str, done: list[PassRecord]) -> MadeSession:
        self.plan = Plan("stub", device, ("eager",), ("egpt",), None, (), "stub.json", (), {})
        self.device = device
        self.done, self.lines = done, list[PassRecord]()
        return self

    def append(self, line: JournalLine) -> None:
        if isinstance(line, PassRecord):
            self.lines.append(line)

    def finished(self, kind: str, model: str, engine: str) -> dict[str, PassRecord]:
        return {each.sample: each for each in self.done if each.kind == kind}


class StubPipeline:
    """One second a stage, by a clock of its own; the load of `bad` fails."""

    key = "egpt"

    def __init__(self, bad: str) -> None:
        self.bad, self.now = bad, 0.0

    def load(self, value: Any) -> Any:
        if value.id == self.bad:
            raise ValueError("torn")
        return self.preprocess(value)

    def preprocess(self, value: Any) -> Any:
        self.now += 1.0
        return value

    encode_vision = prefill = preprocess

    def decode(self, value: Any, *, max_new_tokens: int, stop_at_eos: bool) -> Any:
        self.preprocess(value)
        return SimpleNamespace(token_ids=(1,), stopped_by="eos")

    def text(self, answer: Any) -> str:
        return "one"

    def with_engine(self, engine: str) -> StubPipeline:
        return self

    def engine_facts(self) -> None:
        return None


def passes(
    monkeypatch: pytest.MonkeyPatch, device: str, *done: PassRecord, bad: str = "", again: int = 2
) -> list[PassRecord]:
    pipeline: Any = StubPipeline(bad)
    clock.use_reader(lambda: pipeline.now)
    session = MadeSession(Options(warmup_steps=0), Path("out"), measures=True, terminal=None).prepare(device, [*done])
    recorder = Recorder(session, Benchmark(HandBenchmark()), "test_whole", "whole")
    try:
        recorder.measure_whole_pass(
            pipeline, SAMPLES, engine="eager", kind="whole", length=Length(9), also_unsynchronised=SAMPLES[:again]
        )
    except pytest.fail.Exception:
        assert bad
    return session.lines


def test_time_in_the_journal_is_time_of_the_next_sample_and_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes two seconds a line; stages two to five take four, and the first one, in threads of its own, none."""
    pipeline: Any = StubPipeline("")
    pipeline.load = lambda sample: sample
    clock.use_reader(lambda: pipeline.now)
    session = MadeSession(Options(warmup_steps=0), Path("out"), measures=True, terminal=None).prepare("cpu", [])
    write = session.append

    def slow_append(line: JournalLine) -> None:
        pipeline.now += 2.0
        write(line)

    monkeypatch.setattr(MadeSession, "append", lambda _self, line: slow_append(line))
    recorder = Recorder(session, Benchmark(HandBenchmark()), "test_throughput", "throughput")
    recorder.measure_throughput(pipeline, SAMPLES, engine="eager", length=Length(9))
    assert [line.whole_s for line in session.lines] == [4.0, 6.0, 6.0]
    assert recorder.benchmark.extra_info["samples_per_second"] == 3 / 16


def test_a_sample_that_fails_in_every_round_is_one_sample_that_failed() -> None:
    pipeline: Any = StubPipeline("")
    taken = list[str]()

    def load(sample: Any) -> Any:
        taken.append(sample.id)
        if sample.id == "s1" and taken.count("s1") > 1:
            raise ValueError("torn")
        return pipeline.preprocess(sample)

    pipeline.load, pipeline.work = load, lambda *_: None
    clock.use_reader(lambda: pipeline.now)
    options = Options(warmup_steps=0, rounds=3)
    session = MadeSession(options, Path("out"), measures=True, terminal=None).prepare("cpu", [])
    session.instruments = Instruments(workloads=dict.fromkeys(IN_TESTS, lambda _device: lambda: None))
    recorder = Recorder(session, Benchmark(HandBenchmark()), "test_load", "load")
    with pytest.raises(pytest.fail.Exception) as failed:
        recorder.measure_stage(pipeline, SAMPLES, length=Length(9))
    assert taken.count("s1") == 4
    assert str(failed.value).splitlines() == [
        "1 of 3 samples failed: s1",
        "load of sample 's1' failed: ValueError: torn",
    ]


def test_of_the_answers_nothing_is_kept_in_memory() -> None:
    tally = PassTally([whole_pass("egpt", "s0", text="word " * 60, token_ids=(1, 2, 3))])
    tally.add(whole_pass("egpt", "s1", text="word " * 60, token_ids=(1, 2, 3)))
    assert [(each.sample, each.text, each.token_ids) for each in tally.records] == [("s0", "", ()), ("s1", "", ())]
    assert list(tally.succeeded) == ["s0", "s1"]
    assert all(pass_s(each) == each.whole_s == 5.0 for each in tally.succeeded.values())


def order(lines: list[PassRecord]) -> list[tuple[str, str]]:
    return [(line.sample, line.kind) for line in lines]


def test_on_a_gpu_both_passes_of_a_sample_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = passes(monkeypatch, "cuda:0")
    assert order(lines) == [
        ("s0", "whole"), ("s0", "unsynchronised"), ("s1", "whole"), ("s1", "unsynchronised"), ("s2", "whole"),
    ]  # fmt: skip
    assert {line.whole_s for line in lines} == {5.0}
    assert [len(line.stage_s) for line in lines] == [len(STAGES), 0, len(STAGES), 0, len(STAGES)]


def test_on_a_cpu_where_nothing_waits_there_is_no_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert order(passes(monkeypatch, "cpu")) == [("s0", "whole"), ("s1", "whole"), ("s2", "whole")]


def test_a_sample_that_failed_is_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert order(passes(monkeypatch, "cuda", bad="s0", again=1)) == [("s0", "whole"), ("s1", "whole"), ("s2", "whole")]


def test_a_resumed_run_takes_what_was_lost_between_both_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    done = (whole_pass("egpt", "s0"), whole_pass("egpt", "s0", (), kind="unsynchronised"), whole_pass("egpt", "s1"))
    assert order(passes(monkeypatch, "cuda", *done)) == [("s2", "whole"), ("s1", "unsynchronised")]
