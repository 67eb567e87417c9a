"""The pytest plugin: hooks of a few lines each, in the order in which they fire; the work happens elsewhere."""

import gc
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytest

from harness import options
from harness.errors import HarnessError, OptionError, ResumeError, RunFolderError
from harness.gates.baselines import DEFAULT_FOLDER
from harness.gates.exit_status import FAILED, PYTEST_STATUSES, Status, exit_status, why_no_figure
from harness.gates.session_gate import SessionGate
from harness.measuring import clock
from harness.measuring.benchmark import Benchmark, is_switched_off, read_timer, write_results_to
from harness.measuring.environment import machine_info
from harness.measuring.progress import open_terminal
from harness.measuring.stopping import orderly_stop, stop_if_asked
from harness.option_values import require_utf8
from harness.records.folder import BENCHMARK_FILE_NAME, planned_folder, require_room_for
from harness.records.lines import OutcomeRecord, Plan
from harness.session.derived_files import files_of, require_other_file
from harness.session.ranks import MEASURED_BY_RANKS, Rank, rank_of, use_share_of_cores
from harness.session.recorder import Recorder
from harness.session.resume import resuming_command, unfinished_run
from harness.session.session import Session

SESSION = pytest.StashKey[Session]()
# User properties by which a pytest report tells recording and auditing tests; a keyword "stage" may be a parameter.
RECORDS, AUDITS = ("event_vlm_perf", "records"), ("event_vlm_perf", "audits")
RAISED = pytest.StashKey[list[BaseException]]()
READS_CLOCK = pytest.StashKey[bool]()
TIMER = f"{clock.__name__}.{clock.now.__name__}"
# Options of pytest-benchmark that apply to `benchmark(...)` only; stage tests use `pedantic`, which ignores them.
WITHOUT_EFFECT = ("min-rounds", "max-time", "min-time", "warmup", "warmup-iterations", "cprofile")
NOT_MEASURED_BY_RANKS = "under torchrun only whole passes and throughput are measured: ranks disturb each other"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the suite's options as flags and as keys of pytest.ini."""
    options.register(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the options once; a wrong one is a usage error."""
    config.addinivalue_line("markers", "stage(name): measures this stage and records its figures")
    config.addinivalue_line("markers", "audit: checks figures that other tests recorded; its failure is reported")
    config.addinivalue_line("markers", "watches: runs stages under a profiler; its failure is reported")
    config.stash[READS_CLOCK] = read_timer(config, TIMER)
    try:
        if config.getoption("benchmark_histogram", None) and find_spec("pygal") is None:
            raise OptionError("--benchmark-histogram needs pygal: pip install pygal pygaljs, or leave it out")
        require_utf8(map(str, config.invocation_params.args))
        chosen, rank = options.read(config), rank_of()
        outputs = {"--output_json": chosen.output_json, "--benchmark-json": config.getoption("benchmark_json", None)}
        for option, file in outputs.items():
            if isinstance(file, Path):  # an older pytest-benchmark has opened it already
                require_room_for(file, option, is_file=True)
        folder, is_resumed = _folder(config, chosen, rank)
        for option, file in outputs.items():
            if isinstance(file, Path) and (rank is None or rank.is_first):
                place = ("--benchmark-json", BENCHMARK_FILE_NAME)
                used = [each for each in files_of(folder) if (option, each.name) != place]
                require_other_file(file, used, option)
        terminal = open_terminal() if rank is None or rank.is_first else None
        is_spread_out = config.getoption("dist", "no") != "no" or hasattr(config, "workerinput")
        measures = not is_spread_out and not _forbids_measuring(config)
        ours = config.stash[SESSION] = Session(chosen, folder, measures, terminal, rank, is_resumed)
        if rank is not None:
            use_share_of_cores(rank)
        if chosen.gate:
            if _forbids_measuring(config):
                raise OptionError("--gate needs measurements: leave out --collect-only and --benchmark-disable")
            if is_resumed or rank:
                raise OptionError("--gate needs one process that measures everything: leave out --resume and torchrun")
            baselines = chosen.baselines or config.rootpath / DEFAULT_FOLDER
            ours.session_gate = SessionGate(baselines, chosen.confirm, chosen.release)
            ours.expects_figures = True
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    given = {word.partition("=")[0] for word in config.invocation_params.args}
    ours.advice.extend(
        f"--benchmark-{name} has no effect on stage tests, whose rounds each need an input of their own; use --rounds"
        for name in WITHOUT_EFFECT
        if f"--benchmark-{name}" in given
    )
    config.pluginmanager.register(_Outcomes(ours))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Give each rank but the first a pytest cache folder of its own."""
    rank, cache = session.config.stash[SESSION].rank, getattr(session.config, "cache", None)
    if rank is not None and not rank.is_first and cache is not None:
        cache._cachedir = cache._cachedir / f"rank-{rank.number}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark recording and auditing tests; expect figures where a recording test was collected, deselected or not."""
    if item.get_closest_marker("audit") or item.get_closest_marker("watches"):
        item.user_properties.append(AUDITS)
    if item.get_closest_marker("stage"):
        item.user_properties.append(RECORDS)
        item.config.stash[SESSION].expects_figures = not _forbids_measuring(item.config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that ranks or a confirming session do not measure; refuse other timers."""
    ours, deselected = config.stash[SESSION], []
    try:
        for item in items:
            marker = item.get_closest_marker("stage")
            if ours.rank is not None and (marker is None or marker.args[0] not in MEASURED_BY_RANKS):
                deselected.append(item)
                if marker is not None:
                    ours.note(OutcomeRecord(item.nodeid, "deselected", NOT_MEASURED_BY_RANKS))
            elif ours.session_gate is not None and not ours.session_gate.wants(item.nodeid):
                deselected.append(item)
    except HarnessError as error:
        raise pytest.UsageError(f"--confirm: {error}") from error
    if ours.expects_figures and not config.stash[READS_CLOCK]:
        raise pytest.UsageError(f"--benchmark-timer: times are taken by {TIMER} alone, which waits for the device")
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in set(deselected)]


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Session:
    """Return the state of this session, options among it."""
    return request.config.stash[SESSION]


@pytest.fixture(scope="session")
def set_plan(session: Session) -> Iterator[Callable[..., None]]:
    """Return a function that the suite calls once, as `Session.begin`; a later signal ends the run between samples."""
    with ExitStack() as until_the_end:

        def set_it(plan: Plan, dtypes: Sequence[str] = ()) -> None:
            clock.use_device(plan.device)
            try:
                session.begin(plan, dtypes)
            except (ResumeError, RunFolderError) as error:
                pytest.exit(str(error), returncode=int(pytest.ExitCode.USAGE_ERROR))
            if session.measures:
                # Else the collector scans all imported objects before each stage's rounds.
                gc.collect()
                gc.freeze()
                until_the_end.enter_context(orderly_stop(session.announce))

        yield set_it


@pytest.fixture
def recorder(request: pytest.FixtureRequest, session: Session, benchmark: Any) -> Recorder:
    """Return the test's recorder for the stage that its marker names."""
    marker = request.node.get_closest_marker("stage")
    if marker is None or len(marker.args) != 1:
        raise pytest.UsageError(f"{request.node.nodeid}: `recorder` needs one mark such as @pytest.mark.stage('load')")
    benchmark.group = marker.args[0]
    return Recorder(session, Benchmark(benchmark), request.node.nodeid, marker.args[0])


def pytest_runtest_setup() -> None:
    """End the run between two tests too, where a signal asked for it."""
    stop_if_asked()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[Any]:
    """Keep the exceptions of a test until the end of its protocol."""
    if call.excinfo is not None:
        item.stash.setdefault(RAISED, []).append(call.excinfo.value)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Clear the frames of a failed test's exceptions, whose variables hold a model."""
    # pytest keeps an exception for a debugger, and plugins that repeat tests keep it for good: the next model would be
    # loaded beside the one in its frames.
    result = yield
    raised = item.stash.get(RAISED, [])
    for each in raised:  # the loop appends causes and contexts, which are cleared too
        raised += [cause for cause in (each.__cause__, each.__context__) if cause and cause not in raised]
        for frame, _ in walk_tb(each.__traceback__):
            with suppress(RuntimeError):  # the frame is still running
                frame.clear()
            _ = frame.f_locals  # up to Python 3.12 a cached copy of the variables: reading it makes an empty one
    return result


def pytest_exception_interact(node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any]) -> None:
    """Stop the session where files cannot be written, or a loaded model is not the one of the resumed run."""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, RunFolderError | ResumeError):
        node.session.shouldstop = str(error)


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Describe the machine; pytest-benchmark itself would start a process to ask about the processor."""
    return machine_info(config.stash[SESSION].device)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Give the run its exit status and write it down, before pytest-benchmark writes its own file."""
    ours = session.config.stash[SESSION]
    try:
        if exitstatus not in PYTEST_STATUSES:
            ours.end_measuring()
        if exitstatus == 0 and ours.has_broken_limit:
            exitstatus = FAILED  # a plugin that repeats tests may have passed the one that broke the limit
        status = exit_status(
            exitstatus,
            expects_figures=ours.expects_figures,
            figures=ours.figures,
            gates=ours.gates,
            why=ours.stopped_by if exitstatus in PYTEST_STATUSES else why_no_figure(ours.outcomes.values()),
        )
        if ours.rank is not None and status.code not in PYTEST_STATUSES:
            status = Status(0, f"rank {ours.rank.number} has recorded its part")  # else torchrun would start it again
        if ours.journal and not ours.session_gate and status.code in PYTEST_STATUSES:  # a gate refuses --resume
            ours.advice.append(f"to resume: {resuming_command(session.config.invocation_params.args, ours.folder)}")
        session.exitstatus = status.code
        ours.finish(status)
    except HarnessError as error:
        ours.advice.append(str(error))
        ours.fail("the end of the run could not be written down")
        session.exitstatus = FAILED
    if ours.journal is not None:
        further = ours.rank.number if ours.rank else 0
        file = ours.folder / (f"benchmark.{further}.json" if further else BENCHMARK_FILE_NAME)
        write_results_to(session.config, file, even_if_named=further > 0)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the summary of the run, below pytest-benchmark's wide tables."""
    ours = terminalreporter.config.stash[SESSION]
    in_summary = ours.record.end.advice if ours.record and ours.record.end else ()
    for advice in ours.advice:
        if advice not in in_summary:
            terminalreporter.write_line(f"advice: {advice}")
    if ours.rank is not None and ours.journal is not None:
        if ours.rank.is_first:
            folder = shlex.quote(str(ours.folder))
            terminalreporter.write_line(f"verdict, files and figures: python -m harness merge {folder}")
        return
    if ours.record is None or ours.journal is None:
        if ours.status is not None and ours.expects_figures:
            terminalreporter.write_line(f"exit status {ours.status.code}: {ours.status.reason}")
        return
    from harness.report.formatting import encodable
    from harness.report.terminal import summary

    tw, verbosity = terminalreporter._tw, terminalreporter.verbosity
    terminalreporter.section("event-vlm-perf")
    text = summary(ours.record, ours.folder, ours.files(), width=tw.fullwidth, color=tw.hasmarkup, verbosity=verbosity)
    # Without this, pytest escapes the whole text where the terminal's encoding lacks one of the characters.
    terminalreporter.write(encodable(text, getattr(sys.stdout, "encoding", None) or "utf-8"))


