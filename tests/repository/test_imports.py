from __future__ import annotations

import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests import ROOT
from tests.repository.source_code import Module, imported_modules, modules, read_module

# What each room may import of the others, wherever in a file the import stands.
MAY_IMPORT = {
    "harness": {"harness"},
    "fixtures": {"fixtures"},
    "perf_tests": {"perf_tests", "harness", "fixtures"},
    "tests": {"tests", "perf_tests", "harness", "fixtures"},
    "conftest": {"conftest", "harness"},
}
# From records to numbers and words, whatever they were measured with.
PURE = tuple(f"harness.{package}." for package in ("records", "figures", "legacy", "gates", "report"))
MEASURING = "harness.measuring"
SLOW_TO_IMPORT = {"torch", "transformers", "numpy", "matplotlib", "pytest"}
# These two are what pytest calls; all else of the harness can be used without a test session.
SPEAK_TO_PYTEST = {"harness.session.plugin", "harness.session.recorder"}


def test_a_room_imports_only_the_rooms_it_may() -> None:
    found = {
        name: [
            other for other in imported_modules(module, modules(), always=False) if not _may_import(module.room, other)
        ]
        for name, module in modules().items()
    }
    assert not {name: strangers for name, strangers in found.items() if strangers}


@pytest.mark.parametrize("top", ["harness", "fixtures"])
def test_the_table_of_packages_is_complete(top: str) -> None:
    listed = [package for row in _rows(top) for package in row]
    assert sorted(listed) == sorted({name.split(".")[1] for name in modules() if name.startswith(f"{top}.")})


@pytest.mark.parametrize("top", ["harness", "fixtures"])
def test_a_package_imports_only_packages_of_earlier_rows(top: str) -> None:
    against = _against_the_order(top, _rows(top))
    assert not against, "\n".join(against)


def test_an_import_against_the_order_is_found() -> None:
    assert "harness.gates.limits imports harness.records.lines" in _against_the_order("harness", _rows("harness")[::-1])


def test_questions_of_a_stranger_are_answered_by_packages_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = text.partition("| question | package |")[2].partition("\n\n")[0].splitlines()[2:]
    answers = [re.search(r"`(\w+/\w+)` \|$", row) for row in rows]
    assert len(answers) >= 10
    assert all(answer and (ROOT / answer.group(1) / "__init__.py").exists() for answer in answers)


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


def test_pure_packages_import_no_torch_no_pytest_and_nothing_that_measures_not_even_later() -> None:
    found = {
        name: {each.name for each in module.imports if each.name.split(".")[0] in {"torch", "pytest"}}
        | {each for each in imported_modules(module, modules(), always=False) if each.startswith(MEASURING)}
        for name, module in modules().items()
        if name.startswith(PURE)
    }
    assert len(found) > len(PURE)
    assert not {name: impure for name, impure in found.items() if impure}


def test_importing_the_command_line_of_the_harness_imports_nothing_that_takes_long() -> None:
    code = f"import sys, harness.__main__; print(*{SLOW_TO_IMPORT!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_importing_what_a_spawned_process_draws_pictures_with_imports_no_torch() -> None:
    code = "import sys, fixtures.training.pictures; print(*{'torch', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from fixtures.data.events import draw", {"fixtures.data.events.draw": True}),
        ("def later():\n    import fixtures.data.events", {"fixtures.data.events": False}),
        ("class Now:\n    import fixtures.data.events", {"fixtures.data.events": True}),
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


def _rows(top: str) -> list[tuple[str, ...]]:
    """Return the packages of `top` as docs/architecture.md lists them, row by row; the first row is one package."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition(f"| `{top}/` |")[2].partition("\n\n")[0]
    return [tuple(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table.splitlines()[2:]]


def _against_the_order(top: str, rows: list[tuple[str, ...]]) -> list[str]:
    level = {package: number for number, row in enumerate(rows) for package in row}
    shared = set(rows[0])

    def runs_against(package: str, other: str) -> bool:
        return package != other and not {package, other} <= shared and level.get(other, -1) >= level.get(package, 99)

    return [
        f"{name} imports {other}"
        for name, module in modules().items()
        for other in imported_modules(module, modules(), always=False)
        if name.startswith(f"{top}.") and other.startswith(f"{top}.")
        if runs_against(name.split(".")[1], other.split(".")[1])
    ]


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
