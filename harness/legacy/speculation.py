"""What the old result file says of speculative decoding, in keys that it did not have: `{target}_spec_*`."""

from __future__ import annotations

from typing import Any

from harness.figures.agreement import Agreement
from harness.records.lines import RunRecord
from harness.records.speculation import AgreementRecord, SpeculationRecord


def speculation_keys(run: RunRecord) -> dict[str, dict[str, Any]]:
    """Return the keys by sample id, of the run's first engine; a sample has those of what was measured with it."""
    engine = run.header.engines[0]
    found: dict[str, dict[str, Any]] = {}
    for agreement in (each for each in run.agreements if each.engine == engine):
        found.setdefault(agreement.sample, {}).update(_agreement_keys(agreement))
    for request in (each for each in run.speculations if each.engine == engine):
        found.setdefault(request.sample, {}).update(_request_keys(request))
    return found


def _agreement_keys(record: AgreementRecord) -> dict[str, Any]:
    """Teacher-forced acceptance; the first place is the target's own and never proposed."""
    own = record.agrees.get("own", ())[1:]
    accepted = Agreement(sum(own), len(own))
    return {
        f"{record.target}_spec_acceptance_rate": accepted.rate,
        f"{record.target}_spec_acceptance_matched": accepted.matched,
        f"{record.target}_spec_acceptance_compared": accepted.compared,
    }


def _request_keys(record: SpeculationRecord) -> dict[str, Any]:
    prefix = f"{record.target}_spec"
    keys: dict[str, Any] = {
        f"{prefix}_gamma": record.gamma,
        f"{prefix}_rounds": len(record.rounds),
        f"{prefix}_drafted": sum(each.drafted for each in record.rounds),
        f"{prefix}_accepted": sum(each.accepted for each in record.rounds),
        f"{prefix}_emitted": sum(each.emitted for each in record.rounds),
        f"{prefix}_identical": record.identical,
        f"{prefix}_time": record.pair_s,
        f"{prefix}_alone_time": record.alone_s,
        f"{prefix}_decode_time": record.loop_s,
        f"{prefix}_alone_decode_time": record.alone_decode_s,
    }
    if record.first_pair_s is not None and record.first_alone_s is not None:
        keys[f"{prefix}_first_token_time"] = record.first_pair_s
        keys[f"{prefix}_alone_first_token_time"] = record.first_alone_s
    return keys
