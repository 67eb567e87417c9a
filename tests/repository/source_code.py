"""The project's own Python files, and what each of them imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import ROOT

ROOMS = ("harness", "fixtures", "perf_tests", "tests")


@dataclass(frozen=True)
class Import:
    """One imported name, dotted; `always` is False inside functions and under TYPE_CHECKING."""

    name: str
    line: int
    always: bool


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


@cache
def modules() -> dict[str, Module]:
    """Return the modules of all rooms, and the root's conftest, by dotted name."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    found = [read_module(path, ROOT) for path in [*files, ROOT / "conftest.py"]]
    return {module.name: module for module in found}


def read_module(path: Path, root: Path) -> Module:
    parts = path.relative_to(root).with_suffix("").parts
    package = parts[:-1]
    name = ".".join(package if parts[-1] == "__init__" else parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return Module(name, path, tree, tuple(_imports(tree, package, always=True)))


def imported_modules(module: Module, known: dict[str, Module], *, always: bool) -> set[str]:
    """Return those of `known` that `module` imports: whatever may run, or only what runs whenever it is imported."""
    names = {found.name for found in module.imports if found.always or not always}
    return {_nearest_module(name, known) for name in names} - {"", module.name}


def _nearest_module(name: str, known: dict[str, Module]) -> str:
    """Return the module that a dotted name is or is taken from; "" for other people's."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def _imports(node: ast.AST, package: tuple[str, ...], *, always: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        yield from (Import(name, child.lineno, always) for name in _names(child, package))
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            body = ast.Module(body=child.body, type_ignores=[])
            yield from _imports(body, package, always=False)
            yield from _imports(ast.Module(body=child.orelse, type_ignores=[]), package, always=always)
            continue
        in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(child, package, always=always and not in_function)


def _names(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            return [f"{source}.{alias.name}" for alias in node.names]
        case ast.Call(func=function, args=[ast.Constant(value=str() as name), *_]):
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            return [name] if called in {"import_module", "__import__", "importorskip"} else []
    return []
