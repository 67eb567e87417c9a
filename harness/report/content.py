"""The sections in their order: of one run, or of answers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.figures.replay import TokenPair
from harness.records.lines import RunRecord
from harness.report.blocks import Report, Section, Words, words
from harness.report.sections import answers, drafting, highlights, memory, roofline, speed, stage_tests, trust, warnings
from harness.report.sections.by_machine import each_machine, sections_of_each
from harness.report.sections.verdict import slipped, tiles, verdict


def report_of(run: RunRecord, source: str) -> Report:
    """Return the report of one run; what it has not measured is not in it."""
    return Report(
        title=_title(run),
        source=source,
        conditions=_conditions(run),
        verdict=verdict(run),
        slipped=tuple(slipped(run)),
        tiles=tuple(tiles(run)),
        story=tuple(line_of(each) for part, line_of in each_machine(run) for each in highlights.story(part)),
        not_shown=tuple(line_of(each) for part, line_of in each_machine(run) for each in highlights.unsupported(part)),
        sections=(
            *trust.baseline(run),
            *sections_of_each(run, _measured),
            *stage_tests.ways(run),
            *drafting.sections(run),
            *answers.sections(run),
            *trust.failures(run),
            *warnings.sections(run),
            *trust.limits(run),
            *trust.conditions(run),
        ),
    )


def report_of_answers(pairs: Mapping[str, Sequence[TokenPair]], source: str, gamma: int) -> Report:
    """Return the report of a file that holds answers and no times."""
    return Report(
        title="Agreement of recorded answers",
        source=source,
        conditions=(words("answers without times"),),
        verdict=None,
        slipped=(),
        tiles=(),
        story=(),
        not_shown=(),
        sections=(drafting.agreement(pairs, gamma),),
    )


def _measured(run: RunRecord) -> Iterator[Section]:
    yield from speed.sections(run)
    yield from roofline.sections(run)
    yield from memory.sections(run)
    yield from stage_tests.sections(run)


def _title(run: RunRecord) -> str:
    if run.header.draft and run.header.targets:
        return f"{run.header.draft} beside {' and '.join(run.header.targets)}"
    return ", ".join(run.header.models)


def _conditions(run: RunRecord) -> tuple[Words, ...]:
    environment = run.header.environment
    gpu = environment.get("gpu") or {}
    libraries = environment.get("libraries") or {}
    device = gpu.get("name") or environment.get("cpu")
    found = [
        f"model set {run.header.model_set}" if environment else "a result file of the old form, which names no machine",
        device or "",
        *(f"{library} {libraries[library]}" for library in ("torch", "transformers") if libraries.get(library)),
        f"{len(run.header.samples)} samples",
        run.header.started_at.replace("T", " ")[:16],
    ]
    return tuple(words(each) for each in found if each)
