"""The page in a real browser: nothing fails, leaves or scrolls sideways, and every figure is that of run.json."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Any

import msgspec
import pytest

from harness.records.lines import RunRecord
from harness.report.content import report_of
from harness.session.derived_files import derive_files, derive_report
from tests.harness.report.golden import golden_run
from tests.harness.report.made_reports import everything_run
from tests.harness.report.reading import figures_in
from tests.harness.report.test_page import hostile_run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = (375, 768, 1280)
UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true })"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, with the files that a run at its end has."""
    found = tmp_path_factory.mktemp("run")
    derive_files(found, everything_run())
    assert derive_report(found, everything_run()) is None
    return found


@pytest.fixture(scope="module")
def browser_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An empty page of a browser that has nothing in it of anybody's."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("browser"), executable_path=program, headless=True, args=QUIET
        )
        yield context.new_page()
        context.close()


@pytest.fixture(scope="module")
def opened(browser_page: Any, folder: Path) -> dict[str, Any]:
    """What came of opening the report at each width, light, dark and on paper."""
    requests: list[str] = []
    complaints: list[str] = []
    browser_page.on("request", lambda request: requests.append(request.url))
    browser_page.on("pageerror", lambda error: complaints.append(str(error)))
    browser_page.on("console", lambda message: complaints.append(message.text))
    address = (folder / "report.html").as_uri()
    widths = {}
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "light")):
        browser_page.emulate_media(media=media, color_scheme=scheme)
        for width in WIDTHS:
            browser_page.set_viewport_size({"width": width, "height": 800})
            browser_page.goto(address)
            browser_page.evaluate(UNFOLD)
            widths[media, scheme, width] = browser_page.evaluate("document.documentElement.scrollWidth")
    script = "all => all.map(each => [each.dataset.figure, Number(each.value), each.textContent])"
    return {
        "address": address,
        "requests": requests,
        "complaints": complaints,
        "widths": widths,
        "figures": browser_page.eval_on_selector_all("data", script),
        "background": browser_page.evaluate("getComputedStyle(document.body).backgroundColor"),
    }


def test_nothing_fails_and_no_request_leaves_the_page(opened: dict[str, Any]) -> None:
    assert opened["complaints"] == []
    assert {each for each in opened["requests"] if not each.startswith("data:image/")} == {opened["address"]}


def test_nothing_scrolls_sideways_at_any_width(opened: dict[str, Any]) -> None:
    screens = {key: value for key, value in opened["widths"].items() if key[0] == "screen"}
    assert not {key: value for key, value in screens.items() if value > key[2]}
    assert len(screens) == 2 * len(WIDTHS)


def test_dark_is_dark_and_paper_is_white(browser_page: Any, opened: dict[str, Any]) -> None:
    def brightness() -> int:
        script = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number).reduce((a, b) => a + b)"
        found: int = browser_page.evaluate(script)
        return found

    browser_page.emulate_media(media="screen", color_scheme="dark")
    dark = brightness()
    browser_page.emulate_media(media="print", color_scheme="dark")
    assert dark < 150 < brightness() == 3 * 255


def test_every_figure_is_that_of_run_json(folder: Path, opened: dict[str, Any]) -> None:
    """As the browser has it beside what the record gives, number by number and without rounding."""
    run = msgspec.json.decode((folder / "run.json").read_bytes(), type=RunRecord)
    expected = {(each.name, each.value, each.text) for each in figures_in(report_of(run, folder.name))}
    assert {tuple(each) for each in opened["figures"]} == expected
    assert len(expected) > 150


def test_hostile_words_run_nothing_and_push_nothing_out_of_the_page(browser_page: Any, tmp_path: Path) -> None:
    assert derive_report(tmp_path, hostile_run()) is None
    dialogs: list[str] = []
    browser_page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    browser_page.emulate_media(media="screen", color_scheme="light")
    browser_page.set_viewport_size({"width": 375, "height": 800})
    browser_page.goto((tmp_path / "report.html").as_uri())
    browser_page.evaluate(UNFOLD)
    assert dialogs == []
    assert browser_page.evaluate("document.scripts.length + document.images.length") == 0
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 375
    assert "<script>alert(1)</script>" in browser_page.inner_text("#answers")


def test_the_main_figures_follow_from_run_json_by_hand(folder: Path, opened: dict[str, Any]) -> None:
    """Without any function of ours: plain arithmetic on the file."""
    run = msgspec.json.decode((folder / "run.json").read_bytes())
    shown = {name: value for name, value, _ in opened["figures"]}
    whole = [each for each in run["passes"] if each["kind"] == "whole" and not each["failure"]]
    means = {
        model: {stage: fmean(one["stage_s"][stage] for one in whole if one["model"] == model) for stage in STAGES}
        for model in ("egpt", "videollava", "llava")
    }
    for model, stages in means.items():
        assert shown[f"pass.total.{model}.eager"] == pytest.approx(sum(stages.values()))
        for stage, seconds in stages.items():
            assert shown[f"pass.{stage}.{model}.eager"] == pytest.approx(seconds)
    for target in ("videollava", "llava"):
        total = sum(means[target].values()) / sum(means["egpt"].values())
        assert shown[f"speedup.total.{target}.eager"] == pytest.approx(total)
        load = means[target]["load"] / means["egpt"]["load"]
        assert shown[f"speedup.stage1.{target}.eager"] == pytest.approx(load)
        rest = sum(means[target][stage] for stage in STAGES[2:]) / sum(means["egpt"][stage] for stage in STAGES[2:])
        assert shown[f"speedup.stage3.{target}.eager"] == pytest.approx(rest)
    for each in run["stages"]:
        name = ".".join(filter(None, (each["stage"], each["model"], each["engine"], each["variant"])))
        assert shown[f"time.{name}"] == median(each["round_s"])
        assert shown[f"first.{name}"] == next(iter(each["cold_s"].values()))
    growth = [peak["host_growth_bytes"] for each in run["stages"] for peak in each["memory"].values()]
    assert max(value for name, value in shown.items() if name.startswith("growth.")) == max(growth)


STAGES = ("load", "preprocess", "vision", "prefill", "decode")


def test_folded_a_report_of_three_models_fits_six_screens(browser_page: Any, tmp_path: Path) -> None:
    assert derive_report(tmp_path, golden_run()) is None
    browser_page.emulate_media(media="screen", color_scheme="light")
    browser_page.set_viewport_size({"width": 1280, "height": 900})
    browser_page.goto((tmp_path / "report.html").as_uri())
    assert browser_page.evaluate("document.documentElement.scrollHeight") <= 6 * 900
    # The three questions: how much faster, what is doubtful, does drafting pay.
    script = "each => each.getBoundingClientRect().bottom"
    first_screen = [browser_page.eval_on_selector(each, script) for each in ("#verdict", "#figures")]
    assert max(first_screen) <= 900
    assert browser_page.eval_on_selector_all("#highlights li", f"all => all.slice(0, 4).map({script})")[-1] <= 900


def test_a_click_on_a_term_unfolds_its_definition(browser_page: Any, folder: Path) -> None:
    browser_page.goto((folder / "report.html").as_uri())
    target = "#term-time-to-first-token"
    assert browser_page.is_hidden(target)
    browser_page.click(f"#latency a[href='{target}'] >> nth=0")
    assert browser_page.is_visible(target)
