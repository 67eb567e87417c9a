"""Thumbnails of files of strangers: shown where they are pictures, and named with the reason where they are not."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from harness.records.lines import PlannedSample
from harness.report.pictures import SIDE, pictures_of, thumbnail


def picture(path: Path, width: int = 640, height: int = 480, colour: tuple[int, int, int] = (200, 30, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), colour).save(path)
    return path


def planned(**fields: object) -> PlannedSample:
    return PlannedSample("s", "test", "?", None, None, **fields)  # type: ignore[arg-type]


def header_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and begins with pixels that never come."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + struct.pack(">I", 9)
        + b"IDAT"
    )


def test_a_picture_is_shrunk_and_keeps_what_it_shows(tmp_path: Path) -> None:
    found = thumbnail("events", picture(tmp_path / "a.png"), tmp_path)
    content = base64.b64decode(found.url.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(content)) as small:
        assert max(small.size) == SIDE
        red, green, blue = small.convert("RGB").getpixel((50, 50))  # type: ignore[misc]
    assert abs(red - 200) + abs(green - 30) + abs(blue - 30) < 20


def test_of_a_sample_the_middle_event_image_and_the_ends_of_the_video_are_shown(tmp_path: Path) -> None:
    for number in range(8, 12):  # without zeros before them, 10 lies before 8 in the order of letters
        picture(tmp_path / "event_image" / f"{number}.png", colour=(20 * number, 0, 0))
        picture(tmp_path / "video" / "clip" / f"{number}.png", colour=(0, 20 * number, 0))
    events = tuple(f"event_image/{number}.png" for number in range(8, 12))
    found = pictures_of(planned(event_images=events, frames_folder="video/clip"), tmp_path)
    shown = {"events": events[2], "first frame": "video/clip/8.png", "last frame": "video/clip/11.png"}
    assert {each.caption: each.url for each in found} == {
        caption: thumbnail(caption, tmp_path / name, tmp_path).url for caption, name in shown.items()
    }
    assert len({each.url for each in found}) == 3
    assert not [each.problem for each in found if each.problem]


def test_a_sample_without_pictures_has_none(tmp_path: Path) -> None:
    assert pictures_of(planned(), tmp_path) == ()
    assert pictures_of(planned(frames_folder="gone"), tmp_path) == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no longer exists"),
        (b"", "not a picture"),
        (b"GIF89a", "not a picture"),
        (header_of(4, 4) + b"torn", "not a picture"),
        (header_of(30_000, 30_000), "DecompressionBombError"),
        (header_of(10_000, 10_000), "DecompressionBombWarning"),
        (header_of(2**31 - 1, 2**31 - 1), "not a picture"),
    ],
)
def test_what_is_no_picture_is_told_and_not_shown(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    found = thumbnail("events", path, tmp_path)
    assert (found.url, problem in found.problem) == ("", True), found.problem


def test_a_picture_outside_the_dataset_folder_is_left_alone(tmp_path: Path) -> None:
    inside = tmp_path / "dataset"
    inside.mkdir()
    outside = picture(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(outside)
    for path in (outside, inside / ".." / "secret.png", inside / "link.png"):
        assert thumbnail("events", path, inside).problem == "outside the dataset folder"
    assert pictures_of(planned(frames_folder=".."), inside) == ()
    assert pictures_of(planned(frames_folder="\0"), inside) == ()
