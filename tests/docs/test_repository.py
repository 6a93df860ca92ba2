"""What must hold of the repository as a whole: documents that fit the code, no stray hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_generated_parts_of_the_documents_fit_the_code() -> None:
    script = [sys.executable, "scripts/write_docs.py", "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_marker_stands_once_in_a_document() -> None:
    for path in tracked():
        if path.suffix == ".md":
            markers = re.findall(r"^<!-- .+ -->", path.read_text("utf-8"), re.MULTILINE)
            assert len(markers) == len(set(markers)), path


def test_no_file_names_a_host_of_a_package_registry() -> None:
    hosts = re.compile(
        rb"pypi" rb"\.org|pythonhosted" rb"\.org|registry\.npm" rb"js|deb\.deb" rb"ian"
    )
    for path in tracked():
        assert not hosts.search(path.read_bytes()), path


def test_links_between_documents_lead_somewhere() -> None:
    found = [(path, link) for path in tracked() if path.suffix == ".md" for link in links(path)]
    assert len(found) > 30
    for path, link in found:
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{path}: {link}"
        assert not anchor or anchor in anchors(target), f"{path}: {link}"


def links(path: Path) -> list[str]:
    """The links of a document, and its pictures, that lead to files or headings."""
    text = without_blocks(path.read_text("utf-8"))
    found = re.findall(r"\]\(([^)\s]+)\)|<(?:img|source) [^>]*src(?:set)?=\"([^\"]+)\"", text)
    return [one for pair in found for one in pair if one and "://" not in one]


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_blocks(text: str) -> str:
    """A document without its examples, in which brackets and number signs are others' words."""
    return re.sub(r"^ *(```|~~~).*?^ *\1", "", text, flags=re.MULTILINE | re.DOTALL)


def test_every_picture_is_shown_small_and_said_in_words() -> None:
    shown = {}
    for path in tracked():
        if path.suffix == ".md":
            for words, target in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", path.read_text("utf-8")):
                shown[(path.parent / target).resolve()] = words
    pictures = set((ROOT / "docs" / "pictures").iterdir())
    assert pictures == set(shown)
    assert all(len(words) > 20 for words in shown.values())
    for picture in pictures:
        assert picture.stat().st_size < 150_000, f"{picture}: it is slow to load"


def test_every_code_of_the_target_has_an_entry() -> None:
    documented = (ROOT / "docs/errors.md").read_text("utf-8")
    sources = " ".join(
        path.read_text("utf-8") for path in (ROOT / "target_activecampaign").rglob("*.py")
    )
    used = set(re.findall(r'"((?:EMAIL|VALUE|RECORD|CONTACT|IMPORT|REFUSED)_[A-Z_]+)"', sources))
    assert len(used) >= 8
    assert all(f"`{code}`" in documented for code in used)


def test_index_of_the_documents_has_every_page() -> None:
    docs = ROOT / "docs"
    named = set(links(docs / "README.md"))
    assert {page.name for page in docs.glob("*.md")} - named == {"README.md"}
