"""Which models are in memory: those that are held, and no other."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from harness.errors import HarnessError

Model = TypeVar("Model")


def _keep_nothing() -> None:
    """On the CPU, dropping the last reference is enough."""


class ModelSlot(Generic[Model]):
    """Owns the device's memory: `hold` frees every model that was not asked for before it loads one that was."""

    def __init__(self, loaders: Mapping[str, Callable[[], Model]], release: Callable[[], None] = _keep_nothing) -> None:
        self._loaders = loaders
        self._release = release
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
        self._free_all_but(keys)
        for key in keys:
            if key not in self._live:
                self._live[key] = self._loaders[key]()
        return tuple(self._live[key] for key in keys)

    def free(self) -> None:
        """Drop every model."""
        self._free_all_but(())

    def _free_all_but(self, keys: tuple[str, ...]) -> None:
        leaving = [key for key in self._live if key not in keys]
        for key in leaving:
            del self._live[key]
        if leaving:
            _forget_last_failure()
            gc.collect()
            self._release()


def _forget_last_failure() -> None:
    """Drop the exception that pytest keeps for a debugger: the variables of its frames hold the model that failed."""
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)


def release_for(device: str) -> Callable[[], None]:
    """Return what gives freed memory of `device` back, so that the next model finds it whole."""
    if not device.startswith("cuda"):
        return _keep_nothing
    import torch

    return torch.cuda.empty_cache
