"""Joins `fixtures` and `harness`: options become a selection of models and data, pipelines become test parameters."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.cache.frame_cache import open_frame_cache
from fixtures.data.dataset import Dataset, dataset_identity, read_entries
from fixtures.errors import ChoiceError, DatasetError, FixtureError
from fixtures.model_sets.loading import model_dtypes, pipeline_loaders
from fixtures.model_sets.registry import MODELS
from fixtures.pipeline import Sample, StagedPipeline
from fixtures.scenes.embedded import EmbeddedSpec, ensure_embedded
from fixtures.scenes.layout import KINDS
from fixtures.selection import ENGINES, LIMIT_SETS, Selection, select
from fixtures.system.atomic_files import default_cache_root
from fixtures.system.devices import keep_freed_memory, use_threads_for
from harness.errors import HarnessError
from harness.gates.limits import Vocabulary, load_limits
from harness.measuring.benchmark import is_switched_off
from harness.measuring.model_slot import ModelSlot, recorded_loaders
from harness.measuring.progress import Progress
from harness.session.derived_files import require_other_file
from harness.session.plugin import SESSION
from harness.session.session import Session
from harness.stages import Length
from perf_tests.gpu_needs import reason_not_to_begin, reason_to_skip
from perf_tests.order import in_order_of_measurement
from perf_tests.suite_options import on_device_of, open_dataset, plan_of, request_of

# Samples of the tiny set in slow tests whose figures no limit and no gate uses.
TINY_SAMPLES = 3
SELECTION = pytest.StashKey[Selection]()
LOADERS = pytest.StashKey[dict[str, Callable[[], StagedPipeline]]]()
DATASET = pytest.StashKey[Dataset]()
EMBEDDED = pytest.StashKey[EmbeddedSpec]()
LIMITS = pytest.StashKey[dict[str, float]]()


def pytest_configure(config: pytest.Config) -> None:
    """Check options, models and data before collection; a problem is a usage error."""
    config.addinivalue_line("markers", "gpu(memory_gb=0, devices=1): needs that many CUDA devices with that memory")
    config.addinivalue_line("markers", "compares_with_draft: a target's test whose figure is compared with the draft's")
    config.addinivalue_line("markers", "holds_two_models: keeps the draft and a target in memory at the same time")
    config.addinivalue_line("markers", "reads(files): only for models whose stage 1 reads events, mp4 or png files")
    keep_freed_memory()
    options = config.stash[SESSION].options
    try:
        if config.getoption("dist", "no") != "no" and not (config.option.collectonly or is_switched_off(config)):
            raise ChoiceError("-n (pytest-xdist) runs tests in parallel, so nothing can be measured: leave it out")
        cache = open_frame_cache(options.frame_cache, options.cache_dir, options.cache_size)
        selection = on_device_of(config.stash[SESSION].rank, select(request_of(options, cache)))
        config.stash[SELECTION] = selection
        config.stash[SESSION].device = selection.device
        config.stash[LOADERS] = pipeline_loaders(selection.settings, selection.models)
        reason = None if config.option.collectonly else reason_not_to_begin(selection)
        if reason:
            raise ChoiceError(f"--model-set {selection.model_set} {reason}; choose another --model-set or --device")
        config.stash[EMBEDDED] = EmbeddedSpec.parse(options.embedded or selection.embedded)
        if options.dataset_dir is not None:
            config.stash[DATASET] = open_dataset(options.dataset_dir, options)
        else:
            default_cache_root()  # raises here, not within the first test
            if options.dataset_json is not None:  # its folder is made in the first test
                Dataset.of_entries(Path(), options.dataset_json, read_entries(options.dataset_json))
        read = config.stash[DATASET].json_file if options.dataset_dir is not None else options.dataset_json
        if options.output_json is not None and read is not None:
            require_other_file(options.output_json, [read])
        vocabulary = Vocabulary(LIMIT_SETS, ENGINES, tuple(MODELS))
        limits_file = options.limits or config.rootpath / "limits.toml"
        config.stash[LIMITS] = load_limits(limits_file, vocabulary, selection.limit_set, selection.engines)
    except (ChoiceError, DatasetError, HarnessError) as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise each test by the selected models, pairs and engines, as far as it takes them."""
    selection = metafunc.config.stash[SELECTION]
    if "pipeline" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("reads")
        models = selection.reading(*marker.args) if marker else selection.models
        reason = f"no selected model reads {marker.args[0]} files" if marker else "no model was selected"
        metafunc.parametrize("pipeline", _or_skip(models, reason), indirect=True, scope="session")
    if "target" in metafunc.fixturenames:
        reason = "needs a draft and a target, both selected"
        metafunc.parametrize("target", _or_skip([*selection.pairs], reason), scope="session")
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", selection.engines, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group tests by model in the order of measurement, and skip those that the machine cannot run."""
    selection = config.stash[SELECTION]
    items[:] = in_order_of_measurement(items, selection)
    for item in items:
        reason = reason_to_skip(item, selection)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def selection(request: pytest.FixtureRequest) -> Selection:
    """Return the selected models, engines and settings."""
    return request.config.stash[SELECTION]


