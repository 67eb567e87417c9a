"""What every test of the harness is given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.measuring import clock


@pytest.fixture(autouse=True)
def _real_clock_again() -> Iterator[None]:
    """Tests move a clock of their own by `clock.use_reader`, and leave the real one behind."""
    yield
    clock.use_reader()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts without a line: to draw them takes most of the time of a report that is made for its words."""
    drawn = "matplotlib.backends.backend_svg.FigureCanvasSVG.print_svg"
    monkeypatch.setattr(drawn, lambda _canvas, file, **_settings: file.write("<svg></svg>"))
