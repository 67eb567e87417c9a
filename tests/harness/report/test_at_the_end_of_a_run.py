"""Each run leaves its report, whatever became of it, and no run is lost for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.__main__ import main
from harness.report.blocks import Report
from harness.report.content import report_of
from harness.report.files import read_result, write_report
from harness.report.terminal import summary
from harness.session.derived_files import derive_files, derive_report
from tests.harness.made_runs import full_run
from tests.harness.records.test_machines import moved
from tests.harness.report.distinct_run import distinct_run
from tests.harness.report.made_reports import everything_run
from tests.harness.report.reading import Page
from tests.harness.stub_suite import StubSuite


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> StubSuite:
    return StubSuite(tmp_path_factory.mktemp("stub"))


def test_a_broken_limit_is_the_first_thing_in_the_report(suite: StubSuite) -> None:
    done = suite.run("--report", output="broken", STUB_LIMITS="eager.median_ms.egpt.load=499")
    assert done.returncode == 1
    assert "report.html" in done.stdout
    page = Page((suite.folder / "broken" / "report.html").read_text(encoding="utf-8"))
    top = page.words[: page.words.index("In words")]
    assert "failed" in top
    assert "499" in top
    assert "499" in (suite.folder / "broken" / "report.md").read_text(encoding="utf-8").split("##")[0]


@pytest.mark.parametrize("of", ["a real run", "a run with everything", "a run on a GPU", "a run on two machines"])
def test_a_report_is_built_with_errors_raised(of: str, suite: StubSuite, tmp_path: Path) -> None:
    """At the end of a run a report that cannot be built is advice only; here it is red."""
    runs = {"a run with everything": everything_run, "a run on a GPU": distinct_run, "a run on two machines": moved}
    if of == "a real run":
        assert "no report was made" not in suite.run(output="real").stdout
        found = read_result(suite.folder / "real")
        assert found is not None
    else:
        found = runs[of]()
    write_report(report_of(found, tmp_path.name), tmp_path)
    for verbosity in (-1, 0, 1):
        assert summary(found, tmp_path, [], width=100, color=True, verbosity=verbosity)
    assert {each.name for each in tmp_path.iterdir()} == {"report.html", "report.md"}


def test_a_run_that_wants_none_leaves_none(suite: StubSuite) -> None:
    done = suite.run("--no-report", output="none")
    assert done.returncode == 0, done.stdout
    assert not list((suite.folder / "none").glob("report.*"))


def test_a_report_that_cannot_be_made_is_advice_and_changes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.html").mkdir()
    derive_files(tmp_path, full_run())
    problem = derive_report(tmp_path, full_run())
    assert problem is not None
    assert problem.startswith("no report was made (RunFolderError: ")
    assert f"python -m harness report {tmp_path}" in problem
    assert (tmp_path / "run.json").exists()


def test_whatever_fails_in_a_report_is_told_by_type_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(report: Report, folder: Path) -> None:
        raise ZeroDivisionError("a figure of nothing")

    monkeypatch.setattr("harness.report.files.write_report", fail)
    assert "ZeroDivisionError: a figure of nothing" in str(derive_report(tmp_path, full_run()))


def test_merge_makes_the_report_of_a_run_that_was_killed(suite: StubSuite, capsys: pytest.CaptureFixture[str]) -> None:
    suite.run(output="killed", STUB_KILL="egpt:decode:s1:3")
    folder = suite.folder / "killed"
    assert not (folder / "report.html").exists()
    assert main(["merge", str(folder)]) == 0
    assert str(folder / "report.html") in capsys.readouterr().out
    assert "unfinished" in Page((folder / "report.html").read_text(encoding="utf-8")).words
