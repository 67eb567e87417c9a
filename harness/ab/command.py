"""`python -m harness ab`: from the command line to the exit status; ab.json is written after every session."""

import argparse
import contextlib
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.ab import results
from harness.ab.paired import looks, order
from harness.ab.plan import MAX_PAIRS, make_plan
from harness.ab.results import RevisionComparison, common_names
from harness.ab.revisions import Checkout, checkout_of
from harness.ab.sessions import SessionFigures, measure, read_session
from harness.ab.table import table
from harness.errors import OptionError
from harness.records.folder import RESULTS, make_folder, unused_folder, write_json

HELP = "compare two revisions, or two sets of options, by pairs of fresh processes in turn"
USAGE = "python -m harness ab [options] [REVISION [REVISION]] [-- pytest arguments]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments; those behind `--` go to pytest."""
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="A and B; without B, the working tree")
    parser.add_argument("--a-args", metavar="ARGUMENTS", help='pytest arguments for A only: --a-args="--dtype float16"')
    parser.add_argument("--b-args", metavar="ARGUMENTS", help="pytest arguments for B only")
    parser.add_argument("--pairs", type=int, help=f"maximum of pairs of sessions (default: {MAX_PAIRS})")
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="resume a comparison that was interrupted")


def run(chosen: argparse.Namespace, pytest_arguments: Sequence[str]) -> int:
    """Compare two sides and print the table; return the exit status. Raises HarnessError."""
    checkout, own = checkout_of(Path.cwd()), (chosen.a_args, chosen.b_args)
    if chosen.resume:
        if chosen.revisions or pytest_arguments or (*own, chosen.pairs) != (None, None, None):
            unchanged = f"--resume {chosen.resume} continues that comparison unchanged"
            raise OptionError(f"{unchanged}: leave all other arguments out")
        folder, found = chosen.resume.absolute(), results.read(chosen.resume)
    else:
        pairs = MAX_PAIRS if chosen.pairs is None else chosen.pairs
        found = results.compare(make_plan(checkout, chosen.revisions, own, pytest_arguments, pairs), [])
        folder = unused_folder(checkout.root / RESULTS, "ab_")
        make_folder(folder)
        write_json(folder / results.FILE_NAME, found)
    say(*found.plan.lines())
    with resumable("ab", folder):
        found = measured(checkout, folder, found)
    sys.stdout.write(table(found, folder, width=shutil.get_terminal_size().columns, color=sys.stdout.isatty()))
    assert found.outcome is not None, "a finished comparison has an outcome"
    return found.outcome.code


def measured(checkout: Checkout, folder: Path, begun: RevisionComparison) -> RevisionComparison:
    """Measure pair by pair until every verdict is decided or the maximum is reached; write after each session."""
    plan, sessions = begun.plan, _whole_pairs(folder, begun.sessions)
    found = results.compare(plan, sessions)
    with checkout.tree(plan.a.commit, folder / "tree_a") as a, checkout.tree(plan.b.commit, folder / "tree_b") as b:
        sides = {"a": (plan.a, a), "b": (plan.b, b)}
        while found.pairs < plan.pairs and not found.is_decided:
            pair = found.pairs + 1
            for name in order(pair):
                start = time.monotonic()
                place, (side, tree) = folder / f"{2 * pair - 1 + order(pair).index(name):02}_{name}", sides[name]
                status = measure(side, plan.arguments, tree, place)
                sessions.append(read_session(pair, name, side, place, status))
                found = results.compare(plan, sessions)
                write_json(folder / results.FILE_NAME, found)
                took = f"{name.upper()} took {time.monotonic() - start:.0f} s ({sessions[-1].folder})"
                say(f"pair {pair} of at most {plan.pairs}: {took}")
            if not common_names(sessions):
                break  # further pairs would have no common figure either
            if pair in looks(plan.pairs):
                counts = Counter(figure.verdict for figure in found.figures)
                say(f"after {pair} pairs: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}")
    found = results.with_outcome(found)
    write_json(folder / results.FILE_NAME, found)
    return found


def _whole_pairs(folder: Path, sessions: Sequence[SessionFigures]) -> list[SessionFigures]:
    """Return the sessions of whole pairs; move files of other sessions aside, which must not become half of a pair."""
    whole = list(sessions[: len(sessions) // 2 * 2])
    for path in sorted(folder.glob("[0-9]*_[ab]*")):
        if path.name.partition(".")[0] not in {session.folder for session in whole}:
            aside = folder / "interrupted" / f"{time.time_ns()}_{path.name}"
            aside.parent.mkdir(exist_ok=True)
            path.rename(aside)
    return whole


@contextlib.contextmanager
def resumable(command: str, folder: Path) -> Iterator[None]:
    """Print how `python -m harness COMMAND` resumes in a folder, where the block is interrupted or fails."""
    try:
        yield
    except BaseException:
        again = f"python -m harness {command} --resume {shlex.quote(str(folder))}"
        sys.stderr.write(f"finished sessions are in {folder}; {again} resumes it\n")
        raise


def say(*lines: str) -> None:
    """Print lines at once, without buffering."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
