"""Fill the generated parts of the documentation; `--check` only sees whether they fit.

A generated part stands between `<!-- name -->` and `<!-- /name -->`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from target_activecampaign.activecampaign import ActiveCampaignError
from target_activecampaign.codes import CODES
from target_activecampaign.destinations import STANDARD_NAMES
from target_activecampaign.settings import markdown_table

ROOT = Path(__file__).resolve().parent.parent


def names_table() -> str:
    """The names that map by themselves."""
    rows = ["| destination | names that map to it, the better known first |", "| --- | --- |"]
    rows += [
        f"| `{destination}` | {', '.join(f'`{name}`' for name in names)} |"
        for destination, names in STANDARD_NAMES.items()
    ]
    return "\n".join([*rows, "| a custom field | its personalisation tag, or its title |"])


def codes_table() -> str:
    """The codes of refused records."""
    rows = ["| code | kind | what happened | what to do |", "| --- | --- | --- | --- |"]
    for name, code in CODES.items():
        kind = "invalid" if code.ours else "rejected"
        rows.append(f"| `{name}` | {kind} | {code.meaning} | {code.advice} |")
    return "\n".join(rows)


def errors_table() -> str:
    """The errors of the client, by their codes."""
    rows = ["| code | tried again | what happened | what to do |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{kind.code}` | {'yes' if kind.retried else 'no'} | {kind.meaning}. | {kind.advice} |"
        for kind in _leaves(ActiveCampaignError)
        if kind.code
    ]
    return "\n".join(rows)


def _leaves(kind: type[ActiveCampaignError]) -> list[type[ActiveCampaignError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _leaves(child))]


PARTS = {
    "README.md": {"settings": markdown_table, "names": names_table},
    "docs/errors.md": {"codes": codes_table, "errors": errors_table},
}


def filled(path: str) -> tuple[str, str]:
    """A file's text as it is, and as it should be."""
    text = fresh = (ROOT / path).read_text("utf-8")
    for name, make in PARTS[path].items():
        head, tail = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = fresh.partition(head)
        fresh = f"{before}{head}\n{make()}\n\n{tail}{rest.partition(tail)[2]}"
    return text, fresh


def main() -> int:
    """Write or check; returns the exit code."""
    stale = []
    for path in PARTS:
        text, fresh = filled(path)
        if text != fresh:
            stale.append(path)
            if "--check" not in sys.argv:
                (ROOT / path).write_text(fresh, "utf-8")
    for path in stale:
        print(f"{path} {'is stale' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
