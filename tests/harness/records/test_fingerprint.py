from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.options import figure_changing_names
from harness.records.fingerprint import SELECTION, differences, fingerprint, readable_name
from harness.records.lines import ModelRecord, RunRecord
from tests.harness.made_runs import ENVIRONMENT, header

GPU = {"name": "NVIDIA H200", "uuid": "GPU-1", "count": 1, "driver": "570.1", "cuda": "12.8", "power_cap_w": 700.0}
FACTS = {"dtype": "float16", "attention": "sdpa", "weights": "random, seed 0", "config_sha256": "abc"}


def run(*, loaded: dict[str, dict[str, Any]] | None = None, **changes: Any) -> RunRecord:
    records = tuple(ModelRecord(key, 1.0, 1, facts) for key, facts in (loaded or {"egpt": FACTS}).items())
    return RunRecord(header=header(**changes), models=records)


def with_environment(**changes: Any) -> RunRecord:
    return run(environment=ENVIRONMENT | {"gpu": GPU, "python": "3.12.1"} | changes)


def changed(before: RunRecord, after: RunRecord) -> list[str]:
    return differences(fingerprint(before), fingerprint(after))


def test_an_option_that_a_baseline_does_not_know_makes_no_difference_until_it_is_asked_for() -> None:
    known = {name: value for name, value in fingerprint(run()).items() if name != "option top_k"}
    assert not differences(known, fingerprint(run()))
    asked = fingerprint(run(options=header().options | {"top_k": 50}))
    assert differences(known, asked) == ["option top_k is 50, was not known"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu": GPU | {"name": "NVIDIA H100"}}, "GPU name was NVIDIA H200, is NVIDIA H100"),
        ({"gpu": GPU | {"power_cap_w": 400.0}}, "GPU power_cap_w was 700.0, is 400.0"),
        ({"gpu": None}, "GPU cuda was 12.8, is not there"),
        ({"libraries": ENVIRONMENT["libraries"] | {"torch": "2.14.0"}}, "torch was 2.13.0, is 2.14.0"),
        ({"usable_cores": 64}, "usable cores was 2, is 64"),
        ({"python": "3.13.0"}, "Python was 3.12, is 3.13"),
        ({"ranks_per_node": 8}, "ranks per node was 1, is 8"),
        ({"sentinel_workloads": 2}, "sentinel workloads was 1, is 2"),
    ],
)
def test_what_differs_is_said_in_words(changes: dict[str, Any], words: str) -> None:
    assert words in changed(with_environment(), with_environment(**changes))


@pytest.mark.parametrize("library", ["torch", "transformers", "av", "pillow", "numpy"])
def test_a_library_that_does_the_work_counts(library: str) -> None:
    libraries = dict.fromkeys(("torch", "transformers", "av", "pillow", "numpy"), "1.0")
    before, after = (with_environment(libraries=libraries | {library: version}) for version in ("1.0", "2.0"))
    assert changed(before, after) == [f"{library} was 1.0, is 2.0"]


def test_the_library_that_packs_weights_counts_where_it_packs_them() -> None:
    def packed(version: str, **options: str) -> RunRecord:
        return run(environment=ENVIRONMENT | {"libraries": {"bitsandbytes": version}}, options={"gamma": 5} | options)

    words = changed(packed("0.50.0", quantize="nf4"), packed("0.50.1", quantize="nf4"))
    assert words == ["bitsandbytes was 0.50.0, is 0.50.1"]
    assert changed(packed("0.50.0"), packed("0.50.1")) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"python": "3.12.9"},
        {"gpu": GPU | {"uuid": "GPU-2"}},
        {"load_average": [9.0, 9.0, 9.0], "host": "another", "gpu_now": {"temperature_c": 80}},
    ],
)
def test_what_is_read_afresh_in_each_run_does_not_count(changes: dict[str, Any]) -> None:
    assert changed(with_environment(), with_environment(**changes)) == []


@pytest.mark.parametrize("name", sorted(set(figure_changing_names()) - SELECTION))
def test_every_option_that_changes_figures_counts(name: str) -> None:
    (words,) = changed(run(), run(options={"gamma": 5, name: 7}))
    assert words == f"option {name} was not there, is 7"


@pytest.mark.parametrize(
    "selected",
    [{"models": ("videollava", "egpt")}, {"engines": ("graph",)}, {"model_set": "full"}, {"device": "cuda"}],
)
def test_what_was_selected_counts_whatever_words_asked_for_it(selected: dict[str, Any]) -> None:
    assert changed(run(), run(**selected)) != []
    assert (
        changed(run(**selected), run(**selected, options={"gamma": 5} | dict.fromkeys(SELECTION, "in other words")))
        == []
    )


def test_an_option_that_changes_no_figure_does_not_count() -> None:
    assert changed(run(), run(options={"gamma": 5, "limits": "other.toml", "output_dir": "elsewhere"})) == []


def test_an_option_that_an_older_record_does_not_know_counts_where_it_was_given() -> None:
    now = fingerprint(run())
    before = {name: value for name, value in now.items() if name != "option model_path"}
    assert differences(before, now) == []
    assert differences(before, now | {"option model_path": "x"}) == ["option model_path is x, was not known"]


def test_another_dataset_counts() -> None:
    assert changed(run(), run(dataset_identity="sha256 1")) != []


@pytest.mark.parametrize("fact", ["dtype", "attention", "weights", "config_sha256"])
def test_what_a_loaded_model_is_counts(fact: str) -> None:
    (words,) = changed(run(), run(loaded={"egpt": FACTS | {fact: "another"}}))
    assert words == f"model egpt: {fact} was {FACTS[fact]}, is another"


def test_a_run_of_some_of_the_models_is_comparable_in_those() -> None:
    both = run(loaded={"egpt": FACTS, "videollava": FACTS})
    assert changed(both, run()) == changed(run(), both) == []


def test_a_fingerprint_is_the_same_when_it_was_read_back_from_a_file() -> None:
    written = fingerprint(with_environment())
    assert msgspec.json.decode(msgspec.json.encode(written)) == written


def test_a_folder_is_named_by_what_people_tell_machines_apart_by() -> None:
    on_gpu, on_cpu = readable_name(fingerprint(with_environment())), readable_name(fingerprint(run()))
    assert on_gpu.startswith("tiny-cpu-nvidia-h200-")
    assert on_cpu.startswith("tiny-cpu-a-processor-2-cores-")
    assert readable_name(fingerprint(run(model_set="full"))) != on_cpu
