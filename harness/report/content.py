"""The sections in their order: of one run, or of answers alone."""

from __future__ import annotations

from collections.abc import Iterator

from harness.legacy.token_pairs import Answers
from harness.records.lines import RunRecord
from harness.report.blocks import Report, Section, Text
from harness.report.sections import (
    answers,
    conditions,
    drafting,
    highlights,
    judgement,
    memory,
    recorded,
    roofline,
    speed,
    stage_tests,
    verdict,
    warnings,
)
from harness.report.sections.by_machine import lines_of_each, sections_of_each


def report_of(run: RunRecord, source: str) -> Report:
    """Return the report of one run; what it has not measured is not in it."""
    return Report(
        title=_title(run),
        source=source,
        conditions=_conditions(run),
        verdict=verdict.verdict(run),
        problems=list(verdict.problems(run)),
        warnings=[warning for warning, _ in warnings.warnings(run)],
        advice=run.end.advice if run.end else (),
        tiles=list(verdict.tiles(run)),
        headlines=list(lines_of_each(run, highlights.headlines)),
        highlights=list(lines_of_each(run, highlights.highlights)),
        caveats=list(lines_of_each(run, highlights.caveats)),
        sections=[
            *judgement.baseline(run),
            *sections_of_each(run, _measured),
            *recorded.sections(run),
            *stage_tests.ways(run),
            *drafting.sections(run),
            *answers.sections(run),
            *judgement.failures(run),
            *warnings.sections(run),
            *judgement.limits(run),
            *conditions.sections(run),
        ],
    )


def report_of_answers(found: Answers, source: str, gamma: int) -> Report:
    """Return the report of a file's answers, without any times."""
    sections = [drafting.agreement(found.pairs, gamma), *recorded.notes(found.notes)]
    return Report("Agreement of recorded answers", source, ["times are not shown"], sections)


def _measured(run: RunRecord) -> Iterator[Section]:
    yield from speed.sections(run)
    yield from roofline.sections(run)
    yield from memory.sections(run)
    yield from stage_tests.sections(run)


def _title(run: RunRecord) -> str:
    if run.header.draft and run.header.targets:
        return f"{run.header.draft} vs. {' and '.join(run.header.targets)}"
    return ", ".join(run.header.models)


def _conditions(run: RunRecord) -> list[Text]:
    header = run.header
    known = conditions.environment(header.environment)
    libraries = header.environment.get("libraries") or {}
    cores = f"{known['usable cores']} usable cores" if "GPU" not in known and "usable cores" in known else ""
    found = [
        f"model set {header.model_set} on {header.device}"
        if header.environment
        else "a result file of the old form, which names no machine",
        known.get("GPU") or known.get("CPU") or "",
        cores,
        *(f"{library} {libraries[library]}" for library in ("torch", "transformers") if libraries.get(library)),
        f"{len(header.samples)} samples",
        conditions.started(header)[:17].replace("T", " ").rstrip(":"),
    ]
    return [each for each in found if each]
