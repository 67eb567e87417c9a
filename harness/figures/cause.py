"""What a change of a stage's time comes from: two ledgers of work, told apart in words and in parts that add up. Pure.

Counts come first: where a ledger moved, the program does other work. Then times per call: where one call takes longer
and the others do not, it is that call. Where all of them take longer alike, it is the machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median, mode
from typing import Literal

from harness.figures.metrics import percent_change
from harness.records.quantities import MIB
from harness.records.work import COUNTS, REST, StageWork, other_versions

Blame = Literal["program", "machine", ""]

# What a stage is given: where one of these moved, the calls that moved with it are its consequence.
INPUTS = ("frames", "tokens")
# Waits for the disk and the device happen in no call that a profiler sees.
WAITS = ("synchronisations", "files", "read_bytes")
# Of the difference: a smaller part is not named, and what is blamed by its time alone takes as much as the second.
MIN_SHARE, MAIN_SHARE = 0.1, 0.5
# A call is blamed by its time alone if it takes so much longer than the others let one expect.
MIN_SLOWDOWN = math.log(1.15)
MAX_NAMED, MAX_NAME = 3, 44
IN_PLACE = " in place of "
_GRID = re.compile(r" <[\d, x]+>$")
_NUMBERS = {"bfloat16": r"bf16|bfloat", "float16": r"fp16|f16|half|hgemm", "float32": r"fp32|f32|float|sgemm"}
_FAMILIES = {
    "attention": r"attention|attend|flash|fmha|sdpa",
    "product": r"gemm|gemv|matmul|matvec|::(add|b|bad)?mm\b|cutlass|cublas|linear",
    "copy": r"memcpy|copy|clone|::to\b",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One stage on one sample by one program: seconds by the clock and works, one a session; `steps` of decoding."""

    seconds: Sequence[float]
    works: Sequence[StageWork]
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Change:
    """A count of the ledger, or the number of a call, that every session of one side has otherwise than the other's."""

    what: str
    was: float
    now: float
    is_call: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a difference, in seconds; `name` of the call, or empty where no call was seen; `words` say both."""

    name: str
    seconds: float
    words: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What a difference comes from: whom to blame, if that is known, and why; `parts` add up to `seconds`, all of it.

    `change`: the difference as a logarithm.
    `changes`: of the ledger, inputs first. `price`: the first of them in words, with what one more such call takes.
    """

    blame: Blame
    sentence: str
    seconds: float
    change: float
    changes: tuple[Change, ...] = ()
    parts: tuple[Part, ...] = ()
    price: str = ""


@dataclass(frozen=True, slots=True)
class _Calls:
    """All calls of one short name: how many in each session, their seconds there, and their full names."""

    counts: tuple[int, ...] = (0,)
    seconds_by_session: tuple[float, ...] = (0.0,)
    names: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        return median(self.seconds_by_session)

    @property
    def count(self) -> int:
        return mode(self.counts)


def explain(known: Side, now: Side, machine: Mapping[str, float]) -> Cause:
    """Return what the change from one side to the other comes from.

    `machine`: by how much readings of the machine's speed changed, as logarithms of seconds by their names.
    """
    found = _Comparison(known, now)
    why_not = _incomparable(known, now)
    if why_not:
        return Cause("", f"the cause is not known: {why_not}", found.whole, found.change)
    blame, sentence = found.by_ledger() if found.changes else found.by_times(machine)
    return Cause(blame, sentence, found.whole, found.change, tuple(found.changes), tuple(found.parts), found.price())


