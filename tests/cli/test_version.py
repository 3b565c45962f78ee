"""`fastgate version`, and what the two cheap verbs must not import."""

import json
import subprocess
import sys

import pytest

from fastgate import __version__
from fastgate.cli import version

# Heavy: each of these costs more than the whole verb may.
HEAVY = {"typer", "rich", "pydantic", "aiohttp", "asyncio", "ssl", "yaml", "email"}


def modules_after(*arguments):
    """Return the exit code and the modules that a verb leaves loaded."""
    code = (
        "import json, sys\n"
        f"sys.argv = ['fastgate', *{list(arguments)!r}]\n"
        "from fastgate.cli.entry import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        "    print(json.dumps([end.code, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    exit_code, modules = json.loads(done.stderr.splitlines()[-1])
    return exit_code, set(modules), done.stdout


def test_version_prints_itself(capsys):
    """The line names fastgate's version and Python's."""
    assert version.run([]) == 0
    assert capsys.readouterr().out.startswith(f"fastgate {__version__} (Python 3.")


def test_version_prints_json(capsys):
    """Scripts read members, not sentences."""
    assert version.run(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == __version__


def test_version_refuses_other_arguments(capsys):
    """A usage error is 2 and goes to stderr."""
    assert version.run(["--bogus"]) == 2
    assert "usage:" in capsys.readouterr().err
    assert version.run(["--help"]) == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["version"], 0),
        (["--version"], 0),
        (["healthcheck", "--status", "127.0.0.1:1"], 1),
    ],
)
def test_cheap_verb_loads_nothing_heavy(arguments, exit_code):
    """Probes call these all the time, so the gateway's imports are not paid."""
    code, modules, _ = modules_after(*arguments)
    assert code == exit_code
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    assert "importlib.metadata" not in modules
    assert {m for m in modules if m.startswith("fastgate.")} <= {
        "fastgate.cli",
        "fastgate.cli.entry",
        "fastgate.cli.version",
        "fastgate.cli.healthcheck",
    }
