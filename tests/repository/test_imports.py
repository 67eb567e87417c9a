from __future__ import annotations

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.repository.source_code import ROOT, Module, imported_modules, modules, read_module

# What each room may import of the others, wherever in a file the import stands.
MAY_IMPORT = {
    "harness": {"harness"},
    "fixtures": {"fixtures"},
    "perf_tests": {"perf_tests", "harness", "fixtures"},
    "tests": {"tests", "perf_tests", "harness", "fixtures"},
    "conftest": {"conftest", "harness"},
}
# These two are what pytest calls; all else of the harness can be used without a test session.
SPEAK_TO_PYTEST = {"harness.plugin", "harness.recorder"}


def test_a_room_imports_only_the_rooms_it_may() -> None:
    found = {
        name: [
            other for other in imported_modules(module, modules(), always=False) if not _may_import(module.room, other)
        ]
        for name, module in modules().items()
    }
    assert not {name: strangers for name, strangers in found.items() if strangers}


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {name: imported_modules(module, modules(), always=True) for name, module in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]), pytrace=False)


def test_importing_the_harness_never_brings_torch() -> None:
    assert "torch" not in set().union(*_brought_by_harness().values())


def test_importing_the_harness_brings_pytest_only_where_pytest_calls() -> None:
    assert {name for name, packages in _brought_by_harness().items() if "pytest" in packages} <= SPEAK_TO_PYTEST


def test_a_harness_that_has_been_imported_has_not_imported_torch() -> None:
    code = "import sys, harness, harness.__main__; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from fixtures.events import draw", {"fixtures.events.draw": True}),
        ("def later():\n    import fixtures.events", {"fixtures.events": False}),
        ("class Now:\n    import fixtures.events", {"fixtures.events": True}),
        (
            "if TYPE_CHECKING:\n    import torch\nelse:\n    import numpy",
            {"torch": False, "numpy": True},
        ),
        ("from . import events\nfrom ..harness import run", {"room.part.events": True, "room.harness.run": True}),
        ("import importlib\nimportlib.import_module('torch')", {"importlib": True, "torch": True}),
    ],
)
def test_an_import_is_found_wherever_it_stands(tmp_path: Path, text: str, expected: dict[str, bool]) -> None:
    file = tmp_path / "room" / "part" / "module.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert {found.name: found.always for found in read_module(file, tmp_path).imports} == expected


def _may_import(room: str, other: str) -> bool:
    return other.partition(".")[0] in MAY_IMPORT[room]


def _brought_by_harness() -> dict[str, set[str]]:
    return {name: _brought_by(module) for name, module in modules().items() if module.room == "harness"}


def _brought_by(module: Module) -> set[str]:
    """Return the packages that importing `module` imports, through others of our modules too."""
    seen, waiting = {module.name}, [module]
    packages = set()
    while waiting:
        current = waiting.pop()
        packages |= {found.name.partition(".")[0] for found in current.imports if found.always}
        fresh = imported_modules(current, modules(), always=True) - seen
        seen |= fresh
        waiting += [modules()[name] for name in fresh]
    return packages
