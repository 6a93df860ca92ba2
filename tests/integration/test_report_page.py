"""The report as a page: what people read of a run, and the index of the last ones."""

from __future__ import annotations

import itertools
import json
import re
import stat
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.accounting.samples import Samples
from target_activecampaign.accounting.throughput import Throughput
from tests.sandbox.test_sandbox_page import Page
from tests.support.mirrors import NO_GUARDS, whole
from tests.support.target_runner import people, record, schema

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

RECORDS = "Record outcomes"


def pages(outcome: Outcome) -> list[Path]:
    return sorted((outcome.folder / "reports").glob("run-*.html"))


def page_of(outcome: Outcome) -> Page:
    """The page of the only run."""
    (path,) = pages(outcome)
    return Page(path.read_text("utf-8"))


def html_of(load: TargetRunner, run_id: str) -> str:
    return (load.folder / "reports" / f"run-{run_id}.html").read_text("utf-8")


@pytest.fixture
def mixed(load: TargetRunner) -> Outcome:
    """A run with some of each: added, merged, refused, unmapped."""
    messages = [schema(tier="string"), *people(3), *people(1), record("nobody"), record(None)]
    return load(messages, field_mapping={"tier": "ignore"}, connection_name="Shop").succeeded()


def test_it_tells_what_ran_and_its_numbers_add_up(mixed: Outcome) -> None:
    page, report = page_of(mixed), mixed.report
    for said in ("Succeeded, except for 2 rejected records.", "Records read 6 Delivered 3",
                 "Connection Shop", "into list 1, Newsletter"):  # fmt: skip
        assert said in page.text
    assert page.links["See why records were rejected, and what to do."] == "#rejected"
    assert f"Imports {report['imports']} Requests {report['requests']}" in page.text
    rows = page.rows(RECORDS)
    told = {kind: int(row["Records"]) for kind, row in rows.items() if kind != "Outcome"}
    assert told.pop("read") == sum(told.values()) == 6
    assert {kind: n for kind, n in told.items() if n} == {"added": 3, "merged": 1, "invalid": 2}


def test_it_tells_of_consent_and_suppression(load: TargetRunner) -> None:
    load.config.update(
        guards={"max_consent_loss_pct": None}, streams={"blocked": {"role": "suppression"}}
    )
    names = ("ada", "bob", "cyd")
    consented = [record(f"{one}@example.com", MarketingConsent=True) for one in names]
    load([schema(MarketingConsent="boolean"), *consented]).succeeded()
    said = {"ada": True, "bob": False, "cyd": "maybe", "eve": True}
    now = [record(f"{one}@example.com", MarketingConsent=yes) for one, yes in said.items()]
    blocked = [schema("blocked"), record("dee@example.com", "blocked")]

    outcome = load([*blocked, schema(MarketingConsent={}), *now]).succeeded()

    page = Page(html_of(load, outcome.report["run_id"]))
    assert "Succeeded, with 2 skipped records." in page.text
    assert "Records read 5 Delivered 1 Unchanged, not sent 1" in page.text
    assert "Contacts removed 1" in page.text
    assert page.links["See why records were skipped."] == "#skipped"
    assert page.links["See which values of consent are neither yes nor no."] == "#consent"
    assert page.rows("Consent")["profiles"] == {
        "Stream": "profiles",
        "Read from": "MarketingConsent",
        "Values that are neither yes nor no": "1 of MarketingConsent",
        "Contacts unsubscribed": "1",
        "Stopped by a guard": "0",
    }


def test_several_streams_have_a_row_each(load: TargetRunner) -> None:
    messages = [schema(), *people(2), schema("vip"), record("nobody", "vip")]
    page = page_of(load(messages).succeeded())
    header, *rows = page.tables[RECORDS][-3:]
    told = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(one["Stream"], one["added"], one["invalid"], one["read"]) for one in told] == [
        ("profiles", "2", "0", "2"),
        ("vip", "0", "1", "1"),
    ]


def test_it_tells_why_records_were_refused_and_where_they_are(mixed: Outcome) -> None:
    page, report = page_of(mixed), mixed.report
    rows = page.rows("Rejected records")
    assert set(rows) == {"EMAIL_INVALID", "EMAIL_MISSING"}
    for code, row in rows.items():
        cause = report["refused"][code]
        assert (row["Records"], row["Meaning"]) == (str(cause["records"]), cause["meaning"])
        assert row["What to do"] == cause["do"]
    (file,) = mixed.reject_files
    assert file.name in page.text


