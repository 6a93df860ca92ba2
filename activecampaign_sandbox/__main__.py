"""``python -m activecampaign_sandbox``: the same as ``activecampaign-sandbox``."""

from __future__ import annotations

from activecampaign_sandbox.cli import main

main()
