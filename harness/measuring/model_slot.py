"""The models in memory, and records of their loading: seconds, bytes, facts."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Generic, TypeVar

from harness.errors import HarnessError
from harness.measuring import clock
from harness.measuring.stopping import empty_gpu_cache
from harness.records.lines import ModelRecord
from harness.records.quantities import is_gpu
from harness.stages import Pipeline

Model = TypeVar("Model")
Loaded = TypeVar("Loaded", bound=Pipeline)


class ModelSlot(Generic[Model]):
    """Owns the device's memory: `hold` frees all other models before it loads the requested ones."""

    def __init__(self, loaders: Mapping[str, Callable[[], Model]], clear: Callable[[], None] = empty_gpu_cache) -> None:
        self._loaders = loaders
        self._clear = clear
        self._live: dict[str, Model] = {}

    @property
    def live(self) -> frozenset[str]:
        """Keys of the models in memory at this moment."""
        return frozenset(self._live)

    def hold(self, *keys: str) -> tuple[Model, ...]:
        """Return the models of `keys`, in that order, and leave no other in memory.

        Raises HarnessError for a key without a loader, and whatever a loader raises.
        """
        unknown = [key for key in keys if key not in self._loaders]
        if unknown:
            raise HarnessError(f"no loader for model {unknown[0]!r}; there are: {', '.join(self._loaders)}")
        leaving = [key for key in self._live if key not in keys]
        for key in leaving:
            del self._live[key]
        if leaving:
            self._clear()
        for key in keys:
            if key not in self._live:
                self._live[key] = self._loaders[key]()
        return tuple(self._live[key] for key in keys)

    def free(self) -> None:
        """Drop every model."""
        self.hold()


def recorded_loaders(
    loaders: Mapping[str, Callable[[], Loaded]], append: Callable[[ModelRecord], object], device: str
) -> dict[str, Callable[[], Loaded]]:
    """Return loaders that `append` a record of each load: seconds, bytes, and the live model's own facts."""

    def load_and_record(key: str, load: Callable[[], Loaded]) -> Loaded:
        before, start = _allocated(device), clock.now()
        pipeline = load()
        seconds, facts = clock.now() - start, asdict(pipeline.facts())
        # On the CPU the process also grows by libraries that a first load imports, so the parameters count.
        memory = facts["parameter_bytes"] if before is None else (_allocated(device) or 0) - before
        append(ModelRecord(model=key, load_s=seconds, memory_bytes=memory, facts=facts))
        return pipeline

    return {key: partial(load_and_record, key, load) for key, load in loaders.items()}


def _allocated(device: str) -> int | None:
    """Return bytes that PyTorch has allocated on the GPU; None on the CPU, where PyTorch does not count them."""
    if not is_gpu(device):
        return None
    import torch

    return torch.cuda.memory_allocated(device)
