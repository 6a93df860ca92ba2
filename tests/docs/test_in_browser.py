"""The pages in a real browser: everybody can read them, on every screen and on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.browser import LOOKS, NARROW, WIDE, Chromium, Look, show
from tests.support.fork_server import ForkedTargetRunner
from tests.support.mirrors import NO_GUARDS, quick_sandbox, whole
from tests.support.target_runner import people, record, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.support.fork_server import ForkServer
    from tests.support.sandbox_server import SandboxServer

LONG = "a_name_that_a_machine_gave_to_a_property_and_that_nobody_ever_had_to_read_aloud"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def account() -> Iterator[SandboxServer]:
    with quick_sandbox() as server:
        yield server


@pytest.fixture(scope="module")
def pages(
    account: SandboxServer, fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The address of each page by its name, with something of everything on it."""
    folder = tmp_path_factory.mktemp("pages")
    load = ForkedTargetRunner(folder, account.url, account.api_key, fork_server)
    crowd = " ".join(f"member{number}" for number in range(60))
    mirror = {"streams": {"club": {"sync_mode": "mirror", "guards": NO_GUARDS}}}
    settings = {"connection_name": "Coffee shop", "on_unknown_option": "drop", **mirror}
    settings |= {"alert_on": {"refused_pct": 2}}
    load(whole(crowd, "club"), **settings).succeeded()
    account.prepare({"email": "gone@example.com", "lists": {"1": 2}})
    addresses: dict[str, str] = {}

    def keep(name: str, run_id: str) -> None:
        addresses[name] = (folder / "reports" / f"run-{run_id}.html").as_uri()

    interests = {"type": "array", "items": {"type": "string"}}
    messages = [
        *whole(crowd.partition(" ")[2], "club"),
        schema("web", tier="string", interests=interests, **{LONG: "string"}),
        record("ada@example.com", "web", tier="Gold", interests=["Tea", "Chess"]),
        record("gone@example.com", "web"),
        record("b" * 60 + "@example.com", "web", tier="Gold"),
        record("nobody", "web"),
        record(None, "web"),
        *people(3, "web"),
        *people(1, "web"),
    ]
    keep("a report", load(messages, **settings).succeeded().report["run_id"])
    account.prepare({"email": "eve@example.com", "first_name": "Eve"})
    news = [schema(tier="string"), record("eve@example.com", first_name="Eva", tier="Gold")]
    previewed = load([*news, *people(300)], dry_run=True).succeeded()
    assert previewed.report["samples"]["changes"]
    keep("a preview", previewed.report["run_id"])
    load.options = ["--limit=2"]
    limited = load([schema(tier="string"), *people(9, tier="Gold")]).succeeded()
    load.options = []
    keep("a limited run", limited.report["run_id"])
    failed = load([schema(), record("nobody"), record("no one")], max_rejects=1)
    assert failed.code == 1
    keep("a failed run", failed.report["run_id"])
    keep("a run without records", load([schema()]).succeeded().report["run_id"])
    addresses["the index"] = (folder / "reports" / "index.html").as_uri()
    addresses["the sandbox"] = f"{account.url}/?search=member5"
    return addresses


