"""The HTML report in a real browser: it loads nothing, runs no text, and its slider is right."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Result
from playwright.sync_api import Browser, Page, expect, sync_playwright
from reports import BUDGET, HOSTILE, Made, kept_of, made, rescored, with_duel
from synthetic import MONDAY
from tools import ROOT, tool

from detector.backtest.alerting import Firing
from detector.backtest.duel import duel
from detector.backtest.grouping import Inhibition
from detector.backtest.packed import packed
from detector.backtest.results import FIGURES
from detector.labels import label_set

ASSETS = ROOT / "detector" / "backtest" / "assets"
FACTORS = (0.35, 0.7, 0.95, 1.0, 1.1, 1.4, 2.0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(executable_path=tool("chromium"), args=flags)
        yield started
        started.close()


class Opened:
    """A report in the browser, what it asked the network for, and what it complained of."""

    def __init__(self, browser: Browser, folder: Path, html: str, **given: Any):
        path = folder / "report.html"
        path.write_text(html, encoding="utf-8")
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 900}, **given)
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=10_000)
        self.address = path.as_uri()

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    pages: list[Opened] = []

    def make(html: str, **given: Any) -> Opened:
        pages.append(Opened(browser, tmp_path, html, **given))
        return pages[-1]

    yield make
    for one in pages:
        one.page.close()


@pytest.fixture(scope="module")
def case() -> Made:
    return made(3)


def everything(page: Page) -> None:
    """Come by everything that is drawn when it is seen, open what opens, and print."""
    for button in page.locator("button.more").all():
        button.click()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    for one in page.locator("details").all()[:3]:
        one.locator("summary").click()


def test_it_loads_nothing(case: Made, opened: Any) -> None:
    report = opened(case.html)
    everything(report.page)
    assert report.asked == [report.address]
    assert report.said == []
    assert not re.search(
        r"""(?:src|href|action)\s*=\s*["']?\s*(?!#)[^"'#\s>]""", outside(case.html)
    )
    assert "@import" not in case.html
    assert "url(" not in case.html


def test_the_policy_forbids_what_is_not_in_the_page(case: Made, opened: Any) -> None:
    report = opened(case.html)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        report.page.evaluate(
            """async (address) => {
                const script = document.createElement('script');
                script.textContent = 'document.title = "ran"';
                document.body.append(script);
                const image = document.createElement('img');
                const done = new Promise((resolve) => { image.onerror = resolve; });
                image.src = `${address}/x.png`;
                document.body.append(image);
                await done;
                await fetch(address).catch(() => {});
            }""",
            f"http://127.0.0.1:{listening.getsockname()[1]}",
        )
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert report.page.title() != "ran"
    assert sum("Content Security Policy" in line for line in report.said) >= 3


def outside(html: str) -> str:
    """Return a page without what stands in its scripts, styles and comments."""
    return re.sub(r"<(script|style)\b.*?</\1>|<!--.*?-->", "", html, flags=re.S)


def test_hostile_text_is_inert_and_shown(opened: Any) -> None:
    case = made(5, series=7, hostile=True)
    report = opened(case.html)
    everything(report.page)
    report.page.locator("#factor").focus()
    report.page.keyboard.press("ArrowRight")
    assert report.said == []
    assert report.asked == [report.address]
    assert report.page.title().startswith("Backtest: ")
    assert report.page.locator("main img, main script, main b, main style").count() == 0
    shown = report.text("main")
    assert HOSTILE[1] in shown
    assert "10200 characters" in shown
    assert "two⏎lines·and" in shown
    # Long text widens nothing.
    assert report.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    names = report.page.locator("#signal-table tbody tr").count()
    assert names == 3


def test_the_data_in_it_is_the_report(case: Made, opened: Any) -> None:
    report = opened(case.html)
    inside = report.page.evaluate("document.getElementById('report').textContent")
    assert json.loads(inside) == case.document
    assert report.page.evaluate("JSON.parse(report.textContent).version") == 1


def muting() -> list[Inhibition]:
    """An alert for job a that fires for hours, as others do now and then for some minutes."""
    start = MONDAY
    long, short = Firing(start + 7200, start + 36_000), Firing(start + 40_000, start + 42_000)
    source = label_set({"alertname": "JobDown", "job": "a"})
    return [Inhibition({source: [long, short]}, ("job",))]


