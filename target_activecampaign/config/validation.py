"""Check a configuration before anything is sent."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator

from target_activecampaign.client import parse_api_url
from target_activecampaign.config import webhook_url
from target_activecampaign.config.conversion import Converter
from target_activecampaign.config.definitions import OF_SUPPRESSION, STREAM_SETTINGS, SUPPRESSION
from target_activecampaign.config.settings import Settings
from target_activecampaign.errors import SettingError
from target_activecampaign.model.names import did_you_mean, named_with_hints, nfc
from target_activecampaign.storage import private_files
from target_activecampaign.text import install_hint, is_encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema import ValidationError


_NOT_RENAMED = ("new", "reject")
"""The values of `on_address_change` that only have an effect with `person_key`."""

_OUTCOMES_SCHEMES = ("postgresql+psycopg://", "postgresql://", "sqlite:///", "file:///")

_PROXY_VARIABLES = {"http_proxy", "https_proxy", "all_proxy"}


def convert(
    config: Mapping[str, Any], schema: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return a configuration in the types of its schema, and a sentence for each problem."""
    converter = Converter()
    return converter.convert(dict(config), schema) or {}, converter.problems


def find_problems(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """Return a sentence for each problem of a configuration, without any of its values."""
    given, found = _check_schema(config, schema)
    if found:
        return found
    settings = Settings.from_config(given)
    found += [
        f"The setting 'streams' has the stream '{name}' twice, in two Unicode forms that look "
        "the same (NFC and NFD): keep one of them."
        for name, count in Counter(map(nfc, settings.streams)).items()
        if count > 1
    ]
    found += _unusable_paths(settings)
    found += _missing_account(settings) + _missing_consent(settings)
    found += _country_problems(settings) + _address_change_problems(settings)
    if settings.on_complete_webhook and (
        problem := webhook_url.find_problem(settings.on_complete_webhook)
    ):
        found.append(problem)
    found += _role_problems(settings, given) + _outcomes_problems(settings)
    if (
        settings.list_id in {None, ""}
        and not settings.suppression_streams
        and not any((own or {}).get("list_id") is not None for own in settings.streams.values())
    ):
        found.append(
            "The setting 'list_id' is missing: give the id, name or string id of the list that "
            "contacts are added to, for all streams or for each under 'streams'."
        )
    return found or _unusable_address(settings)


def find_account_problems(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """Return a sentence for each problem of a configuration that only has to reach an account."""
    given, found = _check_schema(config, schema)
    if found:
        return found
    settings = Settings.from_config(given)
    found = _unusable_paths(settings) + _missing_account(settings)
    return found or _unusable_address(settings)


def _check_schema(
    config: Mapping[str, Any], schema: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that are given, and a sentence for each that does not fit its schema."""
    given = {name: value for name, value in config.items() if value is not None}
    return given, [_explain(error) for error in Draft202012Validator(schema).iter_errors(given)]


def _unusable_paths(settings: Settings) -> list[str]:
    """Return a problem for each path or URL that libraries would take but can't use."""
    texts = {
        "ledger_url": settings.ledger_url,
        "rate_budget_url": settings.rate_budget_url or "",
        "outcomes_url": settings.outcomes_url or "",
        "outcomes_schema": settings.outcomes_schema or "",
        "sandbox_path": settings.sandbox_path,
    }
    return [
        f"The setting '{name}' contains U+0000 or half of a surrogate pair, which no file or "
        "host name may have: correct it."
        for name, text in texts.items()
        if "\0" in text or not is_encodable(text)
    ]


def find_secrets(settings: Settings) -> list[str]:
    """Return the texts that must never be shown: the key, passwords in URLs, the webhook."""
    found = [settings.api_key or ""]
    for url in (settings.ledger_url, settings.rate_budget_url or "", settings.outcomes_url or ""):
        found += _passwords_in(url)
    # Proxies come from the environment; a library may quote one in an error.
    for name, url in os.environ.items():
        if name.lower() in _PROXY_VARIABLES:
            found += _passwords_in(url if "://" in url else f"http://{url}")
    if settings.on_complete_webhook:
        with contextlib.suppress(ValueError):
            found += webhook_url.find_secrets(settings.on_complete_webhook)
    return found


def _passwords_in(url: str) -> list[str]:
    """Return the passwords in a URL: before its host, and in the query, for some drivers."""
    with contextlib.suppress(ValueError):  # it is rejected where it is used
        parts = urlsplit(url)
        query = parse_qsl(parts.query)
        named = [value for name, value in query if "password" in name.lower()]
        return [parts.password or "", *named]
    return []


def repair_schema(schema: Any) -> Any:
    """Return the SDK's schema of stream maps, with the one invalid part replaced.

    The SDK 0.54 has the type name "null" in place of a schema. A validator that reaches it, at an
    `__else__` that is not null, raises.
    """
    if isinstance(schema, list):
        return [repair_schema(rule) for rule in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: repair_schema(rule) for name, rule in schema.items()}
    if "anyOf" in whole:
        whole["anyOf"] = [{"type": one} if one == "null" else one for one in whole["anyOf"]]
    return whole


def _outcomes_problems(settings: Settings) -> list[str]:
    """Return a problem for a place of outcomes that can't be one."""
    url = settings.outcomes_url
    if url is None:
        return []
    if url == settings.ledger_url and url.startswith("sqlite"):
        return [
            "The settings 'outcomes_url' and 'ledger_url' name the same file, but the ledger needs "
            "one of its own: name another file in 'outcomes_url'."
        ]
    if not url.startswith(_OUTCOMES_SCHEMES):
        return [
            "The setting 'outcomes_url' can't be used: it must begin with postgresql+psycopg://, "
            "sqlite:/// or file:///."
        ]
    return []


def _missing_account(settings: Settings) -> list[str]:
    if settings.sandbox:
        return []
    return [
        f"The setting '{name}' is missing: see Settings > Developer in ActiveCampaign, "
        "or set 'sandbox' to true to try without an account."
        for name in ("api_url", "api_key")
        if not getattr(settings, name)
    ]


def _missing_consent(settings: Settings) -> list[str]:
    if settings.sandbox or settings.data_privacy_consent:
        return []
    return [
        "The setting 'data_privacy_consent' is not true: no profile data is sent to "
        "ActiveCampaign until someone authorised to agree sets it to true."
    ]


def _unusable_address(settings: Settings) -> list[str]:
    if not settings.sandbox:
        try:
            parse_api_url(settings.api_url or "")
        except ValueError as error:
            return [f"The setting 'api_url' can't be used: {error}"]
    return []


def _country_problems(settings: Settings) -> list[str]:
    found = _country_problem("default_country", settings.default_country)
    for stream, own in settings.streams.items():
        country = (own or {}).get("default_country")
        found += _country_problem(f"streams.{stream}.default_country", country)
    return found


def _address_change_problems(settings: Settings) -> list[str]:
    """Return a problem for each `on_address_change` that has no effect, as no key is given."""
    streams = {name: settings.for_stream(name) for name in settings.streams}
    found = {
        f"streams.{name}.on_address_change"
        for name, own in settings.streams.items()
        if (own or {}).get("on_address_change") in _NOT_RENAMED and not streams[name].person_key
    }
    keys = [settings.for_stream("").person_key, *(one.person_key for one in streams.values())]
    if settings.on_address_change in _NOT_RENAMED and not any(keys):
        found.add("on_address_change")
    return [
        f"The setting '{name}' has no effect without 'person_key': name the properties that "
        "identify a person there, or remove it."
        for name in sorted(found)
    ]


def _role_problems(settings: Settings, given: Mapping[str, Any]) -> list[str]:
    """Return a problem for each `role` or `leave_when` that can't be."""
    found = []
    if "role" in given:
        found.append(
            "The setting 'role' can only be given for a stream, under 'streams': move it there."
        )
    # Without its role, the people of such a stream would be sent.
    found += [
        f"The setting 'streams.{stream}.{name}' is unknown, but its value is '{SUPPRESSION}': "
        "use the setting 'role' for that."
        for stream, own in settings.streams.items()
        for name, value in (own or {}).items()
        if name not in STREAM_SETTINGS and value == SUPPRESSION
    ]
    found += [
        f"The setting 'streams.{name}.leave_when' can only be 'deleted', as the stream's role is "
        f"'{SUPPRESSION}': people who are missing from the stream stay suppressed. Remove it."
        for name in settings.suppression_streams
        if settings.for_stream(name).leave_when != "deleted"
    ]
    return found


def phone_region(country: str, setting: str = "default_country") -> str:
    """Return a country as its ISO 3166 code of two letters, in upper case.

    Args:
        country: The code, in any case.
        setting: The setting that it comes from, for messages.

    Raises:
        SettingError: There is no such country, or the extra `phone` is not installed.
    """
    try:
        from target_activecampaign.model import phone  # noqa: PLC0415 - an extra's package
    except ImportError:
        raise SettingError(
            f"The setting '{setting}' needs phonenumbers, which is not installed. "
            f"{install_hint('phone')}"
        ) from None
    region = country.strip().upper()
    if region not in phone.REGIONS:
        meant = phone.likely_region(region)
        suggestion = f" Did you mean '{meant}'?" if meant else ""
        raise SettingError(
            f"The setting '{setting}' is not a country with phone numbers of its own: give its "
            f"ISO 3166 code of two letters, such as DE, GB or US.{suggestion}"
        )
    return region


def _country_problem(name: str, country: str | None) -> list[str]:
    try:
        if country is not None:
            phone_region(country, name)
    except SettingError as error:
        return [str(error)]
    return []


def _explain(error: ValidationError) -> str:
    name = ".".join(str(part) for part in error.absolute_path) or "the configuration"
    rule: Any = error.validator_value
    if error.validator == "type":
        wanted = rule if isinstance(rule, str) else " or ".join(rule)
        return f"The setting '{name}' has the wrong type: it must be of type {wanted}."
    if error.validator in {"minimum", "maximum", "exclusiveMinimum"}:
        words = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
        return f"The setting '{name}' is out of range: it must be {words[error.validator]} {rule}."
    if error.validator == "minLength":
        return f"The setting '{name}' is empty: give a text, or remove it."
    if error.validator == "minItems":
        return f"The setting '{name}' is an empty array: give at least one value, or remove it."
    if error.validator == "enum":
        return f"The setting '{name}' must be one of {', '.join(rule)}."
    if error.validator == "anyOf":
        return f"The setting '{name}' is not valid: see the SDK's documentation of stream maps."
    if error.validator == "additionalProperties":
        known = list(cast("dict[str, Any]", error.schema)["properties"])
        unknown = [key for key in cast("dict[str, Any]", error.instance) if key not in known]
        return (
            f"The setting '{name}' has unknown keys: {named_with_hints(unknown, known)} "
            f"It can have {', '.join(known)}."
        )
    return f"The setting '{name}' does not fit its schema ({error.validator}: {rule!r})."


def unknown_settings(config: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """Return a warning for each unknown setting, with the nearest known one."""
    names = [(name, name, tuple(known)) for name in config]
    for stream, own in (config.get("streams") or {}).items():
        names += [(f"streams.{stream}.{name}", name, STREAM_SETTINGS) for name in own or {}]
    unused = [
        f"The setting 'streams.{stream}.{name}' has no effect, as the stream's role is "
        f"'{SUPPRESSION}'."
        for stream, own in (config.get("streams") or {}).items()
        for name, value in (own or {}).items()
        if own.get("role") == SUPPRESSION
        and value is not None
        and name in STREAM_SETTINGS
        and name not in OF_SUPPRESSION
    ]
    return unused + [
        f"The setting '{path}' is unknown and has no effect.{did_you_mean(name, candidates)}"
        for path, name, candidates in names
        if name not in candidates
    ]


def ensure_writable_folder(setting: str, path: str) -> None:
    """Make a folder if needed, and check before anything is sent that it can be written to.

    Raises:
        SettingError: It can't be made or written to.
    """
    folder = Path(path)
    try:
        private_files.make_folder(folder)
        usable, why = os.access(folder, os.W_OK | os.X_OK), "this user may not write to it"
    except OSError as error:
        usable, why = False, private_files.reason(error)
    except ValueError:  # such as U+0000 in the name
        usable, why = False, "the name is not allowed"
    if not usable:
        raise SettingError(
            f"The setting '{setting}' names {path}, which is not a writable folder: {why}."
        )
