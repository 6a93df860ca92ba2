"""The tap: its settings, its streams, and its end on a signal."""

from __future__ import annotations

import sys
import weakref
from typing import IO, TYPE_CHECKING, Any, ClassVar

from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities

from target_activecampaign import redaction
from target_activecampaign.config import environment, validation
from target_activecampaign.config.files import UnusableJSONError, parse_json
from target_activecampaign.config.settings import Settings
from target_activecampaign.errors import SettingError
from target_activecampaign.singer.sdk_compat import ConfigInput, SdkTap
from target_activecampaign.tap import definitions
from target_activecampaign.tap.source import ConsentSource
from target_activecampaign.tap.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.streams import Stream


class TapActiveCampaignConsent(SdkTap):
    """Reads opt-outs, bounces and the exclusion list of an ActiveCampaign account."""

    name = "tap-activecampaign-consent"
    package_name = "target-activecampaign"
    config_jsonschema: ClassVar[dict[str, Any]] = definitions.json_schema()
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ACTIVATE_VERSION,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    def __init__(
        self,
        *,
        config: dict[str, Any] | PurePath | str | list[PurePath | str] | None = None,
        catalog: Any = None,
        state: Any = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        setup_mapper: bool = True,
        message_writer: Any = None,
    ) -> None:
        """See the SDK's `Tap`. It makes no request before the first stream is read."""
        self._reads_variables = parse_env_config
        self._source: ConsentSource | None = None
        super().__init__(
            config=config,
            catalog=catalog,
            state=state,
            parse_env_config=parse_env_config,
            validate_config=validate_config,
            setup_mapper=setup_mapper,
            message_writer=message_writer,
        )

    # Configuration

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's settings for stream maps and flattening."""
        super().append_builtin_config(config_jsonschema)
        properties = config_jsonschema["properties"]
        properties["stream_maps"] = validation.repair_schema(properties["stream_maps"])

    @classmethod
    def read_environment(cls, prefix: str) -> dict[str, Any]:
        """Return the settings from the variables `TAP_ACTIVECAMPAIGN_CONSENT_*`."""
        cls.append_builtin_config(cls.config_jsonschema)
        try:
            given = environment.read_environment(cls.config_jsonschema, prefix)
        except SettingError as error:
            raise SettingError(" ".join(error.args)) from None
        for text in given.notices:
            cls.logger.info(text)
        return given.values

    def check_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the configuration. From here on, the log has no key and no addresses.

        Raises:
            SettingError: The configuration can't be used.
        """
        self.append_builtin_config(self.config_jsonschema)
        config, errors = validation.convert(self.config, self.config_jsonschema)
        self.set_config(config)
        errors = errors or validation.find_account_problems(self.config, self.config_jsonschema)
        if errors:
            errors[:0] = environment.unread_variables(
                self.config, self.config_jsonschema, self.variable_prefix
            )
            if raise_errors:
                raise SettingError(" ".join(errors))
            return errors  # nothing is read then
        redaction.install_log_filter(validation.find_secrets(self._settings))
        for text in validation.unknown_settings(self.config, self.config_jsonschema["properties"]):
            self.logger.warning(text)
        if self._reads_variables:
            given = environment.read_environment(self.config_jsonschema, self.variable_prefix)
            for text in given.warnings:
                self.logger.warning(text)
        return []

    @property
    def _settings(self) -> Settings:
        return Settings.from_config(self.config)

    # Streams

    def discover_streams(self) -> Sequence[Stream]:
        """Return the streams. They are the same for every account."""
        if self._source is None:
            self._source = ConsentSource(self._settings, self.config.get("lists") or ())
            weakref.finalize(self, self._source.close)
        return [kind(self, self._source) for kind in STREAMS]

    # Command

    @classmethod
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: ConfigInput | None = None,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
    ) -> None:
        """Read the selected streams, or print the settings.

        Raises:
            SettingError: The file of an option has the wrong content.
        """
        if about:
            cls.print_about(about_format)
            return
        cls.print_version(print_fn=cls.logger.info)
        tap = cls(
            config=config.config if config else {},
            state=_read("--state", state),
            catalog=_read("--catalog", catalog, "streams"),
            parse_env_config=bool(config and config.parse_env),
        )
        tap.sync_all()

    def handle_signal(self, signum: int) -> None:
        """Exit without another STATE: each stream writes its own when it is complete."""
        sys.exit(128 + signum)


def _read(option: str, file: IO[str] | None, needed: str | None = None) -> dict[str, Any] | None:
    """Return the JSON object in the file of an option; None without a file."""
    if file is None:
        return None
    try:
        content = parse_json(file.read())
    except (UnusableJSONError, ValueError):
        raise SettingError(f"The file given with {option} is not valid JSON.") from None
    if not isinstance(content, dict) or (needed and not isinstance(content.get(needed), list)):
        raise SettingError(
            f"The file given with {option} does not hold a JSON object"
            + (f" with an array '{needed}'." if needed else ".")
        )
    return content