@pytest.fixture(scope="session")
def dataset(request: pytest.FixtureRequest, session: Session) -> Dataset:
    """Return the dataset of --dataset_dir, or the embedded one, which is rendered on first use."""
    named, spec = request.config.stash.get(DATASET, None), request.config.stash[EMBEDDED]
    if named:
        return named
    with Progress(session.terminal, "embedded dataset") as progress:
        progress.start("first use: rendering scenes", spec.samples)
        folder = ensure_embedded(spec, progress=lambda _done, _total: progress.advance())
    return open_dataset(folder, session.options)


@pytest.fixture(scope="session")
def samples(dataset: Dataset) -> Sequence[Sample]:
    """Return all samples, which the whole pass takes."""
    return dataset.samples


@pytest.fixture(scope="session")
def stage_samples(dataset: Dataset, session: Session, selection: Selection) -> Sequence[Sample]:
    """Return the samples of stage tests: the first --stage-samples."""
    return dataset.samples[: session.options.stage_samples or selection.stage_samples]


@pytest.fixture(scope="session")
def few_samples(stage_samples: Sequence[Sample], session: Session, selection: Selection) -> Sequence[Sample]:
    """Return the samples of the slowest tests: as `stage_samples`, but three of the tiny set by default."""
    few = selection.model_set == "tiny" and session.options.stage_samples is None
    return stage_samples[:TINY_SAMPLES] if few else stage_samples


@pytest.fixture(scope="session")
def plan(
    request: pytest.FixtureRequest,
    session: Session,
    selection: Selection,
    dataset: Dataset,
    set_plan: Callable[..., None],
) -> None:
    """Set the run's plan before anything is measured."""
    use_threads_for(selection.model_set, selection.device)  # before the machine's own speed is measured
    is_embedded = session.options.dataset_dir is None
    # The embedded dataset is identified by its recipe: libx264 encodes its clips slightly differently elsewhere.
    identity = request.config.stash[EMBEDDED].folder_name if is_embedded else dataset_identity(dataset)
    objects, limits = tuple(KINDS) if is_embedded else (), request.config.stash[LIMITS]
    new_plan = plan_of(selection, dataset, limits=limits, identity=identity, objects=objects)
    set_plan(new_plan, model_dtypes(selection.settings, selection.models))


@pytest.fixture(scope="session")
def model_slot(
    request: pytest.FixtureRequest, session: Session, selection: Selection
) -> Iterator[ModelSlot[StagedPipeline]]:
    """Return the one owner of the device's memory; loading of models is recorded."""
    request.getfixturevalue("plan")
    loaders = request.config.stash[LOADERS]
    slot = ModelSlot(recorded_loaders(loaders, session.append, selection.device))
    yield slot
    slot.free()
    session.advice.extend(selection.settings.pipeline.frame_cache.warnings)


@pytest.fixture(scope="session")
def pipeline(request: pytest.FixtureRequest, model_slot: ModelSlot[StagedPipeline]) -> StagedPipeline:
    """Return the test's model, alone in memory; a model that cannot be loaded fails its own tests only."""
    try:
        (held,) = model_slot.hold(request.param)
    except FixtureError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    return held


@pytest.fixture(autouse=True)
def only_the_tested_model_is_live(request: pytest.FixtureRequest) -> None:
    """Assert that no model of another test is left, whose memory would count for this test."""
    if "pipeline" in request.fixturenames:
        key = request.getfixturevalue("pipeline").key
        assert request.getfixturevalue("model_slot").live == {key}


@pytest.fixture(scope="session")
def fixed_length(selection: Selection) -> Callable[[str], Length]:
    """Return a function from a model's key to its fixed length of answers."""
    return lambda model: Length(selection.fixed_tokens(model), fixed=True)


def _or_skip(keys: Sequence[str], reason: str) -> list[Any]:
    """Return the keys as parameters, or without any one parameter that skips with the reason."""
    return [*keys] or [pytest.param("none", marks=pytest.mark.skip(reason=reason))]
