"""What the pieces of speculative decoding take, timed in turn at one place of one answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from harness.measuring import clock

MAX_PASS = 32
TURNS = 5
# An engine may read a token while the device is busy with the next: a step by itself is not what a step takes.
STEPS_AT_ONCE = 4
# Steps are what all else is divided by: they are taken again after every few passes.
PASSES_BETWEEN_STEPS = 4


class AlignedContext(Protocol):
    """A target and a draft at the same place of an answer; `restore` is called after each piece of work."""

    @property
    def dtype(self) -> str:
        """The type that the target computes in."""

    @property
    def target_context(self) -> int:
        """Positions that a step of the target attends to."""

    @property
    def draft_context(self) -> int:
        """Positions that a step of the draft attends to."""

    def steps(self, count: int) -> None:
        """So many decoding steps of the target alone."""

    def draft_step(self) -> None:
        """One proposed token."""

    def verify(self, count: int) -> None:
        """One pass of the target over `count` tokens."""

    def restore(self) -> None:
        """Take back what was added."""


class StepTimes(msgspec.Struct, frozen=True):
    """Raw seconds, turn by turn."""

    step_s: tuple[float, ...]
    draft_step_s: tuple[float, ...]
    verify_s: dict[int, tuple[float, ...]]


def measure_step_times(context: AlignedContext, *, turns: int = TURNS, longest: int = MAX_PASS) -> StepTimes:
    """Run everything once without a clock, then all in turn: what slows the machine down slows all of it."""
    step_s: list[float] = []
    draft_s: list[float] = []
    verify_s: dict[int, list[float]] = {count: [] for count in range(1, longest + 1)}
    _turn(context, [], [], {count: [] for count in verify_s})
    for _ in range(turns):
        _turn(context, step_s, draft_s, verify_s)
    return StepTimes(tuple(step_s), tuple(draft_s), {count: tuple(each) for count, each in verify_s.items()})


def _turn(context: AlignedContext, step_s: list[float], draft_s: list[float], verify_s: dict[int, list[float]]) -> None:
    for place, (count, seconds) in enumerate(verify_s.items()):
        if place % PASSES_BETWEEN_STEPS == 0:
            step_s.append(_seconds(context, partial(context.steps, STEPS_AT_ONCE)) / STEPS_AT_ONCE)
            draft_s.append(_seconds(context, context.draft_step))
        seconds.append(_seconds(context, partial(context.verify, count)))


def _seconds(context: AlignedContext, work: Callable[[], None]) -> float:
    start = clock.now()
    work()
    seconds = clock.now() - start
    context.restore()
    return seconds
