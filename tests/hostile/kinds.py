"""What is read from files that may be hostile: how a sound file of each kind is made, and the door it goes through.

A door is what the suite itself calls; it raises what the suite would show to a user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from hypothesis import strategies as st

from fixtures.errors import FixtureError
from harness.errors import HarnessError
from tests.hostile.mutations import Draw, damaged_bytes, damaged_header, damaged_json, damaged_lines, one_of

OURS = (FixtureError, HarnessError)
FORMS = {".json": damaged_json, ".jsonl": damaged_lines, ".safetensors": damaged_header}


@dataclass(frozen=True)
class Kind:
    """`make` writes sound files into a folder and returns those to be damaged; `read` is the door.

    `read` yields each error that it keeps to one sample, and raises the others. `tokens`: pieces that are put into
    files, beside what hypothesis makes up; `crafted`: whole files made to do harm, taken as they are and damaged too.
    """

    make: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], Iterator[Exception]]
    tokens: tuple[bytes, ...] = ()
    crafted: Callable[[], Sequence[bytes]] = tuple

    def damaged(self, draw: Draw, path: Path, sound: bytes) -> bytes:
        """The file's content, damaged in ways that its form allows."""
        return FORMS.get(path.suffix, damaged_bytes)(draw, sound, self.tokens)

    def hostile(self, draw: Draw, path: Path, sound: bytes, crafted: Sequence[bytes]) -> bytes:
        """What is put in the place of a sound file."""
        if not crafted or draw(st.booleans()):
            return self.damaged(draw, path, sound)
        made: bytes = one_of(draw, crafted)
        return made if draw(st.booleans()) else damaged_bytes(draw, made, self.tokens)

    def errors(self, folder: Path) -> list[Exception]:
        """What reading complained of, that too which ended it; other people's errors get through."""
        found: list[Exception] = []
        try:
            found.extend(self.read(folder))
        except OURS as error:
            found.append(error)
        return found


def of_name(name: str) -> Kind:
    """One of KINDS; only what it needs is imported, since some libraries take seconds."""
    module, make, read, tokens, crafted = (*KINDS[name].split(), *("-" * 5))[:5]
    files = import_module(f"tests.hostile.{module}")
    more = import_module("tests.hostile.crafted_files") if tokens != "-" else None
    return Kind(
        getattr(files, make),
        getattr(files, read),
        getattr(more, tokens) if more else (),
        getattr(more, crafted) if more and crafted != "-" else tuple,
    )


KINDS = {
    "instruction JSON": "media_files make_dataset read_dataset",
    "event .npy": "media_files make_events read_events PICKLES event_files",
    "event .npz": "media_files make_archives read_events PICKLES archives",
    "recording .h5": "media_files make_recording read_recording H5_PIECES recordings",
    "PNG": "media_files make_frames read_frames PNG_PIECES pictures",
    "MP4": "media_files make_clip read_clip MP4_PIECES clips",
    "cache entry": "media_files make_cache read_cache",
    "config.json": "checkpoint_files make_configs read_checkpoint",
    "tokenizer JSON": "checkpoint_files make_tokenizer read_tokenizer",
    "safetensors header": "checkpoint_files make_weights read_checkpoint HEADERS",
    "journal": "result_files make_journal read_run",
    "baseline": "result_files make_baseline read_baselines",
    "benchmark.json": "result_files make_benchmark add_to_baseline",
    "limits.toml": "result_files make_limits read_limits TOML_PIECES",
    "legacy result": "result_files make_legacy read_legacy_results",
    "five-stage result": "result_files make_five_stages read_five_stages",
    "comparison": "result_files make_comparison read_comparison",
}
"""By name: the module, what makes sound files, the door, and out of crafted_files pieces and whole files."""
