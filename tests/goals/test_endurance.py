"""Killed and resumed runs, by one process and by two ranks; runs of very many samples; hostile files.

Repeat `make measured TOPIC=endurance` (or parts, by ARGS="-k …") until the table is complete. Trials stay in
results/endurance-… and results/hostile_input and are not repeated: remove a folder to start again. On a GPU:
ARGS="--model-set full".
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import msgspec
import pytest

from fixtures.selection import Selection
from harness.figures.passes import throughput
from harness.gates.exit_status import PYTEST_STATUSES
from harness.measuring.benchmark import Benchmark
from harness.records.fingerprint import by_machine
from harness.records.folder import write_whole
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.quantities import MIB
from harness.session.recorder import Recorder
from harness.session.session import Session
from harness.stages import Length
from tests import ROOT
from tests.goals.goal_table import GoalRow, GoalTable
from tests.goals.killed_runs import (
    ONE_PROCESS,
    TWO_RANKS,
    Answers,
    Trial,
    kill_one_process,
    kill_one_rank,
    undisturbed,
)
from tests.goals.long_stub_run import (
    SAMPLES,
    THOUSAND,
    WatchedPipeline,
    samples,
    seconds_of_lines,
    session_in,
    steps,
)
from tests.hostile.trials import KINDS, Tried, tried
from tests.stub_pipeline import StubPipeline, StubSample

Kept = TypeVar("Kept")

PIECE_S = 500.0
KEPT = ROOT / "results" / "hostile_input"
INPUTS = 10_000
EACH = -(-INPUTS // len(KINDS))
OF_USERS = dict.fromkeys(("event .npy", "recording .h5", "five-stage result"), 2_000)  # files from other programs
SEED = 20_000
GPU_MODELS = ("egpt", "videollava")
AHEAD = 60  # samples of a throughput pass
LAST = 10  # samples that the resumed stub run has left
KILLS = [
    ("kill -9 at random moments of a run of 200 samples, then --resume", ONE_PROCESS, kill_one_process, 50),
    ("kill -9 of one of two ranks, then torchrun alone", TWO_RANKS, kill_one_rank, 20),
]


@pytest.fixture(scope="module")
def folder(selection: Selection) -> Path:
    """The folder that keeps trials between pieces."""
    return ROOT / "results" / f"endurance-{selection.model_set}-{selection.device.replace(':', '-')}"


@pytest.fixture(scope="module")
def table(selection: Selection) -> Iterator[GoalTable]:
    """The rows of this configuration; a GPU has its own file. Rows that this run does not measure stay."""
    file = "endurance" if selection.device == "cpu" else f"endurance_{selection.model_set}"
    rows = GoalTable("endurance", selection.device, file=file, in_pieces=True)
    yield rows
    rows.write()


@pytest.fixture(scope="module")
def on_cpu(selection: Selection) -> None:
    """Skip on a GPU: these goals use the small models on the CPU."""
    if selection.device != "cpu":
        pytest.skip("measured on the CPU")


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize(("what", "command", "kill", "wanted"), KILLS, ids=["one process", "two ranks"])
def test_nothing_is_lost_and_nothing_measured_twice(
    what: str,
    command: tuple[str, ...],
    kill: Callable[[Path, int, Answers], Trial | None],
    wanted: int,
    table: GoalTable,
    folder: Path,
) -> None:
    """Lines on disk stay, every sample is measured once, and the answers equal those of a run without a kill."""
    place = folder / kill.__name__
    kept = place / "trials.json"
    trials, longest_s, ends_at = _read(kept, list[Trial]), 0.0, time.monotonic() + PIECE_S
    beside = undisturbed(place / "undisturbed", command) if len(trials) < wanted else None
    number = trials[-1].number if trials else 0
    while beside is not None and len(trials) < wanted and time.monotonic() + longest_s < ends_at:
        start, number = time.monotonic(), number + 1
        trial = kill(place / "killed", number, beside)
        longest_s = max(longest_s, time.monotonic() - start)
        if trial is not None:
            trials.append(trial)
            _write(kept, trials)
    table.unfinished |= len(trials) < wanted
    right = sum(not trial.wrong for trial in trials)
    table.add(what, right, "right", f"{wanted} of {wanted}", len(trials))
    if trials:
        before = median([float(trial.samples_before) for trial in trials])
        table.add(f"{what}: samples on disk at the kill, median", before, "samples", "none", len(trials))
    assert not [trial for trial in trials if trial.wrong]


@pytest.fixture(scope="module")
def long_run(folder: Path) -> Path:
    """The folder of the stub run."""
    place = folder / "long"
    shutil.rmtree(place, ignore_errors=True)
    return place


@pytest.mark.usefixtures("on_cpu")
def test_cost_and_memory_of_a_sample_stay_the_same(benchmark: Any, long_run: Path, table: GoalTable) -> None:
    """All but the last samples of a stub pass, with a record each; the journal ends as after a kill."""
    pipeline, session = WatchedPipeline(), session_in(long_run, is_resumed=False)
    _measure(session, benchmark, pipeline, samples()[:-LAST])
    wall, busy, count = steps(pipeline.began), steps(pipeline.busy), len(pipeline.began) - 1
    goal = "under 2 ms, within 10 % of the first thousand"
    for name, figure, seconds in (
        ("mean", fmean, wall),
        ("median", median, wall),
        ("mean time of the CPU", fmean, busy),
    ):
        first, last = 1000 * figure(seconds[:THOUSAND]), 1000 * figure(seconds[-THOUSAND:])
        what = f"cost of a sample on disk, {name} of the last thousand"
        table.add(what, last, "ms", goal, count, "the first thousand", first)
    tenth = len(pipeline.resident) // 10
    second, last = fmean(_mib(pipeline, tenth, 2 * tenth)), fmean(_mib(pipeline, -tenth, None))
    goal = "within 3 % of the second tenth"
    table.add("resident set in the last tenth", last, "MiB", goal, count, "the second tenth", second)


@pytest.mark.usefixtures("on_cpu")
def test_going_on_begins_at_once(benchmark: Any, long_run: Path, table: GoalTable) -> None:
    """The time from the start of a resumed session, reference work included, to its first sample."""
    start, pipeline = time.perf_counter(), WatchedPipeline()
    session = session_in(long_run, is_resumed=True)
    _measure(session, benchmark, pipeline, samples())
    assert len(pipeline.began) == LAST, "what was measured before is not measured again"
    what = f"going on with {SAMPLES - LAST} of {SAMPLES} samples done, until the first stage is called"
    table.add(what, pipeline.began[0] - start, "s", "under 2 s", 1)


@pytest.mark.usefixtures("on_cpu")
def test_a_line_takes_as_long_at_the_end_of_a_long_journal(folder: Path, table: GoalTable) -> None:
    """The cost of a long file, measured against short files in turn, since the speed of a disk varies."""
    place = folder / "lines"
    shutil.rmtree(place, ignore_errors=True)
    long, short = (1000 * median(seconds[-THOUSAND:]) for seconds in seconds_of_lines(place))
    shutil.rmtree(place)
    what = f"a line on disk in a journal of {SAMPLES}, median of the last thousand"
    reference = "in turn, a journal begun anew every thousand"
    table.add(what, long, "ms", "within 10 %", SAMPLES, reference, short)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_input(kind: str, table: GoalTable) -> None:
    """No crash, no hang, no code run, no other file touched, bounded memory, and an error that names the file."""
    kept = KEPT / f"{kind.replace(' ', '_')}.json"
    if not kept.exists():
        found = tried([kind], OF_USERS.get(kind, EACH), SEED, KEPT / "violations")
        write_whole(kept, msgspec.json.encode(found))
    all_found = [msgspec.json.decode(path.read_bytes(), type=Tried) for path in sorted(KEPT.glob("*.json"))]
    table.replace(_rows(all_found))
    violations = msgspec.json.decode(kept.read_bytes(), type=Tried).violations
    assert not violations, "\n".join(dict.fromkeys(violations))


@pytest.mark.gpu(memory_gb=40, devices=2)
def test_two_gpus_beside_one(table: GoalTable, folder: Path, selection: Selection) -> None:
    """Samples per second with prefetching, by two ranks with a GPU each against one; the clips are made first."""
    place = folder / "throughput"
    shutil.rmtree(place, ignore_errors=True)
    rates: dict[int, dict[str, float]] = {}
    engine = selection.engines[-1]
    words = ("-k", "throughput", "--throughput", f"--models={','.join(GPU_MODELS)}", f"--embedded={AHEAD}:640x480:1")
    for ranks in (1, 2):
        torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m", "pytest")
        where = (f"--engine={engine}", f"--output-dir={place / str(ranks)}")
        command = [sys.executable, *torchrun, "perf_tests", "--model-set=full", *words, *where]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
        run = read_journal(place / str(ranks) / JOURNAL_NAME)
        assert not [each for each in run.passes if each.failure]
        assert len(by_machine(run)) == 1
        assert {each.rank for each in run.passes} == set(range(ranks))
        rates[ranks] = {model: throughput(run, model, engine) or 0.0 for model in GPU_MODELS}
    for model in GPU_MODELS:
        what = f"throughput of {model} (full, {engine}) by two GPUs"
        goal, reference = "at least 1.9 times that of one", "one GPU"
        table.add(what, rates[2][model], "samples/s", goal, AHEAD, reference, rates[1][model])


@pytest.mark.gpu(memory_gb=40)
def test_the_run_that_was_killed(table: GoalTable, folder: Path, selection: Selection) -> None:
    """EventGPT and Video-LLaVA on 120 samples; a piece ends the run by a signal, and the next piece resumes it."""
    place, engine = folder / f"120-{selection.engines[-1]}", selection.engines[-1]
    words = ("-k", "test_whole_pipeline", f"--models={','.join(GPU_MODELS)}", "--embedded=120:640x480:1")
    is_resumed = f"--resume={place}" if (place / JOURNAL_NAME).exists() else f"--output-dir={place}"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "perf_tests",
        "--model-set=full",
        f"--engine={engine}",
        *words,
        is_resumed,
    ]
    if not _is_over(place):
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            process.wait(PIECE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    table.unfinished |= not _is_over(place)
    run = read_journal(place / JOURNAL_NAME)
    whole = [each for each in run.passes if each.kind == "whole"]
    assert not [each for each in whole if each.failure]
    seconds = sum(each.whole_s for each in whole)
    what = f"{' + '.join(GPU_MODELS)} (full), {engine}, one GPU: time of the samples"
    table.add(what, seconds, "s", "under 120 s for 2 x 120 passes", len(whole))


@pytest.mark.gpu(memory_gb=20)
def test_out_of_memory_is_a_record_and_memory_comes_back(benchmark: Any, tmp_path: Path, selection: Selection) -> None:
    """The second of three samples needs more memory than the card has; the third can still use nearly all of it."""
    import torch

    size = torch.cuda.get_device_properties(selection.device).total_memory

    class Greedy(StubPipeline):
        def prefill(self, features: Any) -> Any:
            torch.empty(int(shares[features.id] * size), dtype=torch.uint8, device=selection.device)
            return features

    chosen, session = samples()[:3], session_in(tmp_path, is_resumed=False)
    shares = {sample.id: share for sample, share in zip(chosen, (0.3, 2.0, 0.9), strict=True)}
    recorder = Recorder(session, Benchmark(benchmark), "test_greedy", "whole")
    with pytest.raises(pytest.fail.Exception, match="1 of 3 samples failed"):
        recorder.measure_whole_pass(Greedy(), chosen, engine="eager", kind="whole", length=Length(9))
    first, failed, last = session.read().passes
    assert first.failure is None
    assert last.failure is None
    assert failed.failure is not None
    assert failed.failure.type == "OutOfMemoryError"
    assert all(words in failed.failure.text for words in ("Tried to allocate", "free"))


def _is_over(place: Path) -> bool:
    """Whether a run has ended, with or without a broken limit."""
    end = read_journal(place / JOURNAL_NAME).end if (place / JOURNAL_NAME).exists() else None
    return end is not None and end.exit_status not in PYTEST_STATUSES


def _measure(session: Session, benchmark: Any, pipeline: StubPipeline, chosen: list[StubSample]) -> None:
    recorder = Recorder(session, Benchmark(benchmark), "test_long", "whole")
    times = recorder.measure_whole_pass(pipeline, chosen, engine="eager", kind="whole", length=Length(100))
    assert len(times) == len(chosen)
    assert session.journal is not None
    session.journal.close()


def _mib(pipeline: WatchedPipeline, start: int, end: int | None) -> list[float]:
    return [size / MIB for size in pipeline.resident[start:end]]


def _read(path: Path, kind: type[Kept]) -> Kept:
    return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else kind()


def _write(path: Path, content: object) -> None:
    write_whole(path, msgspec.json.encode(content))


def _rows(found: list[Tried]) -> list[GoalRow]:
    inputs, kinds = sum(each.inputs for each in found), len(KINDS)
    refused = sum(each.refused for each in found)
    violated = sum(len(each.violations) for each in found)
    slowest, largest = max(each.slowest_s for each in found), max(each.peak_bytes for each in found)
    return [
        GoalRow("malformed inputs tried", inputs, "inputs", f"{INPUTS}, of {kinds} kinds", len(found)),
        GoalRow("malformed inputs that ended, hung, ran, touched or hid something", violated, "inputs", "none", inputs),
        GoalRow("malformed inputs refused by an error that names the file", refused, "inputs", "-", inputs),
        GoalRow("malformed inputs, slowest", slowest, "s", "under 10 s", inputs),
        GoalRow("malformed inputs, most memory above the process's own", largest / MIB, "MiB", "at most 1024", inputs),
    ]
