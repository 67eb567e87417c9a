"""A session in a process of its own: the unit that baselines and gates are made of."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from harness.gates.baselines import DEFAULT_FOLDER
from harness.options import GATED_ROUNDS, GATED_S, output_flags, with_tests, without_flags
from harness.records.folder import planned_folder

_HOW_OFTEN = {"--rounds", "--measurement_time", "--measurement-time"}


class PytestArguments(msgspec.Struct, frozen=True):
    """A user's pytest arguments, and what our own commands need to know of them."""

    words: tuple[str, ...]
    output_dir: Path | None
    baselines: Path
    says_how_often: bool

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Take the output folder and the baselines out of the words, and put the suite's tests before what is left."""
        parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
        parser.add_argument("--output-dir", "--output_dir", type=Path)
        parser.add_argument("--baselines", type=Path, default=Path(DEFAULT_FOLDER))
        ours, others = parser.parse_known_args(list(words))
        says_how_often = any(word.partition("=")[0] in _HOW_OFTEN for word in others)
        return cls(with_tests(others, Path.cwd()), ours.output_dir, ours.baselines.absolute(), says_how_often)

    def new_folder(self) -> Path:
        """Return where the next run writes; raise RunFolderError where the folder that was named is taken."""
        return planned_folder(Path.cwd(), self.output_dir)

    def command(self, folder: Path, *more: str) -> list[str]:
        """Return the command of a session that writes into `folder`, in as many rounds as a gate takes."""
        rounds = () if self.says_how_often else (f"--rounds={GATED_ROUNDS}", f"--measurement_time={GATED_S:g}")
        ours = (f"--output-dir={folder}", f"--baselines={self.baselines}", *rounds, *more)
        return [sys.executable, "-m", "pytest", *self.words, *ours]

    def without_other_outputs(self) -> Self:
        """Return the arguments for a second session, which must leave the files of the first alone."""
        return msgspec.structs.replace(self, words=tuple(without_flags(self.words, output_flags())))
