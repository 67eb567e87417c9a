"""A sample's pictures, shrunk for a page. Files are not trusted: a picture that cannot be shown gives its reason."""

import base64
import contextlib
import io
import re
import warnings
from pathlib import Path

from PIL import Image

from harness.records.lines import PlannedSample
from harness.report.blocks import Picture

SIDE = 220
MAX_FILE = 32 << 20
FORMATS = ("PNG", "JPEG")
# Pillow's exceptions for damaged files, and for pictures that would fill the memory.
DAMAGED = (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def pictures_of(sample: PlannedSample, folder: Path) -> tuple[Picture, ...]:
    """Return the middle event image, and the first and last frame, as far as the dataset folder has them."""
    wanted = [("events", folder / each) for each in sample.event_images[len(sample.event_images) // 2 :][:1]]
    frames: list[Path] = []
    # No frames where the folder cannot be listed.
    with contextlib.suppress(OSError, ValueError):
        place = folder / (sample.frames_folder or "")
        if sample.frames_folder and place.resolve().is_relative_to(folder.resolve()):
            frames = sorted(place.glob("[!.]*.png"), key=_numbers)
    wanted += [("first frame", each) for each in frames[:1]] + [("last frame", each) for each in frames[1:][-1:]]
    return tuple(thumbnail(caption, path, folder) for caption, path in wanted)


def _numbers(path: Path) -> list[tuple[str, int]]:
    """Return a sort key by the numbers in a file's name, `2.png` before `10.png`: the models' order of frames."""
    return [(text, int(number or 0)) for text, number in re.findall(r"([^0-9]*)([0-9]*)", path.stem)]


def thumbnail(caption: str, path: Path, folder: Path) -> Picture:
    """Return one picture shrunk, or the problem: outside its folder, missing, too large, not a picture."""
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return Picture(caption, problem="outside the dataset folder")
        if path.stat().st_size > MAX_FILE:
            return Picture(caption, problem=f"more than {MAX_FILE >> 20} MiB")
        with warnings.catch_warnings():
            # Pillow only warns of moderately large pictures: that is an error here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                image.draft("RGB", (2 * SIDE, 2 * SIDE))
                small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        content = io.BytesIO()
        small.save(content, "JPEG", quality=80, optimize=True)
    except FileNotFoundError:
        return Picture(caption, problem="no longer exists")
    except DAMAGED as error:
        return Picture(caption, problem=f"not a picture that can be read ({type(error).__name__})")
    return Picture(caption, "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii"))
