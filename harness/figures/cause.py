"""The cause of a change of a stage's time, from two ledgers of work, as a sentence and as parts that add up. Pure.

Counts decide first: where one has changed, the program does other work. Else times per call decide: if one call alone
takes longer, the program is to blame; if all calls take longer alike, the machine.
"""

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

# Counts of a stage's input: where one has changed, changed calls are its consequence.
INPUTS = ("frames", "tokens")
# Counts that explain time outside of kernels and library calls; the last one on a GPU only.
WAITS = ("synchronisations", "files", "read_bytes", "library_calls")
# Fractions of the difference: smaller parts are not named; a call is blamed by its time alone from the second on.
MIN_SHARE, MAIN_SHARE = 0.1, 0.5
# A call is blamed by its time alone if it slows down by so much more than the median call.
MIN_SLOWDOWN = math.log(1.05)
# Calls with a smaller fraction of the stage's time do not count for the median call.
MIN_WEIGHT = 0.005
# Of the prediction limit for one session; with fewer known sessions there is no limit.
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
    """One stage on one sample in sessions of one program: seconds and works by session; `steps` of decoding."""

    seconds: Sequence[float]
    works: Sequence[WatchedWork]
    steps: int = 1


class Change(NamedTuple):
    """A count of the ledger, or number of a call, whose ranges over the sessions of both sides do not overlap."""

    what: str
    was: float
    now: float
    is_call: bool = False


class Part(NamedTuple):
    """A part of a difference, in seconds, in the call `name`, or outside of all calls where that is empty.

    `words`: the part as text. `has_moved`: its count has changed, too.
    """

    name: str
    seconds: float
    words: str
    has_moved: bool = False


class Cause(NamedTuple):
    """The cause of a difference of `seconds`, as `sentence`; its `parts` add up to `seconds`.

    `blame` is empty where unknown. `change`: the difference as a logarithm. `changes`: of the ledger, inputs first.
    `price`: the first changes as text, with the time of one such call. `steps`: of decoding, in all these seconds.
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
    """All calls of one short name: counts and seconds by session, and their full names."""

    counts: tuple[int, ...] = (0,)
    seconds_by_session: tuple[float, ...] = (0.0,)
    names: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        return median_low(self.seconds_by_session)  # of two sessions, the less disturbed one

    @property
    def count(self) -> int:
        return mode(self.counts)


NO_CALLS = _Calls()


def explain(known: Side, now: Side, machine: Mapping[str, tuple[float, float]]) -> Cause:
    """Return the cause of the change from `known` to `now`.

    `machine`: by name of a reading, how much longer it took, and how much longer it may take; logarithms.
    """
    both = _Comparison(known, now)
    why_not = _incomparable(known, now)
    if why_not:
        return Cause("", f"the cause is not known: {why_not}", both.whole, both.change)
    blame, sentence = both.by_ledger() if both.changes else both.by_times(machine)
    changes, parts = tuple(both.changes), tuple(both.parts)
    return Cause(blame, sentence, both.whole, both.change, changes, parts, both.price(), now.steps)


def session_limit(values: Sequence[float]) -> float:
    """Return the prediction limit of one further session around the mean of `values`; infinite for too few."""
    count = len(values)
    if count < MIN_SESSIONS:
        return math.inf
    return t_quantile(PROBABILITY, count - 1) * stdev(values) * math.sqrt(1 + 1 / count)


def short_name(name: str) -> str:
    """Return a call's name without grid, arguments, namespaces and template parameters."""
    if name == REST or re.fullmatch(r"\w+::\w+", name):  # an operation of PyTorch's, or a registered one
        return name
    full = bare = _GRID.sub("", name)
    numbers = next((each for each, of in _NUMBERS.items() if re.search(of, full, re.IGNORECASE)), "")
    # Tells PyTorch's generic kernels apart.
    functor = re.search(r"\w*Functor\w*|direct_copy\w*|\w+_kernel_cuda|cutlass_\d\w+", full)
    while (shorter := re.sub(r"<[^<>]*>|\([^()]*\)", "", bare)) != bare:
        bare = shorter
    bare = re.split("[<(]", bare.removeprefix("void "))[0]  # a long name is cut, and has brackets that do not close
    shown = functor[0] if functor else bare.rpartition("::")[2].strip() or full
    return f"{shown[:MAX_NAME]}{'…' * (len(shown) > MAX_NAME)}{f' ({numbers})' if numbers else ''}"


