"""What a change of a stage's time comes from: two ledgers of work, told apart in words and in parts that add up. Pure.

Counts come first: where a ledger moved, the program does other work. Then times per call: where one call takes longer
and the others do not, it is that call. Where all of them take longer alike, it is the machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from statistics import fmean, median, median_low, mode, stdev
from typing import Literal, NamedTuple

from harness.figures.metrics import percent_change
from harness.figures.student import t_quantile
from harness.records.quantities import MIB
from harness.records.work import COUNTS, REST, WatchedWork, other_versions

Blame = Literal["program", "machine", ""]

# What a stage is given: where one of these moved, the calls that moved with it are its consequence.
INPUTS = ("frames", "tokens")
# What keeps a device or a processor waiting, and is no kernel and no library call itself; the last one on a GPU only.
WAITS = ("synchronisations", "files", "read_bytes", "library_calls")
# Of the difference: a smaller part is not named, and what is blamed by its time alone takes as much as the second.
MIN_SHARE, MAIN_SHARE = 0.1, 0.5
# A call is blamed by its time alone if it takes so much longer than the others let one expect; a reading, than before.
MIN_SLOWDOWN = math.log(1.05)
# Of the stage: what a call has to take to tell of the others.
MIN_WEIGHT = 0.005
# Of a session beyond all that a baseline's sessions let one expect; fewer sessions tell nothing.
PROBABILITY, MIN_SESSIONS = 0.99, 3
MAX_NAMED, MAX_NAME = 3, 44
IN_PLACE = " in place of "
_GRID = re.compile(r" <[\d, x]+>$")
_NUMBERS = {"bfloat16": r"bf16|bfloat", "float16": r"fp16|f16|half|hgemm", "float32": r"fp32|f32|float|sgemm"}
_FAMILIES = {
    "attention": r"attention|attend|flash|fmha|sdpa",
    "product": r"gemm|gemv|matmul|matvec|::(add|b|bad)?mm\b|cutlass|cublas|linear",
    "copy": r"memcpy|copy|clone|::to\b",
}


class Side(NamedTuple):
    """One stage on one sample by one program: seconds by the clock and works, one a session; `steps` of decoding."""

    seconds: Sequence[float]
    works: Sequence[WatchedWork]
    steps: int = 1


class Change(NamedTuple):
    """A count of the ledger, or the number of a call, that every session of one side has otherwise than the other's."""

    what: str
    was: float
    now: float
    is_call: bool = False


class Part(NamedTuple):
    """A part of a difference, in seconds; `name` of the call, or empty where no call was seen; `words` say both.

    `has_moved`: in the ledger, too.
    """

    name: str
    seconds: float
    words: str
    has_moved: bool = False


class Cause(NamedTuple):
    """What a difference comes from: whom to blame, if that is known, and why; `parts` add up to `seconds`, all of it.

    `change`: the difference as a logarithm. `steps` of decoding that all seconds here are of.
    `changes`: of the ledger, inputs first. `price`: the first of them in words, with what one more such call takes.
    """

    blame: Blame
    sentence: str
    seconds: float
    change: float
    changes: tuple[Change, ...] = ()
    parts: tuple[Part, ...] = ()
    price: str = ""
    steps: int = 1


@dataclass(frozen=True, slots=True)
class _Calls:
    """All calls of one short name: how many in each session, their seconds there, and their full names."""

    counts: tuple[int, ...] = (0,)
    seconds_by_session: tuple[float, ...] = (0.0,)
    names: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        return median_low(self.seconds_by_session)  # of two, the one that was disturbed less

    @property
    def count(self) -> int:
        return mode(self.counts)


NONE = _Calls()


def explain(known: Side, now: Side, machine: Mapping[str, tuple[float, float]]) -> Cause:
    """Return what the change from one side to the other comes from.

    `machine`: by what shows it, how much the machine slowed the tests down, and how far that may vary; logarithms.
    """
    found = _Comparison(known, now)
    why_not = _incomparable(known, now)
    if why_not:
        return Cause("", f"the cause is not known: {why_not}", found.whole, found.change)
    blame, sentence = found.by_ledger() if found.changes else found.by_times(machine)
    return Cause(
        blame, sentence, found.whole, found.change, tuple(found.changes), tuple(found.parts), found.price(), now.steps
    )


def session_limit(values: Sequence[float]) -> float:
    """Return how far one further session may lie from the mean of these: a prediction limit, infinite for too few."""
    count = len(values)
    if count < MIN_SESSIONS:
        return math.inf
    return t_quantile(PROBABILITY, count - 1) * stdev(values) * math.sqrt(1 + 1 / count)


