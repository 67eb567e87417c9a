"""What becomes of an exception that a stage raised."""

import msgspec

from harness.measuring.rounds import StageError, failure_of


def test_a_failure_names_the_stage_that_raised_and_not_the_one_that_wrapped_it():
    failure = failure_of(StageError("vision", KeyError("pixels")), "s1", "decode")
    assert (failure.stage, failure.type, failure.text) == ("vision", "KeyError", "'pixels'")


def test_a_text_that_is_no_unicode_can_still_be_written_down():
    failure = failure_of(OSError("caf\udce9.npy is torn"), "s1", "load")
    assert msgspec.json.decode(msgspec.json.encode(failure))["text"] == "caf\\udce9.npy is torn"
