"""Costs and speedups of speculative decoding at 7B shapes, measured against the speedups predicted from the costs.

By the engines `eager` and `graph`. `--device cpu` rehearses the goals with small models: rows are printed, and none
are written to docs/measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import cast

import pytest

from fixtures.model_sets.loading import ModelSettings, pipeline_loaders
from fixtures.models.staged import StagedBase
from fixtures.system.devices import use_threads_for
from harness.figures.speculation_cost import Costs, least_break_even, predicted_speedup
from harness.measuring import clock
from harness.measuring.speculation import StepTimes, measure_step_times
from harness.session.session import Session
from perf_tests.gpu_needs import missing_gpu
from tests.goals.goal_table import MEASURED, GoalTable
from tests.goals.scripted_pairs import DraftKind, Outcome, ScriptedPairs, context_of_two, total

TARGET, DRAFT = "videollava", "egpt"
ENGINES = ("eager", "graph")
TARGET_GB, PAIR_GB = 20, 40
LENGTH = 48
REQUESTS = 3
ANSWERS, ANSWERS_OF_A_REQUEST = 500, 10
TURNS, TURNS_OF_A_DRAFT, MAX_OF_A_DRAFT = 6, 4, 8
# Share of the target's layers, acceptance, gamma: from cheap drafts with low acceptance to expensive drafts with high
# acceptance, on both sides of break-even.
SCRIPTED = ((1 / 32, 0.6, 4), (1 / 32, 0.8, 8), (1 / 8, 0.6, 4), (1 / 8, 0.8, 4), (1 / 2, 0.9, 4))


@pytest.fixture(scope="module")
def device(session: Session) -> Iterator[str]:
    """The GPU, or the CPU if it was named for a rehearsal."""
    chosen = session.options.device or "cuda"
    reason = missing_gpu(TARGET_GB, 1, chosen) if chosen.startswith("cuda") else None
    if reason:
        pytest.skip(f"{reason}; --device cpu rehearses it with small models")
    clock.use_device(chosen)
    use_threads_for(_model_set(chosen), chosen)
    yield chosen
    clock.use_device("cpu")


@pytest.fixture(scope="module")
def table(device: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoalTable]:
    """All rows of this topic; written when the last test is through."""
    rehearsal: Path = tmp_path_factory.mktemp("rehearsal")
    rows = GoalTable("speculative", device, in_pieces=True, folder=rehearsal if device == "cpu" else MEASURED)
    yield rows
    rows.write()


@pytest.fixture(scope="module")
def loaded(device: str) -> dict[str, StagedBase]:
    """Models by key, loaded on their first use."""
    return {TARGET: _loaded(device, TARGET)}


@pytest.fixture(scope="module", params=ENGINES)
def pairs(loaded: dict[str, StagedBase], request: pytest.FixtureRequest) -> ScriptedPairs:
    """One target, whose own first layers are the drafts, so that the card holds one model only."""
    return ScriptedPairs(loaded[TARGET], request.param, LENGTH)


@pytest.fixture(scope="module")
def target_step_times(pairs: ScriptedPairs, device: str) -> StepTimes:
    """The times of a decoding step of the target, and of verifying 1 to 32 tokens."""
    turns = TURNS if device != "cpu" else 1
    return measure_step_times(pairs.context(pairs.request(0), DraftKind(1, 0.5, 1)), turns=turns)


def test_verifying_many_tokens(pairs: ScriptedPairs, target_step_times: StepTimes, table: GoalTable) -> None:
    """The cost v of verification in decoding steps, which the paper assumes to be 1."""
    dtype = pairs.loaded.facts().dtype
    step_s = median(target_step_times.step_s)
    steps = len(target_step_times.step_s)
    table.add(f"{pairs.engine}, {dtype}: a decoding step of {TARGET}", 1000 * step_s, "ms", "none", steps)
    for count, seconds in target_step_times.verify_s.items():
        what = f"{pairs.engine}, {dtype}: v, a pass over {count} tokens"
        table.add(what, median(seconds) / step_s, "steps of the target", "none", len(seconds))


def test_speedups_of_drafts_whose_cost_and_acceptance_are_set(
    pairs: ScriptedPairs, target_step_times: StepTimes, table: GoalTable
) -> None:
    """Measured and predicted speedups; an answer may diverge from the target's only at a near tie."""
    requests = [pairs.request(seed) for seed in range(REQUESTS)]
    costs: dict[int, Costs] = {}
    outcomes: list[Outcome] = []
    for kind in _kinds(pairs.layers):
        if kind.layers not in costs:
            context = pairs.context(requests[0], kind)
            costs[kind.layers] = _costs(
                target_step_times, measure_step_times(context, turns=TURNS_OF_A_DRAFT, longest=MAX_OF_A_DRAFT)
            )
            del context
            _add_costs(table, pairs, kind, costs[kind.layers])
        pairs.outcome(requests[0], kind, seed=0)  # warm-up
        found = [pairs.outcome(features, kind, seed) for seed, features in enumerate(requests)]
        _add_speedups(table, f"{pairs.engine}: {kind.described(pairs.layers)}", costs[kind.layers], found)
        outcomes += found
    partings = [each.divergence for each in outcomes if each.divergence]
    share = 1 - len(partings) / len(outcomes)
    what, goal = f"{pairs.engine}: answers that are the target's own", "all others part at near ties"
    table.add(what, share, "share", goal, len(outcomes))
    assert all(each.is_near_tie for each in partings), partings


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_answers_of_graph_are_those_of_plain_decoding(dtype: str, device: str, table: GoalTable) -> None:
    """Equal ids for any proposal of a one-layer draft; several answers to each request."""
    pairs = ScriptedPairs(_loaded(device, TARGET, dtype), "graph", LENGTH)
    draw, diverged = Random(0), []
    requests = ANSWERS // ANSWERS_OF_A_REQUEST if device != "cpu" else 1
    for seed in range(requests):
        features = pairs.request(seed)
        answer = pairs.answer(features)
        for number in range(ANSWERS_OF_A_REQUEST):
            kind = DraftKind(1, draw.uniform(0.4, 0.95), draw.randint(1, 15))
            found = pairs.answer_together(features, kind, answer, number)
            diverged += [(kind, found, answer)] if found != answer else []
    what = f"graph, {dtype}: answers of {LENGTH} tokens that are plain decoding's, gamma from 1 to 15"
    asked = requests * ANSWERS_OF_A_REQUEST
    table.add(what, asked - len(diverged), "answers", f"{ANSWERS} of {ANSWERS}", asked)
    assert not diverged, diverged[0]


