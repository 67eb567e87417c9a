"""Assembles the report of one run, or of answers alone, from its sections in order."""

import shlex
from pathlib import Path

from harness.figures.quantised import quantised_figures
from harness.figures.speculation import speculation_figures
from harness.legacy.token_pairs import read_answers
from harness.records.lines import RunRecord
from harness.records.quantities import counted
from harness.report.blocks import Report, Text
from harness.report.naming import label
from harness.report.sections import answers, conditions, drafting, memory, recorded, roofline, speed, stage_tests
from harness.report.sections.by_machine import lines_of_each, sections_of_each
from harness.report.sections.highlights import caveats, headlines, highlights, quantised_line
from harness.report.sections.judgement import baseline, failures, limits
from harness.report.sections.verdict import problems, tiles, verdict
from harness.report.sections.warnings import warnings


def report_of(run: RunRecord, source: str) -> Report:
    """Return the report of one run, with sections for everything that it has measured."""
    header, drafted = run.header, speculation_figures(run)
    typed = header.environment.get("command")  # sys.argv, which begins with the path of pytest
    title = ", ".join(label(run, model) for model in header.models)
    if header.draft and header.targets:
        targets = [label(run, target) for target in header.targets]
        title = f"{label(run, header.draft)} vs. {' and '.join(targets)}"
    return Report(
        title=title,
        source=source,
        conditions=_conditions(run),
        verdict=verdict(run),
        problems=list(problems(run)),
        warnings=list(warnings(run)),
        advice=run.end.advice if run.end else (),
        tiles=list(tiles(run)),
        headlines=[
            *lines_of_each(run, headlines),
            *(drafting.pair_line(run, each) for each in drafted),
            *(quantised_line(run, each) for each in quantised_figures(run)),
        ],
        highlights=list(lines_of_each(run, highlights)),
        caveats=list(lines_of_each(run, caveats)),
        command=shlex.join(["python", "-m", "pytest", *map(str, typed[1:])]) if isinstance(typed, list) else "",
        sections=[
            *baseline(run),
            *sections_of_each(
                run, speed.sections, stage_tests.sections, stage_tests.throughputs, roofline.sections, memory.sections
            ),
            *recorded.sections(run),
            *stage_tests.ways(run),
            *(drafting.section(run, each) for each in drafted),
            *answers.sections(run),
            *failures(run),
            *limits(run),
            *conditions.sections(run),
        ],
    )


def report_of_answers(path: Path, gamma: int) -> Report:
    """Return the report of a file's answers, without times; raise ResultFileError for a file without answers."""
    pairs, notes = read_answers(path)
    sections = [answers.agreement(pairs, gamma), *recorded.notes(notes)]
    return Report("Agreement of recorded answers", path.stem, ["times are not shown"], sections)


def _conditions(run: RunRecord) -> list[Text]:
    header = run.header
    known = conditions.environment(header.environment)
    libraries = header.environment.get("libraries") or {}
    cores = counted(int(known["usable cores"]), "usable core") if "GPU" not in known and "usable cores" in known else ""
    found = [
        f"model set {header.model_set} on {header.device}"
        if header.environment
        else "a result file of the old form, which names no machine",
        known.get("GPU") or known.get("CPU") or "",
        cores,
        *(f"{library} {libraries[library]}" for library in ("torch", "transformers") if libraries.get(library)),
        counted(len(header.samples), "sample"),
        conditions.started(header)[:17].replace("T", " ").rstrip(":"),
    ]
    return [each for each in found if each]
