"""Some dozens of damaged files of every kind: the goal table tries thousands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import kinds
from tests.hostile.mutations import damaged_bytes, damaged_header, damaged_json, damaged_lines
from tests.hostile.trials import KINDS, tried

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux counts of a process")
DOCUMENT = json.dumps([{"id": "a", "seconds": [1.5, 2.5], "inside": {"deep": None}}]).encode()


def test_the_table_tries_every_kind() -> None:
    assert tuple(kinds.KINDS) == KINDS


# Before the first of these is read, libraries are imported, clips encoded and bombs made, which takes longer than all
# else here.
SLOW_TO_BEGIN = {"MP4", "config.json", "tokenizer JSON", "safetensors header", "journal"}
SLOW_TO_BEGIN |= {"PNG", "event .npz", "recording .h5"}


@ON_LINUX
@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param([kind for kind in KINDS if kind not in SLOW_TO_BEGIN], id="most kinds"),
        pytest.param([*KINDS], id="every kind", marks=pytest.mark.slow),
    ],
)
def test_damaged_files_are_refused_by_name_and_do_no_harm(tmp_path: Path, chosen: list[str]) -> None:
    each = 20 if len(chosen) == len(KINDS) else 3
    found = tried(chosen, each, seed=1, kept=tmp_path / "kept")
    assert not found.violations, "\n".join(found.violations)
    assert found.inputs == each * len(chosen)
    assert found.refused > found.inputs / 3


# What a reader may not do, and the words by which it is found out.
MISDEEDS = {
    "other error": ("raise KeyError('load')", "KeyError: 'load'"),
    "no name": ("raise FixtureError('it is broken')", "an error that names no file"),
    "no exception": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "program": ("os.system('true')", "os.system"),
    "code": ("exec('1')", "exec of <string>"),
    "read": ("open('/etc/hostname').close()", "open '/etc/hostname' to read"),
    "write": ("open('/tmp/written_by_a_test', 'a').close()", "open '/tmp/written_by_a_test' to write"),
    "link": ("open(folder / 'link').close()", "open '/etc/hostname' to read"),
    "rename": ("os.rename(folder / 'f.txt', '/tmp/written_by_a_test')", "os.rename '/tmp/written_by_a_test'"),
    "memory": ("b'x' * (300 * 2**20)", "bytes of memory"),
    "endless memory": ("bytearray(2**50)", "MemoryError"),
    "crash": ("os.abort()", "the process ended with status -6 at {'kind': 'crash', 'number': 1"),
    "hang": ("time.sleep(60)", "Timeout"),
}
MISBEHAVED = """
import os, sys, time
from collections import Counter
from fixtures.errors import FixtureError
from tests.hostile import __main__ as worker, kinds

{misdeeds}

misdeeds, reads = [each for name, each in globals().items() if name.startswith("misdeed_")], Counter()

def kind(name):
    def make(folder):
        (folder / "f.txt").write_text("sound")
        (folder / "link").symlink_to("/etc/hostname")
        return [folder / "f.txt"]

    def read(folder):
        reads[name] += 1
        if reads[name] == 3:  # sound files were read twice
            misdeeds[list({names}).index(name)](folder)
        yield from ()

    return kinds.Kind(make, read)

worker.of_name = kind
worker.LIMIT_S = 3
worker.MAX_BYTES = 2**28  # a gibibyte takes a busy machine seconds
worker.main(sys.argv[1:])
"""


@ON_LINUX
def test_a_reader_that_misbehaves_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = [f"def misdeed_{place}(folder): {each}" for place, (each, _) in enumerate(MISDEEDS.values())]
    program = MISBEHAVED.format(misdeeds="\n".join(functions), names=tuple(MISDEEDS))
    real = subprocess.run

    def run(command: list[str], **arguments: Any) -> Any:
        return real([sys.executable, "-c", program, *command[3:]], **arguments)

    monkeypatch.setattr(subprocess, "run", run)
    found = tried(tuple(MISDEEDS), 2, seed=1, kept=tmp_path)
    assert found.inputs == 2 * len(MISDEEDS)
    for name, (_, words) in MISDEEDS.items():
        assert any(words in violation for violation in found.violations), name
    assert {path.parent.name for path in tmp_path.rglob("f.txt")} >= {"crash", "hang"}


@given(st.data())
@settings(max_examples=50)
def test_what_is_drawn_is_damaged_in_many_ways(data: st.DataObject) -> None:
    for damaged in (damaged_bytes, damaged_json, damaged_lines):
        assert isinstance(damaged(data.draw, DOCUMENT, (b"token",)), bytes)
    weights = (2).to_bytes(8, "little") + b"{}" + bytes(20)
    assert len(damaged_header(data.draw, weights)) <= 10 + 20 + 200 * 64 * 6
