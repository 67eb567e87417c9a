from __future__ import annotations

import os
import re
import stat
from datetime import datetime
from pathlib import Path

import pytest

from harness.errors import RunFolderError
from harness.records.folder import (
    LATEST,
    RESULTS,
    keep_aside,
    make_folder,
    planned_folder,
    point_latest_to,
    require_room_for,
    write_whole,
)
from harness.records.journal import JOURNAL_NAME, Journal


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_written_whole_into_folders_that_were_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "run.json"
    write_whole(path, b"all of it")
    assert path.read_bytes() == b"all of it"
    assert names_in(path.parent) == ["run.json"]


@pytest.mark.parametrize("name", ["n" * 255, "車" * 85])
def test_a_file_whose_name_has_the_most_bytes_is_written_whole(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, b"all of it")
    assert names_in(tmp_path) == [name]


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for content in (b"old and longer", b"new"):
        write_whole(path, content)
    assert path.read_bytes() == b"new"
    assert names_in(tmp_path) == ["run.json"]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_failure_midway_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    write_whole(path, b"old")

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(RunFolderError, match=r"run\.json: cannot be written \(No space left on device\)"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["run.json"]


def test_new_file_is_complete_on_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_whole(path, b"old")
    seen: list[tuple[bytes, int]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((path.read_bytes(), os.fstat(handle).st_size)))
    write_whole(path, b"new file")
    assert seen == [(b"old", len(b"new file"))]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read_and_write_the_files(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "run.json", b"{}")
        Journal(tmp_path / JOURNAL_NAME).close()
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "run.json": mode,
        JOURNAL_NAME: mode,
    }


def test_a_file_where_a_folder_should_be_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=re.escape(f"{tmp_path / 'file' / 'run.json'}: cannot be written")):
        write_whole(tmp_path / "file" / "run.json", b"")


def test_runs_go_to_a_folder_named_by_the_time_and_none_takes_anothers(tmp_path: Path) -> None:
    found = set()
    for _ in range(3):
        folder = planned_folder(tmp_path, None)
        make_folder(folder)
        found.add(folder)
    assert len(found) == 3
    assert {folder.parent for folder in found} == {tmp_path / RESULTS}
    assert all(re.fullmatch(r"\d{8}_\d{6}(_\d+)?", folder.name) for folder in found)


def test_planning_makes_nothing(tmp_path: Path) -> None:
    planned_folder(tmp_path, None)
    planned_folder(tmp_path, tmp_path / "mine")
    assert names_in(tmp_path) == []


def test_a_named_folder_is_taken_where_it_is_new_or_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert planned_folder(tmp_path / "elsewhere", Path("mine")) == tmp_path / "mine"
    (tmp_path / "mine").mkdir()
    assert planned_folder(tmp_path / "elsewhere", Path("mine")) == tmp_path / "mine"


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("")
    with pytest.raises(RunFolderError, match=r"is not empty; .* name another --output-dir"):
        planned_folder(tmp_path, tmp_path)
    with pytest.raises(RunFolderError, match="is not empty"):
        make_folder(tmp_path)


def test_a_file_is_refused_as_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(RunFolderError, match="is a file; --output-dir names a folder"):
        planned_folder(tmp_path, path)


def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot be made \(.*\); choose another --output-dir"):
        make_folder(tmp_path / "file" / "run")


@pytest.mark.parametrize("place", ["file/run", "file/a/run"])
def test_a_place_below_a_file_is_refused_before_anything_is_measured(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = re.escape(f"{tmp_path / place}: cannot be made: {tmp_path / 'file'} is not a writable folder; choose")
    with pytest.raises(RunFolderError, match=problem):
        planned_folder(tmp_path, tmp_path / place)
    with pytest.raises(RunFolderError, match=problem):
        require_room_for(tmp_path / place, "--output_json", is_file=True)


def test_a_folder_is_no_file_to_write_and_a_new_place_is(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is a folder; --output_json names a file"):
        require_room_for(tmp_path, "--output_json", is_file=True)
    require_room_for(tmp_path / "new" / "results.json", "--output_json", is_file=True)


def test_a_folder_that_takes_no_files_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever is root may write anywhere
    with pytest.raises(RunFolderError, match=re.escape(f"{tmp_path} is not a writable folder; choose")):
        planned_folder(tmp_path, tmp_path / "run")


def test_a_file_whose_place_is_needed_keeps_its_name_with_its_time(tmp_path: Path) -> None:
    file = tmp_path / "my results.json"
    changed = datetime(2026, 1, 2, 3, 4, 5).astimezone().timestamp()
    for name in ("my results.20260102_030405.json", "my results.20260102_030405_2.json"):
        file.write_bytes(b"another run's")
        os.utime(file, (changed, changed))
        assert keep_aside(file, b"2026") == tmp_path / name
        assert (file.exists(), (tmp_path / name).read_bytes()) == (False, b"another run's")


def test_a_file_of_the_run_itself_and_what_is_no_file_stay(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("[2026]")
    for name in ("own", ".", "missing", "n" * 300):
        assert keep_aside(tmp_path / name, b"2026") is None
    assert names_in(tmp_path) == ["own"]


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "a." + "n" * 250])
def test_the_longest_names_are_shortened_where_they_get_a_time(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    kept = keep_aside(tmp_path / name, b"2026")
    assert kept is not None
    assert kept.exists()


def test_a_file_that_cannot_be_renamed_is_an_error_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "a.json").touch()
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(RunFolderError, match=r"a\.json: cannot be renamed \(Operation not permitted\); name another"):
        keep_aside(tmp_path / "a.json", b"2026")


def test_latest_names_the_newest_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / "results" / name
        make_folder(folder)
        point_latest_to(folder)
        assert (tmp_path / "results" / LATEST).resolve() == folder
    assert names_in(tmp_path / "results") == [LATEST, "one", "two"]


def test_latest_still_works_when_the_results_have_been_moved(tmp_path: Path) -> None:
    make_folder(tmp_path / "results" / "one")
    point_latest_to(tmp_path / "results" / "one")
    (tmp_path / "results").rename(tmp_path / "archive")
    assert (tmp_path / "archive" / LATEST).resolve() == tmp_path / "archive" / "one"


def test_latest_is_made_beside_folders_under_results_only(tmp_path: Path) -> None:
    make_folder(tmp_path / "mine")
    point_latest_to(tmp_path / "mine")
    assert names_in(tmp_path) == ["mine"]


def test_a_real_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    for name in (LATEST, "one"):
        make_folder(tmp_path / "results" / name)
    point_latest_to(tmp_path / "results" / "one")
    assert not (tmp_path / "results" / LATEST).is_symlink()
    assert names_in(tmp_path / "results") == [LATEST, "one"]


def test_a_dangling_latest_and_a_leftover_of_a_killed_run_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "one"
    make_folder(folder)
    (folder.parent / LATEST).symlink_to("gone")
    (folder.parent / f".{LATEST}.{os.getpid()}").symlink_to("gone")
    point_latest_to(folder)
    assert (folder.parent / LATEST).resolve() == folder


def test_a_file_system_without_links_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    folder = tmp_path / "results" / "one"
    make_folder(folder)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    point_latest_to(folder)
    assert names_in(folder.parent) == ["one"]
