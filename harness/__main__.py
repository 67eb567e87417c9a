"""Work on results: `python -m harness merge FOLDER` derives a run's files from its journal, after a kill too."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.journal import FILE_NAME, read_journal
from harness.option_values import count
from harness.replay import described, replay
from harness.run import RUN_FILE_NAME, derive_files
from harness.token_pairs import read_token_pairs


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; return the exit status, 2 where what was named cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m harness", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    merge = commands.add_parser("merge", help="derive run.json and the legacy result file from a run's journal")
    merge.add_argument("folder", type=Path, help="the run's folder, as results/latest")
    merge.add_argument("--output_json", "--output-json", type=Path, help="path of the legacy result file")
    merge.set_defaults(work=lambda chosen: merge_folder(chosen.folder, chosen.output_json))
    replayed = commands.add_parser("acceptance", help="what the answers in a result file say of agreement")
    replayed.add_argument("file", type=Path, help="a result file, of ours or of an older format")
    replayed.add_argument("--gamma", type=count, default=5, help="tokens of a first block (%(default)s)")
    replayed.set_defaults(work=lambda chosen: replay_file(chosen.file, chosen.gamma))
    chosen = parser.parse_args(arguments)
    try:
        chosen.work(chosen)
    except HarnessError as error:
        sys.stderr.write(f"python -m harness: {error}\n")
        return 2
    return 0


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


def replay_file(path: Path, gamma: int) -> None:
    """Print how far the recorded answers of draft and targets agree; raise ResultFileError for what is no answer."""
    for target, pairs in read_token_pairs(path).items():
        sys.stdout.write(described(target, replay(pairs, gamma)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
