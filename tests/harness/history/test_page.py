"""What the page says of changes: which of them are losses, where each began and was named, and what crept."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import stdev
from typing import Any

import msgspec
import pytest

from harness.commands.history import bencher_metrics
from harness.figures.intervals import Interval
from harness.figures.metrics import Metric
from harness.figures.student import t_quantile
from harness.history.change_points import ChangePoint
from harness.history.page import report_of_history
from harness.history.series import Series, creep_of, series_of
from harness.history.sessions import Session, Sessions, read_history
from harness.legacy.reading import NO_TIME
from harness.report.blocks import Table, plain
from tests.harness.history.made_histories import session
from tests.harness.made_files import write_run

SESSIONS = 30


def series(*name: str, change: float, at: int = 16, seen: int = 18, places: range = range(SESSIONS)) -> Series:
    """A figure that moves by a logarithm at one of its sessions, which was named behind another."""
    metric = Metric.of(*name, value=0.0, rounds=1, minimum_effect=0.05)
    values = [change * (number >= at) for number in range(len(places))]
    interval = Interval(len(places) - at, change, change - 0.01, change + 0.01)
    points = [ChangePoint(at, seen, interval)]
    return Series(".".join(name), 0, metric, [*places], values, [()] * len(places), points)


def sessions() -> Sessions:
    ordered = [
        Session(Path(f"{number}.json"), f"2026-01-{number + 1:02}T02:00", "", {}, {}, {}, 0)
        for number in range(SESSIONS)
    ]
    return Sessions(ordered)


def page(*found: Series) -> Any:
    changes = [[(each, each.changes[0].change, each.places[each.changes[0].at])] for each in found]
    return report_of_history("x", sessions(), found, changes, [])


TIME, SPEEDUP = ("time", "load", "egpt"), ("speedup", "total", "videollava", "eager")


@pytest.mark.parametrize(
    ("name", "change", "is_loss"),
    [(TIME, 0.2, True), (TIME, -0.2, False), (SPEEDUP, 0.2, False), (SPEEDUP, -0.2, True)],
)
def test_a_loss_is_more_of_a_time_and_less_of_a_speedup(name: tuple[str, ...], change: float, is_loss: bool) -> None:
    report = page(series(*name, change=change))
    assert (len(report.problems), len(report.highlights)) == (int(is_loss), int(not is_loss))
    assert report.verdict.tone == ("bad" if is_loss else "good")


def test_a_history_of_one_session_says_so() -> None:
    one = Sessions(sessions().ordered[:1])
    assert report_of_history("x", one, [], [], []).conditions == ["1 session", "0 figures", "2026-01-01 02:00"]


def test_a_change_has_its_sessions_by_their_places_in_the_history_and_both_levels() -> None:
    report = page(series(*TIME, change=math.log(1.25), places=range(8, SESSIONS)))
    (changes,) = (each for each in report.sections if each.key == "changes")
    (table,) = (each for each in changes.blocks if isinstance(each, Table))
    columns = ("figure", "since", "session", "named at", "was", "is", "change")
    row = ["time.load.egpt", "2026-01-25 02:00", "25", "27", "1000 ms", "1250 ms", "+25.0 % (+23.8 % to +26.3 %)"]
    assert dict(zip(columns, map(plain, table.rows[0]), strict=True)) == dict(zip(columns, row, strict=True))


@pytest.mark.parametrize(("events", "label"), [([], "1 change"), ([TIME], "2 changes")])
def test_a_change_against_a_release_is_counted_in_the_verdict(events: list[tuple[str, ...]], label: str) -> None:
    found = [series(*name, change=0.2) for name in (TIME, *events)]
    changes = [(each, each.changes[0].change, each.places[16]) for each in found]
    report = report_of_history("x", sessions(), found, [[each] for each in changes[1:]], changes[:1])
    assert report.verdict is not None
    assert (report.verdict.label, report.verdict.tone) == (label, "bad")
    assert report.verdict.reason.startswith(f"{len(found)} for the worse")


def test_only_sessions_since_the_last_change_are_held_against_a_release() -> None:
    release = series(*TIME, change=0.0)
    back_again, still_off = series(*TIME, change=-0.2, at=SESSIONS - 2), series(*TIME, change=0.2, at=SESSIONS - 2)
    back_again.values = [each + 0.2 for each in back_again.values]
    assert [*creep_of([back_again], [release])] == []
    ((found, change, place),) = creep_of([still_off], [release])
    assert (found, change.samples, place) == (still_off, 2, SESSIONS - 1)
    assert change.value == pytest.approx(0.2)


def test_bencher_gets_the_bounds_of_a_further_session_at_the_last_level() -> None:
    found = series(*TIME, change=0.5, at=10)
    found.values[10:] = [0.5 + 0.01 * (-1) ** number for number in range(20)]
    found.metric = msgspec.structs.replace(found.metric, value=found.values[-1])
    (measures,) = bencher_metrics([found]).values()
    half_width = t_quantile(0.975, 19) * stdev(found.values[10:]) * math.sqrt(1 + 1 / 20)
    assert measures == {
        "latency": pytest.approx(
            {
                key: 1e9 * math.exp(found.values[-1] + factor * half_width)
                for key, factor in (("value", 0), ("lower_value", -1), ("upper_value", 1))
            }
        )
    }


def test_sessions_of_other_numbers_of_rounds_stand_in_lines_of_their_own(tmp_path: Path) -> None:
    for number, rounds in enumerate((10, 10, 20)):
        options = {"gamma": 5, "rounds": rounds}
        write_run(tmp_path / str(number), session(number, {"load": 1.0}, options=options))
    found = read_history([tmp_path])
    assert [each.conditions for each in found.ordered] == [0, 0, 1]
    assert "other conditions from session 3 on" in found.notes[0]
    assert found.notes[0].endswith("rounds of a sample was 10, is 20")


def test_first_and_latest_are_of_the_same_conditions(tmp_path: Path) -> None:
    for number, (rounds, factor) in enumerate(((10, 1.0), (20, 3.0), (20, 4.0))):
        options = {"gamma": 5, "rounds": rounds}
        write_run(tmp_path / str(number), session(number, {"load": factor}, options=options))
    found = read_history([tmp_path])
    drawn = report_of_history("x", found, series_of(found.ordered), [], [])
    (latest,) = (each for each in drawn.sections if each.key == "latest")
    (row,) = (row for row in latest.blocks[0].rows if row[0] == "time.load.egpt")
    assert list(map(plain, row)) == ["time.load.egpt", "2", "300 ms", "400 ms"]


def test_a_file_without_a_date_is_not_of_1970() -> None:
    one = Sessions([Session(Path("old.json"), NO_TIME, "", {}, {}, {}, 0)])
    assert report_of_history("x", one, [], [], []).conditions[-1] == "date not recorded"