def test_it_shows_where_each_property_goes(mixed: Outcome) -> None:
    rows = page_of(mixed).rows("Mapping")
    assert [tuple(row.values()) for row in rows.values()] == [
        ("email", "E-mail address email", "email", "p•••@e•••.com"),
        ("first_name", "First name first_name", "text", "P•••"),
    ]
    assert "Unmapped: tier." in page_of(mixed).text


EVERY_FORM: dict[str, Any] = {
    "tier": "Gold",
    "interests": ["Tea", "Recipes"],
    "birthday": "1990-05-17",
    "lifetime_value": 12.5,
    "notes": "likes <tea>",
    "phone": "+49 30 1234567",
    "label": "vip customer",
}


@pytest.mark.parametrize("personal", [False, True])
def test_samples_are_as_they_arrive_and_masked_unless_personal_data_may_be_shown(
    load: TargetRunner, personal: bool
) -> None:
    properties: dict[str, Any] = {**dict.fromkeys(EVERY_FORM, "string"), "lifetime_value": "number"}
    properties["interests"] = {"type": "array"}
    ada = record("ada@example.com", first_name="Ada", **EVERY_FORM)
    messages = [schema(**properties), ada, record("nobody"), *people(2)]
    settings = {"field_mapping": {"label": "tags"}, "report_personal_data": personal}
    first = load(messages, **settings).succeeded()
    again = load(messages, **settings).succeeded()

    assert again.counts["unchanged"] == 3, "a run that changes nothing has them too"
    for outcome in (first, again):
        (samples,) = outcome.report["samples"]["mapping"].values()
        assert samples == {
            "email": "ada@example.com" if personal else "a•••@e•••.com",
            "first_name": "Ada" if personal else "A•••",
            "phone": "+49 30 1234567" if personal else "+•••",
            "label": "vip customer" if personal else "v•••",
            "tier": "Gold",
            "interests": "Tea, Recipes",
            "birthday": "1990-05-17",
            "lifetime_value": "12.5",
            "notes": "likes <tea>" if personal else "l•••",
        }
    rows = Page(html_of(load, again.report["run_id"])).rows("Mapping")
    assert {name: row["Sample, as sent"] for name, row in rows.items()} == samples
    assert (rows["tier"]["Destination"], rows["tier"]["Type"]) == ("Tier %TIER%", "dropdown")


def test_streams_that_a_map_changes_have_samples_too(load: TargetRunner) -> None:
    maps = {"profiles": {"tier": "'Silver'"}}
    outcome = load([schema(), *people(3)], stream_maps=maps).succeeded()
    assert outcome.report["samples"]["mapping"]["profiles"]["tier"] == "Silver"


