"""Whether `explain` names the cause of a slowdown: injected causes, and unchanged pairs of sessions, in one process.

A session is one sample through each stage, in timed rounds and a watched round, by the harness's own code. Sessions of
one process differ less than sessions of fresh processes. Run `make measured TOPIC=cause`, on a GPU with
ARGS="--model-set full --device cuda". With ARGS="… -k unchanged" a part runs, and the rows of other tests stay.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice, pairwise
from statistics import median, median_low, stdev

import pytest

from fixtures.data.dataset import Dataset
from fixtures.model_sets.loading import ModelSettings, pipeline_loaders
from fixtures.scenes.embedded import EmbeddedSpec, ensure_embedded
from fixtures.selection import Selection
from harness.figures.cause import Cause
from harness.figures.metrics import minimum_effect_of_time, percent_change
from harness.gates.gate import Baseline, flagged, judge_session, merged
from harness.gates.witnesses import causes, first_line, verdict_text
from harness.measuring import clock
from harness.measuring.work import is_on_gpu
from harness.records.lines import GateRecord, RunRecord
from tests.goals import injected_work
from tests.goals.cause_bench import KNOWN, ON_GPU, STAGES, Bench
from tests.goals.goal_table import GoalTable
from tests.goals.injected_causes import CAUSES, SHARES, InjectedCause, one_more, other_tenant
from tests.harness.gates.simulated_gates import share_found_at_the_edge

ONE_MORE, BLAMED, PER_SHARE, UNCHANGED = 20, 15, 7, 34
# Whether on a GPU -> number of pairs, and of judged sessions of a stage; a GPU's noise is small and its time expensive.
PAIRS, JUDGED = {False: 50, True: 25}, {False: 2, True: 1}
# Log ratio of times above which the parts must add up to the difference.
LARGE = math.log(1.05)
# Whether on a GPU -> number of other processes that use the device.
TENANTS = {False: 3, True: 1}


@pytest.fixture(scope="module")
def bench(selection: Selection) -> Bench:
    """A warm bench of EventGPT by the fastest engine of the device."""
    clock.use_device(selection.device)
    settings = ModelSettings(model_set=selection.model_set, device=selection.device)
    pipeline = pipeline_loaders(settings, ["egpt"])["egpt"]()
    sample = Dataset.open(ensure_embedded(EmbeddedSpec.parse("1:640x480:1")), None, None, 5).samples[0]
    engine = selection.engines[-1]
    found = Bench(pipeline.with_engine(engine), engine, selection.device, sample)
    found.session()
    return found


@pytest.fixture(scope="module")
def table(selection: Selection) -> Iterator[GoalTable]:
    """The rows of this topic; rows of another device stay in the file."""
    rows = GoalTable("cause", selection.device, in_pieces=True)
    yield rows
    rows.write()


def test_an_injected_cause_is_named(bench: Bench, table: GoalTable) -> None:
    """The first line names stage and cause, and the watched parts account for the difference of the times."""
    right, shares = [], []
    for cause in _causes_on(bench):
        line, found, share = _explained(bench, cause)
        if abs(found.change) > LARGE:
            shares.append(share)
            _tell(f"{cause.name}: its parts are {share:.2f} of {1e3 * found.seconds:.3f} ms")
        right.append(found.blame == "program" and bool(re.search(cause.expected, line)))
        _tell("right:" if right[-1] else "WRONG:", cause.name, "->", line)
    line, found = _beside_tenants(bench, 1)[0]
    right.append(found.blame == "machine")
    _tell("right:" if right[-1] else "WRONG:", "other tenant", "->", line)
    goal = "11 of 12" if bench.on_gpu else "10 of 12; the CPU has no graph to miss"
    table.add(
        f"{bench.where}: causes of +{100 * SHARES[bench.on_gpu]:.0f} % named in the first line",
        sum(right),
        "causes",
        goal,
        len(right),
    )
    table.add(
        f"{bench.where}: causes of +5 % or more whose own parts are the clock's difference within 15 %",
        sum(abs(share - 1) < 0.15 for share in shares),
        "causes",
        "within 15 %",
        len(shares),
    )


def test_unchanged_pairs_have_no_culprit(bench: Bench, table: GoalTable) -> None:
    """Each of several unchanged sessions is compared with the one before it, as `explain` does."""
    sessions = [bench.session() for _ in range(PAIRS[bench.on_gpu] + 1)]
    equal, culprits, seconds = 0, 0, []
    for before, after in pairwise(sessions):
        start = time.perf_counter()
        found = causes([after], [before], {bench.name(stage): (stage,) for stage in STAGES})
        seconds.append(time.perf_counter() - start)
        moved = [
            name for name, each in found.items() if each.changes or abs(each.change) > _minimum_effect(bench, name)
        ]
        culprit = [name for name in moved if found[name].blame == "program"]
        equal, culprits = equal + (not any(each.changes for each in found.values())), culprits + bool(culprit)
        for name in culprit:
            _tell("a culprit:", first_line(name, percent_change(found[name].change), found[name]), found[name].changes)
    table.add(f"{bench.where}: unchanged pairs with a culprit", culprits, "pairs", "at most 2 of 50", len(seconds))
    table.add(f"{bench.where}: unchanged pairs with equal ledgers", equal, "pairs", "50 of 50", len(seconds))
    table.add(
        f"{bench.where}: to explain a pair of sessions, median", median(seconds), "s", "at most 20 s", len(seconds)
    )


def test_one_more_of_anything_is_flagged(bench: Bench, table: GoalTable) -> None:
    """One more launch, copy, file or (on a GPU) synchronisation is found by one session."""
    kinds = [*("launch", "copy", "file"), *(["synchronisation"] if bench.on_gpu else [])]
    right = 0
    for number in range(ONE_MORE):
        stage, count, call = one_more(kinds[number % len(kinds)], bench.pipeline)
        _, found = _told(bench, stage, [bench.session([stage], call)], bench.unchanged(stage))
        by = {each.what: each.now - each.was for each in found.changes}
        right += by.get(count) == 1
        if by.get(count) != 1:
            _tell("missed:", kinds[number % len(kinds)], by)
    what = f"{bench.where}: one more launch, copy, file or synchronisation, flagged as just that"
    table.add(what, right, "sessions", "20 of 20", ONE_MORE)


def test_program_and_machine_are_told_apart(bench: Bench, table: GoalTable) -> None:
    """Causes in the program are blamed on the program; other processes on the device are blamed on the machine."""
    chosen = [each for each in _causes_on(bench) if not each.engine]
    for cause in islice(cycle(chosen), max(BLAMED - len(bench.explained), 0)):
        _explained(bench, cause)
    program = sum(each.blame == "program" for each in bench.explained[:BLAMED])
    found = _beside_tenants(bench, BLAMED)
    for line, each in found:
        _tell(*(["not the machine:", line] if each.blame != "machine" else []))
    machine = sum(each.blame == "machine" for _, each in found)
    table.add(f"{bench.where}: the program blamed for its own causes", program, "sessions", "15 of 15", BLAMED)
    table.add(f"{bench.where}: the machine blamed beside other processes", machine, "sessions", "15 of 15", len(found))


@pytest.mark.gpu
def test_small_slowdowns_are_found(bench: Bench, table: GoalTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowdowns of 2 % and 1 % in vision, prefill and decode, each judged in two sessions; and false alarms."""
    monkeypatch.setattr(injected_work, "SIDE_ON_GPU", 256)  # products much shorter than 1 % of a stage
    session = partial(bench.session, ON_GPU, look=False)
    known = Baseline("known", [session() for _ in range(10)])

    def times(run: RunRecord) -> list[GateRecord]:
        return [each for each in judge_session(run, known) if each.metric.startswith("time.")]

    goals = ((0.02, "20 of 21 where sessions spread by 0.3 % or less"), (0.01, "17 of 21 where by 0.2 % or less"))
    for share, goal in goals:
        slowed = injected_work.SlowedPipeline(bench.pipeline, share)
        pairs = [merged(*(times(session(pipeline=slowed)) for _ in range(2))) for _ in range(PER_SHARE)]
        for name in map(bench.name, ON_GPU):
            judged = [each for pair in pairs for each in pair if each.metric == name]
            for each in judged:
                _tell(*(["not found:", name, verdict_text(each)] if each.state != "regressed" else []))
            found = sum(each.state == "regressed" for each in judged)
            what = f"{bench.where}, one process: +{100 * share:.0f} % found in {name}"
            table.add(what, found, "evaluations", goal, PER_SHARE)
    alarms = evaluations = 0
    for _ in range(UNCHANGED):
        first = times(session())
        again = merged(first, times(session())) if flagged(first) else first
        alarms, evaluations = alarms + sum(each.state == "regressed" for each in again), evaluations + len(first)
    table.add(f"{bench.where}, one process: false alarms", alarms, "evaluations", "0 in 100", evaluations)
    for name in map(bench.name, ON_GPU):
        spread = 100 * stdev(each.value for each in known.metrics[name])
        table.add(f"{bench.where}, one process: spread of {name}", spread, "%", "none", 10)


