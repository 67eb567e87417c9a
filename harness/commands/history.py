"""`python -m harness history PATHS…`: figures over sessions as a page, or for Bencher."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.figures.intervals import ALPHA
from harness.gates.prediction import predict
from harness.history.page import in_unit, report_of_history
from harness.history.series import Change, Series, creep_of, events_of, series_of
from harness.history.sessions import read_history
from harness.records.fingerprint import differences
from harness.records.folder import RESULTS
from harness.report.files import publish


def history(paths: Sequence[Path], since: str | None, release: Path | None, output_dir: Path | None, form: str) -> None:
    """Write the page of all sessions below `paths`, or print Bencher's metrics; raise ResultFileError without any."""
    sessions = read_history(paths, since)
    found = series_of(sessions.ordered)
    if form == "bmf":
        sys.stderr.write("".join(f"{note}\n" for note in sessions.notes))
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(bencher_metrics(found))).decode() + "\n")
        return
    crept, now = list[Change](), sessions.ordered[-1].conditions
    if release:
        known = read_history([release])
        apart = [differences(each, sessions.conditions[now]) for each in known.conditions]
        if [] in apart:
            of_release = [each for each in series_of(known.ordered) if not apart[each.conditions]]
            crept += creep_of([each for each in found if each.conditions == now], of_release)
        else:
            sessions.notes.append(f"not compared with the release {release}: {apart[0][0]}")
    report = report_of_history(", ".join(map(str, paths)), sessions, found, events_of(found), crept)
    publish(report, output_dir or RESULTS / "history")


def bencher_metrics(found: Sequence[Series]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the latest session's figures in Bencher's metric format (https://bencher.dev/bmf.json)."""
    metrics, latest = {}, max(each.places[-1] for each in found)
    for series in (each for each in found if each.places[-1] == latest):
        metric, level = series.metric, series.level()
        values = {"value": metric.value}
        if len(level) > 1:
            half_width = predict(level, 0.0).half_width(ALPHA, 1)  # 95 % prediction interval of one more session
            values |= {"lower_value": metric.value - half_width, "upper_value": metric.value + half_width}
        # Bencher's own measure "latency" is in nanoseconds; it creates other measures on first use.
        measure, factor = ("latency", 1e6) if metric.kind == "time" else (series.name.partition(".")[0], 1.0)
        metrics[series.name] = {measure: {key: factor * in_unit(metric, value) for key, value in values.items()}}
    return metrics
