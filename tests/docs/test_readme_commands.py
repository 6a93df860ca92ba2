"""The README's two commands: one each, and what they set up on an unknown machine.

The commands themselves run in CI, from a clean clone; here are the ways in which a machine can be
unlike another.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import examples

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


Absent = Callable[..., None]


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/environments.py, for a project in a temporary folder whose lock is empty."""
    path = ROOT / "scripts" / "environments.py"
    spec = importlib.util.spec_from_file_location("environments", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    # The tests' own environment need not have a pip, the Python that it was made with does.
    monkeypatch.setattr(sys, "executable", sys._base_executable)  # type: ignore[attr-defined]
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "lock.txt").touch()
    return module


@pytest.fixture
def absent(environments: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Absent:
    """Let every command that has one of these words fail."""
    run = subprocess.run

    def make_absent(*words: str) -> None:
        def selective(command: list[str], **how: Any) -> subprocess.CompletedProcess[Any]:
            if any(word in command for word in words):
                return subprocess.CompletedProcess(command, 1)
            return run(command, **how)

        monkeypatch.setattr(environments.subprocess, "run", selective)

    return make_absent


def test_the_readme_begins_with_two_blocks_of_one_command_each() -> None:
    blocks = [one.text for one in examples("../README.md")]

    assert blocks[:2] == ["python3 scripts/demo.py\n", "python3 scripts/test.py\n"]


def test_an_environment_is_made_once_and_anew_when_its_lock_changes(
    environments: ModuleType,
    absent: Absent,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    absent("ensurepip")  # which takes its time
    environment = environments.Environment(".venv", "lock.txt", "a test")

    environment.ensure()
    assert (environment.bin / "python").exists()
    assert "Setting up .venv" in capsys.readouterr().out
    left = environment.bin / "left"
    left.touch()

    environment.ensure()
    assert capsys.readouterr().out == ""
    assert left.exists()

    (tmp_path / "requirements" / "lock.txt").write_text("# changed\n")
    environment.ensure()
    assert "Setting up .venv" in capsys.readouterr().out
    assert not left.exists()


@pytest.mark.parametrize("uv", [str(ROOT / ".venv-meltano" / "bin" / "uv"), None])
def test_without_ensurepip_uv_or_the_pip_outside_fills_the_environment(
    environments: ModuleType, absent: Absent, monkeypatch: pytest.MonkeyPatch, uv: str | None
) -> None:
    if uv and not Path(uv).exists():
        pytest.skip("Meltano's environment, which has uv, is not there: scripts/test.py makes it")
    monkeypatch.setattr(environments.shutil, "which", lambda _: uv)
    absent("ensurepip")
    environment = environments.Environment(".venv", "lock.txt", "a test")

    environment.ensure()

    assert (environment.bin / "python").exists()


def test_an_install_that_fails_is_said_and_leaves_no_stamp(
    environments: ModuleType, absent: Absent, tmp_path: Path
) -> None:
    absent("ensurepip")
    (tmp_path / "requirements" / "lock.txt").write_text("not a requirement!\n")

    with pytest.raises(environments.SetUpError, match="Could not install what it needs"):
        environments.Environment(".venv", "lock.txt", "a test").ensure()

    assert not (tmp_path / ".venv" / ".made-from").exists()


def test_without_any_installer_the_way_out_is_named(
    environments: ModuleType, absent: Absent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments.shutil, "which", lambda _: None)
    absent("ensurepip", "pip")

    with pytest.raises(environments.SetUpError, match="apt-get install python3-venv"):
        environments.Environment(".venv", "lock.txt", "a test").ensure()


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 16, 0)])
def test_another_python_is_looked_for_or_asked_for(
    environments: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: Any
) -> None:
    monkeypatch.setattr(environments.sys, "version_info", version)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(environments.SetUpError, match=r"needs Python 3\.10 to 3\.15"):
        environments.supported_python()

    (tmp_path / "python3.12").symlink_to(sys.executable)
    assert environments.supported_python() == str(tmp_path / "python3.12")


@pytest.mark.parametrize("script", ["demo.py", "test.py"])
def test_what_cannot_be_set_up_is_said_in_words_and_with_exit_code_1(
    script: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "requirements").mkdir()
    for lock in ("dev.txt", "meltano.txt"):
        (tmp_path / "requirements" / lock).write_text("not a requirement!\n")

    done = subprocess.run(
        [sys.executable, str(tmp_path / "scripts" / script)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("Could not install what it needs")
    assert "Traceback" not in done.stderr
