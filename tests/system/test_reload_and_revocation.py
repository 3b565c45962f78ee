"""A reload that changes how long tokens live: revocations must live as long."""

import json
import pathlib
import signal
import sqlite3
import time

import pytest
from tests.system.gateway import Gateway, running, until, world

pytestmark = pytest.mark.system

LONGER = {"max_token_lifetime": "2h", "max_session_lifetime": "12h"}


def ends(state: pathlib.Path) -> list[int]:
    """Return when each journalled entry ends, in order."""
    with sqlite3.connect(f"file:{state}/journal.sqlite3?mode=ro", uri=True) as db:
        return [row[0] for row in db.execute("SELECT expires FROM events ORDER BY row")]


async def test_entries_live_as_long_as_tokens_may_after_a_reload(tmp_path):
    """Those of before are lengthened, and a new agent knows of the reload too."""
    async with world() as here:
        document = here.document(tmp_path)
        state = pathlib.Path(document["state_dir"])
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            await gateway.revoke("jti", "before")
            began_s = time.time()
            assert ends(state)[0] < began_s + 3_800
            longer = document.get("revocation", {}) | LONGER
            gateway.write(document | {"revocation": longer})
            gateway.send(signal.SIGHUP)
            await until(lambda: len(ends(state)) == 2, "lengthened")
            assert ends(state)[1] >= began_s + 7_200
            (agent,) = gateway.pids("agent")
            gateway.send(signal.SIGKILL, agent)
            await until(lambda: len(gateway.pids("agent")) == 2, "a new agent")
            await gateway.revoke("jti", "after")
            assert len(ends(state)) == 3
            assert ends(state)[2] >= began_s + 7_200
        lines = (state / "audit.jsonl").read_text("utf-8").splitlines()
        reloads = [
            line for line in map(json.loads, lines) if line["action"] == "reload"
        ]
        assert [(line["actor"], line["outcome"]) for line in reloads] == [
            ("signal", "done")
        ]
