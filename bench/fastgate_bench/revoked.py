"""Revoked: a journal with many revocations, as a gateway that entered them has it.

Owns:      the token ids of a run that are revoked, and the journal made of them.
Called by: peers and relay choose them; gateways lays the journal into a `state_dir`.
Source:    REVOCATION.md section 3: what an event carries, and how long it lives.

Entering 100,000 through the admin API would take ten minutes, since it takes 200 a
second of one peer. The journal is written by the product's own parts instead, and the
gateway reads it at its start as it reads its own after any restart.
"""

import asyncio
import pathlib
import secrets
import time
from typing import Final

from fastgate.adapters.local_journal import LocalJournal
from fastgate.domain.entry import Entry, Lifetimes, make_event
from fastgate.domain.event import Event, key_id
from fastgate.domain.revocation import KeyHasher, Kind
from fastgate_bench.tokens import ISSUER

__all__ = ["HASH_KEY", "NODE", "ORIGIN", "write_ids", "write_journal"]

# The configuration of the gateway under test names the same.
HASH_KEY: Final = "bench-hash-key-0123456789"
NODE: Final = "bench"
ORIGIN: Final = "eu"
# Reason: half of what the journal takes before it calls itself behind.
_GROUP: Final = 10_000
_LIFETIMES: Final = Lifetimes(max_token_s=3_600, max_session_s=43_200, leeway_s=5)


def write_ids(path: pathlib.Path, count: int) -> pathlib.Path:
    """Write token ids that no token of a run has, one a line; returns the path."""
    ids = (f"00000000-4aaf-4ab9-b633-{number:012}\n" for number in range(count))
    path.write_text("".join(ids), "ascii")
    return path


async def write_journal(state_dir: pathlib.Path, revoked: pathlib.Path) -> int:
    """Write the journal of a gateway that has revoked the token ids of a file.

    Returns how many. Raises StartError or ControlError where the folder cannot be used.
    """
    values = (await asyncio.to_thread(revoked.read_text, "ascii")).split()
    hasher = KeyHasher(HASH_KEY.encode(), ISSUER)
    name, now = key_id(HASH_KEY.encode()), time.time()

    def event(value: str) -> Event:
        return make_event(
            Entry(Kind.JTI, ISSUER, "login", value),
            id_=secrets.token_hex(12),
            key=hasher.key(Kind.JTI, value),
            key_id=name,
            origin=ORIGIN,
            hand=(),
            now=now,
            lifetimes=_LIFETIMES,
        )

    journal = LocalJournal(state_dir, NODE, only_copy=True)
    await journal.open()
    try:
        for at in range(0, len(values), _GROUP):
            group = [event(value) for value in values[at : at + _GROUP]]
            kept = await asyncio.gather(*map(journal.append, group))
            await journal.published([one.row for one in kept], kept[-1].row)
    finally:
        await journal.close()
    return len(values)
