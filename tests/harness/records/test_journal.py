from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ResultFileError, RunFolderError
from harness.records.journal import JOURNAL_NAME, Journal, rank_file_name, read_journal
from harness.records.lines import (
    FORMAT_VERSION,
    AttemptRecord,
    EndRecord,
    JournalLine,
    ModelRecord,
    PassRecord,
    RunRecord,
    StageRecord,
    VerdictRecord,
)
from harness.records.speculation import SpeculationCostRecord, SpeculationRecord
from tests import ROOT
from tests.harness.made_files import lines_of, write_journal
from tests.harness.made_runs import (
    JOURNAL_LINES,
    STARTED_AT,
    full_run,
    header,
    loaded,
    side_by_side,
    stage_test,
    whole_pass,
)

FILES = ROOT / "tests" / "harness" / "files"
END = EndRecord(STARTED_AT, 0, "it ended")


@given(st.lists(JOURNAL_LINES, max_size=6))
def test_what_was_appended_is_read_back_equal_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[JournalLine]
) -> None:
    path = write_journal(tmp_path_factory.mktemp("run") / JOURNAL_NAME, header(), *lines)
    run = read_journal(path)
    assert run.header == header()
    for kind, found in (
        (ModelRecord, run.models),
        (StageRecord, run.stages),
        (PassRecord, run.passes),
        (SpeculationRecord, run.speculations),
        (SpeculationCostRecord, run.speculation_costs),
    ):
        assert list(found) == [line for line in lines if isinstance(line, kind)]
    of_limits = {line.limit: line for line in lines if isinstance(line, VerdictRecord)}
    assert list(run.verdicts) == list(of_limits.values()), "of two verdicts on one limit the later one"


@given(JOURNAL_LINES)
def test_a_record_is_one_line_whatever_its_texts_hold(line: JournalLine) -> None:
    assert b"\n" not in msgspec.json.encode(line)


@pytest.mark.parametrize("run", [full_run(), full_run(end=None)])
def test_a_run_is_the_same_after_writing_and_reading(run: RunRecord, tmp_path: Path) -> None:
    assert read_journal(write_journal(tmp_path / JOURNAL_NAME, *lines_of(run))) == run


def test_journal_cut_at_any_byte_keeps_every_line_before_the_cut(tmp_path: Path) -> None:
    lines = [header(), loaded("egpt"), whole_pass("egpt", "s1", text="ä\n漢"), END]
    content = write_journal(tmp_path / JOURNAL_NAME, *lines).read_bytes()
    line_ends = [index for index, byte in enumerate(content, start=1) if byte == ord("\n")]
    cut_file = tmp_path / "cut.jsonl"
    for cut in range(line_ends[0], len(content) + 1):
        cut_file.write_bytes(content[:cut])
        whole_lines = sum(end <= cut for end in line_ends)
        assert lines_of(read_journal(cut_file)) == lines[:whole_lines]


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_journal_cut_inside_its_header_says_that_nothing_was_measured(cut: int, tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ResultFileError, match="not even a header"):
        read_journal(path)


@pytest.mark.parametrize(
    "damage", [b'{"record":"pass"', b"", b"\xff\xfe", b'{"record":"elephant"}', b'{"record":"model"}']
)
@pytest.mark.parametrize(("number", "way_out"), [(1, "The others need this line"), (2, "Remove that line")])
def test_damage_before_the_last_line_is_named_by_file_and_line(
    damage: bytes, number: int, way_out: str, tmp_path: Path
) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header(), loaded("egpt"), END)
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(ResultFileError, match=rf"journal\.jsonl, line {number}: .*{way_out}"):
        read_journal(path)


def test_removing_the_damaged_line_does_help_and_is_said(tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header(), loaded("egpt"), END)
    lines = path.read_bytes().split(b"\n")
    del lines[1]
    path.write_bytes(b"\n".join(lines))
    run = read_journal(path)
    assert lines_of(run) == [header(), END]
    assert run.notes == ("journal.jsonl, line 2: from here on lines were changed, moved or taken out after the run.",)