@pytest.mark.parametrize("by", ENGINES)
def test_cost_of_the_real_draft(by: str, device: str, loaded: dict[str, StagedBase], table: GoalTable) -> None:
    """The cost c of an EventGPT step, with both models in memory after their own prompts."""
    reason = missing_gpu(PAIR_GB, 1, device) if device != "cpu" else None
    if reason:
        pytest.skip(f"two models of 7B at a time: {reason}")
    if DRAFT not in loaded:
        loaded[DRAFT] = _loaded(device, DRAFT)
    context = context_of_two(loaded[TARGET].with_engine(by), loaded[DRAFT].with_engine(by))
    step_times = measure_step_times(context, turns=TURNS_OF_A_DRAFT, longest=MAX_OF_A_DRAFT)
    step_s, draft_s = median(step_times.step_s), median(step_times.draft_step_s)
    what = f"{by}: c of {DRAFT} ({context.draft_context} positions) beside {TARGET} ({context.target_context})"
    table.add(what, draft_s / step_s, "steps of the target", "none", len(step_times.step_s))


def _model_set(device: str) -> str:
    return "tiny" if device == "cpu" else "full"


def _loaded(device: str, key: str, dtype: str | None = None) -> StagedBase:
    settings = ModelSettings(model_set=_model_set(device), device=device, dtype=dtype)
    return cast("StagedBase", pipeline_loaders(settings, [key])[key]())


def _kinds(layers: int) -> list[DraftKind]:
    scripted = [DraftKind(max(1, round(share * layers)), acceptance, gamma) for share, acceptance, gamma in SCRIPTED]
    return [DraftKind(layers, None, 4), *scripted]


def _costs(of_target: StepTimes, of_draft: StepTimes) -> Costs:
    """The costs of a draft: v by the target's own measurement, c against target steps measured in turn with it."""
    step_s = median(of_target.step_s)
    return Costs(
        step_s=step_s,
        c=median(of_draft.draft_step_s) / median(of_draft.step_s),
        v={count: median(seconds) / step_s for count, seconds in of_target.verify_s.items()},
    )


def _add_costs(table: GoalTable, pairs: ScriptedPairs, kind: DraftKind, costs: Costs) -> None:
    draft = "the target itself" if kind.acceptance is None else f"{kind.layers} of {pairs.layers} layers"
    table.add(f"{pairs.engine}: c of {draft}", costs.c, "steps of the target", "none", TURNS_OF_A_DRAFT)
    least = least_break_even(costs)
    if least is not None:
        what = f"{pairs.engine}: acceptance at which {draft} break even, gamma {least[0]}"
        table.add(what, least[1], "share", "none", TURNS_OF_A_DRAFT)


def _add_speedups(table: GoalTable, draft: str, costs: Costs, outcomes: Sequence[Outcome]) -> None:
    rounds = [each for outcome in outcomes for each in outcome.rounds]
    decoding = total(outcomes, "alone_decode_s") / total(outcomes, "loop_s")
    predicted = predicted_speedup(rounds, costs)
    assert predicted is not None
    count, formula = len(outcomes), f"tau / (gamma c + v) = {predicted:.3g}"
    what, goal = f"{draft}, decoding", "as predicted"
    table.add(what, decoding, "times", goal, count, formula, predicted, decoding / predicted)
    alone = total(outcomes, "alone_prompt_s", "alone_decode_s")
    both = total(outcomes, "pair_prompts_s", "loop_s")
    table.add(f"{draft}, with the prompts read", alone / both, "times", "none", count)
