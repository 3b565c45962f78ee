"""Server: regions, limits, timers and the log of a gateway.

Owns:      the sections `regions`, `limits`, `timeouts` and `log`.
Called by: config.model.

Numbers are those of THREATS.md section 4 unless a reason says otherwise.
"""

import enum
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from fastgate.config.base import ClaimName, FilePath, Model, RegionName
from fastgate.config.values import (
    Between,
    ByteSize,
    Count,
    Duration,
    Flag,
    Patterned,
    Share,
    Text,
    Within,
    parse_size,
)

__all__ = ["Limits", "Log", "LogLevel", "RegionCookie", "Regions", "Timeouts", "Tls"]


class RegionCookie(Model):
    """The cookie that carries a region on the front channel."""

    # Source: RFC 6265 section 4.1.1, cookie-name is an RFC 9110 token.
    name: Annotated[
        Text,
        Patterned(
            r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}",
            "is no cookie name; use letters, digits and !#$%&'*+-.^_`|~",
        ),
    ] = Field(default="region", description="Name, compared exactly.")
    max_age: Annotated[Duration, Between("1m", "400d")] = Field(
        default=timedelta(days=30),
        description="Life of a cookie that the gateway writes.",
    )
    domain: (
        Annotated[
            Text,
            Patterned(r"\.?[a-z0-9-]+(?:\.[a-z0-9-]+)*", "is no cookie domain"),
        ]
        | None
    ) = Field(default=None, description="Domain attribute; unset: this host only.")
    secure: Flag = Field(
        default=True, description="Secure attribute; false only for plain http."
    )


class Regions(Model):
    """The closed set of regions, and what names a user's home."""

    # Reason: the freshness board has a place for 64 origins.
    names: tuple[RegionName, ...] = Field(
        min_length=1, max_length=64, description="The closed set of regions."
    )
    default: RegionName = Field(description="Used until the user is known.")
    claims: tuple[ClaimName, ...] = Field(
        default=("region",),
        min_length=1,
        max_length=8,
        description="Claims that name the home, first present wins; `a.b` descends.",
    )
    cookie: RegionCookie = Field(
        default_factory=RegionCookie, description="The region cookie."
    )


class Limits(Model):
    """Bounds on what a client may send or hold."""

    connections: Annotated[Count, Within(1, 1_000_000)] = Field(
        default=10_000, description="Open client connections of one worker."
    )
    request_line: Annotated[ByteSize, Between("256B", "64KiB")] = Field(
        default=parse_size("8KiB"), description="Request line; above: 414."
    )
    header_line: Annotated[ByteSize, Between("256B", "64KiB")] = Field(
        default=parse_size("8KiB"), description="One header line; above: 431."
    )
    head: Annotated[ByteSize, Between("1KiB", "256KiB")] = Field(
        default=parse_size("32KiB"),
        description="All header lines together; above: 431.",
    )
    header_count: Annotated[Count, Within(8, 1000)] = Field(
        default=100, description="Number of header lines; above: 431."
    )
    # Reason: 16 KiB is what the scanner's bounds were chosen for.
    token: Annotated[ByteSize, Between("256B", "16KiB")] = Field(
        default=parse_size("8KiB"), description="One credential; above: 401."
    )
    # Reason: PROTOCOLS.md section 15 rule 2; an OAuth message is small.
    body_form: Annotated[ByteSize, Between("1KiB", "1MiB")] = Field(
        default=parse_size("64KiB"),
        description="OAuth form that is read for a region; above: 413.",
    )
    hops: Annotated[Count, Within(1, 8)] = Field(
        default=2, description="Gateways a request may pass; above: 508."
    )
    upstream_connections: Annotated[Count, Within(1, 65_536)] = Field(
        default=512, description="Connections to one upstream address, for each worker."
    )
    # Reason: at most 1 KiB each, so 64 MiB a worker when full.
    cached_tokens: Annotated[Count, Within(64, 10_000_000)] = Field(
        default=65_536, description="Verified tokens whose facts a worker remembers."
    )
    failed_verifications: Annotated[Count, Within(1, 1_000_000)] = Field(
        default=50,
        description=(
            "Failed verifications of tokens a second that are forgiven one client "
            "(address, or IPv6 /64); above: 429 for its tokens not seen before. Each "
            "worker gives its share. Name proxies in front in `trusted_proxies`."
        ),
    )
    failed_verification_burst: Annotated[Count, Within(1, 1_000_000)] = Field(
        default=200, description="Failed verifications that a client may have at once."
    )


class Tls(Model):
    """TLS of a listener; a renewed certificate is picked up within seconds."""

    cert: FilePath = Field(
        description="Certificate, and those that lead to its authority, in PEM."
    )
    key: FilePath = Field(description="Its private key, in PEM, not encrypted.")
    client_ca: FilePath | None = Field(
        default=None,
        description="Authorities of clients; set: only clients that they vouch for.",
    )


class Timeouts(Model):
    """Timers of both sides; a route may set the upstream ones for itself."""

    first_byte: Annotated[Duration, Between("100ms", "5m")] = Field(
        default=timedelta(seconds=5),
        description="From accept to the first byte of a request.",
    )
    head: Annotated[Duration, Between("100ms", "5m")] = Field(
        default=timedelta(seconds=10), description="To receive a whole request head."
    )
    body_idle: Annotated[Duration, Between("100ms", "1h")] = Field(
        default=timedelta(seconds=15),
        description="Between two reads of a request body.",
    )
    keep_alive: Annotated[Duration, Between("100ms", "1h")] = Field(
        default=timedelta(seconds=60), description="Idle connection after a response."
    )
    connect: Annotated[Duration, Between("10ms", "60s")] = Field(
        default=timedelta(seconds=2), description="To reach an upstream address."
    )
    upstream_first_byte: Annotated[Duration, Between("10ms", "1h")] = Field(
        default=timedelta(seconds=30),
        description="From the sent request to the first byte of the answer.",
    )
    upstream_idle: Annotated[Duration, Between("10ms", "24h")] = Field(
        default=timedelta(seconds=60), description="Between two reads of the answer."
    )
    total: Annotated[Duration, Between("10ms", "24h")] | None = Field(
        default=None, description="The whole exchange; unset: no limit."
    )
    # Reason: balancers notice a failing readiness probe late.
    drain_delay: Annotated[Duration, Between("0s", "5m")] = Field(
        default=timedelta(seconds=5),
        description="Go on accepting after the signal to stop.",
    )
    drain_timeout: Annotated[Duration, Between("0s", "1h")] = Field(
        default=timedelta(seconds=25),
        description="Then let requests finish; cut what is left.",
    )


class LogLevel(enum.StrEnum):
    """Lowest level of the process log that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Log(Model):
    """The access log and the process log."""

    access: Flag = Field(default=True, description="Write one JSON line a request.")
    file: FilePath | None = Field(
        default=None, description="File of the access log; unset: standard output."
    )
    sample: Share = Field(
        default=1.0,
        description="Share of answers below 400 written; 0.01: 1 %.",
    )
    level: LogLevel = Field(
        default=LogLevel.INFO, description="Level of the process log."
    )
