"""Checking a configuration, and reading one from the environment."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator

from target_activecampaign.config import webhook_url
from target_activecampaign.config.conversion import Converter
from target_activecampaign.config.country import phone_region
from target_activecampaign.config.environment import read_variables
from target_activecampaign.config.settings import STREAM_SETTINGS, Settings
from target_activecampaign.errors import SettingError
from target_activecampaign.model.names import did_you_mean, named_with_hints, nfc
from target_activecampaign.storage import private_files
from target_activecampaign.text import is_encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema import ValidationError


_PROXY_VARIABLES = {"http_proxy", "https_proxy", "all_proxy"}


def convert(
    config: Mapping[str, Any], schema: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return a configuration in the types of its schema, and what of it can't be read."""
    converter = Converter()
    return converter.convert(dict(config), schema) or {}, converter.problems


def problems(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration, one sentence each; empty when nothing is.

    No sentence holds a value of the configuration, since one of them is the key.
    """
    given = {name: value for name, value in config.items() if value is not None}
    found = [_explain(error) for error in Draft202012Validator(schema).iter_errors(given)]
    if found:
        return found
    settings = Settings.from_config(given)
    found += [
        f"The setting 'streams' names the stream '{name}' twice, in two Unicode forms that look "
        "the same (NFC and NFD): keep one of them."
        for name, count in Counter(map(nfc, settings.streams)).items()
        if count > 1
    ]
    found += _unfit_places(settings)
    found += _connection_problems(settings) + _country_problems(settings)
    if settings.on_complete_webhook and (
        wrong := webhook_url.problem(settings.on_complete_webhook)
    ):
        found.append(wrong)
    if settings.list_id in {None, ""} and not any(
        (own or {}).get("list_id") is not None for own in settings.streams.values()
    ):
        found.append(
            "The setting 'list_id' is missing: give the id, name or string id of the list that "
            "contacts are put on, for all streams or for each under 'streams'."
        )
    return found


def _unfit_places(settings: Settings) -> list[str]:
    """What is wrong with the texts of places that go to libraries which take any text."""
    texts = {
        "ledger_url": settings.ledger_url,
        "rate_budget_url": settings.rate_budget_url or "",
        "sandbox_path": settings.sandbox_path,
    }
    return [
        f"The setting '{name}' has U+0000 or half of a surrogate pair, which no name of a file or "
        "server can have: write it anew."
        for name, text in texts.items()
        if "\0" in text or not is_encodable(text)
    ]


def secrets_in(settings: Settings) -> list[str]:
    """What must never be shown of the settings: the key, passwords in URLs, the webhook."""
    found = [settings.api_key or ""]
    for url in (settings.ledger_url, settings.rate_budget_url or ""):
        found += _passwords_in(url)
    # Proxies come from the environment; a library may name one when it can't be used.
    for name, url in os.environ.items():
        if name.lower() in _PROXY_VARIABLES:
            found += _passwords_in(url if "://" in url else f"http://{url}")
    if settings.on_complete_webhook:
        with contextlib.suppress(ValueError):
            found += webhook_url.secrets_in(settings.on_complete_webhook)
    return found


def _passwords_in(url: str) -> list[str]:
    """The passwords in a URL: before its host, and in its query, where drivers take one too."""
    with contextlib.suppress(ValueError):  # it is refused where it is used
        parts = urlsplit(url)
        query = parse_qsl(parts.query)
        named = [value for name, value in query if "password" in name.lower()]
        return [parts.password or "", *named]
    return []


def mended(schema: Any) -> Any:
    """The SDK's schema of stream maps, in which once a type stands where a schema must.

    A validator that comes to it, at an `__else__` that is not null, ends in a traceback.
    """
    if isinstance(schema, list):
        return [mended(rule) for rule in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: mended(rule) for name, rule in schema.items()}
    if "anyOf" in whole:
        whole["anyOf"] = [{"type": one} if one == "null" else one for one in whole["anyOf"]]
    return whole


def _connection_problems(settings: Settings) -> list[str]:
    if settings.sandbox:
        return []
    found = [
        f"The setting '{name}' is missing: see Settings > Developer in ActiveCampaign, "
        "or set 'sandbox' to true to try without an account."
        for name in ("api_url", "api_key")
        if not getattr(settings, name)
    ]
    if not settings.data_privacy_consent:
        found.append(
            "The setting 'data_privacy_consent' is not true: profiles may not leave for "
            "ActiveCampaign until someone who may decide that sets it to true."
        )
    return found


def _country_problems(settings: Settings) -> list[str]:
    found = _country_problem("default_country", settings.default_country)
    for stream, own in settings.streams.items():
        country = (own or {}).get("default_country")
        found += _country_problem(f"streams.{stream}.default_country", country)
    return found


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
    if error.validator == "enum":
        return f"The setting '{name}' must be one of {', '.join(rule)}."
    if error.validator == "anyOf":
        return (
            f"The setting '{name}' has a form that it can't have: see the SDK's documentation of "
            "stream maps."
        )
    if error.validator == "additionalProperties":
        known = list(cast("dict[str, Any]", error.schema)["properties"])
        unknown = [key for key in cast("dict[str, Any]", error.instance) if key not in known]
        return (
            f"The setting '{name}' has what it can't have: {named_with_hints(unknown, known)} "
            f"It can have {', '.join(known)}."
        )
    return f"The setting '{name}' does not fit its schema ({error.validator}: {rule!r})."


def unknown_settings(config: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """A warning for each setting that the target does not know, with the nearest known one."""
    names = [(name, name, tuple(known)) for name in config]
    for stream, own in (config.get("streams") or {}).items():
        names += [(f"streams.{stream}.{name}", name, STREAM_SETTINGS) for name in own or {}]
    return [
        f"The setting '{path}' is not known and has no effect.{did_you_mean(name, candidates)}"
        for path, name, candidates in names
        if name not in candidates
    ]


@dataclass(frozen=True)
class Environment:
    """The settings that variables give.

    Attributes:
        values: The settings.
        told: Where they come from, as far as a reader may not expect it, one sentence each.
        warnings: A sentence for each variable that names no setting.
    """

    values: dict[str, Any]
    told: list[str]
    warnings: list[str]


def from_environment(schema: Mapping[str, Any], prefix: str) -> Environment:
    """Read the settings that environment variables and `./.env` give.

    The SDK's own parser is not asked: to it, each text that is not `true` is false.

    Raises:
        SettingError: Variables that can't be read; each argument names one, not its value.
    """
    given = read_variables(prefix)
    known = {f"{prefix}{name.upper()}": name for name in schema["properties"]}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in known.keys() & given.values.keys():
        name = known[variable]
        converter = Converter(variable)
        values[name] = converter.convert(given.values[variable], schema["properties"][name], name)
        problems += converter.problems
    if problems:
        raise SettingError(*sorted(problems))
    told = []
    if names := [name for name in given.of_file if name in known]:
        told.append(f"Read from .env in the current folder: {', '.join(names)}.")
    if names := [name for name in given.overridden if name in known]:
        told.append(f"The environment wins over .env in {', '.join(names)}.")
    return Environment(values, told, _unknown_variables(given.values, schema, prefix))


def _unknown_variables(names: Iterable[str], schema: Mapping[str, Any], prefix: str) -> list[str]:
    """A warning for each variable that names no setting, with the nearest that does."""
    known = [f"{prefix}{name.upper()}" for name in schema["properties"]]
    # Meltano adds variables for what is inside of objects, and those of its own.
    inside = (*(f"{name}_" for name in known), f"{prefix}_", f"{prefix}LOGLEVEL")
    return [
        f"The environment variable {name} names no setting and has no effect."
        f"{did_you_mean(name, known)}"
        for name in names
        if name not in known and not name.startswith(inside)
    ]


def variables_not_read(
    config: Mapping[str, Any], schema: Mapping[str, Any], prefix: str
) -> list[str]:
    """A hint for whoever sets variables and does not say that they are to be read."""
    names = [f"{prefix}{name.upper()}" for name in schema["properties"] if name not in config]
    unread = [name for name in names if name in os.environ]
    if not unread:
        return []
    return [f"The environment has {', '.join(unread)}: they are read with --config=ENV alone."]


def make_folder(setting: str, path: str) -> None:
    """See that a folder that is written to at the end can be, before anything is sent.

    Raises:
        SettingError: It can't.
    """
    folder = Path(path)
    try:
        private_files.make_folder(folder)
        usable, why = os.access(folder, os.W_OK | os.X_OK), "this user may not write there"
    except OSError as error:
        usable, why = False, private_files.reason(error)
    except ValueError:  # what no file can be called, such as a NUL
        usable, why = False, "no file can have that name"
    if not usable:
        raise SettingError(
            f"The setting '{setting}' names {path}, which is no folder to write in: {why}."
        )
