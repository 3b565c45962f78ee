"""Marker: the proof that travels inside an origin's stream, and the nodes' reports.

Owns:      the members of markers, reports and hand-over replies; both directions.
Called by: control.markers writes and reads reports, control.origin reads markers.
Source:    REVOCATION.md sections 4 and 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from fastgate.domain.event import MAX_SEQ, PUBLISHER
from fastgate.domain.frame import (
    FRAME_VERSION,
    NAME,
    FaultKind,
    Fields,
    FrameError,
    fields_of,
)

__all__ = [
    "MAX_ECHOES",
    "MAX_MARKER_BYTES",
    "MAX_MARKS",
    "Mark",
    "Marker",
    "Report",
    "Taken",
    "decode_marker",
    "decode_report",
    "decode_taken",
    "encode_marker",
    "encode_report",
    "encode_taken",
]

# Reason: REVOCATION.md section 5: one a second and region.
MAX_MARKER_BYTES = 65_536
# Reason: with names of 32 characters, 400 echoes and 200 marks fill the marker; the
# writer leaves out the oldest where they do not fit.
MAX_ECHOES = 400
MAX_MARKS = 200
_MAX_ORIGINS = 64
_MAX_NANOSECONDS = 2**63 - 1
_NONCE_BYTES = 8
_BOOT_BYTES = 8
_DIGEST_BYTES = 16
_KEY_ID_BYTES = 4
_MAX_REPORT_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a publisher has come, and the sum over its live events until then."""

    last: int
    digest: int


@dataclass(frozen=True, slots=True)
class Marker:
    """What one gateway of the origin says once a second.

    writer: Its node name. boot: Its boot id, 16 hexadecimal digits.
    as_of: Its CLOCK_BOOTTIME in nanoseconds, read after the nonces were taken.
    wall: Its wall clock, seconds; decides which events the digests count.
    marks: By publisher. echo: Newest nonce by `region/node`.
    max_token_lifetime: Seconds. roster: Live gateways of the region.
    adopted: Regions that this one speaks for, since they are gone.
    hash_key: Id of the key that its writer makes entries with; "" where it says none.
    agreed: The writer was complete for every origin once, with keys that agreed.
    """

    origin: str
    writer: str
    boot: str
    as_of: int
    wall: float
    marks: Mapping[str, Mark]
    echo: Mapping[str, str]
    max_token_lifetime: int
    roster: tuple[str, ...]
    adopted: tuple[str, ...] = ()
    hash_key: str = ""
    agreed: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What each node says once a second: its nonce and how far it has come.

    nonce: 16 hexadecimal digits, new in each report.
    positions: By origin: the stream position up to which everything was applied.
    """

    region: str
    node: str
    nonce: str
    positions: Mapping[str, int]

    @property
    def sender(self) -> str:
        """Name that a marker's echo uses."""
        return f"{self.region}/{self.node}"


@dataclass(frozen=True, slots=True)
class Taken:
    """What a home answers to an event that is handed over.

    position: In the home's stream; 0 while it is in its journal only.
    """

    id: str
    origin: str
    seq: int
    position: int


def encode_marker(marker: Marker) -> bytes:
    """Return the frame of a marker. Raises ValueError where it would be too large."""
    frame = orjson.dumps(
        {
            "v": FRAME_VERSION,
            "t": "marker",
            "origin": marker.origin,
            "writer": marker.writer,
            "boot": marker.boot,
            "as_of": marker.as_of,
            "wall": marker.wall,
            "marks": {
                publisher: {"last": mark.last, "digest": f"{mark.digest:032x}"}
                for publisher, mark in marker.marks.items()
            },
            "echo": dict(marker.echo),
            "max_token_lifetime": marker.max_token_lifetime,
            "roster": marker.roster,
        }
        | ({"adopted": marker.adopted} if marker.adopted else {})
        | ({"hash_key": marker.hash_key} if marker.hash_key else {})
        | ({"agreed": True} if marker.agreed else {})
    )
    if len(frame) > MAX_MARKER_BYTES:
        raise ValueError("the marker is too large")
    return frame


def _mark(value: object) -> Mark:
    fields = Fields(value)
    return Mark(
        last=fields.whole("last", low=0, high=MAX_SEQ),
        digest=int.from_bytes(fields.hexed("digest", size_bytes=_DIGEST_BYTES)),
    )


def decode_marker(fields: Fields) -> Marker:
    """Read a marker, whoever wrote it. Raises FrameError.

    fields: An opened frame of type `marker`.
    """
    marks = fields.table("marks", at_most=MAX_MARKS)
    if not all(PUBLISHER.fullmatch(publisher) for publisher in marks):
        raise FrameError(FaultKind.MALFORMED, "marks")
    # Only this node's own entry is ever looked up, so the others stay unread.
    echo = fields.table("echo", at_most=MAX_ECHOES)
    return Marker(
        origin=fields.name("origin"),
        writer=fields.name("writer"),
        boot=fields.hexed("boot", size_bytes=_BOOT_BYTES).hex(),
        as_of=fields.whole("as_of", low=0, high=_MAX_NANOSECONDS),
        wall=fields.seconds("wall"),
        marks={publisher: _mark(value) for publisher, value in marks.items()},
        echo={to: nonce for to, nonce in echo.items() if isinstance(nonce, str)},
        max_token_lifetime=fields.whole("max_token_lifetime", low=0, high=2**31),
        roster=fields.names("roster", at_most=MAX_ECHOES),
        adopted=fields.names("adopted", at_most=_MAX_ORIGINS),
        hash_key=fields.hexed("hash_key", size_bytes=_KEY_ID_BYTES).hex()
        if fields.has("hash_key")
        else "",
        agreed=fields.flag("agreed"),
    )


def encode_report(report: Report) -> bytes:
    """Return the frame of a report."""
    return orjson.dumps(
        {
            "v": FRAME_VERSION,
            "t": "report",
            "region": report.region,
            "node": report.node,
            "nonce": report.nonce,
            "positions": dict(report.positions),
        }
    )


def decode_report(payload: bytes) -> Report:
    """Read a report, whoever wrote it. Raises FrameError."""
    fields = fields_of(payload, "report", max_bytes=_MAX_REPORT_BYTES)
    table = fields.table("positions", at_most=_MAX_ORIGINS)
    positions = Fields(table)
    for origin in table:
        if not NAME.fullmatch(origin):
            raise FrameError(FaultKind.MALFORMED, "positions")
    return Report(
        region=fields.name("region"),
        node=fields.name("node"),
        nonce=fields.hexed("nonce", size_bytes=_NONCE_BYTES).hex(),
        positions={
            origin: positions.whole(origin, low=0, high=_MAX_NANOSECONDS)
            for origin in table
        },
    )


def encode_taken(taken: Taken) -> bytes:
    """Return the frame of a home's answer."""
    return orjson.dumps(
        {
            "v": FRAME_VERSION,
            "t": "taken",
            "id": taken.id,
            "origin": taken.origin,
            "seq": taken.seq,
            "position": taken.position,
        }
    )


def decode_taken(payload: bytes) -> Taken:
    """Read a home's answer. Raises FrameError, also for a refusal."""
    fields = fields_of(payload, "taken", max_bytes=_MAX_REPORT_BYTES)
    return Taken(
        id=fields.name("id"),
        origin=fields.name("origin"),
        seq=fields.whole("seq", low=1, high=MAX_SEQ),
        position=fields.whole("position", low=0, high=_MAX_NANOSECONDS),
    )
