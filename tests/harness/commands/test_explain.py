from __future__ import annotations

from pathlib import Path

import pytest

from harness.__main__ import main
from harness.records.work import Call
from tests.harness.gates.test_witnesses import CALLS, MORE, session
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import ENVIRONMENT, header


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "before", session())
    write_run(tmp_path / "after", session(1.1, MORE, counts={"launches": 384}))
    write_baseline(tmp_path / "baselines" / "tiny", *[session()] * 2)


@pytest.mark.parametrize(
    "known", ["before", "tiny", "tiny/0002", "baselines/tiny", "baselines/tiny/0001_20260304.json"]
)
def test_any_two_results_are_explained(known: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "after", known]) == 0
    printed = capsys.readouterr().out
    assert f"after vs. {known}" in printed
    words = " ".join(printed.split())
    assert "decode of egpt, graph +10.0 %: +33.3 ms of +33.3 ms per token in `norm_matvec` (64 -> 96 launches)" in words
    assert "`norm_matvec` 33.33 100.0" in words, "the part, its milliseconds per token and its share"
    assert len(printed.splitlines()) <= 40
    assert max(map(len, printed.splitlines())) <= 100


def test_an_unchanged_run_has_nothing_to_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "before", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 time is as before, by the same work." in printed
    assert "`" not in printed


def test_without_a_ledger_nothing_is_said_of_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "bare", session(works=()))
    assert main(["explain", "bare", "tiny"]) == 0
    assert "1 of 1 time is as before.\n" in capsys.readouterr().out


def test_a_change_of_unknown_cause_has_no_table_of_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seconds in (("slow", 1.1), ("fast", 1.0)):
        write_run(tmp_path / name, session(seconds, works=()))
    assert main(["explain", "slow", "fast"]) == 0
    printed = capsys.readouterr().out
    assert "the cause is not known" in printed
    assert "In parts" not in printed


def test_a_ledger_alone_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "one", session(1.0, CALLS | {"Memcpy DtoD": Call(3, 3e-6)}, counts={"copies": 6}))
    assert main(["explain", "one", "before"]) == 0
    assert "`Memcpy DtoD` 0 -> 1 per token, 1 us each; copies 1 -> 2 per token" in " ".join(
        capsys.readouterr().out.split()
    )


def test_other_conditions_are_told_from_the_baseline_to_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = header(engines=("graph",), environment=ENVIRONMENT | {"cpu": "another", "usable_cores": 64})
    write_run(tmp_path / "elsewhere", session(header=elsewhere))
    assert main(["explain", "elsewhere", "before"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("condition: ")]
    assert lines == ["condition: CPU was a processor, is another", "condition: usable cores was 2, is 64"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("after", "gone"), "has no session 'gone'"),
        (("gone/run", "tiny"), "has no session 'gone/run'"),
        (("nothing", "tiny"), "no stage was measured in both"),
    ],
)
def test_what_cannot_be_explained_is_told(
    words: tuple[str, str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "nothing", session(stages=(), works=()))
    assert main(["explain", *words]) == 2
    assert why in capsys.readouterr().err
