"""Who may import whom, and that each room can be imported by itself."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.style.rules import ROOT, SOURCE

ROOMS = sorted(
    path.stem
    for path in SOURCE.iterdir()
    if (path / "__init__.py").is_file()
    or (path.suffix == ".py" and not path.stem.startswith("__"))
)
LINT = "from importlinter.cli import lint_imports_command as main; main()"
# All modules of a room, in a process that has seen no other room.
IMPORT_ROOM = """
import importlib, pkgutil, sys
room = importlib.import_module("fastgate." + sys.argv[1])
names = [m.name for m in pkgutil.walk_packages(
    getattr(room, "__path__", []), room.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def _run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_import_contracts_hold():
    """The rule of who imports whom is in pyproject.toml, and import-linter judges."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    ran = _run(LINT, "--no-cache")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Contracts: {len(contracts)} kept, 0 broken." in ran.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_room_can_be_imported_alone(room):
    """A module that works only after another was imported hides a cycle."""
    ran = _run(IMPORT_ROOM, room)
    assert ran.returncode == 0, ran.stderr
    spec = importlib.util.find_spec(f"fastgate.{room}")
    assert spec is not None
    files = [
        path
        for path in Path(spec.origin or "").parent.rglob("*.py")
        if spec.submodule_search_locations and path.name != "__init__.py"
    ]
    assert int(ran.stdout) >= len(files)
