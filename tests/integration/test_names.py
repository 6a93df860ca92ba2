"""Names: exact matches win, combining marks count, and NFC and NFD match."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.mirrors import Mirror
from tests.support.target_runner import batch, record, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA = "ada@example.com"


@pytest.fixture
def fields(sandbox: SandboxServer) -> CustomFields:
    return CustomFields(sandbox)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def one(**values: Any) -> list[dict[str, Any]]:
    """A stream of one person, whose properties may hold anything."""
    return ordered(("email", ADA), *values.items())


def ordered(*properties: tuple[str, Any]) -> list[dict[str, Any]]:
    """A stream of one record that has these properties alone, in their order."""
    described = schema()
    described["schema"]["properties"] = {name: {} for name, _ in properties}
    return [described, {"type": "RECORD", "stream": "profiles", "record": dict(properties)}]


def places(outcome: Outcome, stream: str = "profiles") -> dict[str, str]:
    """The destination of each property but the address."""
    mapping = outcome.succeeded().report["streams"][stream]["mapping"]
    return {name: entry["destination"] for name, entry in mapping.items() if name != "email"}


def ignored(outcome: Outcome) -> list[str]:
    found: list[str] = outcome.succeeded().report["streams"]["profiles"]["ignored"]
    return found


def refused(outcome: Outcome) -> str:
    """Why a run was refused before its first record."""
    assert outcome.code == 1, outcome.log
    assert outcome.counts == {}
    return str(outcome.report["problem"])


# The exact name wins


@pytest.mark.parametrize("order", [["Score +", "Score -"], ["Score -", "Score +"]])
def test_exact_title_wins(load: TargetRunner, fields: CustomFields, order: list[str]) -> None:
    for title in order:
        fields.add(title, tag="")
    load(one(**{"Score -": "-5"})).succeeded()
    assert fields.held("Score -") == ["-5"]
    assert fields.held("Score +") == [None]
    load(one(level="7"), field_mapping={"level": "Score +"}).succeeded()
    assert fields.held("Score +") == ["7"]


@pytest.mark.parametrize("name", ["Grade", "GRADE", "grade", "Gr-ade", "gr_ade"])
def test_exact_title_wins_over_tag_in_another_case(
    load: TargetRunner, fields: CustomFields, name: str
) -> None:
    fields.add("Old mark", tag="GR_ADE")
    fields.add(name, tag="OTHER")
    load(one(**{name: "7"})).succeeded()
    assert fields.held(name) == ["7"]
    assert fields.held("Old mark") == [None]


def test_match_without_case_wins_over_match_without_punctuation(
    load: TargetRunner, fields: CustomFields
) -> None:
    fields.add("Shoe.Size", tag="ONE")
    fields.add("SHOE-SIZE", tag="TWO")
    assert places(load(one(**{"shoe-size": "41"}))) == {"shoe-size": "%TWO%"}


def test_error_names_both_fields_that_match_equally(
    load: TargetRunner, fields: CustomFields
) -> None:
    first = fields.add("Shoe.Size", tag="ONE")
    second = fields.add("Shoe-Size", tag="TWO")
    problem = refused(load(one(shoe_size="41")))
    assert f"'Shoe.Size' (id:{first}) and 'Shoe-Size' (id:{second})" in problem
    assert places(load(one(shoe_size="41"), field_mapping={"shoe_size": f"id:{second}"})) == {
        "shoe_size": "%TWO%"
    }


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Score +", "Score -"),
        ("Score -", "Score +"),
        ("Price €", "Price $"),
        ("C#", "C++"),
        ("Share %", "Share #"),
        ("Vote 👍", "Vote 👎"),
        ("+", "-"),
        ("???", "!!!"),
    ],
)
def test_names_that_differ_in_symbols_do_not_match(
    load: TargetRunner, fields: CustomFields, title: str, name: str
) -> None:
    fields.add(title, tag="")
    before = fields.titles()
    assert ignored(load(one(**{name: "x"}))) == [name]
    load(one(**{name: "x"}), unmapped_properties="create").succeeded()
    assert fields.titles() == before | {name}
    assert fields.held(name) == ["x"]
    assert fields.held(title) == [None]


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("Score +", "Score -", "score"),
        ("Shoe.Size", "Shoe-Size", "shoe size"),
        ("Price €", "Price $", "PRICE"),
    ],
)
def test_generated_tag_does_not_decide_between_titles(
    load: TargetRunner, fields: CustomFields, first: str, second: str, name: str
) -> None:
    fields.add(first, tag="")
    load(one(**{name: "x"})).succeeded()
    assert fields.held(first) == ["x"]
    fields.add(second, tag="")
    problem = refused(load(one(**{name: "x"})))
    assert f"'{first}'" in problem
    assert f"'{second}'" in problem


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Loyalty level", "loyalty-level"),
        ("Loyalty level", "LoyaltyLevel"),
        ("Loyalty level", "$loyalty_level"),
        ("Loyalty level", "\ufeffloyalty_level"),
        ("Newsletter?", "newsletter"),
        ("Straße", "STRASSE"),
        ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
    ],
)
def test_case_spaces_and_punctuation_are_ignored_without_better_match(
    load: TargetRunner, fields: CustomFields, title: str, name: str
) -> None:
    fields.add(title, tag="OTHER")
    assert places(load(one(**{name: "x"}))) == {name: "%OTHER%"}


def test_exact_custom_field_wins_over_standard_destination(
    load: TargetRunner, fields: CustomFields, sandbox: SandboxServer
) -> None:
    fields.add("Phone", tag="PHONE_2")
    settings = {"auto_map": False, "field_mapping": {"email": "EMAIL", "a": "Phone", "b": "phone"}}
    load(one(a="1", b="2"), **settings).succeeded()
    assert fields.held("Phone") == ["1"]
    assert sandbox.contacts()[ADA]["phone"] == "2"

    only = {"only_if_empty": ["Phone"]}
    load(one(a="3", b="4"), **settings, **only).succeeded()
    assert fields.held("Phone") == ["1"]
    assert sandbox.contacts()[ADA]["phone"] == "4"


# Two properties for one destination


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("loser", "winner"),
    [("E_Mail", "email"), ("E-Mail", "Email"), ("EMAIL", "email"), ("mail", "E_Mail")],
)
def test_exact_email_property_wins_in_any_order(
    load: TargetRunner, sandbox: SandboxServer, loser: str, winner: str, *, backwards: bool
) -> None:
    properties = [(loser, None), (winner, ADA)]
    outcome = load(ordered(*properties[:: -1 if backwards else 1]))
    assert outcome.succeeded().counts == {"read": 1, "added": 1}
    assert list(sandbox.contacts()) == [ADA]
    assert ignored(outcome) == [loser]
    assert outcome.log.count(f"ignores: {loser}.") == 1


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("loser", "winner", "destination"),
    [
        ("FirstName", "first_name", "first_name"),
        ("firstname", "first_name", "first_name"),
        ("Last-Name", "LastName", "last_name"),
        ("Phone", "phone", "phone"),
        ("Phone_Number", "PhoneNumber", "phone"),
        ("LoyaltyPoints", "loyalty_points", "%LOYALTY_POINTS%"),
        ("loyalty points", "Loyalty points", "%LOYALTY_POINTS%"),
        ("Loyalty-Points", "loyalty points", "%LOYALTY_POINTS%"),
    ],
)
def test_exact_property_wins_in_any_order(
    load: TargetRunner, loser: str, winner: str, destination: str, *, backwards: bool
) -> None:
    properties = [(loser, "1"), (winner, "2")]
    outcome = load(ordered(("email", ADA), *properties[:: -1 if backwards else 1]))
    assert places(outcome) == {winner: destination}
    assert ignored(outcome) == [loser]


@pytest.mark.parametrize(
    ("first", "second", "destination"),
    [
        ("e_mail", "E-Mail", "email"),
        ("EMail", "EMAIL", "email"),
        ("Loyalty-Points", "LoyaltyPoints", "%LOYALTY_POINTS%"),
        ("Prénom", nfd("Prénom"), "%OTHER%"),
    ],
)
def test_error_names_both_properties_that_match_equally(
    load: TargetRunner, fields: CustomFields, first: str, second: str, destination: str
) -> None:
    fields.add("Prénom", tag="OTHER")
    mail = [] if destination == "email" else [("email", ADA)]
    messages = ordered(*mail, (first, None), (second, None))
    problem = refused(load(messages))
    assert f"the properties '{first}' and '{second}' match {destination} equally well" in problem
    mended = {first: destination, second: "ignore"}
    load(messages, field_mapping=mended).succeeded()


def test_field_mapping_wins_over_exact_name(load: TargetRunner) -> None:
    messages = ordered(("email", None), ("E_Mail", ADA), ("phone", "1"), ("handy", "2"))
    outcome = load(messages, field_mapping={"E_Mail": "email", "handy": "phone"})
    assert outcome.succeeded().counts == {"read": 1, "added": 1}
    assert ignored(outcome) == ["email", "phone"]


def test_next_property_maps_if_exact_one_cannot_hold_an_address(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = ordered(("email", None), ("E_Mail", ADA))
    messages[0]["schema"]["properties"]["email"] = {"type": ["object", "null"]}
    load(messages).succeeded()
    assert list(sandbox.contacts()) == [ADA]


# Marks are letters


def test_vowel_marks_distinguish_names(load: TargetRunner, fields: CustomFields) -> None:
    fields.add("ปี", tag="YEAR")
    fields.add("नमी", tag="DAMP")
    outcome = load(one(ปู="crab", ชือ="x", नाम="y", ปี="2024"))
    assert places(outcome) == {"ปี": "%YEAR%"}
    assert ignored(outcome) == ["ปู", "ชือ", "नाम"]
    assert fields.held("ปี") == ["2024"]


@pytest.mark.parametrize(("title", "name"), [("गली", "गल"), ("नीम", "नम"), ("ชือ", "ช อ")])
def test_generated_tag_without_vowel_marks_does_not_match(
    load: TargetRunner, fields: CustomFields, title: str, name: str
) -> None:
    fields.add(title, tag="")
    assert ignored(load(one(**{name: "x"}))) == [name]
    tag = fields.tag(title)
    assert places(load(one(**{name: "x"}), field_mapping={name: f"%{tag}%"})) == {name: f"%{tag}%"}


def test_vowel_marks_distinguish_created_fields(load: TargetRunner, fields: CustomFields) -> None:
    before = fields.titles()
    for _ in range(2):
        load(one(ปู="crab", ปี="year"), unmapped_properties="create").succeeded()
    assert fields.titles() == before | {"ปู", "ปี"}
    assert (fields.held("ปู"), fields.held("ปี")) == (["crab"], ["year"])


# NFC and NFD


@pytest.mark.parametrize("backwards", [False, True])
def test_nfc_and_nfd_match(load: TargetRunner, fields: CustomFields, *, backwards: bool) -> None:
    as_tap, as_account = (nfd, str) if not backwards else (str, nfd)
    fields.add(as_account("Étage préféré"), tag="FLOOR")
    fields.add(as_account("Cafés"), "dropdown", as_account("Café crème"), tag="COFFEE")
    teas = [as_account("Thé vert"), as_account("Thé noir")]
    fields.add(as_account("Thés"), "listbox", *teas, tag="TEA")
    before = fields.titles()
    values = {
        as_tap("étage_préféré"): "3",
        "cafe": as_tap("Café crème"),
        "the": [as_tap("thé noir"), as_tap("Thé_Vert")],
    }
    outcome = load(
        one(**values),
        field_mapping={"cafe": as_tap("cafés"), "the": as_tap("Thés")},
        unmapped_properties="create",
        on_unknown_option="add",
    )
    assert outcome.succeeded().counts == {"read": 1, "added": 1}
    assert fields.titles() == before
    assert fields.held(as_account("Étage préféré")) == ["3"]
    assert fields.held(as_account("Cafés")) == [as_account("Café crème")]
    assert fields.options(as_account("Cafés")) == [as_account("Café crème")]
    tea = f"||{as_account('Thé noir')}||{as_account('Thé vert')}||"
    assert fields.held(as_account("Thés")) == [tea]


def test_field_mapping_finds_property_in_other_form(
    load: TargetRunner, fields: CustomFields
) -> None:
    name, inner = nfd("Prénom"), nfd("Société.Créée")
    outer, created = inner.split(".")
    outcome = load(
        one(**{name: "Zoë", outer: {created: "2020"}}),
        streams={"profiles": {"field_mapping": {"Prénom": "first_name", "Société.Créée": "NOTES"}}},
    )
    found = {unicodedata.normalize("NFC", one): place for one, place in places(outcome).items()}
    assert found == {"Prénom": "first_name", "Société.Créée": "%NOTES%"}
    assert fields.held("Notes") == ["2020"]


def test_own_field_mapping_wins_in_either_form(load: TargetRunner) -> None:
    own = {"profiles": {"field_mapping": {"Prénom": "first_name"}}}
    general = {nfd("Prénom"): "last_name"}
    outcome = load(one(Prénom="Zoë"), field_mapping=general, streams=own)
    assert places(outcome) == {"Prénom": "first_name"}


def test_field_mapping_with_both_forms_of_a_property_is_an_error(load: TargetRunner) -> None:
    both = {"Prénom": "first_name", nfd("Prénom"): "last_name"}
    assert "twice, in two Unicode forms" in refused(load(one(Prénom="Zoë"), field_mapping=both))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("way", ["direct", "batch", "stream map", "flattening"])
def test_records_may_have_properties_in_other_form(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields, way: str, *, backwards: bool
) -> None:
    of_schema, of_records = (nfd, str) if backwards else (str, nfd)
    fields.add("Ville", tag="TOWN")
    fields.add("Été", tag="SUMMER")
    inner: Any = {"type": "object", "properties": {of_schema("cité"): {"type": "string"}}}
    types = {"adressé": "string", "clé": "integer", "été": "string", "déménagé": inner}
    described = schema(**{of_schema(name): kind for name, kind in types.items()})
    described["key_properties"] = [of_records("clé")]
    values = {"adressé": ADA, "clé": 1, "été": "x", "déménagé": {of_records("cité"): "Łódź"}}
    values["prénom"] = "Zoë"
    given = {of_records(name): value for name, value in values.items()}
    message = {"type": "RECORD", "stream": "profiles", "record": given}
    if way == "batch":
        path = load.folder / "batch.jsonl"
        path.write_text(json.dumps(given), "utf-8")
        message = batch({"format": "jsonl", "compression": "none"}, path)
    ways: dict[str, Any] = {
        "stream map": {"stream_maps": {"profiles": {"Été": f"record['{of_schema('été')}']"}}},
        "flattening": {"flattening_enabled": True, "flattening_max_depth": 1},
    }
    town = "déménagé__cité" if way == "flattening" else "déménagé.cité"
    mapping = {"adressé": "email", town: "TOWN", "prénom": "last_name"}
    described["schema"]["additionalProperties"] = True
    outcome = load([described, message], field_mapping=mapping, **ways.get(way, {})).succeeded()
    assert outcome.counts == {"read": 1, "added": 1}
    (ada,) = sandbox.export()
    assert ada["last_name"] == "Zoë"
    assert (fields.held("Ville"), fields.held("Été")) == (["Łódź"], ["x"])
    assert not [one for one in outcome.warnings if "are not sent" in one]


def test_record_with_both_forms_keeps_that_of_schema(
    load: TargetRunner, fields: CustomFields
) -> None:
    fields.add("Été", tag="SUMMER")
    described = schema(été="string")
    outcome = load([described, record(ADA, **{nfd("été"): "no", "été": "yes"})])
    assert outcome.succeeded().counts == {"read": 1, "added": 1}
    assert fields.held("Été") == ["yes"]
    assert [one for one in outcome.warnings if "are not sent" in one]


@pytest.mark.parametrize("marker", [nfd("supprimé"), "SUPPRIMÉ"])
def test_deletion_marker_in_other_form_is_not_unmapped(
    sandbox: SandboxServer, load: TargetRunner, marker: str
) -> None:
    outcome = load(
        [
            schema(supprimé="boolean"),
            record(ADA, supprimé=False),
            record("b@x.example", supprimé=1),
        ],
        deleted_properties=[marker],
        unmapped_properties="fail",
        validate_records=False,
    )
    assert outcome.succeeded().counts == {"read": 2, "added": 1, "skipped": 1}
    assert set(sandbox.contacts()) == {ADA}


def test_nested_property_missing_from_schema_is_found_in_other_form(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    listed: Any = {"type": "object", "properties": {"x": {}}}
    values: Any = {nfd("société"): {nfd("clé"): "K"}}
    message = record(ADA, **values)
    described = schema(**{nfd("société"): listed})
    outcome = load([described, message], field_mapping={"société.clé": "last_name"})
    assert outcome.succeeded().counts == {"read": 1, "added": 1}
    assert [one["last_name"] for one in sandbox.export()] == ["K"]


def test_nested_deletion_marker_is_found_in_other_form(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    described = schema(état={"type": "object"})
    gone: Any = {nfd("état"): {nfd("supprimé"): True}}
    outcome = load([described, record(ADA, **gone)], deleted_properties=["état.supprimé"])
    assert outcome.succeeded().counts == {"read": 1, "skipped": 1}
    assert not sandbox.contacts()


def test_only_if_empty_finds_field_in_other_form(load: TargetRunner, fields: CustomFields) -> None:
    fields.add("Étage", tag="FLOOR")
    for value in ("1", "2"):
        load(one(étage=value), only_if_empty=[nfd("étage")]).succeeded()
    assert fields.held("Étage") == ["1"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("préféré", nfd("préféré")),
        ("shoe", "SHOE"),
        ("shoe_size", "ShoeSize"),
        ("shoe.size", "shoe-size"),
        ("shoe", "\ufeffshoe"),
    ],
)
def test_no_two_similar_fields_are_created(
    load: TargetRunner, fields: CustomFields, first: str, second: str
) -> None:
    before = fields.titles()
    problem = refused(load(one(**{first: "1", second: "2"}), unmapped_properties="create"))
    assert f"no field can be created for property '{second}'" in problem
    assert f"'{first}'" in problem
    assert fields.titles() == before


def test_created_field_has_title_and_options_in_nfc(
    load: TargetRunner, fields: CustomFields
) -> None:
    choices: Any = {"enum": [nfd("Café"), "Café", "Ca\u200bfé", "CAFÉ", "Thé", None]}
    messages = [schema(**{nfd("préféré"): choices}), record(ADA, **{nfd("préféré"): nfd("Café")})]
    for _ in range(2):
        load(messages, unmapped_properties="create").succeeded()
    assert fields.options("Préféré") == ["Café", "CAFÉ", "Thé"]
    assert fields.held("Préféré") == ["Café"]


def test_drift_is_found_for_property_in_other_form(
    load: TargetRunner, fields: CustomFields
) -> None:
    fields.add("Étage", tag="FLOOR")
    load(one(étage="1")).succeeded()
    fields.change("Étage", title="Niveau")
    assert "is now called 'Niveau' (%FLOOR%)" in refused(load(one(**{nfd("étage"): "1"})))


def test_membership_field_is_found_in_other_form(
    load: TargetRunner, sandbox: SandboxServer, fields: CustomFields
) -> None:
    fields.add("Abonné", tag="MEMBER")
    before = fields.titles()
    mirror = Mirror(load, sandbox)
    load.config.update(on_leave="field", membership_field=nfd("Abonné"))
    mirror("ada bob")
    mirror("ada")
    assert fields.titles() == before
    assert fields.held("Abonné") == ["true", "false"]


def test_created_membership_field_is_found_in_other_form(
    load: TargetRunner, sandbox: SandboxServer, fields: CustomFields
) -> None:
    mirror = Mirror(load, sandbox)
    for name in (nfd("Abonné"), "Abonné", "abonné"):
        load.config.update(on_leave="field", membership_field=name)
        mirror("ada")
    assert fields.held("Abonné") == ["true"]
    assert [one for one in fields.titles() if one.lower().startswith("abonn")] == ["Abonné"]


def test_list_is_found_in_other_form(load: TargetRunner, sandbox: SandboxServer) -> None:
    item = {"name": "Été", "stringid": "ete", "sender_url": "x", "sender_reminder": "x"}
    number = sandbox.post("/api/3/lists", {"list": item})["list"]["id"]
    load(one(), list_id=nfd("Été")).succeeded()
    assert sandbox.contacts()[ADA]["lists"] == {str(number): 1}


def test_stream_settings_are_found_in_other_form(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    stream = nfd("Clientèle")
    messages = [schema(stream), record(ADA, stream)]
    outcome = load(messages, streams={"Clientèle": {"tags": ["vip"]}}).succeeded()
    assert sandbox.contacts()[ADA]["tags"] == ["vip"]
    assert not [text for text in outcome.warnings if "no effect" in text]


def test_settings_with_both_forms_of_a_stream_are_an_error(load: TargetRunner) -> None:
    outcome = load(one(), streams={"Clientèle": {}, nfd("Clientèle"): {}})
    assert outcome.code == 1
    assert "has the stream 'Clientèle' twice" in outcome.log


@pytest.mark.parametrize("key", ["Clientèle", "Clientè*"])
def test_stream_map_removes_property_in_other_form(
    load: TargetRunner, sandbox: SandboxServer, key: str
) -> None:
    stream, name = nfd("Clientèle"), nfd("Prénom")
    messages = [schema(stream, **{name: "string"}), record(ADA, stream, **{name: "Zoë"})]
    outcome = load(
        messages, stream_maps={key: {"Prénom": None}}, field_mapping={name: "last_name"}
    ).succeeded()
    assert sandbox.contacts()[ADA]["last_name"] == ""
    assert not [text for text in outcome.warnings if "no effect" in text]


def test_mirror_continues_with_stream_in_other_form(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    mirror = Mirror(load, sandbox)
    mirror("ada bob", "Clientèle")
    mirror("ada", nfd("Clientèle"))
    assert mirror.members() == "ada"


# Tags


def test_tags_are_sent_in_nfc(load: TargetRunner, sandbox: SandboxServer) -> None:
    load(one(labels=[nfd("Été"), "Été"]), tags=[nfd("Thé")], field_mapping={"labels": "tags"})
    assert sandbox.contacts()[ADA]["tags"] == ["Thé", "Été"]


def test_tag_of_settings_is_sent_in_spelling_of_account(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    for tag in (nfd("Été"), "Thé"):
        sandbox.post("/api/3/tags", {"tag": {"tag": tag, "tagType": "contact"}})
    load(one(), tags=["Été", nfd("thé")]).succeeded()
    assert sorted(sandbox.contacts()[ADA]["tags"]) == sorted([nfd("Été"), "Thé"])


@pytest.mark.parametrize("spelling", ["Été", nfd("Été"), "été"])
def test_membership_tag_is_removed_in_spelling_of_account(
    load: TargetRunner, sandbox: SandboxServer, spelling: str
) -> None:
    sandbox.post("/api/3/tags", {"tag": {"tag": nfd("Été"), "tagType": "contact"}})
    mirror = Mirror(load, sandbox)
    load.config.update(on_leave="tag", membership_tag=spelling)
    mirror("ada bob")
    assert mirror.person("bob")["tags"] == [nfd("Été")]
    mirror("ada")
    assert mirror.person("ada")["tags"] == [nfd("Été")]
    assert mirror.person("bob")["tags"] == []


# Options


def test_punctuation_distinguishes_options(load: TargetRunner, fields: CustomFields) -> None:
    fields.add("Grade", "dropdown", "C", "C+", "c-", "C#", "c#")
    for value, held in {"C-": "c-", "c+": "C+", "c": "C", "C#": "C#", "c#": "c#"}.items():
        load(one(grade=value)).succeeded()
        assert fields.held("Grade") == [held]
    assert load(one(grade="C++")).codes == {ADA: "FIELD_OPTION_UNKNOWN"}


@pytest.mark.parametrize("policy", ["reject", "add", "drop"])
def test_choice_that_matches_several_options_equally_is_unknown(
    load: TargetRunner, fields: CustomFields, policy: str
) -> None:
    fields.add("Grade", "dropdown", "VIP", "Vip", "très_bon", "Très  Bon")
    before = fields.options("Grade")
    for value in ("vip", nfd("très bon")):
        outcome = load(one(grade=value), on_unknown_option=policy).succeeded()
        expected = {} if policy == "drop" else {ADA: "FIELD_OPTION_UNKNOWN"}
        assert outcome.codes == expected
    assert fields.options("Grade") == before
    load(one(grade="Vip"), on_unknown_option=policy).succeeded()
    assert fields.held("Grade") == ["Vip"]


def test_no_similar_option_is_added(load: TargetRunner, fields: CustomFields) -> None:
    fields.add("Grade", "listbox", "Café")
    chosen = [nfd("Café"), "CAFÉ", "Ca\u200bfé", nfd("Thé"), "Thé", "thé", "\ufeffThé"]
    load(one(grade=chosen), on_unknown_option="add").succeeded()
    assert fields.options("Grade") == ["Café", "Thé"]
    assert fields.held("Grade") == ["||Café||Thé||"]


def test_later_run_does_not_add_option_in_other_form(
    load: TargetRunner, fields: CustomFields
) -> None:
    fields.add("Grade", "dropdown", "Gold")
    for value in (nfd("Café"), "Café"):
        load(one(grade=value), on_unknown_option="add").succeeded()
    assert fields.options("Grade") == ["Gold", "Café"]


def test_preview_matches_names_like_a_run(
    load: TargetRunner, fields: CustomFields, sandbox: SandboxServer
) -> None:
    fields.add("Étage", "dropdown", "Café", tag="FLOOR")
    before = fields.titles()
    settings = {"unmapped_properties": "create", "on_unknown_option": "add"}
    outcome = load(one(**{nfd("étage"): nfd("café")}), dry_run=True, **settings)
    assert list(places(outcome).values()) == ["%FLOOR%"]
    assert fields.titles() == before
    assert not sandbox.requests(method="POST", path="/api/3/import/bulk_import")
