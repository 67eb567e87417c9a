"""Tests of the tool itself, in the same sub-packages as `fixtures/` and `harness/`."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""
