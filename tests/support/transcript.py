"""A document that is a transcript: its commands are run as they stand, its outputs compared.

In a block that is marked `console` a line that begins with `$ ` is a command, which goes on while
a here-document is open or a line ends with a backslash. What follows, up to the next command, is
what it printed. All commands of a document run in one shell, in a folder that begins empty.

    python -m tests.support.transcript docs/tutorial.md PROGRAMS

writes the outputs anew, with the programs that are in the folder PROGRAMS.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
_MARK = "--- the command has ended ---"

_VARYING = (
    # What no two runs have in common, and what it is called instead.
    (r"\d{8}T\d{6}-[0-9a-f]{12}", "RUN"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d([.,]\d+)?(\+00:00|Z)?", "TIME"),
    (r"(http://127\.0\.0\.1:)\d+", r"\1PORT"),
    (r'("pid": ?)\d+', r"\1PID"),
    (r'("value": ?)\d+\.\d+(e-\d+)?', r"\1SECONDS"),
    (r"\b[\d,]+ requests?\b", "N requests"),
    (r"\b[\d,.]+ s\b", "N s"),
    (r'("id": ?")\d{10,}', r"\1NUMBER"),
    (r"\bv\d+\.\d+\.\d+\b", "VERSION"),
)


@dataclass
class Command:
    """A command of a transcript, and what it printed."""

    text: str
    output: str = ""


@dataclass
class Transcript:
    """The commands of a document, in their order.

    Args:
        text: The document.
    """

    text: str
    commands: list[Command] = field(init=False)

    def __post_init__(self) -> None:
        """Find the commands."""
        self.commands = [one for block in _BLOCK.findall(self.text) for one in _commands(block)]

    def run(self, folder: Path, programs: Path) -> list[str]:
        """What the commands print, each its own, errors among it.

        Args:
            folder: Where to run them.
            programs: The folder of the programs that come first.
        """
        script = "".join(f"{one.text}\n_said\n" for one in self.commands)
        # `$?` is the command's own to the next one.
        said = f"_said() {{ local code=$?; echo '{_MARK}'; return $code; }}\nexec 2>&1\n"
        done = subprocess.run(
            ["bash", "-c", f"{said}{script}"],
            cwd=folder,
            env={"HOME": str(folder), "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split(f"{_MARK}\n")[: len(self.commands)]

    def with_outputs(self, outputs: list[str]) -> str:
        """The document with other outputs."""
        left = iter(outputs)

        def block(found: re.Match[str]) -> str:
            lines = [f"$ {one.text}\n{next(left)}" for one in _commands(found[1])]
            return f"```console\n{''.join(lines)}```"

        return _BLOCK.sub(block, self.text)


def alike(output: str) -> str:
    """An output without what no two runs have in common."""
    for pattern, instead in _VARYING:
        output = re.sub(pattern, instead, output)
    return output


def _commands(block: str) -> list[Command]:
    commands: list[Command] = []
    ends: str | None = None
    goes_on = False
    for line in block.splitlines(keepends=True):
        if ends is not None or goes_on:
            commands[-1].text += f"\n{line.rstrip()}"
            ends = None if line.rstrip() == ends else ends
            goes_on = goes_on and line.rstrip().endswith("\\")
        elif line.startswith("$ "):
            commands.append(Command(line[2:].rstrip()))
            opened = _HERE_DOCUMENT.search(line)
            ends = opened[1] if opened else None
            goes_on = line.rstrip().endswith("\\")
        else:
            commands[-1].output += line
    return commands


def main() -> None:
    """Write a document's outputs anew."""
    path, programs = Path(sys.argv[1]), Path(sys.argv[2]).absolute()
    transcript = Transcript(path.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        outputs = transcript.run(Path(folder), programs)
    path = path if path.is_absolute() else Path(__file__).parents[2] / path
    path.write_text(transcript.with_outputs(outputs), "utf-8")


if __name__ == "__main__":
    main()
