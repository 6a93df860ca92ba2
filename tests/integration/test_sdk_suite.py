"""The SDK's standard tests of a target, each reading the sandbox back.

Hardly a record of theirs has an e-mail address, so a stream map gives each one; what else a
stream has goes into custom fields of the sandbox's sample account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from singer_sdk.testing import get_target_test_class, suites
from singer_sdk.testing import target_tests as sdk
from singer_sdk.testing.templates import TargetFileTestTemplate

from target_activecampaign.target import TargetActiveCampaign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer

    Contacts = dict[str, dict[str, Any]]

ADDRESS_BY_ID = {"email": "'p' + str(id) + '@example.com'"}
ADDRESSES: dict[str, dict[str, str]] = {
    "ForecastingTypeToCategory": {"email": "'p@example.com'"},
    "test_record_missing_key_property": {"email": "'p@example.com'"},
    "TestCamelcase": {"email": "'p' + Id + '@example.com'"},
    "test:SpecialChars!in?attributes": {"email": "_id + '@example.com'"},
    "test_object_schema_with_properties": {
        "email": "'with' + str(object_store['id']) + '@example.com'"
    },
    "test_object_schema_no_properties": {
        "email": "'without' + str(object_store['id']) + '@example.com'"
    },
    "test_strings_in_objects": {"email": "'o' + str(id) + '@example.com'"},
    "test_strings_in_arrays": {"email": "'a' + str(id) + '@example.com'"},
}
BY_ID = (
    "test_array_data",
    "test_duplicate_records",
    "test_no_pk",
    "test_optional_attributes",
    "record_missing_fields",
    "test_record_before_schema",
    "test_schema_updates",
    "test_strings",
)

CONFIG: dict[str, Any] = {
    "data_privacy_consent": True,
    "list_id": "newsletter",
    "requests_per_second": 0,
    "imports_per_minute": 0,
    "single_imports_per_minute": 0,
    "on_unknown_option": "add",
    "stream_maps": {**ADDRESSES, **dict.fromkeys(BY_ID, ADDRESS_BY_ID)},
    "field_mapping": {
        "fruits": "INTERESTS",
        "metric": "LOYALTY_POINTS",
        "info": "NOTES",
        "strings": "NOTES",
        "optional": "NOTES",
        "object_store": "NOTES",
        "clientName": "NOTES",
        "a1": "LIFETIME_VALUE",
        "a2": "NOTES",
        "a5": "INTERESTS",
        "a6": "LOYALTY_POINTS",
        "name": "first_name",
        "d": "CITY",
        "uuid": "NOTES",
    },
}


class ReadBack:
    """The sandbox that the test in work reads back; the SDK's tests take no fixtures."""

    sandbox: ClassVar[SandboxServer]
    targets: ClassVar[list[TargetActiveCampaign]]


def contacts() -> list[dict[str, Any]]:
    return ReadBack.sandbox.export()


def fields(name: str) -> dict[str, Any]:
    """One custom field of every contact, by the part of the address before the @."""
    return {one["email"].split("@")[0]: one["fields"].get(name) for one in contacts()}


class ArrayData(sdk.TargetArrayData):
    def validate(self) -> None:
        assert fields("INTERESTS") == {
            "p1": "||apple||orange||pear||",
            "p2": "||banana||apple||",
            "p3": "||pear||",
            "p4": "||orange||banana||apple||pear||",
        }


class CamelcaseComplexSchema(sdk.TargetCamelcaseComplexSchema):
    def validate(self) -> None:
        assert contacts() == [], "two SCHEMA messages and no record"


class Camelcase(sdk.TargetCamelcaseTest):
    def validate(self) -> None:
        assert fields("NOTES") == {"p1": "Gitter Windows Desktop App", "p2": "Gitter iOS App"}


class DuplicateRecords(sdk.TargetDuplicateRecords):
    def validate(self) -> None:
        assert fields("LOYALTY_POINTS") == {"p1": "100", "p2": "20"}


class EncodedStringData(sdk.TargetEncodedStringData):
    def validate(self) -> None:
        notes = fields("NOTES")
        assert notes["p2"] == "απλή συμβολοσειρά"
        assert notes["p5"] == 'quoted "string"'
        assert notes["p6"] == 'various " \\ / \n escape sequences'
        assert notes["a2"] is not None
        assert notes["o2"] is not None


class RecordMissingKeyProperty(sdk.TargetRecordMissingKeyProperty):
    def test(self) -> None:
        # The SDK's own test wants the run to end; here one bad record costs only that record.
        TargetFileTestTemplate.test(self)

    def validate(self) -> None:
        assert contacts() == []
        assert {"RECORD_INVALID": 1} in [one.run.report.codes for one in ReadBack.targets]


