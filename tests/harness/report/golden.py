"""What the terminal shows of a run with something of everything, as files; run this module to write them anew."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.records.lines import RunRecord
from harness.report.formatting import encodable
from harness.report.terminal import summary
from tests.harness.report.distinct_run import distinct_run

HERE = Path(__file__).parent / "golden"
LEVELS = {"quiet": -1, "default": 0, "verbose": 1}
FOLDER = Path("results/20260304_050607")
SHOWN = {
    f"{level}-{width}{'-ascii' * ascii_only}.txt": (verbosity, width, ascii_only)
    for level, verbosity in LEVELS.items()
    for width in (80, 120)
    for ascii_only in (False, True)
    if not ascii_only or width == 80
}


def golden_run() -> RunRecord:
    """One engine and models with names; all else as in the run in which nothing equals anything else."""
    run = distinct_run("cpu")
    named = msgspec.structs.replace(
        run.header,
        engines=("eager",),
        names={"egpt": "EventGPT", "videollava": "Video-LLaVA", "llava": "LLaVA-1.5"},
        environment=run.header.environment | {"command": ["/usr/bin/pytest", "perf_tests", "--query", "What is it?"]},
    )
    return msgspec.structs.replace(run, header=named)


def terminal_text(verbosity: int, width: int, ascii_only: bool) -> str:
    """The summary, as a terminal without UTF-8 gets it, too."""
    files = [
        FOLDER / name
        for name in ("report.html", "report.md", "run.json", "a_result_file_of_a_long_name.json", "journal.jsonl")
    ]
    text = summary(golden_run(), FOLDER, files, width=width, color=False, verbosity=verbosity)
    return encodable(text, "ascii" if ascii_only else "utf-8")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for name, how in SHOWN.items():
        (HERE / name).write_text(terminal_text(*how), encoding="utf-8")
