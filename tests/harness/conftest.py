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
