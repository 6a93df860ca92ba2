"""The tutorial is a real session of a stranger: the published package, and an empty folder."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

from tests.support.installed import ROOT
from tests.support.transcript import Transcript, alike

if TYPE_CHECKING:
    from pathlib import Path

TUTORIAL = ROOT / "docs" / "tutorial.md"
PORT = "8026"
"""The port that the tutorial has the sandbox take; here it may be taken."""


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_every_command_of_the_tutorial_prints_what_stands_there(
    programs: Path, tmp_path: Path
) -> None:
    text = TUTORIAL.read_text("utf-8")
    transcript = Transcript(text.replace(PORT, free_port()))

    outputs = transcript.run(tmp_path, programs)

    told = [(one.text, alike(one.output)) for one in Transcript(text).commands]
    assert len(told) > 15
    assert [
        (command, alike(output)) for (command, _), output in zip(told, outputs, strict=True)
    ] == told
    # And what it says of the end holds: five people, of whom one was refused at first.
    runs = [json.loads(one.read_text("utf-8")) for one in sorted(tmp_path.glob("reports/*.json"))]
    assert [run["outcome"] for run in runs].count("failed") == 1
    assert runs[-1]["counts"]["unchanged"] == runs[-1]["counts"]["read"]


def test_the_tutorial_shows_all_that_a_newcomer_does() -> None:
    commands = "\n".join(one.text for one in Transcript(TUTORIAL.read_text("utf-8")).commands)
    for what in ("--test", "--dry-run", "--limit", "> state.json", "--rejects", "cat rejects/"):
        assert what in commands
    assert not re.search(r"https?://(?!127\.0\.0\.1)", commands)
