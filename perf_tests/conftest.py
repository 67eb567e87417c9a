"""Joins the two rooms: options become a selection of models and data, pipelines become parameters of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.allocator import keep_freed_memory
from fixtures.dataset import Dataset, Sample
from fixtures.dataset_identity import dataset_identity
from fixtures.devices import find_device, use_threads_for
from fixtures.embedded import EmbeddedSpec, ensure_embedded
from fixtures.errors import ChoiceError, DatasetError, FixtureError
from fixtures.frame_cache import FrameCache, open_frame_cache
from fixtures.models import MODEL_KEYS, MODEL_SETS, ModelSettings, model_dtypes, pipeline_loaders
from fixtures.pipeline import StagedPipeline
from fixtures.sampling import Sampling
from fixtures.selection import ENGINES, Selection, Wishes, select
from harness.device_slot import DeviceSlot, release_for
from harness.errors import LimitsError
from harness.limits import Vocabulary, load_limits
from harness.loading import recorded_loaders
from harness.options import Options
from harness.plugin import SESSION
from harness.progress import progress_on
from harness.ranks import Rank
from harness.records import PlannedSample
from harness.session import Plan, Session
from harness.stages import Length
from perf_tests.gpu_needs import reason_to_skip
from perf_tests.order import in_order_of_measurement, leave_goals_out_unless_named

SELECTION = pytest.StashKey[Selection]()
FRAME_CACHE = pytest.StashKey[FrameCache]()
LOADERS = pytest.StashKey[dict[str, Callable[[], StagedPipeline]]]()
DATASET = pytest.StashKey[Dataset]()
EMBEDDED = pytest.StashKey[EmbeddedSpec]()
LIMITS = pytest.StashKey[dict[str, float]]()


def pytest_configure(config: pytest.Config) -> None:
    """Check what was asked for before anything is collected; a wrong wish is a usage error."""
    config.addinivalue_line("markers", "gpu(memory_gb=0, devices=1): needs CUDA, so much memory, so many devices")
    config.addinivalue_line("markers", "compares_with_draft: a target's test that is judged beside the draft's figures")
    config.addinivalue_line("markers", "holds_two_models: the draft and a target at the same time")
    config.addinivalue_line("markers", "models(*keys): only for these of the selected models")
    keep_freed_memory()
    options = config.stash[SESSION].options
    try:
        selection = config.stash[SELECTION] = _on_device_of(config.stash[SESSION].rank, select(_wishes(options)))
        config.stash[SESSION].device = selection.device
        cache = config.stash[FRAME_CACHE] = open_frame_cache(options.frame_cache, options.cache_dir, options.cache_size)
        config.stash[LOADERS] = pipeline_loaders(_settings(options, selection, cache), selection.models)
        config.stash[EMBEDDED] = EmbeddedSpec.parse(options.embedded or selection.embedded)
        if options.dataset_dir is not None:
            config.stash[DATASET] = _open(options.dataset_dir, options)
        vocabulary = Vocabulary(MODEL_SETS, ENGINES, MODEL_KEYS)
        limits_file = options.limits or config.rootpath / "limits.toml"
        config.stash[LIMITS] = load_limits(limits_file, vocabulary, selection.model_set, selection.engines)
    except (ChoiceError, DatasetError, LimitsError) as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test for every selected model, and for every engine where it takes one."""
    selection = metafunc.config.stash[SELECTION]
    if "pipeline" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("models")
        models = [model for model in selection.models if marker is None or model in marker.args]
        reason = f"measures {', '.join(marker.args)}, not selected" if marker else "no model was selected"
        metafunc.parametrize("pipeline", _or_skip(models, reason), indirect=True, scope="session")
    if "target" in metafunc.fixturenames:
        pairs = selection.targets if selection.draft else ()
        metafunc.parametrize("target", _or_skip(pairs, "takes a draft and a target, both selected"), scope="session")
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", selection.engines, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group by model, in the order asked for, and put what compares two models behind both."""
    selection = config.stash[SELECTION]
    leave_goals_out_unless_named(config, items)
    items[:] = in_order_of_measurement(items, selection)
    for item in items:
        reason = reason_to_skip(item, selection)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def selection(request: pytest.FixtureRequest) -> Selection:
    """What runs."""
    return request.config.stash[SELECTION]


@pytest.fixture(scope="session")
def dataset(request: pytest.FixtureRequest, session: Session) -> Dataset:
    """The samples: the folder that was named, or the embedded one, made now if this is its first use."""
    named = request.config.stash.get(DATASET, None)
    return named or _open(_embedded(session, request.config.stash[EMBEDDED]), session.options)


@pytest.fixture(scope="session")
def samples(dataset: Dataset) -> Sequence[Sample]:
    """All samples of the whole pass."""
    return dataset.samples


@pytest.fixture(scope="session")
def stage_samples(dataset: Dataset, session: Session, selection: Selection) -> Sequence[Sample]:
    """The samples of a stage test."""
    return dataset.samples[: session.options.stage_samples or selection.stage_samples]


