from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import ROOT
from tests.repository.source_code import modules

CONSTRAINTS = ("constraints.txt", "constraints-oldest.txt")
TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(TEXT)["project"]
NEEDED = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {extra: [Requirement(text) for text in texts] for extra, texts in PROJECT["optional-dependencies"].items()}
ALL = [*NEEDED, *chain(*EXTRAS.values())]
COMES_WITH_TORCH = {"triton"}  # with its builds for GPUs, and only where it is there is it imported
INSTALLED = [*NEEDED, *EXTRAS["gpu"], *EXTRAS["test"]]  # what make installs


def test_every_dependency_says_what_it_is_for() -> None:
    texts = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    lines = {text: line for text in texts for line in TEXT.splitlines() if f'"{text}"' in line}
    assert not [text for text in texts if not lines[text].partition("#")[2].strip()]


@pytest.mark.parametrize("room", ["harness", "fixtures", "perf_tests", "tests"])
def test_whatever_is_imported_is_declared(room: str) -> None:
    extras = [*EXTRAS["gpu"], *EXTRAS["torchcodec"], *EXTRAS["dsec"], *EXTRAS["quantized"]]
    allowed = [*ALL] if room == "tests" else [*NEEDED, *extras]
    undeclared = _imported_distributions(room) - {canonicalize_name(requirement.name) for requirement in allowed}
    assert undeclared <= COMES_WITH_TORCH


@pytest.mark.parametrize("file", CONSTRAINTS)
def test_every_dependency_is_pinned_within_its_range(file: str) -> None:
    pins = _pins(file)
    # torch's builds for CUDA want one exact version of what comes with them.
    pinned = [needed for needed in ALL if needed.name not in COMES_WITH_TORCH]
    assert not [str(needed) for needed in pinned if not needed.specifier.contains(pins[canonicalize_name(needed.name)])]


@pytest.mark.parametrize("name", ["transformers", "pytest", "pytest-benchmark"])
def test_the_oldest_is_the_lower_end_of_its_range(name: str) -> None:
    (supported,) = (requirement for requirement in NEEDED if requirement.name == name)
    (lower_end,) = (part.version for part in supported.specifier if part.operator == ">=")
    assert (
        Version(lower_end).release
        == Version(_pins("constraints-oldest.txt")[name]).release[: len(Version(lower_end).release)]
    )


@pytest.mark.parametrize("file", CONSTRAINTS)
def test_the_pin_of_torch_leaves_the_build_to_the_machine(file: str) -> None:
    """`+cpu` could not be installed on a GPU machine; without a pin, pip takes gigabytes of CUDA on the others."""
    assert "torch==2.13.0" in (ROOT / file).read_text(encoding="utf-8").splitlines()


def test_what_dependencies_bring_along_is_pinned_too() -> None:
    """Where a package wants one exact version of another, as torch of CUDA's libraries, ours is not needed."""
    installed = metadata.version("transformers")
    pins = [pins for pins in map(_pins, CONSTRAINTS) if pins["transformers"] == installed]
    if not pins:
        pytest.skip(f"transformers {installed} is installed, neither the tested one nor the oldest supported one")
    unpinned = _brought_along() - pins[0].keys()
    assert not unpinned


def _pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def _imported_distributions(room: str) -> set[str]:
    """Return the distributions that the imports of a room come from, lazy imports included."""
    names = {
        found.name.partition(".")[0] for module in modules().values() if module.room == room for found in module.imports
    }
    providers = metadata.packages_distributions()
    strangers = names - sys.stdlib_module_names - {module.room for module in modules().values()}
    return {canonicalize_name(providers.get(name, [name])[0]) for name in strangers}


def _brought_along() -> set[str]:
    """Return the names of all that our dependencies need, and theirs in turn, where no exact version is asked for."""
    seen: set[str] = set()
    waiting = {canonicalize_name(requirement.name) for requirement in INSTALLED}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        needed = map(Requirement, metadata.requires(name) or ())
        waiting |= {canonicalize_name(found.name) for found in needed if _is_open(found)} - seen
    return seen


def _is_open(requirement: Requirement) -> bool:
    applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    return applies and not any(part.operator == "==" and "*" not in part.version for part in requirement.specifier)
