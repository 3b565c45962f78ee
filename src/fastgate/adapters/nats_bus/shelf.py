"""NATS shelf: where saved states lie on a NATS server, a subject for each blob.

Owns:      the stream `FG_SNAP_<region>`: one message a subject, the newest.
Called by: control.shared_snapshots, through ports.Shelf.
Source:    ECOSYSTEM.md section 9. Not an object store bucket: that one needs the right
           to purge, while here a blob takes the place of the one before by itself. In a
           mesh each region's stream is on its own server, and read from there.
"""

from typing import Any

import orjson

from fastgate.adapters.nats_bus.answers import MissingError, answer_of, snapshot_name
from fastgate.adapters.nats_bus.link import Link
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.adapters.nats_bus.snapshot_stream import (
    refuse_other,
    snapshot_config,
    snapshot_room,
)
from fastgate.errors import ControlError

__all__ = ["NatsShelf"]

_MAX_BLOB_BYTES = 262_144
_NOT_FOUND = "404"


class NatsShelf:
    """The blobs of all regions. region: This gateway's, which it writes."""

    def __init__(self, link: Link, settings: NatsSettings, region: str) -> None:
        self._link = link
        self._settings = settings
        self._region = region
        # Regions that are known to have a stream.
        self._there: set[str] = set()

    async def room(self) -> int:
        """Return how many bytes a saved state may have; makes the stream.

        Raises ControlError where that is not allowed, or it is another kind of stream.
        """
        name, api = snapshot_name(self._region), self._link.api(self._region)
        config: Any
        try:
            info = await self._link.ask(f"{api}.STREAM.INFO.{name}", None)
            config = info.get("config")
        except MissingError:
            config = snapshot_config(self._settings, self._region)
            await self._link.ask(f"{api}.STREAM.CREATE.{name}", config)
        refuse_other(self._region, config)
        return snapshot_room(config)

    async def put(self, name: str, data: bytes) -> None:
        """Keep a blob. Raises ControlError where the stream does not say so."""
        if len(data) > _MAX_BLOB_BYTES:
            raise ControlError("too large")
        subject = f"fg.snap.{self._region}.{name}"
        answer = answer_of((await self._link.request(subject, data)).data)
        if answer.get("stream") != snapshot_name(self._region):
            raise ControlError("another stream answered")

    async def get(self, region: str, name: str) -> bytes | None:
        """Return a blob, None where there is none. Raises ControlError."""
        subject = f"fg.snap.{region}.{name}"
        asked = f"{self._link.api(region)}.DIRECT.GET.{snapshot_name(region)}"
        body = orjson.dumps({"last_by_subj": subject})
        try:
            await self._find(region)
            msg = await self._link.request(asked, body)
        except MissingError:
            self._there.discard(region)
            return None
        headers = msg.headers or {}
        status = headers.get("Status")
        if status == _NOT_FOUND:
            return None
        if status is not None:
            raise ControlError(f"the read was refused: {status}")
        if headers.get("Nats-Subject") != subject or len(msg.data) > _MAX_BLOB_BYTES:
            raise ControlError("a blob is none of ours")
        return msg.data

    async def _find(self, region: str) -> None:
        """Raise MissingError at once where a region has no stream.

        A direct read of a stream that is not there is answered by nobody where it
        travels to another server, and would take until its time is over.
        """
        if region not in self._there:
            info = f"{self._link.api(region)}.STREAM.INFO.{snapshot_name(region)}"
            await self._link.ask(info, None)
            self._there.add(region)