class _Outcomes:
    """Notes recording tests without figures, those included that pytest-xdist runs in other processes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keep the reason for an interrupt."""
        self._session.stopped_by = str(excinfo.value) or "you stopped the run"

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note recording tests that were deselected."""
        for item in items:
            if item.get_closest_marker("stage"):
                self._session.note(OutcomeRecord(item.nodeid, "deselected", "by the command line"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note skips and failures with their reasons; a report of an xdist worker means that figures were expected."""
        kind = dict(report.user_properties).get(RECORDS[0])
        if kind != RECORDS[1] and not (report.failed and kind == AUDITS[1]):
            return
        if hasattr(report, "node"):
            self._session.expects_figures = True
            if report.passed:
                reason = "pytest-xdist (-n) runs tests in parallel, so nothing can be measured"
                self._session.note(OutcomeRecord(report.nodeid, "skipped", reason))
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._session.note(OutcomeRecord(report.nodeid, "skipped", reason.removeprefix("Skipped: ")))
        elif report.failed:
            last = (report.longreprtext.strip().splitlines() or [""])[-1]
            self._session.note(OutcomeRecord(report.nodeid, "failed", f"{report.when}: {last}"))


def _folder(config: pytest.Config, chosen: options.Options, rank: Rank | None) -> tuple[Path, bool]:
    """Return the folder of this run, and whether it holds a run to be resumed."""
    if chosen.resume is not None and chosen.output_dir is not None:
        raise OptionError("--resume writes into the folder of the resumed run; leave --output_dir out")
    if rank is not None and not rank.is_first:
        return config.rootpath, False  # a stand-in until the first rank publishes the folder
    published = rank.published_folder() if rank else None
    if published is not None:
        return published, True
    if chosen.resume is not None:
        return unfinished_run(config.rootpath, chosen.resume), True
    if chosen.retry_failed and rank is None:
        raise OptionError("--retry_failed goes with --resume: a new run has no samples that failed before")
    return planned_folder(config.rootpath, chosen.output_dir), False


def _forbids_measuring(config: pytest.Config) -> bool:
    return is_switched_off(config) or bool(config.option.collectonly)