TAMPERING: dict[str, tuple[Callable[[list[bytes]], object], str]] = {
    "a line taken out": (lambda lines: lines.pop(2), "line 3:"),
    "a figure edited": (lambda lines: edit(lines, 2, b"1.0", b"0.5"), "line 3:"),
    "the header edited": (lambda lines: edit(lines, 0, b"egpt", b"llava"), "line 1:"),
    "two lines in the other order": (lambda lines: lines.insert(2, lines.pop(1)), "line 2:"),
    "a line twice": (lambda lines: lines.insert(2, lines[2]), "line 4:"),
    "a chain taken away": (lambda lines: edit(lines, 1, lines[1][-76:], b"}"), "line 2:"),
}


def edit(lines: list[bytes], number: int, was: bytes, now: bytes) -> None:
    assert was in lines[number]
    lines[number] = lines[number].replace(was, now, 1)


@pytest.mark.parametrize("how", TAMPERING)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_line_that_the_run_did_not_write_there_is_a_note(rank: int, how: str, tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header(environment={"world_size": 2}))
    begun = header() if rank == 0 else AttemptRecord(STARTED_AT, {"of": "egpt"}, rank=1, world_size=2)
    (tmp_path / rank_file_name(rank)).unlink(missing_ok=True)
    tampered = write_journal(tmp_path / rank_file_name(rank), begun, loaded("egpt"), whole_pass("egpt"), END)
    assert not read_journal(path).notes
    lines = tampered.read_bytes().split(b"\n")
    tamper, where = TAMPERING[how]
    tamper(lines)
    tampered.write_bytes(b"\n".join(lines))
    (note,) = read_journal(path).notes
    assert note.startswith(f"{tampered.name}, {where} from here on lines were changed")


def test_an_older_journal_without_a_chain_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(msgspec.json.encode(header()) + b"\n" + msgspec.json.encode(loaded("egpt")) + b"\n")
    journal = Journal(path, reopen=True)
    for line in (whole_pass("egpt"), END):
        journal.append(line)
    journal.close()
    run = read_journal(path)
    assert (len(lines_of(run)), run.notes) == (4, ())
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], *lines[3:]]))
    assert "line 3:" in read_journal(path).notes[0]


def test_a_journal_starts_with_its_header(tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, loaded("egpt"), header())
    with pytest.raises(ResultFileError, match="line 1: must be the run's header"):
        read_journal(path)


def test_missing_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"journal\.jsonl: cannot be read \(No such file or directory\)"):
        read_journal(tmp_path / JOURNAL_NAME)


def test_version_of_this_reader_is_read_and_a_newer_one_refused(tmp_path: Path) -> None:
    assert read_journal(write_journal(tmp_path / "now.jsonl", header(format_version=FORMAT_VERSION)))
    path = write_journal(tmp_path / "newer.jsonl", header(format_version=FORMAT_VERSION + 1))
    with pytest.raises(ResultFileError, match=f"format version {FORMAT_VERSION + 1}, this reader knows up to"):
        read_journal(path)


