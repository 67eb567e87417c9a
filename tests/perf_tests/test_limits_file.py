"""The limits that the project ships."""

import pytest

from fixtures.model_sets.loading import MODEL_SETS
from fixtures.model_sets.registry import MODELS
from fixtures.selection import ENGINES
from harness.gates.limits import Vocabulary, load_limits
from harness.stages import STAGES
from tests import ROOT

KNOWN = Vocabulary(MODEL_SETS, ENGINES, MODELS)


def shipped(model_set):
    return load_limits(ROOT / "limits.toml", KNOWN, model_set, ENGINES)


def test_published_speedups_are_promised_for_real_weights_alone():
    assert shipped("checkpoint") == {
        "eager.speedup.videollava.stage1": 8.1,
        "eager.speedup.videollava.stage3": 2.6,
        "eager.speedup.videollava.total": 5.1,
    }


@pytest.mark.parametrize("model", MODELS)
def test_every_stage_of_every_7b_model_must_leave_room_on_a_card_of_24_gb(model):
    assert all(shipped("full")[f"eager.device_memory_mib.{model}.{stage}"] == 20 * 1024 for stage in STAGES)


@pytest.mark.parametrize("target", ["videollava", "llava"])
def test_the_default_run_judges_speedups_and_acceptance_of_each_target(target):
    names = {f"eager.speedup.{target}.{what}" for what in ("stage1", "stage3", "total")} | {
        f"eager.acceptance.{target}"
    }
    assert names < set(shipped("tiny"))
