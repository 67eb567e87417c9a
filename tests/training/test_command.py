"""`python -m fixtures train`, with a few scenes and one step of each kind."""

from __future__ import annotations

import json

import pytest

from fixtures.__main__ import main
from fixtures.architectures import MODEL_KEYS
from fixtures.training_evaluation import HELD_OUT_SEED
from fixtures.training_recipes import FIRST_TRAINING_SEED, PLANS, load_small

QUICK = ["--scale", "0.0004", "--workers", "1", "--check", "0"]


def test_a_trained_checkpoint_is_written_in_half_precision_and_checked(tmp_path, capsys):
    assert main(["train", "egpt", *QUICK, "--out", str(tmp_path), "--check", "1"]) == 0
    assert json.loads((tmp_path / "egpt" / "config.json").read_text())["dtype"] == "float16"
    assert "of the objects in 1 held-out scenes" in capsys.readouterr().out


def test_llava_starts_from_the_shipped_videollava_where_none_was_trained(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("fixtures.training_command.start_from_frames", lambda llava, frames: started.append(frames.key))
    assert main(["train", "llava", *QUICK, "--out", str(tmp_path)]) == 0
    assert started == ["videollava"]
    assert load_small("llava", tmp_path / "llava", "cpu").visual_tokens() == 196


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["gpt"], "there is no model 'gpt'"), (["--scale", "0"], "--scale 0"), (["--workers", "0"], "--workers 0")],
)
def test_what_cannot_be_trained_is_said(arguments, complaint, capsys):
    assert main(["train", *arguments]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_training_scenes_end_before_held_out_ones_begin(key):
    assert FIRST_TRAINING_SEED + PLANS[key].scenes <= HELD_OUT_SEED