class _Comparison:
    """Two sides, with their calls by short name; texts give times and calls per decoding step."""

    def __init__(self, known: Side, now: Side) -> None:
        self.known, self.now = known, now
        self.whole = fmean(now.seconds) - fmean(known.seconds)
        self.change = math.log(fmean(now.seconds) / fmean(known.seconds))
        was, has = _grouped(known.works), _grouped(now.works)
        in_rest = _maybe_in_rest(was, has) | _maybe_in_rest(has, was)
        self.calls_before, self.calls_now = _grouped(known.works, in_rest), _grouped(now.works, in_rest)
        self.on_gpu = now.works[-1].profiler == "cuda" if now.works else False
        self.waits = WAITS if self.on_gpu else WAITS[:-1]
        self.per = " per token" if now.steps > 1 else ""

    @cached_property
    def changes(self) -> list[Change]:
        """The counts that differ between all sessions of both sides: inputs, calls by name, and the others."""
        # A count that varies between the baseline's sessions has changed only if it lies beyond all of them.
        found: list[Change] = []
        for name in COUNTS:
            known = [work.counts[name] for work in self.known.works if name in work.counts]
            now = [work.counts[name] for work in self.now.works if name in work.counts]
            if known and now and _are_apart(known, now):
                found.append(Change(name, mode(known), mode(now)))
        for name, before, after in self._pairs():
            other_grids = before.count == after.count and not before.names & after.names
            if _are_apart(before.counts, after.counts) or other_grids:
                what = f"{name} on other grids" if other_grids else name
                found.append(Change(what, before.count, after.count, is_call=True))
        return sorted(found, key=lambda each: (each.is_call or each.what not in INPUTS, not each.is_call))

    @cached_property
    def parts(self) -> list[Part]:
        """The difference divided among calls and time outside of them, largest first; a new call includes the old."""
        # Profiling slows calls on a CPU down, so their parts are scaled from the profiled difference to the timed one.
        known = median_low(each.seconds for each in self.known.works)
        now = median_low(each.seconds for each in self.now.works)
        ratio = self.whole / (now - known) if now != known and not self.on_gpu else 1.0
        factor = ratio if 0 < ratio < 2 else 1.0
        gone = {name: self._replacement(name) for name in self.calls_before if name not in self.calls_now}
        found = []
        for name, before, after in self._pairs():
            if gone.get(name):
                continue
            replaced = [each for each in gone if gone[each] == name]
            seconds = after.seconds - before.seconds - sum(self.calls_before[each].seconds for each in replaced)
            words = self._call_text(name, before, after, replaced)
            found.append(Part(name, factor * seconds, words, _are_apart(before.counts, after.counts)))
        left = self.whole - sum(each.seconds for each in found)
        found.append(Part("", left, self._outside_text(), any(each.what in self.waits for each in self.changes)))
        return sorted(found, key=lambda part: -self._share(part))

    def by_ledger(self) -> tuple[Blame, str]:
        """Blame the program: name a changed input, else the largest parts, and changed counts outside of them."""
        shown, named = self._largest_text(), self._parts_to_name()
        if self.changes[0].what in INPUTS:
            return "program", f"{self._change_text(self.changes[0])}; {shown}"
        calls = [each for each in self.changes if each.what == "library_calls"]
        if self.on_gpu and calls and _launched_singly(self.known) < 0.3 and _launched_singly(self.now) > 0.7:
            change = self._change_text(calls[0])
            return "program", f"a captured graph is not replayed{'' if change in shown else f', {change}'}; {shown}"
        replaced = next((part.words for part in self.parts if IN_PLACE in part.words and part not in named), "")
        if replaced:
            return "program", f"{replaced.removeprefix('in ')}; {shown}"
        return "program", shown if any(part.has_moved for part in named) else f"{shown}; {self.price()}"

    def by_times(self, machine: Mapping[str, tuple[float, float]]) -> tuple[Blame, str]:
        """Return blame and sentence where the same work took another time."""
        sign, enough = math.copysign(1, self.change), abs(self.change) * MAIN_SHARE
        for name, (longer, limit) in machine.items():  # half: readings take one core, and several cores suffer more
            if sign * longer > min(enough / 2, max(limit, MIN_SLOWDOWN)):
                return "machine", f"the same work, and {name} {percent_change(longer)}"
        slower = {
            name: sign * math.log(self.calls_now[name].seconds / was.seconds)
            for name, was in self.calls_before.items()
            if name in self.calls_now
            and min(was.seconds, self.calls_now[name].seconds) > MIN_WEIGHT * median(self.known.seconds)
        }
        first = self.parts[0]
        usual = median([each for name, each in slower.items() if name != first.name] or [0.0])
        before = self._by_session(first.name, self.known, self.calls_before)
        after = self._by_session(first.name, self.now, self.calls_now)
        excess = min(sign * (each - fmean(before) * math.exp(sign * usual)) for each in after)
        limit = session_limit(before)
        if self.on_gpu and not first.name and limit < math.inf:
            # Few sessions give a wide limit, but none leaves a device idle for so long.
            limit = min(limit, MIN_SLOWDOWN * median(self.known.seconds))
        stands_out = slower.get(first.name, 1.0) - usual > MIN_SLOWDOWN and excess > limit
        # `usual < enough`: after a longer wait all calls are a little slower, since caches are cold.
        if self._share(first) > MAIN_SHARE and stands_out and usual < enough:
            return "program", f"the same work; {self._largest_text()}"
        kernel = "kernel" if self.on_gpu else "call"
        found = f"stands out, the median one took {percent_change(sign * usual)}" if usual > 0 else "took longer alone"
        return "machine", f"the same work, and no {kernel} {found}"

    def _by_session(self, name: str, side: Side, calls: Mapping[str, _Calls]) -> list[float]:
        """Return the seconds of a call in each session, or for no name the seconds outside of all calls."""
        if name:
            return [*calls.get(name, NO_CALLS).seconds_by_session]
        whole = side.seconds if self.on_gpu else [each.seconds for each in side.works]
        within = zip(*(each.seconds_by_session for each in calls.values()), strict=True) if calls else repeat(())
        return [seconds - sum(each) for seconds, each in zip(whole, within, strict=False)]

    def price(self) -> str:
        """Return the first changes as text, with the time of one such call."""
        more = [f"{len(self.changes) - MAX_NAMED} more counts moved"] if len(self.changes) > MAX_NAMED else []
        return "; ".join([*map(self._change_text, self.changes[:MAX_NAMED]), *more])

    def _change_text(self, change: Change) -> str:
        is_input = change.what in INPUTS
        form = _size if change.what.endswith("_bytes") else _count
        was = form(change.was if is_input else change.was / self.known.steps)
        now = form(change.now if is_input else change.now / self.now.steps)
        calls = self.calls_now.get(change.what, NO_CALLS)
        price = f", {_time(calls.seconds / max(calls.count, 1))} each" if calls.seconds else ""
        what = f"`{change.what}`" if change.is_call else change.what.replace("_", " ")
        return f"{what} {was} -> {now}{'' if is_input else self.per}{price}"

    def _call_text(self, name: str, before: _Calls, after: _Calls, replaced: Sequence[str]) -> str:
        shown = "in all other calls" if name == REST else f"in `{name}`"
        if replaced:
            return f"{shown}{IN_PLACE}`{max(replaced, key=lambda each: self.calls_before[each].seconds)}`"
        if _are_apart(before.counts, after.counts):
            counts = f"{_count(before.count / self.known.steps)} -> {_count(after.count / self.now.steps)}"
            return f"{shown} ({counts} {'launches' if self.on_gpu else 'calls'})"
        return f"{shown} ({' -> '.join(_time(each.seconds / max(each.count, 1)) for each in (before, after))} each)"

    def _outside_text(self) -> str:
        outside = "while no kernel ran" if self.on_gpu else "outside of library calls"
        changes = {each.what: each for each in self.changes}
        for what in self.waits:
            if what in changes:
                return f"{outside}: {self._change_text(changes[what])}"
        counts = self.now.works[-1].counts
        files, size = counts.get("files", 0), counts.get("read_bytes", 0)
        same = f"the same {_count(files)} files" if files else f"the same {_size(size)}"
        why = "the program waits" if self.on_gpu else "Python works, or waits"
        return f"{outside}: {f'reading {same} took longer' if files or size else why}"

    def _pairs(self) -> list[tuple[str, _Calls, _Calls]]:
        before, now = self.calls_before, self.calls_now
        return [(name, before.get(name, NO_CALLS), now.get(name, NO_CALLS)) for name in before | now]

    def _replacement(self, name: str) -> str:
        """Return the new call that replaces a missing one; empty where there is none."""
        family, new = _family(name), [each for each in self.calls_now if each not in self.calls_before]
        alike = [each for each in new if _family(each) == family]
        if family in _FAMILIES:  # one attention kernel may become products and a softmax
            alike = alike or new
        return max(alike, key=lambda each: self.calls_now[each].seconds, default="")

    def _share(self, part: Part) -> float:
        return part.seconds / self.whole if self.whole else 0.0

    def _parts_to_name(self) -> list[Part]:
        """Return the parts to name in a sentence, those with a changed count first."""
        large = [part for part in self.parts if self._share(part) >= MIN_SHARE]
        return sorted(large, key=lambda part: not part.has_moved)[:MAX_NAMED]

    def _largest_text(self) -> str:
        first, *others = self._parts_to_name() or [Part("", 0.0, "in no part larger than a tenth")]
        steps = self.now.steps
        words = [f"{_signed(first.seconds / steps)} of {_signed(self.whole / steps)}{self.per} {first.words}"]
        return "; ".join(words + [f"{_signed(part.seconds / steps)} {part.words}" for part in others])


