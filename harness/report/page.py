"""report.html: one file, without a script and without a request, for a screen of any width and for paper."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.blocks import CAVEATS, Figure, Report, parts
from harness.report.definitions import definitions_of, term_in
from harness.report.formatting import strip_control_characters

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent


def page(report: Report) -> str:
    """Return a report as a page; text from outside is escaped, and each figure has its exact value in an attribute."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return _template().render(report=report, style=style, definitions=definitions_of(report))


@cache
def _template() -> "Template":
    # Imported late: jinja2 takes some 50 ms.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=select_autoescape(["j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["figure"] = lambda part: isinstance(part, Figure)
    environment.filters |= {
        "anchor": lambda term: "term-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-"),
        "exact": repr,
        "kind": lambda block: type(block).__name__.lower(),
        "parts": parts,
        "strip_control_characters": strip_control_characters,
        "term_in": term_in,
    }
    environment.globals["caveats"] = CAVEATS
    return environment.get_template("page.html.j2")
