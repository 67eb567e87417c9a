"""What the documents promise is there: every option, every key of the result file, every file that a link names."""

import re

import pytest

from harness.options import Options, option_fields
from tests.repository.source_code import ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def rows(document):
    """The cells of every table row of a document."""
    lines = document.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_every_option_has_a_row_with_its_default_and_mark():
    documented = {cells[0].split("`")[1]: cells for cells in rows(ROOT / "docs" / "options.md") if "`--" in cells[0]}
    assert set(documented) == {f"--{each.name}" for each in option_fields()}
    plain = Options().as_json()
    for each in option_fields():
        _, default, mark, text = documented[f"--{each.name}"]
        value = plain[each.name]
        written = (
            ", ".join(value) if isinstance(value, list) else str(value).lower() if value in (True, False) else value
        )
        assert default == ("" if value is None else str(written)), each.name
        assert (mark == "figures") == each.metadata["changes_figures"], each.name
        assert text == each.metadata["help"]


@pytest.mark.parametrize(
    "key",
    [
        "id", "split", "query", "benchmark_datetime", "event_data", "video_data", "{key}", "{key}_time", "{key}_error",
        *(f"{{key}}_stage{number}_time" for number in (1, 2, 3)),
        *(f"{{key}}_{stage}_time" for stage in ("vision", "prefill", "decode")),
        "{key}_tokens", "{key}_token_ids", "{key}_source", "{key}_memory_model_mb", "{key}_memory_inference_mb",
        *(f"{{key}}_{stage}_memory_mb" for stage in ("load", "preprocess", "vision", "prefill", "decode")),
        *(f"{{target}}_{kind}_{what}" for kind in ("acceptance", "spec_acceptance") for what in (
            "rate", "matched", "compared",
        )),
        *(f"{{target}}_spec_{what}" for what in ("gamma", "rounds", "drafted", "accepted", "emitted", "identical")),
        *(f"{{target}}_spec_{alone}{what}time" for alone in ("", "alone_") for what in ("", "decode_", "first_token_")),
    ],
)  # fmt: skip
def test_every_key_of_the_legacy_file_is_explained(key):
    assert any(f"`{key}`" in cells[0] for cells in rows(ROOT / "docs" / "results.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        assert target.startswith("http") or (document.parent / target).exists(), target
