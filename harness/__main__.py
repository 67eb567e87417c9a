"""Work on results, baselines and gates; pytest arguments come behind `--`."""

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.ab import command as ab
from harness.ab.plan import MAX_PAIRS
from harness.commands.merge import merge_folder
from harness.errors import HarnessError
from harness.gates import exit_status
from harness.option_values import count, require_utf8, small_count
from harness.options import TESTS
from harness.processes import unwinding

_GATE_STATUSES = (exit_status.__doc__ or "").partition("\n\n")[2]
_RECORD_STATUSES = "0   the baseline has its sessions\n2   a session failed or is unusable; those before it are kept"
SEPARATOR_HINT = "pytest's arguments stand behind a --, as in: python -m harness gate -- perf_tests -k load"


@unwinding()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; return its exit status, 2 for a HarnessError."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    separator = words.index("--") if "--" in words else len(words)
    ours, pytests = words[:separator], words[separator + 1 :]
    parser = argparse.ArgumentParser(prog="python -m harness", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    merge = commands.add_parser("merge", help="derive a run's files from its journals, and judge a run by ranks")
    merge.add_argument("folder", type=Path, help="the run's folder, as results/latest")
    merge.add_argument("--output_json", "--output-json", type=Path, help="path of the legacy result file")
    merge.set_defaults(work=lambda chosen: merge_folder(chosen.folder, chosen.output_json))
    replayed = commands.add_parser("acceptance", help="agreement of draft and targets, from answers in a result file")
    replayed.add_argument("file", type=Path, help="a result file, of ours or of an older format")
    replayed.add_argument("--gamma", type=small_count, default=5, help="tokens of a first block (default: %(default)s)")
    replayed.set_defaults(work=lambda chosen: replay_file(chosen.file, chosen.gamma))
    making = commands.add_parser("report", help="make report.html and report.md of results, several side by side")
    making.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a run's folder or a result file")
    making.add_argument("--output-dir", "--output_dir", type=Path, help="folder (default: beside the first file)")
    making.add_argument("--gamma", type=small_count, default=5, help="draft tokens per round of old files (default: 5)")
    making.set_defaults(work=lambda chosen: report(chosen.files, chosen.output_dir, chosen.gamma))
    judging = _measuring_command(commands, "gate", "measure, compare with the baseline, confirm", _GATE_STATUSES)
    judging.set_defaults(work=lambda _chosen: _command("gate").gate(pytests))
    _add_baseline_commands(commands.add_parser("baseline", help="record, add, replace, retire, list sessions"), pytests)
    explaining = commands.add_parser("explain", help="figures that changed between two results, and the causes")
    explaining.add_argument("run", help="a run's folder, run.json, or a session of a baseline, <readable name>/NNNN")
    explaining.add_argument("baseline", help="the same, or the name of a baseline: all of its sessions")
    _add_baselines(explaining)
    explaining.set_defaults(work=lambda on: _command("explain").explain(on.run, on.baseline, on.baselines))
    two = commands.add_parser("ab", help=ab.HELP, usage=ab.USAGE)
    ab.add_arguments(two)
    two.set_defaults(work=lambda chosen: ab.run(chosen, pytests))
    halving = commands.add_parser("bisect", help="which commit made a figure worse, by ab over commits")
    halving.add_argument("revisions", nargs="*", metavar="REVISION", help="a good one and a bad one behind it")
    halving.usage = "python -m harness bisect (GOOD BAD | --resume FOLDER) [--pairs PAIRS] [-- pytest arguments]"
    halving.add_argument("--pairs", type=count, default=MAX_PAIRS, help="maximum per comparison (default: %(default)s)")
    halving.add_argument("--resume", type=Path, metavar="FOLDER", help="resume a bisection that was interrupted")
    halving.set_defaults(work=lambda on: _command("bisect").run(on.revisions, on.resume, on.pairs, pytests))
    _add_history_command(commands.add_parser("history", help="figures over sessions and commits, and their changes"))
    sweeping = commands.add_parser("sweep", help="measure with several values of one option")
    sweeping.usage = "python -m harness sweep (OPTION VALUE,VALUE,… | --resume FOLDER) [-- pytest arguments]"
    sweeping.add_argument("option", nargs="?", help="an option of numbers or times: event_images, event_window")
    sweeping.add_argument("values", nargs="?", help="its values, comma-separated")
    sweeping.add_argument("--resume", type=Path, metavar="FOLDER", help="resume a sweep that was interrupted")
    sweeping.set_defaults(work=lambda on: _command("sweep").sweep(on.option, on.values, on.resume, pytests))
    chosen, unknown = parser.parse_known_args(ours)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; {SEPARATOR_HINT}")
    try:
        require_utf8(words)
        return int(chosen.work(chosen) or 0)
    except HarnessError as error:
        sys.stderr.write(f"python -m harness: {error}\n")
        return 2


def _measuring_command(commands: Any, name: str, text: str, statuses: str) -> argparse.ArgumentParser:
    """Add a command that hands the arguments behind `--` to pytest."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name.rpartition(" ")[2],
        help=f"{text}: {name} -- PYTEST ARGUMENTS",
        description=text,
        usage=f"python -m harness {name} [options] [-- PYTEST ARGUMENTS]",
        epilog=f"{SEPARATOR_HINT}.\nWithout tests among them, the suite: {TESTS}.\n\nexit statuses:\n{statuses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_baselines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--baselines", type=Path, default=Path("baselines"), help="their folder (default: %(default)s)")


def _add_baseline_commands(parser: argparse.ArgumentParser, pytests: list[str]) -> None:
    _add_baselines(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    record = _measuring_command(commands, "baseline record", "measure in fresh processes", _RECORD_STATUSES)
    record.add_argument("--sessions", type=count, default=10, help="sessions in the end (default: %(default)s)")
    record.set_defaults(work=lambda on: _command("baseline").record(on.baselines, pytests, on.sessions))
    add = commands.add_parser("add", help="add runs that are there already")
    add.add_argument("folders", type=Path, nargs="+", help="folders of runs, as results/latest")
    add.set_defaults(work=lambda on: _command("baseline").add(on.baselines, on.folders))
    replace = commands.add_parser("replace", help="put a run in the place of a session")
    replace.add_argument("session", help="<readable name>/NNNN")
    replace.add_argument("folder", type=Path, help="a run's folder")
    replace.set_defaults(work=lambda on: _command("baseline").replace(on.baselines, on.session, on.folder))
    retire = commands.add_parser("retire", help="remove sessions")
    retire.add_argument("sessions", nargs="+", help="<readable name>/NNNN")
    retire.set_defaults(work=lambda on: _command("baseline").retire(on.baselines, on.sessions))
    late = commands.add_parser("overdue", help="name the benchmarks of all baselines that no recent run measured")
    late.add_argument("folders", type=Path, nargs="+", help="folders with runs in them, however deep")
    late.add_argument("--days", type=small_count, default=7, help="days until a run is late (default: %(default)s)")
    late.set_defaults(work=lambda on: _command("overdue").overdue(on.baselines, on.folders, on.days))
    listing = commands.add_parser("list", help="print all baselines and their sessions")
    listing.set_defaults(work=lambda on: _command("baseline").list_all(on.baselines))


def _add_history_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="baselines, folders of runs, result files")
    parser.add_argument("--since", metavar="REVISION", help="only sessions of this revision and of later commits")
    parser.add_argument("--release", type=Path, metavar="FOLDER", help="a release's baselines, to compare with")
    parser.add_argument("--output-dir", "--output_dir", type=Path, help="folder (default: results/history)")
    parser.add_argument("--format", choices=("page", "bmf"), default="page", help="bmf: Bencher's metrics, printed")
    parser.set_defaults(
        work=lambda on: _command("history").history(on.paths, on.since, on.release, on.output_dir, on.format)
    )


def _command(name: str) -> ModuleType:
    """Import a command when it runs: some import numpy and matplotlib, which take a second."""
    return import_module(f"harness.commands.{name}")


def report(paths: Sequence[Path], output_dir: Path | None, gamma: int) -> None:
    """Write the report of one result, or of several side by side, and print its paths; raise ResultFileError."""
    from harness.report.files import report_files  # imported late: matplotlib takes a second

    for path in report_files(paths, output_dir, gamma):
        sys.stdout.write(f"{path}\n")


def replay_file(path: Path, gamma: int) -> None:
    """Print how far recorded answers of draft and targets agree; raise ResultFileError for a file without answers."""
    from harness.report.content import report_of_answers  # imported late: matplotlib takes a second
    from harness.report.terminal import rendered

    sys.stdout.write(rendered(report_of_answers(path, gamma), verbosity=1))


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 lacks some of our characters
    sys.exit(main())
