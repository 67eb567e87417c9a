"""What is read from files that may be hostile: how a sound file of each kind is made, and the door it goes through.

A door is what the suite itself calls; it raises what the suite would show to a user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from fixtures.errors import FixtureError
from harness.errors import HarnessError
from tests.hostile import checkpoint_files, crafted_files, media_files, result_files
from tests.hostile.mutations import damaged_bytes, damaged_header, damaged_json, damaged_lines

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

    def damaged(self, path: Path, sound: bytes) -> st.SearchStrategy[bytes]:
        """The file's content, damaged in ways that its form allows."""
        return FORMS.get(path.suffix, damaged_bytes)(sound, self.tokens)

    def hostile(self, path: Path, sound: bytes, crafted: Sequence[bytes]) -> st.SearchStrategy[bytes]:
        """What is put in the place of a sound file."""
        if not crafted:
            return self.damaged(path, sound)
        made = st.sampled_from(list(crafted))
        worse = made.flatmap(lambda content: damaged_bytes(content, self.tokens))
        return st.one_of(self.damaged(path, sound), self.damaged(path, sound), made, worse)

    def errors(self, folder: Path) -> list[Exception]:
        """What reading complained of, that too which ended it; other people's errors get through."""
        found: list[Exception] = []
        try:
            found.extend(self.read(folder))
        except OURS as error:
            found.append(error)
        return found


KINDS: dict[str, Kind] = {
    "instruction JSON": Kind(media_files.make_dataset, media_files.read_dataset),
    "event .npy": Kind(
        media_files.make_events, media_files.read_events, crafted_files.PICKLES, crafted_files.event_files
    ),
    "PNG": Kind(media_files.make_frames, media_files.read_frames, crafted_files.PNG_PIECES, crafted_files.pictures),
    "MP4": Kind(media_files.make_clip, media_files.read_clip, crafted_files.MP4_PIECES, crafted_files.clips),
    "cache entry": Kind(media_files.make_cache, media_files.read_cache),
    "config.json": Kind(checkpoint_files.make_configs, checkpoint_files.read_checkpoint),
    "tokenizer JSON": Kind(checkpoint_files.make_tokenizer, checkpoint_files.read_tokenizer),
    "safetensors header": Kind(
        checkpoint_files.make_weights, checkpoint_files.read_checkpoint, checkpoint_files.HEADERS
    ),
    "journal": Kind(result_files.make_journal, result_files.read_run),
    "baseline": Kind(result_files.make_baseline, result_files.read_baselines),
    "benchmark.json": Kind(result_files.make_benchmark, result_files.add_to_baseline),
    "limits.toml": Kind(result_files.make_limits, result_files.read_limits, result_files.TOML_PIECES),
    "legacy result": Kind(result_files.make_legacy, result_files.read_legacy_results),
    "comparison": Kind(result_files.make_comparison, result_files.read_comparison),
}
