"""Event images drawn event by event, as EventGPT's published preprocessing does: the reference of time and pixels."""

import numpy as np
from numpy.typing import NDArray

from fixtures.data.events import EventStream


def draw_one_by_one(events: EventStream, count: int) -> tuple[NDArray[np.uint8], ...]:
    """Return the stream as `count` pictures uint8 [H, W, 3], by the published loops."""
    size = len(events) // count
    pictures = []
    for part in range(count):
        these = slice(part * size, len(events) if part == count - 1 else (part + 1) * size)
        x, y, p = events.x[these], events.y[these], events.p[these]
        picture = np.ones((y.max() + 1, x.max() + 1, 3), dtype=np.uint8) * 255
        for x_, y_, p_ in zip(x, y, p, strict=True):
            if p_ == 0:
                picture[y_, x_] = np.array([0, 0, 255])
            else:
                picture[y_, x_] = np.array([255, 0, 0])
        pictures.append(picture)
    return tuple(pictures)