def short_name(name: str) -> str:
    """Return a call's name as a sentence can hold it: without grid, arguments, namespaces and template parameters."""
    if name == REST or re.fullmatch(r"\w+::\w+", name):  # an operation of PyTorch's, or of somebody's own
        return name
    full = bare = _GRID.sub("", name)
    numbers = next((each for each, of in _NUMBERS.items() if re.search(of, full, re.IGNORECASE)), "")
    functor = re.search(r"\w*Functor\w*|direct_copy\w*|\w+_kernel_cuda|cutlass_\d\w+", full)  # what one kernel is of
    while (shorter := re.sub(r"<[^<>]*>|\([^()]*\)", "", bare)) != bare:
        bare = shorter
    bare = re.split("[<(]", bare.removeprefix("void "))[0]  # a long name is cut, and has brackets that do not close
    shown = functor[0] if functor else bare.rpartition("::")[2].strip() or full
    return f"{shown[:MAX_NAME]}{'…' * (len(shown) > MAX_NAME)}{f' ({numbers})' if numbers else ''}"


class _Comparison:
    """Two sides that compare, with their calls by short name; in words, times and calls are per step of decoding."""

    def __init__(self, known: Side, now: Side) -> None:
        self.known, self.now = known, now
        self.whole = fmean(now.seconds) - fmean(known.seconds)
        self.change = math.log(fmean(now.seconds) / fmean(known.seconds))
        was, has = _grouped(known.works), _grouped(now.works)
        unseen = _unseen(was, has) | _unseen(has, was)
        self.was, self.has = _grouped(known.works, unseen), _grouped(now.works, unseen)
        self.on_gpu = now.works[-1].profiler == "cuda" if now.works else False
        self.waits = WAITS if self.on_gpu else WAITS[:-1]
        self.per = " per token" if now.steps > 1 else ""

    @cached_property
    def changes(self) -> list[Change]:
        """What is counted otherwise in every session: inputs, calls by name, and the other counts."""
        # A count that varies between the baseline's own sessions has moved only beyond all of them.
        counts: list[Change] = []
        for name in COUNTS:
            known, now = (
                [work.counts[name] for work in of.works if name in work.counts] for of in (self.known, self.now)
            )
            if known and now and _are_apart(known, now):
                counts.append(Change(name, mode(known), mode(now)))
        calls: list[Change] = []
        for name, before, after in self._pairs():
            other_grids = before.count == after.count and not before.names & after.names
            if _are_apart(before.counts, after.counts) or other_grids:
                what = f"{name} on other grids" if other_grids else name
                calls.append(Change(what, before.count, after.count, is_call=True))
        inputs = [each for each in counts if each.what in INPUTS]
        return [*inputs, *calls, *(each for each in counts if each not in inputs)]

    @cached_property
    def parts(self) -> list[Part]:
        """The difference divided among calls, the new with those that they replace, and time in none; largest first."""
        # Watching makes calls on a CPU take longer: there the parts are shares of what the watched rounds differ by.
        now, known = (median_low(each.seconds for each in side.works) for side in (self.now, self.known))
        ratio = self.whole / (now - known) if now != known and not self.on_gpu else 1.0
        factor = ratio if 0 < ratio < 2 else 1.0
        gone = {name: self._replacement(name) for name in self.was if name not in self.has}
        found = []
        for name, before, after in self._pairs():
            if gone.get(name):
                continue
            replaced = [each for each in gone if gone[each] == name]
            seconds = after.seconds - before.seconds - sum(self.was[each].seconds for each in replaced)
            words = self._of_call(name, before, after, replaced)
            found.append(Part(name, factor * seconds, words, _are_apart(before.counts, after.counts)))
        left = self.whole - sum(each.seconds for each in found)
        found.append(Part("", left, self._of_no_call(), any(each.what in self.waits for each in self.changes)))
        return sorted(found, key=lambda part: -self._share(part))

    def by_ledger(self) -> tuple[Blame, str]:
        """The program, and why: an input, or else the largest parts, and what moved if that is none of them."""
        shown, named = self._largest(), self._named()
        if self.changes[0].what in INPUTS:
            return "program", f"{self._of_change(self.changes[0])}; {shown}"
        calls = [each for each in self.changes if each.what == "library_calls"]
        if self.on_gpu and calls and _launched_alone(self.known) < 0.3 and _launched_alone(self.now) > 0.7:
            return "program", f"a captured graph is not replayed, {self._of_change(calls[0])}; {shown}"
        replaced = next((part.words for part in self.parts if IN_PLACE in part.words and part not in named), "")
        if replaced:
            return "program", f"{replaced.removeprefix('in ')}; {shown}"
        return "program", shown if any(part.has_moved for part in named) else f"{shown}; {self.price()}"

    def by_times(self, machine: Mapping[str, tuple[float, float]]) -> tuple[Blame, str]:
        """Whom to blame where the same work took another time, and why."""
        sign, enough = math.copysign(1, self.change), abs(self.change) * MAIN_SHARE
        for name, (longer, limit) in machine.items():  # on one core: what runs on several suffers more
            if sign * longer > min(enough / 2, max(limit, MIN_SLOWDOWN)):
                return "machine", f"the same work, and {name} {percent_change(longer)}"
        slower = {
            name: sign * math.log(self.has[name].seconds / was.seconds)
            for name, was in self.was.items()
            if name in self.has and min(was.seconds, self.has[name].seconds) > MIN_WEIGHT * median(self.known.seconds)
        }
        first = self.parts[0]
        usual = median([each for name, each in slower.items() if name != first.name] or [0.0])
        before, after = (self._by_session(first.name, *side) for side in ((self.known, self.was), (self.now, self.has)))
        excess = min(sign * (each - fmean(before) * math.exp(sign * usual)) for each in after)
        limit = session_limit(before)
        if self.on_gpu and not first.name and limit < math.inf:
            # Where a few sessions' kernels differ, so does what is left; but none leaves a device idle for so long.
            limit = min(limit, MIN_SLOWDOWN * median(self.known.seconds))
        stands_out = slower.get(first.name, 1.0) - usual > MIN_SLOWDOWN and excess > limit
        # A program that waits finds its caches cold.
        if self._share(first) > MAIN_SHARE and stands_out and usual < enough:
            return "program", f"the same work; {self._largest()}"
        kernel = "kernel" if self.on_gpu else "call"
        found = f"stands out, the median one took {percent_change(sign * usual)}" if usual > 0 else "took longer alone"
        return "machine", f"the same work, and no {kernel} {found}"

    def _by_session(self, name: str, side: Side, calls: Mapping[str, _Calls]) -> list[float]:
        """The seconds of a call in each session, or those outside of all."""
        if name:
            return [*calls.get(name, NONE).seconds_by_session]
        whole = side.seconds if self.on_gpu else [each.seconds for each in side.works]
        within = zip(*(each.seconds_by_session for each in calls.values()), strict=True) if calls else repeat(())
        return [seconds - sum(each) for seconds, each in zip(whole, within, strict=False)]

    def price(self) -> str:
        """The first changes in words, each call with its price."""
        more = [f"{len(self.changes) - MAX_NAMED} more counts moved"] if len(self.changes) > MAX_NAMED else []
        return "; ".join([*map(self._of_change, self.changes[:MAX_NAMED]), *more])

    def _of_change(self, change: Change) -> str:
        is_input = change.what in INPUTS
        form = _size if change.what.endswith("_bytes") else _count
        was = form(change.was if is_input else change.was / self.known.steps)
        now = form(change.now if is_input else change.now / self.now.steps)
        calls = self.has.get(change.what, NONE)
        price = f", {_time(calls.seconds / max(calls.count, 1))} each" if calls.seconds else ""
        what = f"`{change.what}`" if change.is_call else change.what.replace("_", " ")
        return f"{what} {was} -> {now}{'' if is_input else self.per}{price}"

    def _of_call(self, name: str, before: _Calls, after: _Calls, replaced: Sequence[str]) -> str:
        shown = "in all other calls" if name == REST else f"in `{name}`"
        if replaced:
            return f"{shown}{IN_PLACE}`{max(replaced, key=lambda each: self.was[each].seconds)}`"
        if _are_apart(before.counts, after.counts):
            counts = f"{_count(before.count / self.known.steps)} -> {_count(after.count / self.now.steps)}"
            return f"{shown} ({counts} {'launches' if self.on_gpu else 'calls'})"
        return f"{shown} ({' -> '.join(_time(each.seconds / max(each.count, 1)) for each in (before, after))} each)"

    def _of_no_call(self) -> str:
        outside = "while no kernel ran" if self.on_gpu else "outside of library calls"
        changes = {each.what: each for each in self.changes}
        for what in self.waits:
            if what in changes:
                return f"{outside}: {self._of_change(changes[what])}"
        files, size = (self.now.works[-1].counts.get(name, 0) for name in ("files", "read_bytes"))
        same = f"the same {_count(files)} files" if files else f"the same {_size(size)}"
        why = "the program waits" if self.on_gpu else "Python works, or waits"
        return f"{outside}: {f'reading {same} took longer' if files or size else why}"

    def _pairs(self) -> list[tuple[str, _Calls, _Calls]]:
        return [(name, self.was.get(name, NONE), self.has.get(name, NONE)) for name in self.was | self.has]

    def _replacement(self, name: str) -> str:
        """The new call in the place of one that is gone; empty where there is none."""
        family, new = _family(name), [each for each in self.has if each not in self.was]
        alike = [each for each in new if _family(each) == family]
        if family in _FAMILIES:  # attention may be taken apart into products and a softmax
            alike = alike or new
        return max(alike, key=lambda each: self.has[each].seconds, default="")

    def _share(self, part: Part) -> float:
        return part.seconds / self.whole if self.whole else 0.0

    def _named(self) -> list[Part]:
        """The parts that are worth a word, those first that the ledger speaks of, too."""
        large = [part for part in self.parts if self._share(part) >= MIN_SHARE]
        return sorted(large, key=lambda part: not part.has_moved)[:MAX_NAMED]

    def _largest(self) -> str:
        (first, *others), steps = self._named() or [Part("", 0.0, "in no part larger than a tenth")], self.now.steps
        words = [f"{_signed(first.seconds / steps)} of {_signed(self.whole / steps)}{self.per} {first.words}"]
        return "; ".join(words + [f"{_signed(part.seconds / steps)} {part.words}" for part in others])


