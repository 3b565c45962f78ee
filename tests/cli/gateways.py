"""A gateway's admin API for the verbs that talk to one, and the way they are run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from tests.admin.fake_agent import FakeAgent, snapshot
from tests.admin.serving import in_a_thread
from typer.testing import CliRunner

from fastgate.cli.main import build


@contextlib.contextmanager
def gateway(
    folder: Path, *, token: str | None = None, path: Path | None = None
) -> Iterator[tuple[FakeAgent, str]]:
    """Run an admin API; yields its agent and its address."""
    agent = FakeAgent(snapshot(folder))
    with in_a_thread(agent, token=token, path=path) as address:
        yield agent, address


def run(verb: str, *arguments: str, stdin: str | None = None, **environ: str) -> Result:
    """Run a verb as a shell would."""
    return CliRunner().invoke(build(verb), [verb, *arguments], input=stdin, env=environ)


def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the output one that a person reads, wide enough for every table."""
    for name in ("NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
