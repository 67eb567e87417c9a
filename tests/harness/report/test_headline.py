"""The published headline, fed in as the old script's result file, gives the published factors and the right shares."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.__main__ import main
from tests.harness.report.made_reports import old_file
from tests.harness.report.reading import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m harness report` makes of an old file."""
    found = tmp_path_factory.mktemp("headline")
    assert main(["report", str(old_file(found))]) == 0
    return found


@pytest.fixture(scope="module")
def values(folder: Path) -> dict[str, float]:
    return Page((folder / "old_results_n10_report.html").read_text(encoding="utf-8")).values


OF = "videollava.not recorded"


@pytest.mark.parametrize(("name", "rounded"), [("total", 5.1), ("stage1", 8.1), ("stage2", 3.1), ("stage3", 2.6)])
def test_the_published_factors_come_out(values: dict[str, float], name: str, rounded: float) -> None:
    assert round(values[f"speedup.{name}.{OF}"], 1) == rounded


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("share_of_target_time.stage1", 72.5),
        ("share_of_target_time.stage3", 26.8),
        ("share_of_time_saved.stage1", 78.9),
        ("share_of_time_saved.stage2", 0.6),
        ("share_of_time_saved.stage3", 20.4),
    ],
)
def test_shares_of_own_time_and_of_time_saved_are_two_things(
    values: dict[str, float], name: str, percent: float
) -> None:
    assert round(100 * values[f"{name}.{OF}"], 1) == percent


def test_stage_3_is_fewer_tokens_times_faster_tokens_in_logarithms_that_add_up(values: dict[str, float]) -> None:
    assert round(values[f"tokens_factor.stage3.{OF}"], 2) == 2.25
    assert round(values[f"pace_factor.stage3.{OF}"], 2) == 1.15
    shares = [values[f"log_share_of_{what}.stage3.{OF}"] for what in ("tokens", "pace")]
    assert math.isclose(sum(shares), 1)
    assert shares[0] == pytest.approx(math.log(102.4 / 45.5) / math.log(2.533 / 0.977))


def test_the_text_tells_the_same_story(folder: Path) -> None:
    text = (folder / "old_results_n10_report.md").read_text(encoding="utf-8")
    assert "egpt is 5.11x faster than videollava: 1851 vs. 9463 ms per sample" in text
    assert "ms per sample; vision + LLM is 52.8 % of its time" in text
    assert "load is 72.5 % of videollava's time and 78.9 % of the time saved" in text
    assert "Stage 3: 2.59x = 2.25x (fewer tokens) × 1.15x (faster tokens)" in text


def test_peak_memory_of_the_first_record_is_kept(values: dict[str, float]) -> None:
    assert values["memory.peak"] == 15000 * 1024 * 1024
