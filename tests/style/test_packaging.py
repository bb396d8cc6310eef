"""What is shipped: the wheel holds the four packages with all they read, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ingest", "memory", "models", "api")
READ = (".py", ".json", ".safetensors", ".md", ".mako", ".ini", "py.typed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("setuptools") is None or find_spec("pip") is None, reason="setuptools or pip is not installed here"
    ),
]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in the wheel of what git knows of; built from a copy, for building writes beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    build = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    done = subprocess.run(
        [sys.executable, *build, str(folder / "source")], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: what belongs to the project is not known")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_every_file_of_the_packages_that_is_read_is_shipped(shipped: set[str]) -> None:
    ours = [name for name in tracked() if name.startswith(tuple(f"{package}/" for package in PACKAGES))]
    expected = {name for name in ours if name.endswith(READ) or name.startswith("api/web/")}
    assert expected <= shipped, sorted(expected - shipped)
    assert any(name.startswith("memory/migrations/versions/") for name in shipped)
    assert "memory/migrations/env.py" in shipped
    assert "api/web/index.html" in shipped


def test_nothing_else_is_shipped(shipped: set[str]) -> None:
    assert {name.split("/")[0] for name in shipped} == set(PACKAGES)
    assert shipped <= set(tracked()), sorted(shipped - set(tracked()))
    assert not [name for name in shipped if "test" in Path(name).name or "__pycache__" in name]
