"""Reads hostile files in a process of its own, and prints what came of each: a line of JSON.

`python -m tests.hostile KIND … --seed N --count N --folder FOLDER`: FOLDER gets the files. A process that ends too
early was ended by the input whose number it printed last; that input is still in FOLDER.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import resource
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.hostile.kinds import KINDS, Kind, of_name
from tests.hostile.mutations import one_of
from tests.hostile.watch import Probe

LIMIT_S = 10.0
MAX_BYTES = 1024**3
"""How far memory may rise above what the process had before: the bound that docs/security.md states."""


class Inputs:
    """Reads one input after the other through a kind's door."""

    def __init__(self, name: str, kind: Kind, folder: Path, watch: Probe, output: IO[str]) -> None:
        self.name = name
        self.kind = kind
        self.watch = watch
        self.folder = folder
        self.output = output
        self.number = 0
        self.sound = {path: path.read_bytes() for path in kind.make(folder)}
        assert not kind.errors(folder), "sound files are read without a complaint"
        kind.errors(folder)  # whatever is imported late is there now

    def read(self, path: Path, content: bytes) -> None:
        """Put one damaged file in the place of the sound one, and print what came of reading it."""
        self.number += 1
        path.write_bytes(content)
        self._print(number=self.number, begins=path.relative_to(self.folder).as_posix())
        try:
            before = _peak_from_here()
            start = time.monotonic()
            found = self._violations()
            seconds, peak = time.monotonic() - start, _resident("VmHWM") - before
            if peak > MAX_BYTES:
                found.append(f"took {peak} bytes of memory")
            self._print(number=self.number, violations=found, refused=self._refused, seconds=seconds, peak_bytes=peak)
        finally:
            path.write_bytes(self.sound[path])

    def _violations(self) -> list[str]:
        found: list[str] = []
        errors: list[Exception] = []
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        with self.watch.watching() as seen, contextlib.redirect_stdout(io.StringIO()):
            try:
                errors = self.kind.errors(self.folder)
            except BaseException as error:  # some libraries raise what is no Exception
                found.append(_in_words(error))
        faulthandler.cancel_dump_traceback_later()
        self._refused = bool(errors) or bool(found)
        names = {path.name for path in self.folder.rglob("*")} | {str(self.folder)}
        for error in errors:
            if not any(name in str(error) for name in names) and "field" not in str(error):
                found.append(f"an error that names no file: {error!r:.300}")
            if any(isinstance(each, MemoryError) for each in _causes(error)):
                found.append(f"asked for memory without end: {error!r:.300}")
        return found + seen

    def _print(self, **line: object) -> None:
        self.output.write(json.dumps({"kind": self.name, **line}) + "\n")
        self.output.flush()


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    """Beyond what may be used, asking for memory fails in the block: the machine that runs this stays alive."""
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_resident("VmSize") + 2 * MAX_BYTES, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


def _peak_from_here() -> int:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS")


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _in_words(error: BaseException) -> str:
    """Type, text and the innermost places, ours among them."""
    places = [f"{Path(each.filename).name}:{each.lineno}" for each in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__}: {error!s:.200} (by way of {' '.join(places[-6:])})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def main(arguments: Sequence[str] | None = None) -> None:
    """Read as many inputs as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="+", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    watch = Probe.over(chosen.folder)
    for name in chosen.kinds:
        _read_many(name, chosen.folder.resolve() / name.replace(" ", "_"), watch, chosen.seed, chosen.count)


def _read_many(name: str, folder: Path, watch: Probe, first: int, count: int) -> None:
    kind, output = of_name(name), sys.stdout
    folder.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
        inputs = Inputs(name, kind, folder, watch, output)
    crafted = kind.crafted()

    @seed(first)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        if inputs.number < count:
            path = one_of(data.draw, sorted(inputs.sound))
            inputs.read(path, kind.hostile(data.draw, path, inputs.sound[path], crafted))

    with _limited_memory():
        one()


if __name__ == "__main__":
    main()
