"""Names and colours of models and stages, the same in every section."""

from harness.figures.passes import Comparison
from harness.records.lines import RunRecord
from harness.report.blocks import name
from harness.stages import STAGES, UNDIVIDED

STAGE_NUMBERS = {1: "1 load", 2: "2 preprocess", 3: "3 vision + LLM"}
STAGE_COLOURS = {stage: f"s{number}" for number, stage in enumerate((*STAGES, UNDIVIDED), start=1)}


def label(run: RunRecord, model: str, engine: str | None = None, *more: str | None) -> str:
    """Return a model's display name, with its engine where the run has several, and `more` words."""
    shown_engine = engine if len(run.header.engines) > 1 else None
    return " ".join(filter(None, (run.header.names.get(model, model), shown_engine, *more)))


def colour(run: RunRecord, model: str) -> str:
    """Return the colour name of a model, by its position in the header."""
    return f"m{(1 + run.header.models.index(model)) if model in run.header.models else 4}"


def name_of_speedup(found: Comparison, stage: int | None = None) -> str:
    """Return the figure name of a speedup of the whole passes: of the total, or of one of the three stages."""
    return name("speedup", "total" if stage is None else f"stage{stage}", found.target, found.engine)
