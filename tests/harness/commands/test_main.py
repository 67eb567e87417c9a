"""`python -m harness`, as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.__main__ import main
from harness.records.lines import AttemptRecord, EndRecord, JournalLine, OutcomeRecord, PassRecord
from tests import ROOT
from tests.forked import run_python
from tests.harness.made_runs import ENVIRONMENT, STARTED_AT, failed_pass, header, whole_pass

pytestmark = pytest.mark.usefixtures("undrawn")

JOURNAL = ROOT / "tests" / "harness" / "files" / "run_v1.jsonl"
LEGACY_NAME = "EventGPT_Instruction_Subset_results_n2_20260304_050607.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run of which nothing but the journal is left."""
    shutil.copy(JOURNAL, tmp_path / "journal.jsonl")
    return tmp_path


def typed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_python(["harness", *map(str, arguments)], ROOT, os.environ)


def test_merge_makes_a_runs_files_from_its_journal_alone(folder: Path) -> None:
    done = typed("merge", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [str(folder / "run.json"), str(folder / LEGACY_NAME)]
    first, second = json.loads((folder / LEGACY_NAME).read_bytes())
    assert first["egpt"] == 'Ein Auto, 一辆车, "STOP"'
    assert (first["egpt_time"], first["videollava_time"]) == (3.875, 9.25)
    assert (first["videollava_acceptance_matched"], first["videollava_acceptance_compared"]) == (2, 3)
    assert second["videollava_error"] == "SampleError: s2: no frames\nin it"
    assert json.loads((folder / "run.json").read_text())["end"]["exit_status"] == 1


ENDED, STOPPED = EndRecord(STARTED_AT, 0, "recorded"), EndRecord(STARTED_AT, 2, "a signal")


def by_two_ranks(folder: Path, first: EndRecord | None, second: EndRecord | None, *more: JournalLine) -> Path:
    """Each of two ranks has measured a sample."""
    attempt = AttemptRecord(STARTED_AT, {}, rank=1, world_size=2)
    begun = header(("s1", "s2"), models=("egpt",), environment=ENVIRONMENT | {"world_size": 2})
    journals = {
        "journal.jsonl": [begun, whole_pass("egpt", "s1"), *more, first],
        "journal.1.jsonl": [attempt, whole_pass("egpt", "s2", rank=1), second],
    }
    for name, lines in journals.items():
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines if line is not None)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("ends", "more", "status"),
    [
        ((ENDED, ENDED), (), 0),
        ((ENDED, None), (), 1),
        ((ENDED, STOPPED), (), 1),
        ((ENDED, ENDED), (failed_pass("egpt", "s3"),), 1),
        ((ENDED, ENDED), (OutcomeRecord("test_whole[egpt]", "failed", "no such model"),), 1),
        ((ENDED, ENDED), (OutcomeRecord("test_load[egpt]", "deselected", "under torchrun"),), 0),
    ],
)
def test_merge_gives_the_verdict_on_a_run_by_ranks(
    ends: tuple[EndRecord | None, EndRecord | None],
    more: tuple[JournalLine, ...],
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["merge", str(by_two_ranks(tmp_path, *ends, *more))]) == status
    printed = capsys.readouterr()
    assert printed.err == ""
    assert f"exit status {status}: " in printed.out
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["end"]["exit_status"], len(run["passes"])) == (status, 2 + _passes(more))


def _passes(lines: tuple[JournalLine, ...]) -> int:
    return sum(isinstance(line, PassRecord) for line in lines)


