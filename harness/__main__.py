"""Work on results, and compare revisions; pytest arguments come behind `--`.

merge FOLDER derives a run's files from its journal, after a kill too; ab compares two revisions or two sets of options.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.ab import command as ab
from harness.errors import HarnessError
from harness.journal import FILE_NAME, read_journal
from harness.run import RUN_FILE_NAME, derive_files


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; return the exit status, 2 where what was named cannot be used."""
    ours, pytests = _split(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m harness", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    merge = commands.add_parser("merge", help="derive run.json and the legacy result file from a run's journal")
    merge.add_argument("folder", type=Path, help="the run's folder, as results/latest")
    merge.add_argument("--output_json", "--output-json", type=Path, help="path of the legacy result file")
    merge.set_defaults(work=lambda chosen: merge_folder(chosen.folder, chosen.output_json))
    two = commands.add_parser("ab", help=ab.HELP, usage=ab.USAGE)
    ab.add_arguments(two)
    two.set_defaults(work=lambda chosen: ab.run(chosen, pytests))
    chosen = parser.parse_args(ours)
    try:
        status: int | None = chosen.work(chosen)
    except HarnessError as error:
        sys.stderr.write(f"python -m harness: {error}\n")
        return 2
    return status or 0


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what is before and what is behind the first `--`."""
    words = list(arguments)
    here = words.index("--") if "--" in words else len(words)
    return words[:here], words[here + 1 :]


def merge_folder(folder: Path, output_json: Path | None = None) -> None:
    """Derive a folder's files from its journal and print which; raise ResultFileError where there is no journal."""
    run = read_journal(folder / FILE_NAME)
    legacy = derive_files(folder, run, output_json)
    finished = sum(record.kind == "whole" and record.failure is None for record in run.passes)
    sys.stdout.write(f"{folder / RUN_FILE_NAME}\n")
    sys.stdout.write(f"{legacy}\n" if legacy else "no legacy result file: no sample was finished\n")
    sys.stdout.write(
        f"{finished} passes of {len(run.header.samples)} planned samples x {len(run.header.models)} models\n"
    )


if __name__ == "__main__":
    sys.exit(main())