@pytest.fixture(scope="session")
def plan(
    request: pytest.FixtureRequest,
    session: Session,
    selection: Selection,
    dataset: Dataset,
    set_plan: Callable[[Plan], None],
) -> None:
    """Say what this run sets out to measure, before anything is."""
    use_threads_for(selection.model_set, selection.device)  # before the machine's own speed is read
    embedded = request.config.stash[EMBEDDED] if session.options.dataset_dir is None else None
    identity = dataset_identity(dataset, embedded)
    dtypes = model_dtypes(_settings(session.options, selection, request.config.stash[FRAME_CACHE]), selection.models)
    limits = request.config.stash[LIMITS]
    set_plan(_plan(session.options, selection, dataset, limits=limits, identity=identity, dtypes=dtypes))


@pytest.fixture(scope="session")
def device_slot(
    request: pytest.FixtureRequest, session: Session, selection: Selection
) -> Iterator[DeviceSlot[StagedPipeline]]:
    """The one owner of the device's memory."""
    request.getfixturevalue("plan")
    loaders = request.config.stash[LOADERS]
    slot = DeviceSlot(recorded_loaders(loaders, session, selection.device), release_for(selection.device))
    yield slot
    slot.free()
    session.advice.extend(request.config.stash[FRAME_CACHE].troubles)


@pytest.fixture(scope="session")
def pipeline(request: pytest.FixtureRequest, device_slot: DeviceSlot[StagedPipeline]) -> StagedPipeline:
    """The model that the test is for, alone in memory; one that cannot be loaded fails its own tests only."""
    try:
        (held,) = device_slot.hold(request.param)
    except FixtureError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    return held


@pytest.fixture(autouse=True)
def only_the_tested_model_is_live(request: pytest.FixtureRequest) -> None:
    """A model left over from another test would take memory, and the blame would fall on this one."""
    if "pipeline" in request.fixturenames:
        key = request.getfixturevalue("pipeline").key
        assert request.getfixturevalue("device_slot").live == {key}


@pytest.fixture(scope="session")
def fixed_length(session: Session, selection: Selection) -> Callable[[str], Length]:
    """Return the exact number of tokens that a model decodes where lengths must be the same."""

    def length_of(model: str) -> Length:
        return Length(_fixed_tokens(session.options, selection, model), fixed=True)

    return length_of


def _fixed_tokens(options: Options, selection: Selection, model: str) -> int:
    return options.fixed_tokens or selection.fixed_tokens(model)


def _or_skip(keys: Sequence[str], reason: str) -> list[Any]:
    """The keys, or one parameter in place of them that skips with the reason."""
    return [*keys] or [pytest.param("none", marks=pytest.mark.skip(reason=reason))]


def _wishes(options: Options) -> Wishes:
    return Wishes(
        model_set=options.model_set,
        dataset_dir=options.dataset_dir,
        checkpoints={
            "egpt": options.eventgpt_model_path,
            "videollava": options.video_llava_model_path,
            "llava": options.llava_model_path,
        },
        models=options.models,
        use_video_llava=options.use_video_llava,
        use_llava15=options.use_llava15,
        first_model=options.first_model,
        device=options.device,
        engines=options.engine,
        video_reader=options.video_reader,
    )


def _on_device_of(rank: Rank | None, selection: Selection) -> Selection:
    """Give each rank of a node a GPU of its own, unless one was named."""
    if rank is None or selection.device != "cuda":
        return selection
    return replace(selection, device=str(find_device(f"cuda:{rank.local}")))


def _settings(options: Options, selection: Selection, cache: FrameCache) -> ModelSettings:
    return ModelSettings(
        model_set=selection.model_set,
        device=selection.device,
        query=options.query,
        max_frames=options.max_frames,
        use_event_image=options.use_event_image,
        video_reader=options.video_reader,
        frame_cache=cache,
        processor=options.processor,
        dtype=options.dtype,
        attention=options.attn,
        legacy_generation=options.legacy_generation,
        sampling=Sampling(temperature=options.temperature, top_p=options.top_p),
        # An answer of fixed length may be the longer one: a cache must not grow in a timed pass.
        room=max([options.max_new_tokens, *(_fixed_tokens(options, selection, model) for model in selection.models)]),
        checkpoints=selection.checkpoints,
    )


def _plan(
    options: Options,
    selection: Selection,
    dataset: Dataset,
    *,
    limits: dict[str, float],
    identity: str,
    dtypes: tuple[str, ...],
) -> Plan:
    return Plan(
        model_set=selection.model_set,
        device=selection.device,
        engines=selection.engines,
        models=selection.models,
        draft=selection.draft,
        targets=selection.targets,
        dataset=dataset.json_file,
        samples=[
            PlannedSample(
                id=sample.id,
                split=sample.split,
                query=options.query,
                event_data=sample.raw_event_data,
                video_data=sample.raw_video_data,
                reference=sample.answer,
                event_images=tuple(str(path.relative_to(dataset.folder)) for path in sample.event_images),
                frames_folder=str(sample.video_folder.relative_to(dataset.folder)) if sample.video_folder else None,
            )
            for sample in dataset.samples
        ],
        limits=limits,
        dataset_identity=identity,
        dataset_folder=dataset.folder,
        dtypes=dtypes,
    )


def _open(folder: Path, options: Options) -> Dataset:
    return Dataset.open(folder, options.dataset_json, options.max_samples)


def _embedded(session: Session, spec: EmbeddedSpec) -> Path:
    progress = progress_on(session.terminal, "embedded dataset")
    progress.start("first use: rendering scenes", spec.samples)
    try:
        return ensure_embedded(spec, progress=lambda _done, _total: progress.advance())
    finally:
        progress.stop()
