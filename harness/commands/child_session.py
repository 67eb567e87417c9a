"""The command of a session in a fresh process, the unit of baselines and gates."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from harness.errors import OptionError
from harness.gates.baselines import DEFAULT_FOLDER
from harness.options import GATED_ROUNDS, GATED_S, output_flags, with_tests, without_flags
from harness.records.folder import planned_folder, require_room_for

_ROUNDS_FLAGS = {"--rounds", "--measurement_time", "--measurement-time"}


class PytestArguments(msgspec.Struct, frozen=True):
    """A user's pytest arguments, without --output-dir and --baselines, which are fields of their own."""

    words: tuple[str, ...]
    output_dir: Path | None
    baselines: Path
    sets_rounds: bool

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Parse a command line; add the suite's tests where it names none."""
        parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
        parser.add_argument("--output-dir", "--output_dir", type=Path)
        parser.add_argument("--baselines", type=Path, default=Path(DEFAULT_FOLDER))
        ours, others = parser.parse_known_args(list(words))
        if any(word.partition("=")[0] == "--resume" for word in others):
            raise OptionError("--resume cannot be given: each session of a gate or a baseline is a new run")
        sets_rounds = any(word.partition("=")[0] in _ROUNDS_FLAGS for word in others)
        return cls(with_tests(others, Path.cwd()), ours.output_dir, ours.baselines.absolute(), sets_rounds)

    def new_folder(self) -> Path:
        """Return the folder of the next run; raise RunFolderError where it is in use, or cannot be made."""
        folder = planned_folder(Path.cwd(), self.output_dir)
        require_room_for(folder, "--output-dir")
        return folder

    def command(self, folder: Path, *more: str) -> list[str]:
        """Return the command of a session that writes into `folder`, with the rounds of a gate unless given."""
        rounds = () if self.sets_rounds else (f"--rounds={GATED_ROUNDS}", f"--measurement_time={GATED_S:g}")
        ours = (f"--output-dir={folder}", f"--baselines={self.baselines}", *rounds, *more)
        return [sys.executable, "-m", "pytest", *self.words, *ours]

    def without_other_outputs(self) -> Self:
        """Return the arguments without further output files, so that a second session keeps the first one's files."""
        return msgspec.structs.replace(self, words=tuple(without_flags(self.words, output_flags())))
