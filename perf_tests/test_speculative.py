"""Speculative decoding with EventGPT as draft: acceptance, costs of the pieces, and speedup."""

from collections.abc import Sequence

import pytest

from fixtures.errors import FixtureError
from fixtures.pipeline import Sample, StagedPipeline
from fixtures.selection import Selection
from fixtures.speculation.pair import SpeculativePair
from harness.measuring.model_slot import ModelSlot
from harness.session.recorder import Recorder
from harness.session.session import Session


@pytest.mark.stage("speculative")
@pytest.mark.holds_two_models
def test_speculative(
    target: str,
    engine: str,
    stage_samples: Sequence[Sample],
    few_samples: Sequence[Sample],
    selection: Selection,
    session: Session,
    model_slot: ModelSlot[StagedPipeline],
    recorder: Recorder,
) -> None:
    """Answer few requests by the target alone and by the pair; fail where answers differ, but for near ties.

    Acceptance and lift, which limits and gates judge, are of all samples. A quantised model also drafts for itself
    unquantised: acceptance then tells how far both agree.
    """
    if selection.model_set == "full":
        pytest.skip("random weights of the set full agree only by chance")
    if engine == "graph-fast":
        pytest.skip("graph-fast verifies and decodes with different rounding: use --engine graph")
    try:
        draft, verifier = model_slot.hold(selection.pairs[target], target)
        pair = SpeculativePair(
            draft.with_engine(engine),
            verifier.with_engine(engine),
            gamma=session.options.gamma,
            max_new_tokens=session.options.max_new_tokens,
            stop_at_eos=True,
        )
    except FixtureError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    few = len(few_samples)
    requests = recorder.measure_speculation(pair, stage_samples, target=target, engine=engine, requests=few)
    exact = verifier.facts().dtype == "float32"
    wrong = [each for each in requests if each.divergence and (exact or not each.divergence.is_near_tie)]
    where = (
        f"{each.sample} from token {at.place} on (margin {at.margin:.3g}, a tie is {at.allowed:.3g})"
        for each in wrong
        if (at := each.divergence)
    )
    assert not wrong, f"answers that are not the target's own: {', '.join(where)}"
