"""Chromium, to look at pages as people do: in light and dark, wide and narrow, and printed.

    with Chromium() as chromium:
        for look in LOOKS:
            with chromium.open(url, look) as page:
                ...

Nothing but files and loopback is let through, and a page that asks for more fails its test.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from playwright.sync_api import ConsoleMessage, Page, Route
    from typing_extensions import Self

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_IT = (
    "Chromium is not on this machine, so nobody has looked at the pages: on Debian "
    "`apt-get install chromium`, elsewhere put `chromium` or `google-chrome` on the PATH."
)
_SERIOUS = ("serious", "critical")


class Look(NamedTuple):
    """A way to look at a page."""

    scheme: Literal["light", "dark"]
    width: int
    media: Literal["screen", "print"] = "screen"


WIDE, NARROW, PAPER = 1280, 390, 700
LOOKS = (
    Look("light", WIDE),
    Look("dark", NARROW),
    Look("dark", PAPER, "print"),
    Look("dark", WIDE),
    Look("light", NARROW),
)
"""The first three have every scheme, width and medium in them."""


def require() -> str:
    """Chromium's path; without one the test is skipped, or where CI is set, fails."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO_GET_IT)
    return found


class Chromium:
    """A running Chromium without a window."""

    def __init__(self) -> None:
        program = require()
        self._axe = Axe()
        self._playwright = sync_playwright().start()
        # As root, which has no sandbox of its own, Chromium starts only so.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._browser = self._playwright.chromium.launch(executable_path=program, args=arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._browser.close()
        self._playwright.stop()

    @contextmanager
    def open(self, url: str, look: Look = LOOKS[0]) -> Iterator[Page]:
        """An open page; at its end it must have complained of nothing, nor asked for more."""
        wrong: list[str] = []
        page = self._browser.new_page()

        def let_through(route: Route) -> None:
            parts = urlsplit(route.request.url)
            if parts.scheme in ("file", "data") or parts.hostname == "127.0.0.1":
                route.continue_()
            else:
                wrong.append(f"asked for {route.request.url}")
                route.abort()

        def listen(said: ConsoleMessage) -> None:
            if said.type == "error":
                wrong.append(f"said {said.text}")

        page.route("**/*", let_through)
        page.on("console", listen)
        show(page, look)
        page.goto(url)
        try:
            yield page
        finally:
            page.close()
        assert not wrong, f"the page {'; '.join(wrong)}"

    def barriers(self, page: Page) -> list[str]:
        """What keeps people from using a page, of what axe takes for serious or critical."""
        if not page.evaluate("'axe' in window"):
            page.evaluate(self._axe.axe_script)
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [
            f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}"
            for one in found
            if one["impact"] in _SERIOUS
        ]


def show(page: Page, look: Look) -> None:
    """Let a page be looked at in another way."""
    page.set_viewport_size({"width": look.width, "height": 900})
    page.emulate_media(media=look.media, color_scheme=look.scheme)
