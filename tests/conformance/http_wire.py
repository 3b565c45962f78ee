"""Raw bytes at a running gateway, and what came of them on both sides of it.

Called by: http_sets.py here. Many payloads are sent at once, each from a loopback
address of its own. The gateway tells it to the upstream in X-Forwarded-For, so what
arrives there is known to belong to a payload whatever its bytes say.
"""

import asyncio
import contextlib
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.recorder import Recorded, Recorder, Talk, answer
from tests.system.gateway import Gateway, running, world

LANES = ("compiled", "general")
# Reason: many times the timer below, after which the gateway ends a connection.
DEADLINE_S = 20.0
# Reason: a byte at a time must be done before it, also where others use the machine.
_TIMER = "1s"
_AT_ONCE = 32
_STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [^\r\n]*\r\n")
_PEER = re.compile(rb"\r\nX-Forwarded-For: (127\.[0-9.]+)\r\n")
_FINAL = 200


@dataclass
class Seen:
    """What came of a payload.

    statuses: Of all answers, 1xx left out. raw: All answers, as they came.
    closed: The gateway ended the connection.
    arrived: Complete requests at the upstream. begun: Requests that broke off there.
    """

    statuses: list[int] = field(default_factory=list)
    raw: bytes = b""
    closed: bool = False
    arrived: list[Recorded] = field(default_factory=list)
    begun: int = 0

    @property
    def head(self) -> bytes:
        """The head of the first answer, in lower case."""
        return self.raw.partition(b"\r\n\r\n")[0].lower()

    @property
    def last(self) -> tuple[bytes, bytes]:
        """Head, in lower case, and the rest of the last answer; b"" where none came."""
        starts = [found.start() for found in _STATUS.finditer(self.raw)]
        head, _, body = self.raw[starts[-1] if starts else 0 :].partition(b"\r\n\r\n")
        return head.lower(), body


async def well_behaved(request: Recorded, talk: Talk) -> bool:
    """Answer as an origin server should, so that the gateway can be seen to keep it."""
    headers = b"X-Target: %b\r\n" % request.target
    headers += b"Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"
    if request.method == "OPTIONS":
        head = b"HTTP/1.1 204 No Content\r\nAllow: GET, POST\r\n"
        await talk.send(head + headers + b"\r\n")
        return True
    headers += b"Content-Type: text/plain\r\n"
    status = b"200 OK"
    if request.method == "DELETE":
        status = b"405 Method Not Allowed"
        headers += b"Allow: GET, POST\r\n"
    said = answer(status=status, headers=headers)
    await talk.send(said if request.method != "HEAD" else said[:-2])
    return True


class Wire:
    """A running gateway with a public route in front of a recorder.

    faults: What no payload may bring about, in words. sent: Payloads so far.
    lines: The access log, once the gateway has ended.
    """

    def __init__(self, gateway: Gateway, recorder: Recorder) -> None:
        self.gateway = gateway
        self.recorder = recorder
        self.faults: list[str] = []
        self.sent = 0
        self.lines: list[dict[str, object]] = []
        self._seen: dict[str, Seen] = {}
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def play(self, *steps: Sequence[bytes]) -> Seen:
        """Send steps, each a list of segments, and read to the end.

        A further step follows once the one before was answered. Then a request of
        somebody else must get the answer that is its own.
        """
        async with self._free:
            self.sent += 1
            number = self.sent
            address = f"127.1.{number // 250}.{1 + number % 250}"
            seen = self._seen[address] = Seen()
            await self._talk(seen, steps, address)
            await self._mark(number)
        return seen

    async def _talk(
        self, seen: Seen, steps: Sequence[Sequence[bytes]], address: str
    ) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.gateway.port("listen"), local_addr=(address, 0)
        )
        sending = asyncio.create_task(self._send(seen, steps, writer))
        try:
            async with asyncio.timeout(DEADLINE_S):
                with contextlib.suppress(ConnectionError):
                    while data := await reader.read(65536):
                        seen.raw += data
                seen.closed = True
        except TimeoutError:
            self.faults.append(f"no end: {steps}")
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.transport.abort()
        found = (int(status) for status in _STATUS.findall(seen.raw))
        seen.statuses = [status for status in found if status >= _FINAL]

    async def _send(
        self, seen: Seen, steps: Sequence[Sequence[bytes]], writer: asyncio.StreamWriter
    ) -> None:
        for at, segments in enumerate(steps):
            while len(_STATUS.findall(seen.raw)) < at:
                await asyncio.sleep(0.005)
            for segment in segments:
                writer.write(segment)
                await writer.drain()
                # Whoever reads gets his turn, so that segments stay apart.
                await asyncio.sleep(0)

    async def _mark(self, number: int) -> None:
        target = f"/marker/{number}"
        said = await self.gateway.get(target)
        if (said.status, said.one("x-target")) != (200, target):
            self.faults.append(f"marker {number} got {said.raw!r}")

    def settle(self) -> None:
        """Give each payload what arrived at the upstream; once, after the last one."""
        # From here on nothing of the gateway runs, so heads without an end stay so.
        for request in self.recorder.requests:
            if request.target.startswith(b"/marker/"):
                continue
            owner = self._owner(request.raw)
            if owner is None:
                self.faults.append(f"a request of nobody: {request.raw!r}")
            else:
                owner.arrived.append(request)
        for rest in self.recorder.unclean:
            owner = self._owner(rest)
            if owner is None:
                self.faults.append(f"unclean at the upstream: {rest!r}")
            else:
                owner.begun += 1

    def _owner(self, raw: bytes) -> Seen | None:
        peers = _PEER.findall(raw.partition(b"\r\n\r\n")[0] + b"\r\n")
        return self._seen.get(peers[0].decode()) if len(peers) == 1 else None


@contextlib.asynccontextmanager
async def wire(lane: str) -> AsyncIterator[Wire]:
    """Start a gateway with short timers; what it forwarded is settled at the end.

    lane: Of LANES, which one serves plain requests. A limit of the whole exchange is
    the general lane's to keep, so where there is one every message is lent to it.
    """
    with tempfile.TemporaryDirectory(prefix="fastgate-wire-") as name:
        folder = Path(name)
        async with world("eu", scripts={"eu": well_behaved}) as here:
            document = here.document(folder)
            document["routes"] = [{"path": "/", "service": "orders", "token": "none"}]
            document["timeouts"] |= dict.fromkeys(
                ("first_byte", "head", "body_idle", "keep_alive"), _TIMER
            )
            if lane == "general":
                document["timeouts"]["total"] = "1h"
            async with running(Gateway(folder / "eu", document)) as gateway:
                played = Wire(gateway, here.apis["eu"])
                yield played
                # Not at once: the last lines are still on their way to the log.
                gateway.send(signal.SIGTERM)
                await gateway.until_end()
            # Read when all is written; a line that is no JSON object is an error.
            played.lines = gateway.access()
        # The recorder has stopped, so it has told of every connection.
        played.settle()
        plain = sum(line["lane"] == "compiled" for line in played.lines)
        # Each mark is plain; all else may be odd.
        if plain < played.sent if lane == "compiled" else plain:
            played.faults.append(f"{plain} requests in the compiled lane, not {lane}")
