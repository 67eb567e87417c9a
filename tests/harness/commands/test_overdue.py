"""A benchmark that has not run for some days is red."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.__main__ import main
from harness.commands.overdue import overdue
from tests.harness.gates.test_witnesses import session
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import agreement, cost, header, request, side_by_side

DAY = "2026-03-{:02}T05:06:07+00:00"
NOW = datetime(2026, 3, 20, 9, tzinfo=UTC)


def run_on(day: int, **changes: object):
    return session(header=header(started_at=DAY.format(day), engines=("graph",), **changes))


@pytest.mark.parametrize(("day", "status"), [(14, 0), (12, 1)])
def test_a_benchmark_is_overdue_some_days_after_its_last_run(
    day: int, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_baseline(tmp_path / "baselines" / "tiny", run_on(1))
    for number in (2, day):
        write_run(tmp_path / "night" / f"results-{number}" / "tiny", run_on(number))
    assert overdue(tmp_path / "baselines", [tmp_path / "night"], 7, NOW) == status
    printed = capsys.readouterr().out
    late = "has not run for 7 days: test_decode[egpt-graph] of tiny on cpu, last on 2026-03-12\n"
    assert printed == (late if status else "")


def test_a_benchmark_that_no_run_has_is_overdue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_baseline(tmp_path / "baselines" / "tiny", run_on(19, device="cuda:1"))
    write_run(tmp_path / "night", run_on(19))
    assert overdue(tmp_path / "baselines", [tmp_path / "night"], 7, NOW) == 1
    assert "test_decode[egpt-graph] of tiny on cuda, not once in these runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    "kind",
    [
        {"side_by_side": (side_by_side((1.0,), (2.0,)),)},
        {"agreements": (agreement("s1", (True,), (False,)),)},
        {"speculations": (request("s1"),)},
        {"speculation_costs": (cost(),)},
    ],
)
def test_a_benchmark_without_stages_and_passes_is_looked_for_too(
    kind: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_on(19)
    write_run(tmp_path / "night", run)
    write_baseline(tmp_path / "baselines" / "tiny", msgspec.structs.replace(run, **kind))
    assert overdue(tmp_path / "baselines", [tmp_path / "night"], 7, NOW) == 1
    ((record,),) = kind.values()
    assert f"has not run for 7 days: {record.test} of tiny on cpu, not once" in capsys.readouterr().out


def test_without_a_baseline_the_runs_themselves_say_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "night" / "one", run_on(10))
    assert overdue(tmp_path / "baselines", [tmp_path / "night"], 7, NOW) == 1
    assert f"no baseline in {tmp_path / 'baselines'}: only benchmarks of these runs" in capsys.readouterr().out
    assert overdue(tmp_path / "baselines", [tmp_path / "night"], 11, NOW) == 0


def test_nothing_at_all_is_red(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "night").mkdir()
    nights = [str(tmp_path / "night"), str(write_run(tmp_path / "failed", session(stages=(), works=())))]
    assert main(["baseline", f"--baselines={tmp_path / 'baselines'}", "overdue", "--days=3", *nights]) == 1
    assert f"no figure in {', '.join([str(tmp_path / 'baselines'), *nights])}\n" in capsys.readouterr().out


def test_a_damaged_journal_counts_as_no_run_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_baseline(tmp_path / "baselines" / "tiny", run_on(19))
    (write_run(tmp_path / "night", run_on(19)) / "journal.jsonl").write_text("{}\n")
    assert overdue(tmp_path / "baselines", [tmp_path / "night"], 7, NOW) == 1
    assert capsys.readouterr().out.startswith("left out: ")


def test_folders_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    given = [str(tmp_path / name) for name in ("file", "nowhere")]
    assert main(["baseline", "overdue", *given]) == 2
    assert f"{', '.join(given)}: is no folder; name one with runs in it" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "1001"])
def test_days_are_a_number_that_a_date_can_lie_back(days: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["baseline", "overdue", str(tmp_path), "--days", days])