def test_what_is_wrong_with_a_page_would_be_seen(chromium: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<body style="color: #ccc"><p>pale</p><img src="https://example.com/a.png">')
    barriers: list[str] = []

    def look() -> None:
        with chromium.open(path.as_uri()) as page:
            barriers.extend(chromium.barriers(page))

    with pytest.raises(AssertionError, match=r"asked for https://example\.com/a\.png"):
        look()
    rules = {barrier.partition(":")[0] for barrier in barriers}
    assert rules >= {"color-contrast", "image-alt", "html-has-lang", "document-title"}


@pytest.mark.parametrize(
    "name", ["a report", "a preview", "a limited run", "a failed run", "the index", "the sandbox"]
)
def test_a_page_can_be_used_by_all_in_every_look(
    chromium: Chromium, pages: dict[str, str], name: str
) -> None:
    with chromium.open(pages[name]) as page:
        for look in LOOKS:
            show(page, look)
            if look in LOOKS[:3]:  # it takes a second, and finds nothing else in the others
                assert chromium.barriers(page) == [], look
            room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert room[0] <= room[1], f"{look}: it has to be scrolled sideways"
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            dark = look.scheme == "dark" and (look.media == "screen" or name == "the sandbox")
            assert (ground == "rgb(13, 17, 23)") == dark, look


def test_the_numbers_of_a_report_add_up_as_they_are_seen(
    chromium: Chromium, pages: dict[str, str]
) -> None:
    with chromium.open(pages["a report"]) as page:
        figures = dict(
            zip(
                page.locator(".figures dt").all_inner_texts(),
                map(int, page.locator(".figures dd").all_inner_texts()),
                strict=True,
            )
        )
        read, left = figures.pop("Records read"), figures.pop("Contacts removed")
        assert read == sum(figures.values()) == 59 + 9
        assert left == 1
        table = page.get_by_role("table", name="Records by outcome", exact=True)
        kinds = [int(text) for text in table.locator("td.number").all_inner_texts()]
        assert kinds.pop() == sum(kinds) == read
        by_stream = page.get_by_role("table", name="Records by stream", exact=True)
        rows = by_stream.locator("tbody tr").all()
        told = [[int(text) for text in row.locator("td").all_inner_texts()] for row in rows]
        assert [sum(row[:-1]) == row[-1] for row in told] == [True, True]
        assert [sum(column) for column in zip(*told, strict=True)] == [*kinds, read]


def test_charts_of_the_audience_show_what_its_tables_say(
    chromium: Chromium, pages: dict[str, str]
) -> None:
    with chromium.open(pages["a report"]) as page:
        charts = page.locator(".small-chart svg")
        assert charts.count() == 2
        club = charts.first.locator("rect")
        sizes = page.get_by_role("table", name="club, list 1", exact=True)
        told = [row.locator("td").all_inner_texts()[1] for row in sizes.locator("tbody tr").all()]
        heights = [float(str(bar.get_attribute("height"))) for bar in club.all()]
        first = int(told[-1])
        assert [round(first * height / heights[0]) for height in reversed(heights)] == [
            int(size) for size in told
        ]
        # ActiveCampaign's clock, by which runs are in order, is good to a second.
        assert sorted(told) == ["59", "60"]


def test_the_first_screen_says_whether_it_worked_and_leads_to_what_to_do(
    chromium: Chromium, pages: dict[str, str]
) -> None:
    for name, says in (
        ("a report", "Succeeded, except for 3 rejected records."),
        ("a preview", "Nothing was sent."),
        ("a limited run", "2 contacts sent, and all values arrived as meant."),
        ("a failed run", "Failed."),
        ("a run without records", "Succeeded, but the input had no records."),
    ):
        with chromium.open(pages[name]) as page:
            assert says in page.locator(".verdict").inner_text()
            for width in (WIDE, NARROW):
                show(page, Look("light", width))
                assert _is_seen(page, ".verdict"), f"{name} at {width}"
    with chromium.open(pages["a report"]) as page:
        page.get_by_role("link", name="See why records were rejected").click()
        assert _is_seen(page, "#rejected")
        page.go_back()
        page.get_by_text("Chart data as a table").click()
        assert page.get_by_role("table", name="over time").is_visible()
        page.get_by_role("link", name="All runs").click()
        assert page.get_by_role("link", name="UTC").count() == 6


def test_the_sandbox_is_searched_and_paged_without_a_mouse(
    chromium: Chromium, pages: dict[str, str], account: SandboxServer
) -> None:
    with chromium.open(account.url, Look("dark", NARROW)) as page:
        reached = _focused_by_tab(page)
        for text in ("Skip to the lists", "Contacts", "Search", "Next", "Last"):
            assert text in reached
        page.get_by_label("Address contains").focus()
        page.keyboard.type("member5")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?search=member5#contacts")
        assert page.get_by_text("1 to 11 of 11 whose address contains").is_visible()
        page.get_by_role("link", name="Show all").press("Enter")
        page.get_by_role("link", name="Next").press("Enter")
        page.wait_for_url("**page=2#contacts")
        assert page.get_by_text("Page 2 of 2").is_visible()


def _is_seen(page: Page, selector: str) -> bool:
    """Whether something is on the screen as it is, without scrolling."""
    script = "e => { const r = e.getBoundingClientRect(); return [r.top, r.bottom, innerHeight]; }"
    top, bottom, height = page.locator(selector).evaluate(script)
    return bool(0 <= top < bottom <= height)


def _focused_by_tab(page: Page) -> list[str]:
    """The texts of what the Tab key reaches; each is seen, and shows that it has the focus."""
    reached: list[str] = []
    while len(reached) < 100:
        page.keyboard.press("Tab")
        text, outline, top, bottom, height = page.evaluate(
            """() => {
                const e = document.activeElement, r = e.getBoundingClientRect();
                const style = getComputedStyle(e);
                const outline = style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
                const text = e === document.body ? null : (e.innerText || e.name || "");
                return [text, outline, r.top, r.bottom, innerHeight];
            }"""
        )
        if text is None:
            return reached
        assert outline >= 2, f"{text} does not show that it has the focus"
        assert top < height, f"{text} is not seen"
        assert bottom > 0, f"{text} is not seen"
        reached.append(text)
    raise AssertionError("the Tab key never leaves the page")