def _incomparable(known: Side, now: Side) -> str:
    """Say why two ledgers do not compare; nothing where they do."""
    for side, whose in ((known, "the baseline"), (now, "the run")):
        if not side.works:
            return f"{whose} has no ledger of this work"
        for work in side.works:
            if not work.profiler:
                return f"{whose} has no profile of this work: {work.reason or 'no profiler was there'}"
            total = work.counts.get("launches" if work.profiler == "cuda" else "library_calls", 0)
            if total > sum(call.count for call in work.calls.values()):
                return f"a profile of {whose} is damaged and ignored: it lists fewer calls than it counts"
    one, other = known.works[-1], now.works[-1]
    differ = other_versions(one.versions | {"profiler": one.profiler}, other.versions | {"profiler": other.profiler})
    return f"ledgers of other versions do not compare: {differ}" if differ else ""


def _launched_alone(side: Side) -> float:
    """The share of kernels that the host launched itself, about: a replayed graph is one call for all of its own."""
    counts = side.works[-1].counts
    return (counts.get("library_calls", 0) - counts.get("synchronisations", 0)) / (counts.get("launches", 0) or 1)


def _are_apart(before: Sequence[float], after: Sequence[float]) -> bool:
    return max(after) < min(before) or min(after) > max(before)


def _grouped(works: Sequence[WatchedWork], unseen: Collection[str] = ()) -> dict[str, _Calls]:
    """All calls of each short name over the sessions of one side, those that are `unseen` among the rest."""
    full: dict[str, set[str]] = {}
    for name in (name for work in works for name in work.calls):
        short = short_name(name)
        full.setdefault(REST if short in unseen else short, set()).add(name)
    found = {}
    for short, names in full.items():
        calls = [[work.calls[name] for name in names if name in work.calls] for work in works]
        counts = tuple(sum(each.count for each in of_session) for of_session in calls)
        seconds = tuple(sum(each.seconds for each in of_session) for of_session in calls)
        found[short] = _Calls(counts, seconds, frozenset(names))
    return found


def _unseen(one: Mapping[str, _Calls], other: Mapping[str, _Calls]) -> set[str]:
    """What only one side names, and the other may have among its rest, which are the calls that are called least."""
    if REST not in other:
        return set()
    least = min((each.count for name, each in other.items() if name != REST), default=0)
    return {name for name, each in one.items() if name not in other and each.count <= least}


def _family(name: str) -> str:
    known = (family for family, of in _FAMILIES.items() if re.search(of, name, re.IGNORECASE))
    return next(known, name.partition(" (")[0])


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.2g}"


def _size(value: float) -> str:
    return f"{value / MIB:.1f} MiB" if value >= MIB / 10 else f"{value:,.0f} bytes"


def _time(seconds: float) -> str:
    factor, unit = (1, "s") if seconds >= 10 else (1e3, "ms") if seconds >= 1e-4 else (1e6, "us")
    return f"{factor * seconds:.3g} {unit}"


def _signed(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{_time(abs(seconds))}"
