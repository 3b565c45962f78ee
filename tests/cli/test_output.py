"""Tables on a terminal, JSON elsewhere."""

import io
import json
import sys

import pytest

from fastgate.cli import output


@pytest.fixture
def plain(monkeypatch):
    """Neither variable that forces or forbids colour is set."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def test_show_prints_json_where_no_person_reads(plain, capsys):
    """A pipe gets one line of JSON."""
    output.show({"a": 1}, ["a"], [[1]])
    assert capsys.readouterr().out == '{"a":1}\n'


def test_show_prints_a_table_on_a_terminal(plain, monkeypatch, capsys):
    """FORCE_COLOR makes any output a terminal, as its users expect."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    output.show({"a": 1}, ["name"], [["[bold]x[/bold]"]])
    printed = capsys.readouterr().out
    assert "name" in printed
    assert "[bold]x[/bold]" in printed


def test_show_prints_json_on_a_terminal_when_asked(plain, monkeypatch, capsys):
    """`--json` wins over the terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    output.show({"a": 1}, ["a"], [[1]], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_line_has_no_styles_in_a_pipe(plain, capsys):
    """Escape sequences are for people."""
    output.print_line(("a ", "bold red"), ("[b]", ""))
    assert capsys.readouterr().out == "a [b]\n"


def test_line_has_no_colour_where_it_is_not_wanted(plain, monkeypatch, capsys):
    """NO_COLOR counts on a terminal too."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    output.print_line(("a", "red"))
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    output.print_line(("a", "red"))
    assert "31m" not in capsys.readouterr().out


def test_working_is_silent_in_a_pipe(plain, monkeypatch):
    """Progress goes to stderr, and only where somebody looks."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with output.working("busy"):
        pass
    assert stderr.getvalue() == ""


def test_fail_prints_one_line_and_exits(capsys):
    """The code is the caller's; the line goes to stderr."""
    with pytest.raises(SystemExit) as ended:
        output.fail("no such thing", output.EXIT_UNAVAILABLE)
    assert ended.value.code == 69
    assert capsys.readouterr().err == "fastgate: no such thing\n"