class NoPrimaryKeys(sdk.TargetNoPrimaryKeys):
    def validate(self) -> None:
        assert fields("LOYALTY_POINTS") == {"p1": "11", "p2": "22", "p3": "33"}


class OptionalAttributes(sdk.TargetOptionalAttributes):
    def validate(self) -> None:
        assert fields("NOTES") == {
            "p1": "This is optional",
            "p2": None,
            "p3": "Also optional",
            "p4": None,
        }


class PrimaryKeyUpdates(sdk.TargetPrimaryKeyUpdates):
    def validate(self) -> None:
        names = {one["email"]: one["first_name"] for one in contacts()}
        assert names["alice@example.com"] == "Alice"
        assert names["bob@example.com"] == "Bob"


class RecordMissingOptionalFields(sdk.TargetRecordMissingOptionalFields):
    def validate(self) -> None:
        assert fields("NOTES") == {"p1": "now you see me", "p2": None}


class SchemaNoProperties(sdk.TargetSchemaNoProperties):
    def validate(self) -> None:
        assert fields("NOTES") == {
            "with1": '{"id":1,"metric":187}',
            "with2": '{"id":2,"metric":203}',
            "without1": '{"id":1,"metric":1}',
            "without2": '{"id":2,"metric":2}',
        }


class SchemaUpdates(sdk.TargetSchemaUpdates):
    def validate(self) -> None:
        assert fields("LIFETIME_VALUE") == {f"p{n}": f"10{n}" for n in range(1, 7)}
        assert fields("INTERESTS")["p3"] == "||banana||apple||"
        assert fields("INTERESTS")["p1"] is None


class SpecialCharsInAttributes(sdk.TargetSpecialCharsInAttributes):
    def validate(self) -> None:
        assert fields("CITY") == {
            "a2e98886": '{"env":"prod","agent:type":"desktop","agent:os:version":"10.13.1"}'
        }


class RecordMissingRequiredProperty(sdk.TargetRecordMissingRequiredProperty):
    """Not in the SDK's suite: such a record is refused here, and the run goes on."""

    def validate(self) -> None:
        assert contacts() == []


# Releases before 0.55 do not have it.
_StringFormats: type = getattr(sdk, "TargetStringFormats", TargetFileTestTemplate)


class StringFormats(_StringFormats):  # type: ignore[misc]
    def validate(self) -> None:
        (one,) = contacts()
        assert one["email"] == "test@example.com"
        assert one["fields"]["NOTES"] == "550e8400-e29b-41d4-a716-446655440000"


SUITE = suites.SingerTestSuite(
    kind="target",
    tests=[
        ArrayData,
        CamelcaseComplexSchema,
        Camelcase,
        sdk.TargetCliPrintsTest,
        DuplicateRecords,
        EncodedStringData,
        sdk.TargetInvalidSchemaTest,
        NoPrimaryKeys,
        OptionalAttributes,
        PrimaryKeyUpdates,
        sdk.TargetRecordBeforeSchemaTest,
        RecordMissingKeyProperty,
        RecordMissingOptionalFields,
        SchemaNoProperties,
        SchemaUpdates,
        SpecialCharsInAttributes,
        *([StringFormats] if hasattr(sdk, "TargetStringFormats") else []),
    ],
)


class TestSdkSuite(
    get_target_test_class(  # type: ignore[misc]
        TargetActiveCampaign, config=CONFIG, custom_suites=[SUITE], include_target_tests=False
    )
):
    """The suite against a sandbox that is empty before each test."""

    @pytest.fixture(autouse=True)
    def _account(
        self, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        monkeypatch.setattr(ReadBack, "sandbox", sandbox, raising=False)
        monkeypatch.setitem(CONFIG, "api_url", sandbox.url)
        monkeypatch.setitem(CONFIG, "api_key", sandbox.api_key)
        monkeypatch.chdir(tmp_path)
        made: list[TargetActiveCampaign] = []
        monkeypatch.setattr(ReadBack, "targets", made, raising=False)
        make = TargetActiveCampaign.__init__

        def remembered(self: TargetActiveCampaign, **how: Any) -> None:
            make(self, **how)
            made.append(self)

        monkeypatch.setattr(TargetActiveCampaign, "__init__", remembered)
        yield
        for target in made:  # a test that ends in an expected error leaves its run open
            target.run.end("stopped")


def test_no_test_of_the_sdk_is_left_out() -> None:
    ours = {test.name for test in SUITE.tests}
    assert {test.name for test in suites.target_tests.tests} <= ours
