"""Latency as serving tools name it (docs/figures.md), in seconds per sample, from the whole passes."""

from statistics import fmean

import msgspec

from harness.figures.intervals import Interval, mean_interval, quantile_interval
from harness.figures.passes import pass_figures, pass_s
from harness.records.lines import RunRecord

PERCENTILES = (50, 90, 99)
MIN_SAMPLES = {99: 100}
"""Samples that a percentile needs: of fewer, p99 would be the slowest one."""


class Latency(msgspec.Struct, frozen=True):
    """One measure of one model: a value per sample that has it."""

    model: str
    engine: str
    measure: str
    values: tuple[float, ...]

    @property
    def mean(self) -> Interval:
        """The mean, and its interval where there is one."""
        mean = fmean(self.values)
        return mean_interval(self.values) or Interval(len(self.values), mean, float("-inf"), float("inf"))

    def percentile(self, percent: int) -> Interval | None:
        """Return a percentile and its interval; None for fewer samples than MIN_SAMPLES."""
        enough = len(self.values) >= MIN_SAMPLES.get(percent, 1)
        return quantile_interval(self.values, percent / 100) if enough else None


def latencies(run: RunRecord) -> list[Latency]:
    """Return every measure of every model; old files lack those that need prefill and decode apart."""
    found = []
    for each in pass_figures(run):
        divided = [record for record in each.records if "decode" in record.stage_s]
        with_steps = [record for record in divided if len(record.token_ids) > 1]
        measures = {
            "ttft": [pass_s(record) - record.stage_s["decode"] for record in divided],
            "tpot": [record.stage_s["decode"] / (len(record.token_ids) - 1) for record in with_steps],
            "end_to_end": list(each.total_s.values()),
            "tokens_per_s": [len(record.token_ids) / pass_s(record) for record in each.records if record.token_ids],
        }
        found += [Latency(each.model, each.engine, name, tuple(values)) for name, values in measures.items() if values]
    return found
