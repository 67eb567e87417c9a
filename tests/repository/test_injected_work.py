"""The extra work of the goal tables: as much as was asked for, in the stages that were named, and on the record."""

import pytest

from fixtures.pipeline import ModelFacts
from harness.measuring import clock
from tests.goals import injected_work
from tests.goals.injected_work import SlowedPipeline

FACTS = ModelFacts("Stub", "0", "float32", "cpu", "sdpa", "none", 1, 4, 1, 1, "none", {"threads": "1"})
PRODUCT_S = 0.25


class Hand:
    time = 0.0

    def read(self):
        return self.time


class StubPipeline:
    key = "egpt"

    def __init__(self, hand):
        self.hand = hand
        self.decode_s = 20

    def facts(self):
        return FACTS

    def load(self, sample):
        self.hand.time += 10
        return sample

    def decode(self, prefilled, *, max_new_tokens):
        self.hand.time += self.decode_s
        return prefilled, max_new_tokens


@pytest.fixture
def hand(monkeypatch):
    hand = Hand()

    class Work:
        seconds = PRODUCT_S

        def __init__(self, device):
            assert device == "cpu"

        def do(self, times):
            hand.time += times * PRODUCT_S

    monkeypatch.setattr(injected_work, "ExtraWork", Work)
    clock.use_reader(hand.read)
    yield hand
    clock.use_reader()


def seconds(hand, call):
    before = hand.time
    call()
    return hand.time - before


def test_every_call_of_a_stage_takes_so_much_longer_than_it_would(hand):
    pipeline = StubPipeline(hand)
    slowed = SlowedPipeline(pipeline, 0.10)
    times = []
    for pipeline.decode_s in (50, 20, 20, 30):
        times.append(seconds(hand, lambda: slowed.decode("state", max_new_tokens=4)))
    assert times == [55, 22, 22, 33]
    assert slowed.decode("state", max_new_tokens=4) == ("state", 4)


def test_other_stages_are_left_alone(hand):
    slowed = SlowedPipeline(StubPipeline(hand), 0.10)
    assert {seconds(hand, lambda: slowed.load("sample")) for _ in range(3)} == {10}
    assert slowed.key == "egpt"


def test_the_record_says_so(hand):
    extra = SlowedPipeline(StubPipeline(hand), 0.05).facts().extra
    assert extra == {"threads": "1", "injected work": "5 % in vision, prefill, decode"}


def test_the_real_work_takes_time(monkeypatch):
    monkeypatch.setattr(injected_work, "PRODUCTS", 20)
    work = injected_work.ExtraWork("cpu")
    assert work.seconds > 0
