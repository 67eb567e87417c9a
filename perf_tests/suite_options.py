"""Turns the options of a run into a request for models, a dataset and a plan; options are used nowhere else."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fixtures.cache.frame_cache import FrameCache
from fixtures.data.dataset import Dataset
from fixtures.data.events import PICTURES
from fixtures.engines.sampling import Sampling
from fixtures.model_sets.loading import ModelSettings
from fixtures.model_sets.registry import MODELS, named_checkpoints
from fixtures.models.settings import PipelineSettings
from fixtures.selection import RunRequest, Selection
from fixtures.system.devices import find_device
from harness.options import Options
from harness.records.lines import Plan, PlannedSample
from harness.session.ranks import Rank


def request_of(options: Options, cache: FrameCache) -> RunRequest:
    """Return the request for models and settings; raise ChoiceError for invalid values and combinations."""
    given = options.as_json()
    pipeline = PipelineSettings(
        query=options.query,
        max_frames=options.max_frames,
        use_event_image=options.use_event_image,
        event_images=options.event_images or PICTURES,
        event_window_us=round(1e6 * options.event_window) if options.event_window else None,
        video_reader=options.video_reader,
        frame_cache=cache,
        sampling=Sampling(temperature=options.temperature, top_p=options.top_p, top_k=options.top_k),
        max_answer_tokens=options.max_new_tokens,
    )
    return RunRequest(
        model_set=options.model_set,
        dataset_dir=options.dataset_dir,
        checkpoints=named_checkpoints(given, options.model_path or {}),
        models=options.models,
        targets=[key for key, entry in MODELS.items() if entry.switch and given[entry.switch]],
        first_model=options.first_model,
        device=options.device,
        engines=options.engine,
        fixed_tokens=options.fixed_tokens,
        settings=ModelSettings(
            dtype=options.dtype,
            quantise=options.quantize or "none",
            attention=options.attn,
            processor=options.processor,
            legacy_generation=options.legacy_generation,
            pipeline=pipeline,
        ),
    )


def on_device_of(rank: Rank | None, selection: Selection) -> Selection:
    """Return the selection on the rank's own GPU, unless --device names one."""
    if rank is None or selection.device != "cuda":
        return selection
    return replace(selection, settings=replace(selection.settings, device=str(find_device(f"cuda:{rank.local}"))))


def plan_of(
    selection: Selection, dataset: Dataset, *, limits: dict[str, float], identity: str, objects: Sequence[str]
) -> Plan:
    """Return the run's plan; `limits` by name, `identity`: hash of the dataset's files.

    `objects`: classes that answers may name; unused for the set full, whose random weights name nothing.
    """
    return Plan(
        model_set=selection.model_set,
        device=selection.device,
        engines=selection.engines,
        models=selection.models,
        draft=selection.draft,
        targets=selection.targets,
        dataset=str(dataset.json_file),
        samples=tuple(
            PlannedSample(
                id=sample.id,
                split=sample.split,
                query=selection.settings.pipeline.query,
                event_data=sample.raw_event_data,
                video_data=sample.raw_video_data,
                reference=sample.answer,
                event_images=tuple(str(path.relative_to(dataset.folder)) for path in sample.event_images),
                frames_folder=str(sample.video_folder.relative_to(dataset.folder)) if sample.video_folder else None,
            )
            for sample in dataset.samples
        ),
        limits=limits,
        dataset_identity=identity,
        dataset_folder=str(dataset.folder.absolute()),
        names={key: MODELS[key].name for key in selection.models},
        objects=() if selection.model_set == "full" else tuple(objects),
    )


def open_dataset(folder: Path, options: Options) -> Dataset:
    """Return the dataset folder's samples that the options select; raise DatasetError or ChoiceError."""
    return Dataset.open(folder, options.dataset_json, options.max_samples, options.event_images)