def test_up_to_three_refused_records_of_a_cause_are_examples(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": "gone@example.com", "lists": {"1": 2}})
    bad = [record(f"{n}@example.com", tier="Iron") for n in (1, 1, 2, 3, 4)]
    out = record("gone@example.com")
    outcome = load([schema(tier="string"), *bad, record(None), out, *people(1)]).succeeded()

    rejects = outcome.report["samples"]["rejects"]
    assert {code: len(examples) for code, examples in rejects.items()} == {
        "FIELD_OPTION_UNKNOWN": 3,
        "EMAIL_MISSING": 1,
        "OPTED_OUT": 1,
    }
    assert rejects["EMAIL_MISSING"][0]["person"] is None
    rows = page_of(outcome).rows("Rejected records")
    said = rows["FIELD_OPTION_UNKNOWN"]["Examples"]
    for n in (1, 2, 3):
        assert (
            f"profiles, {n}•••@e•••.com: Property 'tier' has a choice that is not an option of"
            in said
        )
    assert "Iron" not in page_of(outcome).text
    assert rows["EMAIL_MISSING"]["Examples"].startswith("profiles, no usable address: ")
    assert rows["OPTED_OUT"]["Examples"].startswith("profiles, g•••@e•••.com: ")


def test_what_activecampaign_says_of_a_record_is_shown_when_it_quotes_nothing() -> None:
    def example(reason: str, *, personal: bool) -> str | None:
        samples = Samples(personal=personal)
        samples.refused("profiles", "ada@example.com", "REFUSED_BY_IMPORT", reason)
        return samples.rejects["REFUSED_BY_IMPORT"][0]["reason"]

    plain, quoting = "Field 'email' incorrect format", "Ada Lovelace is not wanted"
    assert example(plain, personal=False) == plain
    assert example(quoting, personal=False) == ("ActiveCampaign's reason is in the reject file.")
    assert example(quoting, personal=True) == quoting


def test_throughput_stands_against_the_limit_in_a_chart_and_in_numbers(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load([schema(), *people(5)], imports_per_minute=100).succeeded()
    confirmed = outcome.report["confirmed_over_time"]
    assert (confirmed["seconds"], confirmed["limit_a_minute"]) == (10, 25_000)
    assert sum(confirmed["contacts"]) == len(sandbox.export()) == 5

    page = page_of(outcome)
    rows = page.rows("Throughput")
    assert rows["Total"]["Contacts"] == "5"
    # The chart before it is that of the audience, with a bar for the only run.
    bars = [tag for tag, _ in page.tags if tag == "rect"][1:]
    assert len(bars) == len(rows) - 1 == len(confirmed["contacts"])
    assert [one["class"] for tag, one in page.tags if tag == "line"].count("limit") == 1
    _, chart = [one for tag, one in page.tags if tag == "svg"]
    assert (chart["role"], chart["aria-describedby"]) == ("img", "summary")
    assert "Contacts confirmed by imports: 5." in page.text
    assert "limit is 25,000 per minute" in page.text


def test_a_run_of_hours_has_longer_intervals_and_loses_no_contact() -> None:
    throughput = Throughput(0.0)
    for minute in range(121):
        throughput.add(25, minute * 60)
    assert throughput.seconds == 80
    assert len(throughput.contacts) == 7200 // 80 + 1
    assert sum(throughput.contacts) == 121 * 25
    assert throughput.contacts[:3] == [50, 25, 25]


def test_a_mirror_tells_who_left_in_numbers(load: TargetRunner) -> None:
    mirror = {"sync_mode": "mirror", "guards": NO_GUARDS}
    load(whole("ada bob cyd"), **mirror).succeeded()
    run_id = load(whole("ada cyd"), **mirror).succeeded().report["run_id"]
    row = Page(html_of(load, run_id)).rows("Removed contacts")["profiles"]
    assert row["Result"].startswith("Contacts that left the stream are removed")
    told = (row["Contacts in the stream"], row["Removed"], row["Could not be removed"])
    assert told == ("2", "1", "0")


def test_the_index_lists_the_runs_newest_first(load: TargetRunner) -> None:
    first = load([schema(), *people(2)]).succeeded().report
    (load.folder / "reports" / "run-0.json").write_text('{"of": "someone else"}', "utf-8")
    failed = load([schema(), record("nobody"), record("no one")], max_rejects=1)
    assert failed.code == 1
    last = failed.report
    page = Page((load.folder / "reports" / "index.html").read_text("utf-8"))
    (rows,) = page.tables.values()
    told = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    ids = [one["Run"].split()[-1] for one in told]
    assert ids == [last["run_id"], first["run_id"]]
    assert [one["Outcome"].split()[0] for one in told] == ["failed", "completed"]
    assert [one["Read"] for one in told] == ["2", "2"]
    assert [one["Unchanged"] for one in told] == ["0", "0"]
    links = [one["href"] for tag, one in page.tags if tag == "a"]
    assert links == [f"run-{run_id}.html" for run_id in ids]
    shown = Page(html_of(load, last["run_id"])).text
    assert f"Run {last['run_id']}" in shown
    assert last["problem"].split("'")[0] in shown
    assert "Failed." in shown
    assert "Nothing to do." in Page(html_of(load, first["run_id"])).text


def test_the_index_gives_the_reason_of_a_failure_in_brief_and_clean(load: TargetRunner) -> None:
    first = load([schema(), *people(1)]).succeeded().report
    report = {**first, "run_id": "20200101T000000-0", "outcome": "failed"}
    for before in range(90, 120, 5):
        report["problem"] = f"{'x ' * (before // 2)}jane.doe@example.com {load.config['api_key']} y"
        path = load.folder / "reports" / f"run-20200101T000000-{before}.json"
        path.write_text(json.dumps(report), "utf-8")
    load([schema(), *people(1)]).succeeded()

    page = Page((load.folder / "reports" / "index.html").read_text("utf-8"))
    (rows,) = page.tables.values()
    told = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    reasons = [one["Outcome"] for one in told if one["Outcome"].startswith("failed")]
    assert len(reasons) == 6
    assert max(map(len, reasons)) < 140
    assert any("[address]" in reason for reason in reasons)
    assert all(reason.endswith("...") for reason in reasons if "y" not in reason)
    assert "jane" not in page.text
    assert load.config["api_key"][:8] not in page.text
    assert [one["Unchanged"] for one in told[:2]] == ["1", "0"]


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([record("nobody")], "Nothing was delivered: the only record was rejected."),
        ([record("nobody"), record(None)], "Nothing was delivered: all 2 records were rejected."),
    ],
)
def test_a_run_that_delivered_nothing_does_not_say_that_it_worked(
    load: TargetRunner, records: list[dict[str, Any]], says: str
) -> None:
    outcome = load([schema(), *records]).succeeded()
    assert says in page_of(outcome).text
    assert ("div", {"class": "verdict badly"}) in page_of(outcome).tags


