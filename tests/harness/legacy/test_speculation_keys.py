"""What the old result file says of speculative decoding: keys of its own, and nothing of the old ones changed."""

from __future__ import annotations

from harness.legacy.writing import legacy_records
from harness.records.lines import RunRecord
from tests.harness.made_runs import agreement, full_run, header, request, whole_pass

OF_A_PAIR = {
    f"_spec_{key}"
    for key in (
        "acceptance_rate", "acceptance_matched", "acceptance_compared", "gamma", "rounds", "drafted", "accepted",
        "emitted", "identical", "time", "alone_time", "decode_time", "alone_decode_time", "first_token_time",
        "alone_first_token_time",
    )
}  # fmt: skip


def test_every_key_is_there_for_every_sample_that_came_through() -> None:
    for record in legacy_records(full_run())[:2]:
        assert record.keys() >= {f"{target}{key}" for target in ("videollava", "llava") for key in OF_A_PAIR}


def test_speculative_decoding_stands_in_keys_of_its_own_beside_the_old_figure() -> None:
    passes = (whole_pass("egpt", token_ids=(7, 8)), whole_pass("videollava", token_ids=(7, 9, 9)))
    before, after = (
        legacy_records(RunRecord(header(), passes=passes, **speculative))[0]
        for speculative in (
            {},
            {
                "agreements": (agreement("s1", (False, True, True, False), (True,) * 4),),
                "speculations": (request("s1", identical=False),),
            },
        )
    )
    assert {key: value for key, value in after.items() if key not in before} == {
        "videollava_spec_acceptance_rate": 2 / 3,
        "videollava_spec_acceptance_matched": 2,
        "videollava_spec_acceptance_compared": 3,
        "videollava_spec_gamma": 4,
        "videollava_spec_rounds": 2,
        "videollava_spec_drafted": 8,
        "videollava_spec_accepted": 7,
        "videollava_spec_emitted": 9,
        "videollava_spec_identical": False,
        "videollava_spec_time": 5.0,
        "videollava_spec_alone_time": 10.0,
        "videollava_spec_decode_time": 3.0,
        "videollava_spec_alone_decode_time": 9.0,
        "videollava_spec_first_token_time": 2.0,
        "videollava_spec_alone_first_token_time": 1.0,
    }
    assert {key: after[key] for key in before} == before


def test_a_speculative_request_alone_makes_a_record_and_other_engines_stand_aside() -> None:
    requests = (request("s1"), request("s2", engine="graph"))
    (record,) = legacy_records(RunRecord(header(("s1", "s2"), engines=("eager", "graph")), speculations=requests))
    assert (record["id"], record["videollava_spec_drafted"]) == ("s1", 8)
