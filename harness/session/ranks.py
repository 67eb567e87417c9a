"""The rank of this process under torchrun, and how ranks share one run.

Ranks share the run's folder and counters by torchrun's store, which outlives a restart; no operation is collective.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.errors import ResumeError
from harness.measuring.environment import torchrun_variables

PREFIX = "event_vlm_perf"
PATIENCE = timedelta(minutes=60)  # the first rank may render a dataset before it publishes the folder
PAUSE_S = 0.02
MEASURED_BY_RANKS = ("whole", "throughput")


@dataclass(slots=True)
class Rank:
    """This process among those of one torchrun; `restart` counts how often torchrun's agent has restarted it."""

    # An agent counts failures of its own node's ranks only, although any failure restarts the ranks of all nodes.
    number: int
    world_size: int
    local: int
    per_node: int
    restart: int
    store: Any  # torch.distributed.TCPStore
    start: int = field(default=0, init=False)  # joint starts of all ranks; `publish` and `wait_for_folder` set it

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which makes the run's folder."""
        return self.number == 0

    def publish(self, folder: Path) -> None:
        """Store the run's folder for this and later starts, and wait until all ranks of this start have joined."""
        self.store.set(f"{PREFIX}/folder", str(folder))
        self.start = self.store.add(f"{PREFIX}/starts", 1)
        for number in range(1, self.world_size):
            self._answer(number)

    def published_folder(self) -> Path | None:
        """Return the run's folder where an earlier start of this torchrun has published one; only rank 0 asks.

        Raises ResumeError where torchrun restarted its ranks with a new, empty store.
        """
        begun, folder = f"{PREFIX}/begun", f"{PREFIX}/folder"
        if self.restart and not self.store.check([begun]):
            raise ResumeError("torchrun has lost its store, which names the folder; start it with --resume=FOLDER")
        self.store.add(begun, 1)
        return Path(self.store.get(folder).decode()) if self.store.check([folder]) else None

    def wait_for_folder(self) -> Path:
        """Return the run's folder as soon as the first rank of this start has published it."""
        question = uuid4().hex
        self.store.set(f"{PREFIX}/question/{self.number}", question)
        self.store.wait([f"{PREFIX}/answer/{question}"], PATIENCE)
        self.start = int(self.store.get(f"{PREFIX}/answer/{question}"))
        self.store.set(f"{PREFIX}/acknowledged/{question}/{self.start}", "")
        return Path(self.store.get(f"{PREFIX}/folder").decode())

    def claim_indices(self, work: str, count: int) -> Iterator[int]:
        """Yield indices below `count`; each index goes to the rank that asks first, and to no other."""
        while (number := self.store.add(f"{PREFIX}/{self.start}/{work}", 1) - 1) < count:
            yield number

    def _answer(self, number: int) -> None:
        """Tell rank `number` the current start until it acknowledges; raise ResumeError where it never does."""
        end = time.monotonic() + PATIENCE.total_seconds()
        self.store.wait([f"{PREFIX}/question/{number}"], PATIENCE)
        while time.monotonic() < end:
            # The question may be a dead process's: only a live one acknowledges.
            question = self.store.get(f"{PREFIX}/question/{number}").decode()
            self.store.set(f"{PREFIX}/answer/{question}", str(self.start))
            if self.store.check([f"{PREFIX}/acknowledged/{question}/{self.start}"]):
                return
            time.sleep(PAUSE_S)
        raise ResumeError(
            f"rank {number} of {self.world_size} did not join within {PATIENCE.total_seconds() / 60:.0f} minutes; "
            "look at its own output, and start torchrun again with --resume=FOLDER"
        )


def rank_of(variables: Mapping[str, str] = os.environ) -> Rank | None:
    """Return this process's rank where torchrun has started it, connected to torchrun's store; else None."""
    if not torchrun_variables(variables):
        return None
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, though not in its __all__

    return Rank(
        number=int(variables["RANK"]),
        world_size=int(variables["WORLD_SIZE"]),
        local=int(variables["LOCAL_RANK"]),
        per_node=int(variables["LOCAL_WORLD_SIZE"]),
        restart=int(variables["TORCHELASTIC_RESTART_COUNT"]),
        store=TCPStore(variables["MASTER_ADDR"], int(variables["MASTER_PORT"]), is_master=False),
    )


def use_share_of_cores(rank: Rank) -> None:
    """Keep this process, and its threads, to its part of the node's processor cores."""
    if not hasattr(os, "sched_setaffinity"):
        return
    mine = share_of(sorted(os.sched_getaffinity(0)), rank.local, rank.per_node)
    os.sched_setaffinity(0, mine)
    import torch

    torch.set_num_threads(len(mine))


def share_of(cores: list[int], local: int, per_node: int) -> list[int]:
    """Return a block of neighbouring cores, no other rank's unless there are fewer cores than ranks."""
    if len(cores) < per_node:
        return [cores[local % len(cores)]]
    return cores[local * len(cores) // per_node : (local + 1) * len(cores) // per_node]