def test_creep_is_named(table: GoalTable) -> None:
    """Simulated steps of 1 % since a release, with a noise of 0.3 %: the third step is 3 % away."""
    found = 100 * share_found_at_the_edge(0.003, 0.03, runs=100_000)
    table.add("simulated: steps of 1 % since a release, named by the third", found, "%", "95 %", 100_000)


def _causes_on(bench: Bench) -> list[InjectedCause]:
    return [each for each in CAUSES if ("cuda" if bench.on_gpu else "cpu") in each.devices]


def _explained(bench: Bench, cause: InjectedCause) -> tuple[str, Cause, float]:
    """The first line for sessions with the cause, the Cause found, and the share of its parts in the difference."""
    where = bench.by(cause.engine) if cause.engine not in {"", bench.engine} else bench
    usual = median(where.unchanged(cause.stage)[-1].stages[0].round_s)
    before = cause.make(where.pipeline, usual, True)
    stage_on_gpu = is_on_gpu(cause.stage, bench.device)
    count = KNOWN[stage_on_gpu]
    known = [where.session([cause.stage], before) for _ in range(count - count // 2)]
    after = cause.make(where.pipeline, usual, False)
    try:
        now = [where.session([cause.stage], after) for _ in range(JUDGED[stage_on_gpu])]
    finally:
        getattr(after, "undo", lambda: None)()
    # Baseline sessions before and after, so that a drift of the machine's speed cancels.
    known += [where.session([cause.stage], before) for _ in range(count // 2)]
    line, found = _told(bench, cause.stage, now, known)
    bench.explained.append(found)
    parts = sum(part.seconds for part in found.parts if part.name and re.search(cause.parts, part.name))
    if re.search(cause.parts, ""):  # the unnamed part: the watched time outside of all calls
        parts += _outside_of_calls(now) - _outside_of_calls(known)
    return line, found, parts / found.seconds


def _outside_of_calls(sessions: list[RunRecord]) -> float:
    works = [work for session in sessions for work in session.works]
    return median_low((work.seconds or 0) - sum(each.seconds or 0 for each in work.calls.values()) for work in works)


def _beside_tenants(bench: Bench, count: int) -> list[tuple[str, Cause]]:
    """`count` explanations of sessions beside other processes that slowed the stage by the minimum effect or more."""
    known = {stage: [bench.session([stage]) for _ in range(KNOWN[bench.on_gpu])] for stage in ON_GPU}
    found: list[tuple[str, Cause]] = []
    with other_tenant(bench.device, TENANTS[bench.on_gpu]):
        for number in range(2 * count + 20):
            stage = ON_GPU[number % len(ON_GPU)]
            told = _told(bench, stage, [bench.session([stage]) for _ in range(JUDGED[bench.on_gpu])], known[stage])
            found += [told] if told[1].change > _minimum_effect(bench, bench.name(stage)) else []
            if len(found) == count:
                break
    return found


def _told(bench: Bench, stage: str, now: list[RunRecord], known: list[RunRecord]) -> tuple[str, Cause]:
    (found,) = causes(now, known, {bench.name(stage): (stage,)}).values()
    return first_line(bench.name(stage), percent_change(found.change), found), found


def _minimum_effect(bench: Bench, name: str) -> float:
    return minimum_effect_of_time(name.split(".")[1], on_gpu=bench.on_gpu)


def _tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n" if words else "")
