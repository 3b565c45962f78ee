"""The table of verbs: lazy, complete, and the border where errors become exit codes."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fastgate.cli import main
from fastgate.errors import ConfigError, StartError


def test_help_names_every_verb_and_loads_none():
    """Help costs no verb's imports."""
    code = (
        "import sys; sys.argv = ['fastgate', '--help']\n"
        "from fastgate.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as end:\n"
        "    print(end.code, sorted(m for m in sys.modules if 'fastgate.' in m))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    for verb in main.VERBS:
        assert verb in done.stdout
    loaded = done.stdout.splitlines()[-1]
    assert loaded.startswith("0 ")
    for verb in main.VERBS:
        assert f"'fastgate.cli.{verb}'" not in loaded
    assert "fastgate.config" not in loaded


def test_unknown_verb_is_a_usage_error_with_a_hint():
    """A mistyped verb gets the nearest one."""
    done = CliRunner().invoke(main.build("chekc"), ["chekc"])
    assert done.exit_code == 2
    assert "check" in done.output


def test_no_verb_shows_help_and_is_a_usage_error():
    """Nothing asked for is nothing done."""
    done = CliRunner().invoke(main.build(None), [])
    assert done.exit_code == 2
    assert "healthcheck" in done.output


def test_verb_whose_module_is_absent_says_so(monkeypatch):
    """A broken installation is told as one, not as a traceback."""
    monkeypatch.setitem(main.VERBS, "absent", "Never there.")
    done = CliRunner().invoke(main.build("absent"), ["absent"])
    assert done.exit_code == 1
    assert "install fastgate again" in done.output


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("bad: x"), 78), (StartError("bad: x"), 1)]
)
def test_error_of_fastgate_becomes_one_line_and_a_code(
    error, code, monkeypatch, capsys
):
    """Operators get a sentence and a stable code, never a traceback."""

    def raising(_verb):
        def application(*, prog_name):
            raise error

        return application

    monkeypatch.setattr(main, "build", raising)
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == code
    assert capsys.readouterr().err == "fastgate: bad: x\n"
