"""Only `harness.measuring.benchmark` reaches into pytest-benchmark; everything else uses that module."""

from __future__ import annotations

import ast

import pytest

from tests.repository.source_code import modules

ADAPTER = "harness.measuring.benchmark"
INSIDE = {"has_error", "pedantic", "benchmark_disable", "benchmark_enable"}


def uses(tree: ast.AST) -> list[str]:
    """Return what of pytest-benchmark's inside a file touches, with the line."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in INSIDE:
                found.append(f"line {node.lineno}: .{name}")
            case ast.Attribute(attr="stats", value=ast.Attribute(attr="stats")):
                found.append(f"line {node.lineno}: .stats.stats")
            case ast.Call(func=ast.Attribute(attr="get_plugin"), args=[ast.Constant(value="pytest-benchmark")]):
                found.append(f"line {node.lineno}: its session object")
            case ast.ImportFrom(module=str(name)) | ast.alias(name=name) if name.startswith("pytest_benchmark"):
                found.append(f"{name} is imported")
    return found


def test_nothing_but_the_adapter_reaches_into_it() -> None:
    found = {
        name: uses(module.tree)
        for name, module in modules().items()
        if module.room != "tests" or name.startswith("tests.goals.")
    }
    assert set(found.pop(ADAPTER)) != set()
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize(
    "code",
    [
        "benchmark.has_error = True",
        "del benchmark.stats.stats.data[0]",
        "benchmark.pedantic(work)",
        "config.option.benchmark_disable",
        "manager.get_plugin('pytest-benchmark').json = path",
        "from pytest_benchmark.session import BenchmarkSession",
        "import pytest_benchmark.stats",
    ],
)
def test_each_way_in_is_found(code: str) -> None:
    assert uses(ast.parse(code))