def test_merge_of_a_killed_run_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = msgspec.structs.replace(header(("s1", "s2"), models=("egpt",)), engines=("eager", "static"))
    lines = (begun, whole_pass("egpt", "s1"), whole_pass("egpt", "s1", engine="static"))
    (tmp_path / "journal.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    assert main(["merge", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "\n2 of 4 planned passes are finished\n" in printed
    assert f"--resume={tmp_path} resumes it" in printed


def test_merge_says_what_is_wrong_and_ends_with_2_where_there_is_no_journal(tmp_path: Path) -> None:
    done = typed("merge", tmp_path / "gone")
    assert done.returncode == 2
    assert done.stderr.startswith(f"python -m harness: {tmp_path / 'gone' / 'journal.jsonl'}: cannot be read")
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_acceptance_of_a_folder_asks_for_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acceptance", str(folder)]) == 2
    assert "cannot be read (Is a directory); name a result file" in capsys.readouterr().err


def test_merge_imports_neither_torch_nor_pytest(folder: Path) -> None:
    code = (
        f"import sys; from harness.__main__ import main; main(['merge', {str(folder)!r}]); "
        "print({'torch', 'pytest', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_merge_of_a_journal_that_was_cut_short_keeps_what_was_finished(folder: Path) -> None:
    journal = folder / "journal.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[: content.index(b'"record":"pass","sample":"s2"')])
    assert main(["merge", str(folder)]) == 0
    first, second = json.loads((folder / LEGACY_NAME).read_bytes())
    assert (first["id"], first["egpt_time"]) == ("s1", 3.875)
    assert "egpt_time" not in second
    assert json.loads((folder / "run.json").read_text())["end"] is None


def test_merge_writes_the_legacy_file_where_it_is_told(folder: Path, tmp_path: Path) -> None:
    assert main(["merge", str(folder), "--output_json", str(tmp_path / "a.json")]) == 0
    assert main(["merge", str(folder), "--output-json", str(tmp_path / "b.json")]) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert not (folder / LEGACY_NAME).exists()


def test_results_of_another_run_are_kept_where_new_ones_take_their_place(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "results.json"
    place.write_text('[{"id": "years ago"}]')
    for _ in range(2):  # the second time it is the run's own file
        assert main(["merge", str(folder), "--output_json", str(place)]) == 0
    assert capsys.readouterr().out.count(f"the file that was {place} before is {tmp_path}/results.") == 1
    old, new = sorted(tmp_path.glob("results*.json"), key=lambda path: len(path.name), reverse=True)
    assert (old.read_text(), new) == ('[{"id": "years ago"}]', place)
    assert [each["id"] for each in json.loads(place.read_bytes())] == ["s1", "s2"]


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "run.json", "report.md", "../{}/journal.jsonl", "link", "journal.1.jsonl"]
)
def test_results_take_the_place_of_no_other_file_of_the_run(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "journal.jsonl").read_bytes()
    name = name.format(folder.name)
    (folder / "link").symlink_to("journal.jsonl")
    if name == "journal.1.jsonl":
        (folder / name).write_bytes(before)
    assert main(["merge", str(folder), "--output_json", str(folder / name)]) == 2
    assert f"{name}: the run uses this file itself; name another one by --output_json" in capsys.readouterr().err
    assert (folder / "journal.jsonl").read_bytes() == before


def test_results_replace_no_device(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main(["merge", str(folder), "--output_json", str(tmp_path / "pipe")]) == 2
    assert "pipe: is no regular file; name another one by --output_json" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()


def test_merge_leaves_the_journal_as_it_is_and_may_be_repeated(folder: Path) -> None:
    before = (folder / "journal.jsonl").read_bytes()
    contents = []
    for _ in range(2):
        assert main(["merge", str(folder)]) == 0
        contents.append((folder / LEGACY_NAME).read_bytes())
    assert contents[0] == contents[1]
    assert (folder / "journal.jsonl").read_bytes() == before


def test_merge_of_a_run_without_a_finished_sample_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().split(b"\n")[0] + b"\n")
    assert main(["merge", str(folder)]) == 0
    assert "no legacy result file: no sample is finished" in capsys.readouterr().out


def test_damage_is_named_by_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"record":"model"', b'"record":"mode"', 1))
    assert main(["merge", str(folder)]) == 2
    assert "journal.jsonl, line 2: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["split"], ["merge"]])
def test_a_command_that_is_not_there_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m harness" in capsys.readouterr().err


def test_a_number_out_of_place_is_refused_in_the_words_of_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["acceptance", "--gamma", "1001", "results.json"])
    assert "argument --gamma: takes a whole number of 1 to 1000\n" in capsys.readouterr().err


def test_a_name_that_no_file_of_ours_can_repeat_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "/tmp/M\udcfcller"]) == 2
    assert r"'/tmp/M\udcfcller' is not in UTF-8: write it so" in capsys.readouterr().err


def test_advice_on_a_folder_with_a_blank_can_be_pasted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = folder.rename(folder.with_name("a run"))
    journal = there / "journal.jsonl"
    journal.write_bytes(
        b"".join(line for line in journal.read_bytes().splitlines(True) if b'"record":"end"' not in line)
    )
    assert main(["merge", str(there)]) == 0
    assert f"the same command with '--resume={there}' resumes it" in capsys.readouterr().out


def test_pytest_arguments_without_their_dashes_are_refused_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["gate", "perf_tests", "-k", "load"])
    assert "unrecognized arguments: perf_tests -k load; pytest's arguments stand behind a --" in capsys.readouterr().err


def test_help_of_a_gate_has_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["gate", "--help"])
    shown = capsys.readouterr().out
    assert "gate [options] [-- PYTEST ARGUMENTS]" in shown
    assert {line.split()[0] for line in shown.partition("exit statuses:")[2].splitlines() if line} == {
        "2,", "1", "10", "11", "12", "0",
    }  # fmt: skip
