"""Naming: what a text about a scene names, and how it is counted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.caption_accuracy import Naming, count_named, named_objects
from fixtures.scene import CLASSES, Scene

SEEDS = st.integers(0, 10**6)


@given(SEEDS)
def test_both_captions_name_exactly_what_is_in_their_scene(seed):
    scene = Scene.random(seed, 64, 48)
    for text in (scene.terse_caption(), scene.full_caption()):
        assert named_objects(text) == set(scene.object_names())


@given(SEEDS)
def test_a_reference_caption_is_fully_accurate_and_precise(seed):
    scene = Scene.random(seed, 64, 48)
    naming = count_named([(scene.full_caption(), scene.object_names())])
    assert (naming.accuracy, naming.precision) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Two buses and a car.", {"bus", "car"}),
        ("A Traffic Light turns red.", {"traffic light"}),
        ("pedestrians, cyclists", {"pedestrian", "cyclist"}),
        ("A scar, a carpet and street furniture", set()),
        ("There is traffic.", set()),
        ("", set()),
    ],
)
def test_classes_are_named_by_whole_words(text, named):
    assert named_objects(text) == named


@given(st.lists(st.tuples(st.sets(st.sampled_from(CLASSES)), st.sets(st.sampled_from(CLASSES)))))
def test_counts_are_those_of_the_sets(pairs):
    naming = count_named((" and ".join(sorted(named)), present) for named, present in pairs)
    assert naming.present == sum(len(present) for _, present in pairs)
    assert naming.named == sum(len(named) for named, _ in pairs)
    assert naming.both == sum(len(named & present) for named, present in pairs)


def test_repeating_an_object_counts_once():
    assert count_named([("a car, a car and cars", ["car", "tree"])]) == Naming(present=2, named=1, both=1)


def test_no_objects_give_no_share():
    assert math.isnan(Naming().accuracy)
    assert math.isnan(Naming().precision)
