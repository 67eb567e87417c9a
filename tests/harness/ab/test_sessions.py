from __future__ import annotations

import os
import time
from pathlib import Path
from subprocess import Popen

import pytest

from harness.ab.plan import Side
from harness.ab.sessions import located, measure
from harness.errors import SessionError

SIDE = Side("abc", "main", ())
TAKES_THE_FOLDER = "def pytest_addoption(parser):\n    parser.addoption('--output-dir')\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which pytest takes the one option that a session is given."""
    (tmp_path / "conftest.py").write_text(TAKES_THE_FOLDER)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -s\n")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return tmp_path


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Where the user is, with data; and a revision's tree, which has none."""
    here, tree = tmp_path / "here", tmp_path / "tree"
    for folder in (here / "data", here / "perf_tests", tree / "perf_tests"):
        folder.mkdir(parents=True)
    (here / "limits.toml").touch()
    (tree / "limits.toml").touch()
    (here / "perf_tests" / "test_new.py").touch()
    return here, tree


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (["--dataset_dir", "data"], ["--dataset_dir", "{here}/data"]),
        (["--dataset_dir=data"], ["--dataset_dir={here}/data"]),
        (["--limits", "limits.toml"], ["--limits", "limits.toml"]),         # the revision has its own
        (["--video-reader", "legacy"], ["--video-reader", "legacy"]),       # no file at all
        (["-k", "data"], ["-k", "data"]),
        (["-k", "load or " * 99], ["-k", "load or " * 99]),                 # no file has such a long name
        (["perf_tests"], ["perf_tests"]),
        (["--benchmark-only", "perf_tests/test_new.py"], ["--benchmark-only", "perf_tests/test_new.py"]),
    ],
)  # fmt: skip
def test_data_that_only_the_users_folder_has_is_taken_from_there(
    places: tuple[Path, Path], word: list[str], expected: list[str]
) -> None:
    here, tree = places
    assert located(word, here, tree) == [each.format(here=here) for each in expected]


def test_a_session_that_was_killed_is_told_by_its_signal_and_its_last_words(tree: Path) -> None:
    (tree / "test_that_dies.py").write_text(
        "import os, signal\ndef test_it():\n    os.write(2, b'so long')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with pytest.raises(
        SessionError, match=r"session 01_a of main was killed by SIGKILL\. .*01_a\.txt ends with"
    ) as told:
        measure(SIDE, (), tree, tree / "01_a")
    assert "so long" in str(told.value)
    assert told.value.commit == SIDE.commit


def test_a_session_that_is_left_takes_what_it_started_with_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that lived on would be measured by whoever measures next."""
    (tree / "test_that_stays.py").write_text(
        "import pathlib, subprocess\ndef test_it():\n    process = subprocess.Popen(['sleep', '60'])\n"
        "    pathlib.Path('started').write_text(str(process.pid))\n    process.wait()\n"
    )

    def interrupted(self: Popen[bytes], timeout: float | None = None) -> int:
        monkeypatch.setattr(Popen, "wait", wait)
        deadline = time.monotonic() + 60
        while not (tree / "started").exists() or not (tree / "started").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        raise KeyboardInterrupt

    wait = Popen.wait
    monkeypatch.setattr(Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(SIDE, (), tree, tree / "01_a")
    child = int((tree / "started").read_text())
    deadline = time.monotonic() + 60
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(process: int) -> bool:
    """Whether a process is there and is no mere entry that nobody has asked about yet."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