def _incomparable(known: Side, now: Side) -> str:
    """Return why two ledgers do not compare; empty where they do."""
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


def _launched_singly(side: Side) -> float:
    """Return roughly the fraction of kernels that the host launched singly: a replayed graph is one call for many."""
    counts = side.works[-1].counts
    return (counts.get("library_calls", 0) - counts.get("synchronisations", 0)) / (counts.get("launches", 0) or 1)


def _are_apart(before: Sequence[float], after: Sequence[float]) -> bool:
    return max(after) < min(before) or min(after) > max(before)


def _grouped(works: Sequence[WatchedWork], in_rest: Collection[str] = ()) -> dict[str, _Calls]:
    """Return the calls of one side by short name; names in `in_rest` count as REST."""
    full: dict[str, set[str]] = {}
    for name in (name for work in works for name in work.calls):
        short = short_name(name)
        full.setdefault(REST if short in in_rest else short, set()).add(name)
    found = {}
    for short, names in full.items():
        calls = [[work.calls[name] for name in names if name in work.calls] for work in works]
        counts = tuple(sum(each.count for each in of_session) for of_session in calls)
        seconds = tuple(sum(each.seconds for each in of_session) for of_session in calls)
        found[short] = _Calls(counts, seconds, frozenset(names))
    return found


def _maybe_in_rest(one: Mapping[str, _Calls], other: Mapping[str, _Calls]) -> set[str]:
    """Return names of `one` that `other` may have in its REST, which holds the least frequent calls."""
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
