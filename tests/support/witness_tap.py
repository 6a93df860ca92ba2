"""Start tap-activecampaign for the API of a sandbox.

It runs in `.venv-witness`, not in the environment of the tests. The tap takes only addresses that
begin with `https` and lead to a public host; the sandbox has neither. This check is switched off
here, and nothing else is changed.
"""

from __future__ import annotations

import importlib
from unittest import mock

with mock.patch("tap_activecampaign.client.is_api_url_valid", return_value=True):
    importlib.import_module("tap_activecampaign").main()
