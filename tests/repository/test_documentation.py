"""What the documents promise is there: options, keys, states, exit statuses, commands, and whatever a link names."""

import ast
import re
import subprocess
import sys
from dataclasses import fields
from typing import get_args

import pytest

from fixtures.__main__ import main as make_fixtures
from harness.figures.intervals import ChangeVerdict
from harness.gates import exit_status
from harness.gates.limits import LOWER_BOUNDS, UPPER_BOUNDS
from harness.options import Options, ini_key
from harness.records.lines import GateState, JournalLine, Outcome, PassKind, RunRecord, VerdictState
from tests import ROOT
from tests.repository.house import PRODUCT
from tests.repository.source_code import modules

DOCS = ROOT / "docs"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "fixtures" / "model_sets" / "checkpoints" / "README.md"]
)
# Options of programs that are not ours, but --benchmark-….
FOREIGN = {
    *("--adapter", "--file", "--lock-gpu-clocks", "--signal", "--nodes", "--ntasks-per-node", "--gpus-per-node"),
    *("--standalone", "--nnodes", "--nproc-per-node", "--max-restarts", "--local-ranks-filter"),
    *("--rdzv-id", "--rdzv-backend", "--rdzv-endpoint"),
}
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")


def rows(document):
    """The cells of every table row of a document."""
    lines = document.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_every_option_has_a_row_with_its_default_where_those_that_change_figures_stand_or_the_others():
    changing = (DOCS / "options.md").read_text(encoding="utf-8").partition("## Other options")[0]
    documented = {cells[0].split("`")[1]: cells for cells in rows(DOCS / "options.md") if "`--" in cells[0]}
    assert set(documented) == {f"--{each.name}" for each in fields(Options)}
    plain = Options().as_json()
    for each in fields(Options):
        _, default, text = documented[f"--{each.name}"]
        value = plain[each.name]
        written = (
            ", ".join(value) if isinstance(value, list) else str(value).lower() if value in (True, False) else value
        )
        assert default == ("" if value is None else str(written)), each.name
        assert (f"| `--{each.name}`" in changing) == each.metadata["changes_figures"], each.name
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


def test_an_ini_key_that_is_not_the_options_name_is_told():
    text = (DOCS / "options.md").read_text(encoding="utf-8")
    renamed = [(each.name, ini_key(each)) for each in fields(Options) if ini_key(each) != each.name]
    assert renamed == [("cache_dir", "frame_cache_dir")]
    assert all(f"as a key, `--{name}` is called `{key}`" in " ".join(text.lower().split()) for name, key in renamed)


@pytest.mark.parametrize("key", RunRecord.__struct_encode_fields__)
def test_every_key_of_run_json_is_named(key):
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    assert f"`{key}`" in text[text.index("## run.json") : text.index("## Exit status")]


@pytest.mark.parametrize("kind", [each.__struct_config__.tag for each in get_args(JournalLine)])
def test_every_kind_of_line_of_a_journal_has_a_row(kind):
    assert f"`{kind}`" in [cells[0] for cells in rows(DOCS / "results.md")]


@pytest.mark.parametrize(
    ("document", "states"),
    [
        ("gates.md", get_args(GateState)),
        ("results.md", get_args(VerdictState)),
        ("results.md", get_args(Outcome)),
        ("results.md", get_args(PassKind)),
        ("ab.md", get_args(ChangeVerdict)),
    ],
)
def test_every_state_is_explained(document, states):
    cells = " ".join(cell for row in rows(DOCS / document) for cell in row)
    words = {word.strip("`") for word in re.findall(r"`[^`]+`", cells)} | {row[0] for row in rows(DOCS / document)}
    assert set(states) <= words


@pytest.mark.parametrize("kind", [*LOWER_BOUNDS, *UPPER_BOUNDS])
def test_every_kind_of_limit_has_a_row_that_says_which_bound_it_is(kind):
    bounds = [row[1] for row in rows(DOCS / "limits.md") if f"`{kind}." in row[0]]
    assert len(bounds) == 1
    assert bounds[0].startswith("at least" if kind in LOWER_BOUNDS else "at most")


def test_every_option_of_prepare_is_explained(capsys):
    with pytest.raises(SystemExit):
        make_fixtures(["prepare", "--help"])
    options = set(re.findall(r"^  (--[\w-]+)", capsys.readouterr().out, flags=re.MULTILINE))
    assert len(options) > 15
    text = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("data_path.md", "dataset.md"))
    assert not [name for name in options if not re.search(rf"{name.replace('_', '-')}\b", text.replace("_", "-"))]


def test_every_exit_status_has_a_row():
    known = {0, exit_status.FAILED, exit_status.NO_FIGURE, exit_status.NOT_DECIDED, exit_status.MISSING_BASELINE}
    written = [row[0] for row in rows(DOCS / "results.md") if re.fullmatch(r"[\d, ]+", row[0])]
    assert {int(status) for cell in written for status in cell.split(",")} == known | set(exit_status.PYTEST_STATUSES)


def test_every_command_is_shown_somewhere():
    done = subprocess.run(
        [sys.executable, "-m", "harness", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    commands = re.findall(r"^    (\w+) ", done.stdout, flags=re.MULTILINE)
    text = "".join(each.read_text(encoding="utf-8") for each in DOCUMENTS)
    assert {"merge", "report", "gate", "ab"} < set(commands)
    assert not [command for command in commands if f"python -m harness {command}" not in text]


def constants():
    """Every text that stands by itself in the product's code."""
    nodes = (node for each in modules().values() if each.room in PRODUCT for node in ast.walk(each.tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_option_that_a_document_names_exists():
    named = {option for each in DOCUMENTS for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", each.read_text("utf-8"))}
    switches = {each.metadata["off_switch"] for each in fields(Options)} | {each.name for each in fields(Options)}
    suites = {f"--{name}".replace("_", "-") for name in switches if name}
    ours = {each for each in constants() if re.fullmatch(r"--[a-z][\w-]*", each)} | {"--help"}
    assert {"--cache-root", "--sessions"} <= ours
    unknown = named - ours - FOREIGN
    assert not {each for each in unknown if each.replace("_", "-") not in suites and "--benchmark-" not in each}


def test_every_command_that_a_document_names_exists():
    text = "".join(each.read_text(encoding="utf-8") for each in DOCUMENTS)
    words = constants()
    assert {"merge", "prepare", "sweep"} <= set(re.findall(r"python -m (?:harness|fixtures) (\w+)", text))
    assert not set(re.findall(r"python -m (?:harness|fixtures) ([a-z]\w*)", text)) - words
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    made = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, flags=re.MULTILINE))
    assert {"bench", "measured"} <= made
    assert not made - set(targets)


def anchors(document):
    """The addresses of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        found = document.parent / target if target else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def test_every_document_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop().resolve()
        if document.suffix == ".md" and document not in reached:
            reached.add(document)
            links = LINK.findall(document.read_text(encoding="utf-8"))
            waiting += [document.parent / target for target, _ in links if target and not target.startswith("http")]
    assert not {each.resolve() for each in DOCUMENTS} - reached
