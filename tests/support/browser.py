"""Chromium, and what a page in it must fulfil."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

WIDTHS = (400, 1400)

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="needs Chromium: on Debian, apt-get install chromium chromium-driver",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Run Chromium without a window; `profile` is its directory."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "hide-scrollbars",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()


def show(browser: Chrome, page: Path, width: int, dark: bool = False) -> None:
    """Open the page in a window of this width, from an empty console."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())


def check_figures_load_and_console_is_silent(browser: Chrome) -> list[str]:
    """Check the page that is shown; return the addresses of its figures."""
    images = browser.execute_script(
        "return [...document.images].map(i => [i.src, i.naturalWidth, i.clientWidth, i.alt])"
    )
    assert images
    assert [src for src, natural, shown, _ in images if natural == 0 or shown < 200] == []
    assert [src for src, *_, alt in images if len(alt) < 10] == []
    assert browser.get_log("browser") == []
    return [src for src, *_ in images]


def check_page_does_not_scroll_sideways(browser: Chrome, width: int) -> None:
    """Check the page that is shown, with all that it hides unfolded."""
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    # What sticks out of the window, other than inside a box that scrolls by itself.
    wide = browser.execute_script("""
        const out = [];
        for (const e of document.querySelectorAll('main *, header *, nav *')) {
          if (e.closest('.scroll, pre') && !e.matches('.scroll, pre')) continue;
          if (e.getBoundingClientRect().right > innerWidth + 1) out.push(e.outerHTML.slice(0, 80));
        }
        return out;""")
    assert wide == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
