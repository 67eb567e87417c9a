"""The plan of a comparison: its two sides, pytest's arguments, and the maximum of pairs."""

import shlex
from collections.abc import Sequence

import msgspec

from harness.ab.paired import MIN_PAIRS, looks
from harness.ab.revisions import Checkout, Revision
from harness.errors import OptionError
from harness.options import output_flags, with_tests
from harness.records.lines import timestamp

MAX_PAIRS = 16


class Side(Revision, frozen=True):
    """One side: a commit, its description, and the pytest arguments of this side only."""

    arguments: tuple[str, ...]


class AbPlan(msgspec.Struct, frozen=True):
    """Both sides, pytest's arguments for both, and the maximum of `pairs`. `started_at`: ISO 8601."""

    started_at: str
    a: Side
    b: Side
    arguments: tuple[str, ...]
    pairs: int

    def lines(self) -> list[str]:
        """Return a description of the plan, line by line."""
        *first, last = map(str, looks(self.pairs))
        when = f"{', '.join(first)} and {last}" if first else last
        return [
            f"A  {self.a.words}  {shlex.join(self.a.arguments)}".rstrip(),
            f"B  {self.b.words}  {shlex.join(self.b.arguments)}".rstrip(),
            f"pytest {shlex.join(self.arguments)}",
            f"at most {self.pairs} pairs of fresh processes in the order ABBA, evaluated after {when}",
        ]


def make_plan(
    checkout: Checkout,
    revisions: Sequence[str],
    own_arguments: tuple[str | None, str | None],
    arguments: Sequence[str],
    pairs: int,
) -> AbPlan:
    """Return the plan for a command line; raise OptionError or RevisionError.

    Two revisions are A and B. A single one is compared with the working tree, or with itself where the sides'
    arguments differ. Without a revision, both sides are the working tree.
    """
    if pairs < MIN_PAIRS:
        raise OptionError(f"--pairs takes a whole number from {MIN_PAIRS} up, not {pairs}")
    own = tuple(_words(f"--{name}-args", text) for name, text in zip("ab", own_arguments, strict=True))
    for word in (*arguments, *own[0], *own[1]):
        if word.partition("=")[0] in output_flags():
            raise OptionError(f"{word} cannot be given: each session of a comparison writes into a folder of its own")
    first, second = _two_revisions(checkout, revisions, different_arguments=own[0] != own[1])
    return AbPlan(
        started_at=timestamp(),
        a=Side(first.commit, first.words, own[0]),
        b=Side(second.commit, second.words, own[1]),
        arguments=with_tests(arguments, checkout.root),
        pairs=pairs,
    )


def _two_revisions(checkout: Checkout, names: Sequence[str], *, different_arguments: bool) -> tuple[Revision, Revision]:
    if len(names) > 2:
        raise OptionError(f"two revisions are compared, not {len(names)}; pytest's arguments follow a --")
    if not names and not different_arguments:
        raise OptionError(
            "nothing to compare: name a revision (it is compared with the working tree), two revisions, "
            "or give --a-args=… or --b-args=…"
        )
    found = [checkout.revision(name) for name in names] or [checkout.working_tree()]
    if len(found) == 1:
        found.append(found[0] if different_arguments else checkout.working_tree())
    return found[0], found[1]


def _words(option: str, text: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text or ""))
    except ValueError as error:
        raise OptionError(f"{option} {text!r} cannot be split into arguments: {error}") from error
