"""`python -m harness bisect GOOD BAD -- …`: which commit made a figure worse, by `ab` over commits."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from harness.ab import results
from harness.ab.bisection import bisect
from harness.ab.command import measured, resumable, say
from harness.ab.plan import make_plan
from harness.ab.revisions import checkout_of
from harness.errors import OptionError, RevisionError
from harness.processes import git
from harness.records.folder import RESULTS, make_folder, read_json, unused_folder, write_json

FILE_NAME = "bisect.json"
FORMAT_VERSION = 1


class BisectPlan(msgspec.Struct, frozen=True):
    """`commits` from the good one to the bad one, pytest's arguments, and the maximum of pairs per comparison."""

    format_version: int
    commits: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    arguments: tuple[str, ...]
    pairs: Annotated[int, msgspec.Meta(ge=1)]


def run(revisions: Sequence[str], resume: Path | None, pairs: int, arguments: Sequence[str]) -> int:
    """Bisect and print the culprit; return the finding's exit status. Raises HarnessError."""
    if bool(resume) == (len(revisions) == 2) or (resume and (revisions or arguments)):
        raise OptionError("bisect takes a good and a bad revision, or --resume FOLDER and nothing else")
    checkout = checkout_of(Path.cwd())
    if resume:
        folder, advice = resume.absolute(), "name the folder of a bisection"
        plan = read_json(folder / FILE_NAME, BisectPlan, "a bisection", advice=advice, version=FORMAT_VERSION)
    else:
        good, bad = (checkout.revision(each).commit for each in revisions)
        # Along first parents, a merge is one step.
        listed = git(checkout.root, "rev-list", "--reverse", "--first-parent", f"{good}..{bad}").split()
        if not listed:
            raise RevisionError(f"no commit lies between {revisions[0]} and {revisions[1]}: the good one comes first")
        make_plan(checkout, (good, bad), (None, None), arguments, pairs)  # refuses what no comparison could run
        plan = BisectPlan(FORMAT_VERSION, (good, *listed), (*arguments,), pairs)
        folder = unused_folder(checkout.root / RESULTS, "bisect_")
        make_folder(folder)
        write_json(folder / FILE_NAME, plan)

    def compare(a: str, b: str) -> results.RevisionComparison:
        places = [plan.commits.index(each) for each in (a, b)]
        sys.stdout.write(f"commits {places[0]} ({a[:10]}) and {places[1]} ({b[:10]}) of {len(plan.commits) - 1}\n")
        pair_plan = make_plan(checkout, (a, b), (None, None), plan.arguments, plan.pairs)
        place = folder / "{:04}_{:04}".format(*places)
        found = results.read(place) if (place / results.FILE_NAME).exists() else results.compare(pair_plan, [])
        place.mkdir(exist_ok=True)
        return found if found.outcome else measured(checkout, place, found)

    with resumable("bisect", folder):
        found = bisect(plan.commits, compare, say)
    sys.stdout.write("".join(f"skipped, since it cannot be measured: {plan.commits[each]}\n" for each in found.skipped))
    if found.culprit:
        named = git(checkout.root, "show", "-s", "--format=%h %an, %s", plan.commits[found.culprit])
        sys.stdout.write(f"culprit: {named}\n")
    sys.stdout.write(f"{found.words}; comparisons: {found.comparisons}, sessions: {found.sessions}, in {folder}\n")
    return found.exit_status
