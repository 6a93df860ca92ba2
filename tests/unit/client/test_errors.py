"""Whatever ActiveCampaign answers, the error says what happened, where, and what to do."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import (
    ActiveCampaignError,
    AddressTaken,
    AuthenticationError,
    CertificateRejected,
    Client,
    ClientClosed,
    ConnectionFailed,
    ImportRateLimited,
    ImportRefused,
    InvalidRequest,
    MalformedAnswer,
    NotFound,
    OutcomeUnknown,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    RateLimiter,
    Redirected,
    RequestRefused,
    RequestTimeout,
    ServerError,
    errors,
)
from tests.support.api_stub import ApiStub, Reply, needs_openssl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from target_activecampaign.client.rate_limit.state import Kind

KEY = "0123456789abcdef-the-secret-key"
EMAIL = "someone.private@example.com"
PAGE = b"\n<!DOCTYPE html><html><title>Log in</title></html>"


def ask(url: str, call: Callable[[Client], Any] | None = None, **options: Any) -> Any:
    """Make one call with a client of its own."""
    defaults: dict[str, Any] = {
        "retry_seconds": 0,
        "timeout": 0.5,
        "budget": RateLimiter(None, None, None),
    }
    with Client(url, KEY, **{**defaults, **options}) as client:
        return (call or Client.whoami)(client)


def import_two(client: Client) -> Any:
    return client.import_contacts(b'{"contacts":[{},{}]}', 2)


def import_400(message: str, *reasons: Any) -> Reply:
    body = {"success": 0, "message": message, "failureReasons": list(reasons)}
    return Reply(body, 400)


FAULTY = "JSON payload did not pass validation."
LIMIT = "Up to 100 imports may be requested per minute."
ANSWERS: list[tuple[str, Reply, type[ActiveCampaignError]]] = [
    ("no such key", Reply(b"", 401), AuthenticationError),
    ("a 403 without a word", Reply(b"", 403), AuthenticationError),
    ("a 403 with a page", Reply(PAGE, 403), AuthenticationError),
    ("a log-in page", Reply(PAGE), AuthenticationError),
    ("a forbidden thing", Reply({"message": "Forbidden"}, 403), PermissionDenied),
    ("a forbidden list", Reply({"errors": [{"title": "Forbidden"}]}, 403), PermissionDenied),
    ("an unpaid bill", Reply(b"{}", 402), PaymentRequired),
    ("nothing there", Reply({"message": "No Result found for _List with id 7"}, 404), NotFound),
    ("an invalid value", Reply({"errors": [{"code": "email_invalid"}]}, 422), InvalidRequest),
    (
        "an invalid request",
        Reply({"success": 0, "message": "It is required."}, 400),
        InvalidRequest,
    ),
    ("an error as a text", Reply({"errors": "Bulk operation failed."}, 422), InvalidRequest),
    ("too much", Reply(b"<html>", 413), InvalidRequest),
    (
        "a contact at fault",
        import_400(FAULTY, {"contact": 1, "failureReason": EMAIL}),
        ImportRefused,
    ),
    ("an import at fault", import_400(FAULTY, "Invalid or unparsable json"), ImportRefused),
    ("a 200 that says no", Reply({"success": 0, "message": "Not queued."}), ImportRefused),
    ("a 200 that says false", Reply({"Success": False, "batchId": None}), ImportRefused),
    ("a redirect", Reply(b"", 302, {"Location": "https://login.example.com/"}), Redirected),
    ("a full second", Reply(b"", 429, {"Retry-After": "30"}), RateLimited),
    ("a full minute", import_400("Rate limit exceeded.", LIMIT), ImportRateLimited),
    ("a full minute, said differently", import_400("No.", LIMIT), ImportRateLimited),
    (
        "a full minute with a good status",
        Reply(import_400("Rate limit exceeded.").body),
        ImportRateLimited,
    ),
    ("a failure", Reply(PAGE, 500), ServerError),
    ("a pause", Reply(b"upstream connect error", 503), ServerError),
    ("silence", Reply(fault="hang"), RequestTimeout),
    ("a time-out of the server's", Reply(b"", 408), RequestTimeout),
    ("an empty answer", Reply(b""), MalformedAnswer),
    ("no JSON", Reply(b"PHP Warning: oops"), MalformedAnswer),
    ("nested JSON", Reply(b"[" * 100_000), MalformedAnswer),
    ("bytes that are no text", Reply(b'{"a": "\xff"}'), MalformedAnswer),
    ("another shape", Reply([1, 2]), MalformedAnswer),
    ("half an answer", Reply({"user": {"id": "1"}}, fault="truncate"), MalformedAnswer),
    ("packed, but not", Reply(b"{}", headers={"Content-Encoding": "gzip"}), MalformedAnswer),
    ("a lost connection", Reply(fault="reset"), ConnectionFailed),
]


@pytest.mark.parametrize(
    ("reply", "kind"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_answer_raises_its_kind_of_error(
    reply: Reply, kind: type[ActiveCampaignError], caplog: pytest.LogCaptureFixture
) -> None:
    with ApiStub(reply) as stub, pytest.raises(ActiveCampaignError) as caught:
        ask(stub.url, import_two)
    error = caught.value
    assert type(error) is kind
    assert "POST /import/bulk_import" in str(error)
    assert error.meaning in str(error)
    assert error.advice in str(error)
    assert error.effect_unknown == issubclass(kind, OutcomeUnknown)
    told = "".join([*traceback.format_exception(error), repr(error), caplog.text])
    assert EMAIL not in told
    assert KEY not in told


def test_every_kind_of_error_is_tested() -> None:
    tested = {kind for _, _, kind in ANSWERS} | {AddressTaken, CertificateRejected, ClientClosed}
    assert tested == set(coded_kinds())


def test_drawing_of_the_tree_is_complete() -> None:
    assert errors.__doc__ is not None
    drawing = errors.__doc__.split("::", 1)[1].split('"Retried"', maxsplit=1)[0]
    drawn = {}
    for line in drawing.splitlines():
        words = line.strip("│├└─ ").split()
        if words:
            drawn[words[0]] = line
    kinds: list[type[ActiveCampaignError]] = [ActiveCampaignError, *subclasses(ActiveCampaignError)]
    assert list(drawn) == [kind.__name__ for kind in kinds]
    for kind in coded_kinds():
        assert kind.code in drawn[kind.__name__].split()
        fate = f"{kind.max_attempts} attempts" if kind.max_attempts else "retried"
        assert drawn[kind.__name__].endswith(fate if kind.retried else "raised at once")


def test_codes_and_texts_are_well_formed() -> None:
    codes = [kind.code for kind in coded_kinds()]
    assert len(set(codes)) == len(codes)
    for kind in coded_kinds():
        assert kind.code == kind.code.upper()
        assert kind.meaning[-1].isalpha()
        assert kind.advice.endswith(".")
        assert "meaning" in vars(kind)
        assert "advice" in vars(kind)


def test_import_refused_has_contacts_and_reasons() -> None:
    reply = import_400(
        FAULTY,
        {"contact": 230, "failureReason": "Field 'email' incorrect format"},
        {"contact": "0", "failureReason": "Field 'email' not found"},
        "Something in general",
        {"odd": True},
    )
    with ApiStub(reply) as stub, pytest.raises(ImportRefused, match="2 contacts named") as caught:
        ask(stub.url, import_two)
    assert caught.value.contacts == [
        (230, "Field 'email' incorrect format"),
        (0, "Field 'email' not found"),
    ]
    assert caught.value.reasons == ["Something in general", '{"odd":true}']


def test_invalid_request_shows_only_code_words() -> None:
    found = [{"code": "duplicate", "title": EMAIL}, {"code": EMAIL}, EMAIL]
    with (
        ApiStub(Reply({"errors": found}, 422)) as stub,
        pytest.raises(InvalidRequest, match="invalid: duplicate \\(GET /users/me") as caught,
    ):
        ask(stub.url)
    assert caught.value.errors == found
    assert EMAIL not in str(caught.value)


def test_rate_limited_has_retry_after() -> None:
    with (
        ApiStub(Reply(b"", 429, {"Retry-After": "30"})) as stub,
        pytest.raises(RateLimited) as caught,
    ):
        ask(stub.url)
    assert caught.value.retry_after == 30
    assert caught.value.status == 429


def test_connection_refused() -> None:
    with ApiStub(Reply()) as stub:
        url = stub.url
    with pytest.raises(ConnectionFailed, match="nothing listens") as caught:
        ask(url)
    assert not caught.value.effect_unknown


def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def know_nothing(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", know_nothing)
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(ConnectionFailed, match="host name of the server is not known") as caught:
        ask("https://acct.api-us1.com")
    assert not caught.value.effect_unknown


def test_proxy_without_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiStub(Reply()) as stub:
        monkeypatch.setenv("HTTPS_PROXY", stub.url)
        monkeypatch.setenv("https_proxy", stub.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ConnectionFailed) as caught:
        ask("https://acct.example.com")
    assert not caught.value.effect_unknown


@pytest.mark.parametrize("content", [None, "no certificates at all"])
def test_unreadable_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises(CertificateRejected, match="can't be read"):
        ask("https://127.0.0.1:1")


@needs_openssl
def test_untrusted_certificate(tmp_path: Path) -> None:
    with ApiStub(Reply({})) as stub:
        stub.speak_tls(tmp_path)
        with pytest.raises(CertificateRejected) as caught:
            ask(stub.url, retry_seconds=300)
    assert not caught.value.effect_unknown
    assert not stub.asked


@pytest.mark.parametrize("moment", ["before", "while it pauses", "while it waits its turn"])
def test_closed_client_raises_client_closed(moment: str) -> None:
    budget = RateLimiter(1)
    if moment == "while it waits its turn":
        budget.note_refusal("request", 600)
    with ApiStub(Reply(b"", 500, {"Retry-After": "200"})) as stub:
        client = Client(stub.url, KEY, budget=budget)
        closing = threading.Timer(0 if moment == "before" else 0.2, client.close)
        closing.start()
        if moment == "before":
            closing.join()
        with pytest.raises(ClientClosed) as caught:
            client.whoami()
        closing.join()
    assert caught.value.effect_unknown == (moment == "while it pauses")


def test_client_closed_just_before_sending_sends_nothing() -> None:
    class Late(RateLimiter):
        @contextmanager
        def acquire(self, kind: Kind) -> Iterator[None]:
            with super().acquire(kind):
                client.close()
                yield

    with ApiStub(Reply(b"", 500)) as stub:
        client = Client(stub.url, KEY, budget=Late())
        with pytest.raises(ClientClosed) as caught:
            import_two(client)
    assert not caught.value.effect_unknown
    assert not stub.asked


def test_errors_survive_pickling() -> None:
    error = ImportRefused("POST /import/bulk_import", status=400, contacts=[(1, "why")])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(copy), copy.contacts, copy.status) == (str(error), [(1, "why")], 400)


def test_errors_have_no_cause() -> None:
    with ApiStub(Reply(fault="reset")) as stub, pytest.raises(ConnectionFailed) as caught:
        ask(stub.url, lambda client: client.find_contact(EMAIL))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_debug_log_hides_address_and_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # A target that was made in the same process keeps it at INFO.
    caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
    replies = [Reply(b"", 500), Reply(fault="reset"), Reply({"contacts": []})]
    with ApiStub(*replies) as stub:
        ask(
            stub.url,
            lambda client: client.find_contact(EMAIL),
            retry_seconds=20,
        )
    assert "GET /api/3/contacts HTTP/1.1" in caplog.text
    assert "GET /contacts: 500 server error, trying again in" in caplog.text
    assert EMAIL.partition("@")[0] not in caplog.text
    assert KEY not in caplog.text


def test_effect_unknown_matches_group() -> None:
    for kind in subclasses(RequestRefused):
        assert not kind.effect_unknown
    for kind in subclasses(OutcomeUnknown):
        assert kind.effect_unknown or kind is CertificateRejected


def subclasses(kind: type[ActiveCampaignError]) -> list[type[ActiveCampaignError]]:
    """All kinds below one, in the order in which they are defined."""
    return [found for child in kind.__subclasses__() for found in (child, *subclasses(child))]


def coded_kinds() -> list[type[ActiveCampaignError]]:
    return [kind for kind in subclasses(ActiveCampaignError) if kind.code]
