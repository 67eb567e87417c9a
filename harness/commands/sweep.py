"""`python -m harness sweep`: one run for each of several values of an option, with a report of tables and curves."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import msgspec

from harness.ab.command import resumable, say
from harness.ab.sessions import run_session
from harness.errors import OptionError, SessionError
from harness.gates.exit_status import FAILED, NO_FIGURE, PYTEST_STATUSES
from harness.options import Options, output_flags, with_tests
from harness.records.folder import RESULTS, make_folder, read_json, unused_folder, write_json
from harness.records.journal import JOURNAL_NAME, read_finished_run
from harness.records.lines import RunRecord, timestamp
from harness.report.files import publish
from harness.report.sweep import Point, report_of_sweep

FILE_NAME = "sweep.json"
FORMAT_VERSION = 1


class SweepPlan(msgspec.Struct, frozen=True):
    """The swept `option`, its `values` as typed, and pytest's arguments for all runs."""

    format_version: int
    started_at: str
    option: str
    values: tuple[str, ...]
    arguments: tuple[str, ...]


def sweep(option: str | None, words: str | None, resume: Path | None, arguments: Sequence[str]) -> int:
    """Measure with each comma-separated value, or resume a sweep; return the exit status. Raises HarnessError."""
    if bool(resume) == bool(words) or (resume and (option or arguments)):
        raise OptionError("sweep takes an option and its values, or --resume FOLDER and nothing else")
    if resume:
        advice = "name the folder of a sweep"
        plan = read_json(resume / FILE_NAME, SweepPlan, "a sweep", advice=advice, version=FORMAT_VERSION)
        make_plan(plan.option, ",".join(plan.values), plan.arguments)  # raises for an edited, impossible plan
        return _measured(resume.absolute(), plan)
    plan = make_plan(option or "", words or "", arguments)
    folder = unused_folder(Path.cwd() / RESULTS, "sweep_")
    make_folder(folder)
    write_json(folder / FILE_NAME, plan)
    return _measured(folder, plan)


def make_plan(option: str, words: str, arguments: Sequence[str]) -> SweepPlan:
    """Return the plan for a command line; raise OptionError for an option without numbers or a forbidden argument."""
    name, values = option.lstrip("-").replace("-", "_"), tuple(word.strip() for word in words.split(","))
    if len({_number(name, value) for value in values}) < len(values):
        raise OptionError(f"{option} has a value twice in {words!r}")
    for word in arguments:
        flag = word.partition("=")[0]
        if flag in output_flags() or flag.lstrip("-").replace("-", "_") in {name, "resume"}:
            raise OptionError(f"{word} cannot be given: the sweep sets it for the run of each value")
    return SweepPlan(FORMAT_VERSION, timestamp(), name, values, with_tests(arguments, Path.cwd()))


def _number(name: str, word: str) -> float:
    """Return an option's value as a number, parsed by the option itself; raise OptionError."""
    for each in fields(Options):
        if each.name == name and each.metadata["changes_figures"]:
            try:
                value = each.metadata["parse"](word)
            except ValueError as error:
                raise OptionError(f"--{name} {error}, not {word!r}") from error
            if type(value) in {int, float}:
                return float(value)
    raise OptionError(f"{name!r} is no option of numbers that change figures, as event_images and event_window are")


def _measured(folder: Path, plan: SweepPlan) -> int:
    problems: list[str] = []
    with resumable("sweep", folder):
        for value in plan.values:
            problems += _run_of(folder, plan, value)
    runs = {value: _finished(folder / value) for value in plan.values}
    points = [Point(value, _number(plan.option, value), run) for value, run in runs.items() if run]
    if not points:
        raise SessionError(f"no run of {folder} has ended")
    report = report_of_sweep(folder.name, plan.option, points, problems)
    publish(report, folder)
    if any(run is None or (run.end and run.end.exit_status == FAILED) for run in runs.values()):
        return FAILED
    return 0 if report.sections else NO_FIGURE


def _run_of(folder: Path, plan: SweepPlan, value: str) -> Iterator[str]:
    """Measure or resume the run of one value, unless it is finished; yield the reason of a failure."""
    place, what, start = folder / value, f"{plan.option} {value}", time.monotonic()
    if _finished(place):
        sys.stdout.write(f"{what}: measured already\n")
        return
    where = "--resume" if (place / JOURNAL_NAME).exists() else "--output-dir"
    throughput = [] if "--throughput" in plan.arguments else ["--throughput"]
    try:
        run_session([*plan.arguments, *throughput, f"--{plan.option}={value}", f"{where}={place}"], place, what)
    except SessionError as error:  # the other values may still work, as when one does not fit into memory
        sys.stderr.write(f"{error}\n")
        yield str(error).partition(" ends with\n")[0]
    say(f"{what}: {time.monotonic() - start:.0f} s")


def _finished(folder: Path) -> RunRecord | None:
    run = read_finished_run(folder)
    return run if run and run.end and run.end.exit_status not in PYTEST_STATUSES else None
