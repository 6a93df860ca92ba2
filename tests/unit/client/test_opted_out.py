"""The check of known contacts: are they still opted out?"""

from __future__ import annotations

from tests.support.api_stub import ApiStub, Reply, client_of


def answer(*ids: str) -> Reply:
    contacts = [{"id": one, "email": f"{one}@example.com"} for one in ids]
    return Reply({"contacts": contacts, "meta": {"total": str(len(ids))}})


def test_several_contacts_are_checked_in_one_request() -> None:
    with ApiStub(answer("7")) as stub, client_of(stub) as client:
        assert client.find_opted_out(1, [5, 7]) == {7}
    (asked,) = stub.asked
    assert (asked.method, asked.path) == ("GET", "/api/3/contacts")
    assert asked.query == {"listid": "1", "status": "2", "ids[]": "7", "limit": "100"}


def test_all_count_as_opted_out_if_the_server_ignores_the_ids() -> None:
    with ApiStub(answer("8", "7")) as stub, client_of(stub) as client:
        assert client.find_opted_out(1, [5, 7]) == {5, 7}