@pytest.mark.parametrize(
    ("seed", "muted"), [(0, False), (1, False), (2, False), (3, True), (4, True)]
)
def test_the_slider_counts_as_the_backtest_does(browser: Browser, seed: int, muted: bool) -> None:
    inhibitions = muting() if muted else []
    case = made(seed, steps=1_200, incidents=8, inhibitions=inhibitions)
    if muted:
        assert len(case.found.pages) < len(made(seed, steps=1_200, incidents=8).found.pages)
    page = browser.new_page()
    page.evaluate((ASSETS / "replay.js").read_text(encoding="utf-8") + "; self.Replay = Replay")
    page.evaluate(
        "(text) => { self.given = JSON.parse(text) }", json.dumps([case.document, case.scores])
    )
    for factor in FACTORS:
        want = case.found if factor == 1.0 else rescored(case, factor, inhibitions)
        found = json.loads(
            page.evaluate(
                """(factor) => {
                    const { alerts, pages, ...rest } = Replay.at(given[0], given[1], factor);
                    for (const one of alerts) delete one.series;
                    return JSON.stringify({ alerts, pages, ...rest });
                }""",
                factor,
            )
        )
        alerts = [
            [one["signal"], one["start"], one["end"], one["incidents"]] for one in found["alerts"]
        ]
        wanted = [[a.signal, a.firing.start, a.firing.end, list(a.incidents)] for a in want.alerts]
        assert sorted(alerts) == sorted(wanted), factor
        pages = [(one["time"], len(one["alerts"]), one["repeated"]) for one in found["pages"]]
        assert sorted(pages) == sorted((p.time, len(p.alerts), p.repeated) for p in want.pages)
        assert found["delays"] == list(want.delays)
        for mine, theirs in [
            (found["figures"], want.figures),
            *((found["signals"][name], own) for name, own in want.by_signal.items()),
        ]:
            assert set(mine) <= set(FIGURES)
            assert mine == {name: pytest.approx(theirs[name]) for name in mine}
    page.close()


def test_the_duel_is_told_again_at_each_sensitivity(opened: Any) -> None:
    case, fought = with_duel(made(4, steps=1_200, incidents=8))
    report = opened(case.html)
    everything(report.page)
    assert report.said == []
    rows = report.page.locator("#duel-incidents tbody tr")
    assert rows.count() == sum(word is not None for word in fought.words)
    assert "other <b>.yml" in report.text("#duel-table")
    words = "(now) => report_.incidents.map((_, i) => Duels.word(now, report_.duels[0], i))"
    read = "JSON.parse(document.getElementById('{}').textContent)"
    for factor in FACTORS:
        want = duel(case.found if factor == 1.0 else rescored(case, factor), fought.rival).words
        found = report.page.evaluate(
            f"""(factor) => {{
                const [report_, scores_] = [{read.format("report")}, {read.format("scores")}];
                return ({words})(Replay.at(report_, scores_, factor));
            }}""",
            factor,
        )
        assert tuple(found) == want, factor
    marks = report.page.locator("#timeline path.mark").count()
    assert marks == sum(word in ("earlier", "alone", "later", "missed") for word in fought.words)


@pytest.mark.parametrize("budget", [None, BUDGET])
def test_the_sweep_marks_what_is_chosen(opened: Any, budget: Any) -> None:
    case, _ = with_duel(made(4), budget=budget)
    page = opened(case.html).page
    dots = page.locator("#sweep circle.dot").count()
    details = page.locator("#sweep-table details")
    details.locator("summary").click()
    assert details.locator("tbody tr").count() == dots
    assert dots == 4 if budget else dots >= 14
    assert page.locator("#sweep circle.ring").count() == 1
    chosen = details.locator("tbody tr", has_text="chosen").count()
    assert (chosen, page.locator("#sweep line.budget").count()) == ((1, 1) if budget else (0, 0))


def test_the_slider_moves_the_page_and_back(case: Made, opened: Any) -> None:
    report = opened(case.html)
    before = report.text("#tiles")
    assert "As replayed" in report.text("#factor-note")
    report.page.locator("#factor").focus()
    for _ in range(8):
        report.page.keyboard.press("ArrowLeft")
    assert report.text("#factor-value") == "× 0.60"
    assert "estimate" in report.text("#factor-note")
    assert report.text("#tiles") != before
    assert report.text("#spoken").startswith(report.text("#headline"))
    report.page.locator("#factor-reset").click()
    assert report.text("#tiles") == before


def test_a_file_stays_small_whatever_the_number_of_series() -> None:
    few, many = made(1, series=2, steps=4_000), made(1, series=100, steps=4_000)
    assert len(many.document["series"]) == 60
    assert len(many.html) < 40 * len(few.html)
    cut = packed(many.found, many.judged, kept_of(many.judged), 60, 60, most=5_000)
    assert cut["highest"] < many.scores["highest"]
    steps = [sum(sum(one["lengths"]) for one in scores["series"]) for scores in (cut, many.scores)]
    assert steps[0] < steps[1]