def short_name(name: str) -> str:
    """Return a call's name as a sentence can hold it: without grid, arguments, namespaces and template parameters."""
    if name == REST or name.startswith("aten::"):
        return name
    full = bare = _GRID.sub("", name)
    numbers = next((each for each, of in _NUMBERS.items() if re.search(of, full, re.IGNORECASE)), "")
    functor = re.search(r"\w*Functor\w*|direct_copy\w*", full)
    while (shorter := re.sub(r"<[^<>]*>|\([^()]*\)", "", bare)) != bare:
        bare = shorter
    shown = bare.removeprefix("void ").rpartition("::")[2].strip() or full
    shown += f", {functor[0]}" if functor and functor[0] not in shown else ""
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
        self.per = " per token" if now.steps > 1 else ""

    @cached_property
    def changes(self) -> list[Change]:
        """What is counted otherwise in every session: inputs, calls by name, and the other counts."""
        # A count that varies between the baseline's own sessions has moved only beyond all of them.
        of_ledger = [
            Change(name, mode(before), mode(after))
            for name in dict.fromkeys((*INPUTS, *COUNTS))
            if (before := [work.counts[name] for work in self.known.works if name in work.counts])
            and (after := [work.counts[name] for work in self.now.works if name in work.counts])
            and _are_apart(before, after)
        ]
        calls = [(name, self.was.get(name, _Calls()), self.has.get(name, _Calls())) for name in self.was | self.has]
        return [
            *(each for each in of_ledger if each.what in INPUTS),
            *(
                Change(name, before.count, after.count, is_call=True)
                for name, before, after in calls
                if _are_apart(before.counts, after.counts)
            ),
            *(
                Change(f"{name} on other grids", before.count, after.count, is_call=True)
                for name, before, after in calls
                if before.count == after.count and not before.names & after.names
            ),
            *(each for each in of_ledger if each.what not in INPUTS),
        ]

    @cached_property
    def parts(self) -> list[Part]:
        """The difference divided among calls, the new with those that they replace, and time in none; largest first."""
        # Watching makes calls on a CPU take longer: there the parts are shares of what the watched rounds differ by.
        watched = median(each.seconds for each in self.now.works) - median(each.seconds for each in self.known.works)
        ratio = self.whole / watched if watched and not self.on_gpu else 1.0
        factor = ratio if 0.5 < ratio < 2 else 1.0
        gone = {name: self._replacement(name) for name in self.was if name not in self.has}
        found = []
        for name in [each for each in self.was | self.has if not gone.get(each)]:
            before = [
                self.was[each] for each in (name, *(each for each in gone if gone[each] == name)) if each in self.was
            ]
            seconds = self.has.get(name, _Calls()).seconds - sum(each.seconds for each in before)
            found.append(Part(name, factor * seconds, self._of_call(name, gone)))
        found.append(Part("", self.whole - sum(each.seconds for each in found), self._of_no_call()))
        return sorted(found, key=lambda part: -self._share(part))

    def by_ledger(self) -> tuple[Blame, str]:
        """The program, and why: an input, or else the largest parts, and what moved if that is none of them."""
        moved, shown = {each.what for each in self.changes}, self._largest()
        if moved & {*INPUTS}:
            return "program", f"{self._of_change(self.changes[0])}; {shown}"
        named = any(part.name in moved or IN_PLACE in part.words for part in self._named())
        waits = self._named()[:1] == [self.parts[0]] and not self.parts[0].name and moved & {*WAITS}
        return "program", shown if named or waits else f"{shown}; {self.price()}"

    def by_times(self, machine: Mapping[str, float]) -> tuple[Blame, str]:
        """Whom to blame where the same work took another time, and why."""
        sign, enough = math.copysign(1, self.change), abs(self.change) * MAIN_SHARE
        reading, moved = max(machine.items(), key=lambda each: sign * each[1], default=("", 0.0))
        if sign * moved > enough:
            return "machine", f"the same work, and {reading} took {percent_change(moved)}: the machine's speed"
        both = [name for name in self.was if name in self.has and self.was[name].seconds * self.has[name].seconds > 0]
        slower = {name: sign * math.log(self.has[name].seconds / self.was[name].seconds) for name in both}
        usual = _weighted_median([(slower[name], self.was[name].seconds) for name in both])
        for part in self.parts[:1]:
            stands_out = usual < enough
            if part.name in slower:
                sessions = self.was[part.name].seconds_by_session, self.has[part.name].seconds_by_session
                stands_out = slower[part.name] - usual > MIN_SLOWDOWN and _are_apart(*sessions)
            if self._share(part) > MAIN_SHARE and stands_out:
                return "program", f"the same work; {self._largest()}"
        kernel = "kernel" if self.on_gpu else "call"
        found = f"stands out, the median one took {percent_change(sign * usual)}" if usual > 0 else "took longer"
        return "machine", f"the same work, and no {kernel} {found}"

    def price(self) -> str:
        """The first changes in words, each call with its price."""
        more = len(self.changes) - MAX_NAMED
        return "; ".join(
            [*map(self._of_change, self.changes[:MAX_NAMED]), *([f"{more} more counts moved"] if more > 0 else [])]
        )

    def _of_change(self, change: Change) -> str:
        is_input = change.what in INPUTS
        form = _size if change.what.endswith("_bytes") else _count
        was = form(change.was if is_input else change.was / self.known.steps)
        now = form(change.now if is_input else change.now / self.now.steps)
        calls = self.has.get(change.what, _Calls())
        price = f", {_time(calls.seconds / calls.count)} each" if calls.seconds else ""
        what = f"`{change.what}`" if change.is_call else change.what.replace("_", " ")
        return f"{what} {was} -> {now}{'' if is_input else self.per}{price}"

    def _of_call(self, name: str, gone: Mapping[str, str]) -> str:
        shown = "in all other calls" if name == REST else f"in `{name}`"
        before, after = self.was.get(name, _Calls()), self.has.get(name, _Calls())
        replaced = [each for each in gone if gone[each] == name]
        if replaced:
            return f"{shown}{IN_PLACE}`{max(replaced, key=lambda each: self.was[each].seconds)}`"
        if before.count != after.count:
            counts = f"{_count(before.count / self.known.steps)} -> {_count(after.count / self.now.steps)}"
            return f"{shown} ({counts} {'launches' if self.on_gpu else 'calls'})"
        each = " -> ".join(_time(calls.seconds / max(calls.count, 1)) for calls in (before, after))
        return f"{shown} ({each} each)"

    def _of_no_call(self) -> str:
        outside = "while no kernel ran" if self.on_gpu else "outside of library calls"
        waits = [each for each in self.changes if each.what in WAITS]
        if waits:
            return f"{outside}: {self._of_change(waits[0])}"
        files, size = (self.now.works[-1].counts.get(name, 0) for name in ("files", "read_bytes"))
        same = f"the same {_count(files)} files" if files else f"the same {_size(size)}"
        return f"{outside}: reading {same} took longer" if files or size else f"{outside}: the program waits"

    def _replacement(self, name: str) -> str:
        """The new call in the place of one that is gone; empty where there is none."""
        new = [each for each in self.has if each not in self.was and _family(each) == _family(name)]
        return max(new, key=lambda each: self.has[each].seconds, default="")

    def _share(self, part: Part) -> float:
        return part.seconds / self.whole if self.whole else 0.0

    def _named(self) -> list[Part]:
        return [part for part in self.parts if self._share(part) >= MIN_SHARE][:MAX_NAMED]

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


def _are_apart(before: Sequence[float], after: Sequence[float]) -> bool:
    return max(after) < min(before) or min(after) > max(before)


def _grouped(works: Sequence[StageWork], unseen: Collection[str] = ()) -> dict[str, _Calls]:
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


def _weighted_median(values: Iterable[tuple[float, float]]) -> float:
    ordered = sorted(values)
    left = sum(weight for _, weight in ordered) / 2
    for value, weight in ordered:
        left -= weight
        if left <= 0:
            return value
    return 0.0


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.2g}"


def _size(value: float) -> str:
    return f"{value / MIB:.1f} MiB" if value >= MIB / 10 else f"{value:,.0f} bytes"


def _time(seconds: float) -> str:
    factor, unit = (1, "s") if seconds >= 10 else (1e3, "ms") if seconds >= 1e-4 else (1e6, "us")
    return f"{factor * seconds:.3g} {unit}"


def _signed(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{_time(abs(seconds))}"
