"""The report in a real browser: it loads, it is legible, and it leads somewhere.

OTCAL_REPORT=results/latent/report/index.html checks that page too; OTCAL_SCREENSHOTS=DIR keeps
what the browser saw.
"""

from __future__ import annotations

import base64
import os
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from selenium.webdriver import Chrome

from support.browser import (
    WIDTHS,
    check_figures_load_and_console_is_silent,
    check_page_does_not_scroll_sideways,
    needs_chromium,
    show,
)

REAL = os.environ.get("OTCAL_REPORT")

pytestmark = needs_chromium


@pytest.fixture(params=["generated", "real"] if REAL else ["generated"])
def page(request: pytest.FixtureRequest) -> Path:
    if request.param == "real":
        return Path(str(REAL)).resolve()
    path: Path = request.getfixturevalue("report")
    return path


def screenshot(browser: Chrome) -> bytes:
    """Return the whole page as PNG."""
    answer = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    return base64.b64decode(answer["data"])


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_loads_and_the_console_is_silent(
    browser: Chrome, page: Path, width: int
) -> None:
    show(browser, page, width)
    check_figures_load_and_console_is_silent(browser)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_fetched_from_elsewhere(browser: Chrome, page: Path, width: int) -> None:
    show(browser, page, width)
    addresses = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert [a for a in addresses if not a.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_scroll_sideways(browser: Chrome, page: Path, width: int) -> None:
    show(browser, page, width)
    check_page_does_not_scroll_sideways(browser, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_text_is_large_enough_and_lines_short_enough(
    browser: Chrome, page: Path, width: int
) -> None:
    show(browser, page, width)
    assert browser.execute_script("return document.querySelector('meta[name=viewport]') !== null")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    small = browser.execute_script("""
        const out = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const e = walker.currentNode.parentElement;
          if (!walker.currentNode.data.trim() || e.closest('script, style, math')) continue;
          const size = parseFloat(getComputedStyle(e).fontSize);
          if (size < 14) out.push([size, walker.currentNode.data]);
        }
        return out;""")
    assert small == []
    characters: list[float] = browser.execute_script("""
        return [...document.querySelectorAll('.prose p, figcaption p')].map(
          p => p.clientWidth / parseFloat(getComputedStyle(p).fontSize) / 0.48);""")
    assert max(characters) < 100


def contrast(one: list[float], other: list[float]) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: list[float]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(browser: Chrome, page: Path, dark: bool) -> None:
    show(browser, page, 1400, dark)
    pairs: list[Any] = browser.execute_script("""
        const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
        const seen = new Map();
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const e = walker.currentNode.parentElement;
          if (!walker.currentNode.data.trim() || e.closest('script, style')) continue;
          let b = e;
          while (b.parentElement && rgb(getComputedStyle(b).backgroundColor)[3] === 0)
            b = b.parentElement;
          const pair = [getComputedStyle(e).color, getComputedStyle(b).backgroundColor];
          seen.set(pair.join(), [rgb(pair[0]), rgb(pair[1]), walker.currentNode.data.trim()]);
        }
        return [...seen.values()];""")
    weak = [text for front, back, text in pairs if contrast(front[:3], back[:3]) < 4.5]
    assert weak == []
    page_colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(page_colour.strip("rgba()").split(",")[0]) < 128) is dark


def test_every_link_leads_somewhere(browser: Chrome, page: Path) -> None:
    show(browser, page, 1400)
    links: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('a[href]')].map(a => a.href)"
    )
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = {urlparse(link) for link in links}
    local = [t for t in targets if t.scheme == "file"]
    assert len(local) > 20
    assert [t.path for t in local if not Path(unquote(t.path)).is_file()] == []
    assert [t.fragment for t in local if t.fragment and t.fragment not in ids] == []
    outside = [Path(unquote(t.path)) for t in local]
    assert [path for path in outside if not path.is_relative_to(page.parent)] == []


def test_a_click_enlarges_a_figure(browser: Chrome, page: Path) -> None:
    show(browser, page, 1400)
    browser.execute_script("document.querySelector('a.enlarge').click()")
    image = "document.querySelector('dialog[open] img')"
    assert browser.execute_script(f"return {image}.src") == browser.execute_script(
        "return document.querySelector('a.enlarge').href"
    )
    assert browser.current_url == page.as_uri()
    browser.execute_script(f"{image}.click()")
    assert browser.execute_async_script(
        "const done = arguments[0];"
        "requestAnimationFrame(() => setTimeout(() => done(!document.querySelector('dialog'))))"
    )


def test_the_page_works_without_scripts(browser: Chrome, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page, 1400)
        metrics = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})
        assert metrics["cssContentSize"]["height"] > 3000
        links = browser.find_elements("css selector", "a.enlarge")
        assert all(link.get_dom_attribute("href").endswith(".png") for link in links)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_screenshot_shows_the_whole_page(
    browser: Chrome, page: Path, width: int, dark: bool, tmp_path: Path
) -> None:
    show(browser, page, width, dark)
    picture = screenshot(browser)
    shown_width, shown_height = struct.unpack(">II", picture[16:24])
    assert shown_width == width
    assert shown_height > 3000
    folder = Path(os.environ.get("OTCAL_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{page.parent.parent.name}-{width}-{'dark' if dark else 'light'}.png"
    (folder / name).write_bytes(picture)