def test_a_newer_version_is_called_newer_even_where_none_of_its_fields_is_known(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    path.write_text('{"record":"beginning","format_version":99}\n{"record":"elephant"}\n')
    with pytest.raises(ResultFileError, match="format version 99"):
        read_journal(path)


def test_each_line_is_there_for_another_reader_before_append_returns(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    journal = Journal(path)
    for number, line in enumerate(lines_of(full_run()), start=1):
        journal.append(line)
        assert path.read_bytes().count(b"\n") == number
    journal.close()


def test_each_line_is_on_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    path = tmp_path / JOURNAL_NAME
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(path.read_bytes()))
    journal = Journal(path)
    for line in (header(), loaded("egpt")):
        journal.append(line)
        assert synced[-1] == path.read_bytes()
    assert len(synced) == 2
    journal.close()


def test_the_journal_of_another_run_is_never_written_over(tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header())
    with pytest.raises(FileExistsError):
        Journal(path)


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """Let files of this process grow to `size` bytes, and no further."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_is_an_error_and_costs_neither_the_lines_before_nor_those_after(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    journal = Journal(path)
    journal.append(header())
    with disk_full_after(path.stat().st_size + 30), pytest.raises(RunFolderError, match=r"journal\.jsonl: cannot be"):
        journal.append(loaded("egpt"))
    assert lines_of(read_journal(path)) == [header()]
    journal.append(END)
    journal.close()
    found = lines_of(read_journal(path))
    assert (found[0], found[-1]) == (header(), END)


def test_version_1_is_read() -> None:
    run = read_journal(FILES / "run_v1.jsonl")
    assert run.header.format_version == 1
    assert [sample.id for sample in run.header.samples] == ["s1", "s2"]
    assert run.header.limits == {"eager.speedup.videollava.total": 2.0, "eager.acceptance.videollava": 0.5}
    assert [(each.model, each.memory_bytes) for each in run.models] == [("egpt", 100 << 20), ("videollava", 500 << 20)]
    assert [(each.model, each.stage, each.variant, each.round_s) for each in run.stages] == [
        ("egpt", "load", "", (0.1, 0.2, 0.3, 0.1)),
        ("videollava", "load", "legacy reader", (1.0, 1.5)),
        ("videollava", "decode", "", (0.5, 0.75)),
    ]
    assert run.stages[1].failures[0].text == "s2: no frames\nin it"
    assert run.stages[2].memory["s1"].device_reserved_bytes == 150 << 20
    assert [each.kind for each in run.passes] == ["whole"] * 4 + ["fixed", "unsynchronised"]
    assert run.passes[0].text == 'Ein Auto, 一辆车, "STOP"'
    assert run.passes[3].failure is not None
    assert [each.state for each in run.verdicts] == ["pass", "not run"]
    assert run.end is not None
    assert (run.end.exit_status, run.end.advice) == (1, ("use --rounds",))


def test_a_field_that_a_later_version_adds_does_not_disturb(tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header(), stage_test("egpt", "load", {"s1": [1.0]}))
    content = path.read_bytes().replace(b'"record":"stage"', b'"record":"stage","added":[1]')
    path.write_bytes(content)
    assert read_journal(path).stages[0].round_s == (1.0,)


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    journal = Journal(path)
    journal.append(header())
    whole = path.read_bytes()
    with disk_full_after(len(whole) + 30), pytest.raises(RunFolderError, match="resume with --resume="):
        journal.append(loaded("egpt"))
    assert path.read_bytes() == whole
    journal.append(END)
    journal.close()
    assert lines_of(read_journal(path)) == [header(), END]


def test_a_line_whose_writing_is_interrupted_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_handle: int) -> None:
        raise KeyboardInterrupt

    path = write_journal(tmp_path / JOURNAL_NAME, header())
    journal = Journal(path, reopen=True)
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        journal.append(loaded("egpt"))
    journal.close()
    assert lines_of(read_journal(path)) == [header()]


@given(st.integers(0, 2000))
def test_what_is_appended_behind_a_torn_line_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, torn_bytes: int
) -> None:
    path = write_journal(tmp_path_factory.mktemp("run") / JOURNAL_NAME, header(), loaded("egpt"))
    content = path.read_bytes()
    keep = max(len(content) - torn_bytes, content.index(b"\n") + 1)
    path.write_bytes(content[:keep])
    journal = Journal(path, reopen=True)
    journal.append(END)
    journal.close()
    assert lines_of(read_journal(path)) in ([header(), loaded("egpt"), END], [header(), END])
    assert (len(lines_of(read_journal(path))) == 3) == (keep == len(content))


def test_a_journal_that_is_open_is_refused_to_another_and_free_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    journal = Journal(path)
    journal.append(header(environment={"pid": 4711}))
    with pytest.raises(RunFolderError, match=f"process 4711 is writing this run since {re.escape(STARTED_AT)}"):
        Journal(path, reopen=True)
    journal.append(AttemptRecord("2026-04-01T00:00:00+00:00", {"pid": 4712}))
    with pytest.raises(RunFolderError, match="process 4712 is writing this run since 2026-04-01"):
        Journal(path, reopen=True)
    journal.close()
    Journal(path, reopen=True).close()


def test_the_journals_of_all_ranks_are_read_and_those_of_another_run_are_not(tmp_path: Path) -> None:
    begun = header(("s1", "s2", "s11"), environment={"world_size": 12})
    path = write_journal(tmp_path / JOURNAL_NAME, begun, whole_pass("egpt", "s1"))
    for rank in (2, 11):
        attempt = AttemptRecord(STARTED_AT, {}, rank=rank, world_size=12)
        write_journal(tmp_path / rank_file_name(rank), attempt, whole_pass("egpt", f"s{rank}", rank=rank))
    (tmp_path / "journal.old.jsonl").write_text("not ours")
    run = read_journal(path)
    assert [(each.sample, each.rank) for each in run.passes] == [("s1", 0), ("s2", 2), ("s11", 11)]
    assert [each.rank for each in run.attempts] == [2, 11]
    assert run.end is None


def test_passes_of_a_rank_over_samples_that_the_run_does_not_plan_are_of_another_run(tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header(("s1", "s2")))
    write_journal(tmp_path / rank_file_name(1), *(whole_pass("egpt", each, rank=1) for each in ("s2", "s4", "s3")))
    with pytest.raises(
        ResultFileError, match=r"journal\.1\.jsonl: has passes of 's3', which .* not plan; move it away"
    ):
        read_journal(path)


def test_damage_in_the_journal_of_a_rank_is_named_by_its_file(tmp_path: Path) -> None:
    path = write_journal(tmp_path / JOURNAL_NAME, header())
    (tmp_path / rank_file_name(1)).write_bytes(b"no json\n")
    with pytest.raises(ResultFileError, match=r"journal\.1\.jsonl, line 1"):
        read_journal(path)


CONTRADICTIONS = {
    "a round without its sample": ('"round_samples":["s1"]', '"round_samples":[]', "each of round_s needs its sample"),
    "a time of nothing": ('"round_s":[1.0]', '"round_s":[0.0]', "round_s"),
    "a time without end": ('"round_s":[1.0]', '"round_s":[1e300]', "round_s"),
    "a pass without a stage": ('"load":1.0,', "", "stage_s of a finished pass has load, preprocess, vision"),
    "pairs of one": ('"way_s":[1.0]', '"way_s":[]', "way_s and reference_s need as many times"),
    "a start that is no date": (STARTED_AT, "yesterday", "Invalid isoformat string"),
    "no number of drafted tokens": ('"gamma":5', '"gamma":null', "options.gamma must be a whole number"),
    "no number of rounds": ('"gamma":5', '"gamma":5,"rounds":0', "options.rounds must be a whole number above 0"),
    "no models": ('"models":["egpt","videollava"]', '"models":[]', "engines, models and dataset must be named"),
    "ranks that are no number": (
        '"environment":{',
        '"environment":{"world_size":{},',
        "environment.world_size must be",
    ),
    "facts that are no object": ('"facts":{}', '"facts":{"extra":"x"}', "facts.extra must be an object"),
    "half a path": ("EventGPT_Instruction", "\\u0000", "engines, models and dataset must be named"),
    "endless depth": ('"gamma":5', '"gamma":' + "[" * 100_000, "maximum recursion depth"),
}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_what_no_run_writes_is_refused_by_file_and_line(contradiction: str, tmp_path: Path) -> None:
    timed = (stage_test("egpt", "load", {"s1": [1.0]}), whole_pass("egpt"), side_by_side((1.0,), (2.0,)))
    path = write_journal(tmp_path / JOURNAL_NAME, header(), *timed, ModelRecord("egpt", 1.0, 7, {}))
    assert read_journal(path)
    was, now, words = CONTRADICTIONS[contradiction]
    sound = path.read_text()
    assert was in sound
    path.write_text(sound.replace(was, now, 1))
    with pytest.raises(ResultFileError, match=rf"journal\.jsonl, line \d: .*{words}"):
        read_journal(path)