def test_names_are_shown_as_they_are_and_never_taken_for_markup(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    name = '<b>bold</b> & "co"'
    stream = "<i>web</i>"
    messages = [schema(stream, **{"<u>": "string"}), *people(1, stream)]
    body = {
        "name": name,
        "stringid": "b",
        "sender_url": "https://example.com",
        "sender_reminder": "r",
    }
    made = sandbox.post("/api/3/lists", {"list": body})["list"]
    outcome = load(messages, list_id=int(made["id"]), connection_name=name)
    (path,) = pages(outcome.succeeded())
    html = path.read_text("utf-8")
    for tag in ("<b>", "<i>", "<u>"):
        assert tag not in html
    assert name in Page(html).text
    assert stream in Page(html).text


def test_a_page_holds_no_person_no_key_and_no_home_folder(
    load: TargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(load.folder))
    outcome = load(
        [schema(), *people(2), record("nobody")],
        connection_name="of jane@example.com",
        rejects_path=str(load.folder / "rejects"),
    ).succeeded()
    for path in [*pages(outcome), outcome.folder / "reports" / "index.html"]:
        html = path.read_text("utf-8")
        assert "of [address]" in html
        for private in ("example.com", "nobody", "Person 1", load.config["api_key"]):
            assert private not in html
        assert str(load.folder) not in html
    assert f"~/rejects/{outcome.reject_files[0].name}" in page_of(outcome).text


def test_a_page_fetches_nothing_runs_nothing_and_is_its_owners(mixed: Outcome) -> None:
    for path in [*pages(mixed), mixed.folder / "reports" / "index.html"]:
        html = path.read_text("utf-8")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        page = Page(html)
        assert not {"script", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
        for _, attributes in page.tags:
            assert "://" not in f"{attributes.get('href')}{attributes.get('src')}"
            assert not any(name.startswith("on") for name in attributes)
        assert not re.search(r"url\(|@import", html)
    left_over = {path.suffix for path in (mixed.folder / "reports").iterdir()}
    assert left_over == {".json", ".html"}


def test_a_page_can_be_heard_and_printed(mixed: Outcome) -> None:
    for path in [*pages(mixed), mixed.folder / "reports" / "index.html"]:
        html = path.read_text("utf-8")
        page = Page(html)
        tags = [tag for tag, _ in page.tags]
        assert dict(page.tags)["html"]["lang"] == "en"
        assert tags.count("main") == tags.count("h1") == tags.count("title") == 1
        levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
        steps = itertools.pairwise(levels)
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in steps), "no level is left out"
        assert tags.count("caption") == tags.count("table")
        assert all(one.get("scope") for tag, one in page.tags if tag == "th")
        ids = [one["id"] for _, one in page.tags if "id" in one]
        assert len(ids) == len(set(ids))
        for _, one in page.tags:
            for name in ("aria-labelledby", "aria-describedby"):
                assert one.get(name, ids[0]) in ids
        assert "@media (prefers-color-scheme: dark)" in html
        assert "@media print" in html


@pytest.mark.parametrize("media", ["light", "dark"])
def test_text_stands_out_from_its_ground(mixed: Outcome, media: str) -> None:
    (path,) = pages(mixed)
    roots = re.findall(r":root \{(.*?)\}", path.read_text("utf-8"), re.DOTALL)
    root = roots[0] if media == "light" else roots[1]
    colours = dict(re.findall(r"--(\w+): (#\w+);", root))
    for text in ("text", "quiet", "link", "good", "some", "bad"):
        for ground in ("ground", "raised"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def contrast(one: str, other: str) -> float:
    """How much two colours differ, by the formula of WCAG 2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_page_that_cannot_be_written_is_a_warning(load: TargetRunner) -> None:
    (load.folder / "reports" / "index.html").mkdir(parents=True)
    outcome = load([schema(), *people(2)]).succeeded()
    assert outcome.counts == {"read": 2, "added": 2}
    (warning,) = outcome.warnings
    assert "page can't be written: reports/index.html can't be used: it is a folder." in warning
    assert outcome.report["outcome"] == "completed"