def test_the_keyboard_reaches_and_works_everything(case: Made, opened: Any) -> None:
    page = opened(case.html).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "signals"
    heads = page.locator("#signal-table thead th")
    heads.first.locator("button").focus()
    page.keyboard.press("Enter")
    assert heads.first.get_attribute("aria-sort") == "ascending"
    names = page.locator("#signal-table tbody th").all_inner_texts()
    assert names == sorted(names)
    page.keyboard.press("Enter")
    assert page.locator("#signal-table tbody th").all_inner_texts() == names[::-1]
    chart = page.locator("#explorer .chart")
    chart.scroll_into_view_if_needed()
    chart.locator("canvas").first.wait_for()
    chart.focus()
    reading = page.locator("#explorer .reading")
    page.keyboard.press("ArrowRight")
    first = reading.inner_text()
    page.keyboard.press("ArrowRight")
    assert "observed" in first
    assert reading.inner_text() != first
    page.keyboard.press("+")
    page.keyboard.press("0")
    seen: set[str] = set()
    page.locator("input[name=theme]").first.focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("(e => e.id || e.className || e.tagName)(document.activeElement)"))
    assert {"factor", "chart", "SUMMARY", "link", "filter", "series"} <= seen


def test_pictures_have_names_and_tables(case: Made, opened: Any) -> None:
    page = opened(case.html).page
    for chart in page.locator(".chart").all():
        assert chart.get_attribute("aria-label")
    # A table beside each picture, and one beside the sweep.
    assert page.locator(".chart").count() + 1 == page.locator("details").count()
    details = page.locator(".card details").first
    details.locator("summary").click()
    rows = len(case.document["pictures"][0]["curve"]["times"])
    expect(details.locator("tbody tr")).to_have_count(rows)
    assert page.locator("#timeline svg").get_attribute("aria-label")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_or_the_switch(case: Made, opened: Any, scheme: Any) -> None:
    page = opened(case.html, color_scheme=scheme).page
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(16, 20, 24)"
    assert page.evaluate(paper) == (light if scheme == "light" else dark)
    for name, colour in (("dark", dark), ("light", light)):
        page.locator(f"input[value={name}] + span").click()
        assert page.evaluate(paper) == colour
    page.emulate_media(media="print")
    assert not page.locator("#factor").is_visible()


def test_without_incidents_it_speaks_of_pages_only(opened: Any) -> None:
    case = made(2, incidents=0)
    report = opened(case.html)
    everything(report.page)
    assert report.said == []
    assert report.text("#headline").startswith("You would have had")
    assert "--incidents" in report.text("main")


def test_where_nothing_was_scored_it_speaks_of_no_pages(
    opened: Any, tmp_path: Path, detector: Callable[..., Result]
) -> None:
    times = range(1_759_708_800, 1_759_708_800 + 100 * 300, 300)
    lines = [f"{t},{10 + i % 7}" for i, t in enumerate(times)]
    (tmp_path / "s.csv").write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    detector("backtest", tmp_path / "s.csv", "--step", "5m", "--html", tmp_path / "r.html")
    report = opened((tmp_path / "r.html").read_text(encoding="utf-8"))
    everything(report.page)
    assert report.said == []
    for factor in ("1", "2"):
        report.page.evaluate(
            "(v) => { const f = document.getElementById('factor');"
            " f.value = v; f.dispatchEvent(new Event('input')); }",
            factor,
        )
        assert report.text("#headline").startswith("Nothing was scored")
        assert "0 a week" not in report.text("main")


def test_uplot_is_the_one_that_is_pinned() -> None:
    lines = (ASSETS / "uPlot.pin").read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == 3
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest


def test_the_command_writes_it(tmp_path: Path, detector: Callable[..., Result]) -> None:
    times = range(1_759_708_800, 1_759_708_800 + 600 * 300, 300)
    lines = [f"{t},{10 + i % 7}" for i, t in enumerate(times)]
    (tmp_path / "s.csv").write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    incident = f"- {{start: {times[400]}, end: {times[410]}, note: made}}\n"
    (tmp_path / "i.yml").write_text(incident)
    given = [tmp_path / "s.csv", "--step", "300s", "--incidents", tmp_path / "i.yml"]
    given += ["--report", tmp_path / "r.json", "--html", tmp_path / "r.html"]
    code, _, errors = detector("backtest", *given)
    assert code == 0, errors
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    inside = re.search(r'id="report">(.*?)</script>', html)
    assert inside
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert json.loads(inside[1]) == report
    assert report["incidents"][0]["why"]
