from __future__ import annotations

import ast

import pytest

from fixtures.model_sets.registry import MODELS
from tests import ROOT
from tests.repository.source_code import modules

MAX_LINES = 400
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}


def test_a_file_is_short_enough_to_have_one_subject() -> None:
    lengths = {name: len(module.path.read_text(encoding="utf-8").splitlines()) for name, module in modules().items()}
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_every_module_is_named_after_its_subject() -> None:
    assert not [name for name in modules() if SAY_NOTHING & set(name.split("."))]


def test_the_device_is_synchronised_in_the_clock_alone() -> None:
    rooms = ("harness", "fixtures", "perf_tests")
    found = [name for name, module in modules().items() if module.room in rooms and _synchronises(module.tree)]
    found.remove("fixtures.engines.static_language")  # waits for the copy of one token, and the device goes on working
    assert found == ["harness.measuring.clock"]


@pytest.mark.parametrize(
    "text", ["torch.cuda.synchronize()", "from torch.cuda import synchronize", "getattr(cuda, 'synchronize')()"]
)
def test_synchronising_is_found_however_it_is_written(text: str) -> None:
    assert _synchronises(ast.parse(text))


def test_keys_of_models_stand_in_the_registry_alone() -> None:
    rooms = ("fixtures", "perf_tests")
    found = [
        f"{name}:{node.lineno}"
        for name, module in modules().items()
        if module.room in rooms and name != "fixtures.model_sets.registry"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and node.value in MODELS
    ]
    assert not found


def test_a_folder_of_tests_is_a_package() -> None:
    """Files of the same name may then stand in several folders."""
    folders = {path.parent for room in ("tests", "perf_tests") for path in (ROOT / room).rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def _synchronises(tree: ast.Module) -> bool:
    return any(
        "synchronize" in (getattr(node, "attr", None), getattr(node, "value", None), getattr(node, "name", None))
        for node in ast.walk(tree)
    )
