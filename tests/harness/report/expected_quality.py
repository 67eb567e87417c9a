"""What answers are worth in the run in which nothing equals anything else, from its raw records."""

from __future__ import annotations

from statistics import fmean

from harness.stages import STAGES
from tests.harness.report.distinct_run import STAGE_SAMPLES
from tests.harness.report.expected_figures import EACH, Grid, passes, stage_test


def qualities(model: str, engine: str) -> dict[str, float]:
    """Every measure by its name."""
    answered = passes(model, engine)
    vision, prefill, decode = (stage_test(model, stage, engine) for stage in STAGES[2:])
    seen = [*vision.not_finite, *prefill.not_finite]
    found = {
        "objects_named": sum(" Vans" in each.text for each in answered.values()) / (2 * len(answered)),
        "ended": sum(each.stopped_by == "eos" for each in answered.values()) / len(answered),
        "finite": 1 - len(seen) / (2 * len(STAGE_SAMPLES)),
        "repeated": 1 - len(decode.not_repeated) / len(STAGE_SAMPLES),
        "answer_tokens": fmean(len(each.token_ids) for each in answered.values()),
        "visual_tokens": fmean(vision.visual_tokens.values()),
    }
    if engine != "eager":
        theirs = passes(model, "eager")
        same = [answered[each].token_ids == theirs[each].token_ids for each in answered]
        found["as_eager"] = sum(same) / len(same)
    return found


def quality() -> list[Grid]:
    """The table of the report."""
    order = ("objects_named", "ended", "finite", "repeated", "as_eager", "answer_tokens", "visual_tokens")
    return [
        [[f"{model} {engine}", *(qualities(model, engine).get(each, "") for each in order)] for model, engine in EACH]
    ]
