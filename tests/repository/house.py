"""Figures of the code: `python -m tests.repository.house` prints them, `test_house.py` holds their promises."""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.repository.source_code import ROOT, Module, modules

PRODUCT = ("harness", "fixtures", "perf_tests")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class House:
    """Figures of the product, goals and tests apart. Shares are percent."""

    product_lines: int
    goal_lines: int
    test_lines: int
    document_words: int
    note_words: int
    modules_by_package: dict[str, int]
    function_lines: list[int]
    annotated: float
    documented: float
    private_with_one_caller: float
    comments_per_100_lines: float

    @property
    def p90_lines(self) -> int:
        """Nine functions of ten are at most this long."""
        return round(statistics.quantiles(self.function_lines, n=10, method="inclusive")[-1])

    def rows(self) -> Iterator[tuple[str, str]]:
        """What and how much, as the command prints it."""
        largest = max(self.modules_by_package, key=lambda name: self.modules_by_package[name])
        yield "lines of the product", f"{self.product_lines:,}"
        yield "lines of the goal tables", f"{self.goal_lines:,}"
        yield "lines of tests", f"{self.test_lines:,}"
        yield "words of documents for users", f"{self.document_words:,}"
        yield "words of notes", f"{self.note_words:,}"
        yield "most modules directly in a package", f"{self.modules_by_package[largest]} ({largest})"
        yield (
            "lines of a function: median, p90, longest",
            (f"{statistics.median(self.function_lines):g}, {self.p90_lines}, {max(self.function_lines)}"),
        )
        yield "fully annotated functions", f"{self.annotated:.1f} %"
        yield "public names with a docstring", f"{self.documented:.1f} %"
        yield "private functions with one caller", f"{self.private_with_one_caller:.0f} %"
        yield "comments per 100 lines", f"{self.comments_per_100_lines:.1f}"


def house() -> House:
    """Measure the checkout."""
    product = [module for module in modules().values() if module.room in PRODUCT]
    functions = [node for module in product for node in ast.walk(module.tree) if isinstance(node, Function)]
    # Triton's kernels take pointers and constants of its own.
    annotated = [_is_annotated(node) for node in functions if not _is_kernel(node)]
    public = [node for module in product for node in _public(module.tree)]
    explained = {node.name for node in public if ast.get_docstring(node)}  # a method may repeat one of its base class
    documented = [node.name in explained for node in public]
    lines = sum(_lines(module.path) for module in product)
    return House(
        product_lines=lines,
        goal_lines=sum(_lines(path) for path in (ROOT / "tests" / "goals").glob("*.py")),
        test_lines=sum(_lines(path) for path in (ROOT / "tests").rglob("*.py") if path.parent.name != "goals"),
        document_words=_words(documents()),
        note_words=_words(sorted((ROOT / "docs" / "notes").glob("*.md"))),
        modules_by_package=dict(Counter(_package(module) for module in product if module.path.name != "__init__.py")),
        function_lines=[(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions],
        annotated=100 * statistics.fmean(annotated),
        documented=100 * statistics.fmean(documented),
        private_with_one_caller=_private_with_one_caller(product),
        comments_per_100_lines=100 * sum(map(_comments, product)) / lines,
    )


def documents() -> list[Path]:
    """The documents that users read."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _words(paths: list[Path]) -> int:
    """As `wc -w` counts them."""
    return sum(len(path.read_text(encoding="utf-8").split()) for path in paths)


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _package(module: Module) -> str:
    return module.path.parent.relative_to(ROOT).as_posix()


def _is_kernel(node: Function) -> bool:
    return any("jit" in ast.unparse(decorator) for decorator in node.decorator_list)


def _is_annotated(node: Function) -> bool:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return node.returns is not None and all(each.annotation or each.arg in {"self", "cls"} for each in arguments)


def _public(tree: ast.AST) -> Iterator[Function | ast.ClassDef]:
    """Functions, classes and methods whose names have no underscore in front, nested functions left out."""
    for node in ast.iter_child_nodes(tree):
        if (
            isinstance(node, Function | ast.ClassDef)
            and not node.name.startswith("_")
            and not (isinstance(node, Function) and _is_kernel(node))
        ):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def _private_with_one_caller(product: list[Module]) -> float:
    once = []
    for module in product:
        private = {
            node.name
            for node in ast.walk(module.tree)
            if isinstance(node, Function) and node.name.startswith("_") and not node.name.startswith("__")
        }
        used = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Name | ast.Attribute)
        )
        once += [used[name] <= 1 for name in private]
    return 100 * statistics.fmean(once)


def _comments(module: Module) -> int:
    text = module.path.read_text(encoding="utf-8")
    return sum(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(text).readline))


if __name__ == "__main__":
    for what, value in house().rows():
        sys.stdout.write(f"{what:<45} {value}\n")
