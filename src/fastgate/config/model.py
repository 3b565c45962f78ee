"""Model: the whole configuration, closed and frozen, one default in one place.

Owns:      the root of the configuration and its private document.
Called by: config.load validates what was read; config.compile and control read it.
"""

import hashlib
import socket
from typing import Annotated, Self

from pydantic import BeforeValidator, Field

from fastgate.config.addresses import Address, Network
from fastgate.config.base import Alias, FilePath, Model, OrWord, RegionName
from fastgate.config.issuers import Issuer
from fastgate.config.revocation import Revocation
from fastgate.config.routes import Route, Service
from fastgate.config.server import Limits, Log, Regions, Timeouts, Tls
from fastgate.config.values import REVEAL, Count, Flag, Secret, Within
from fastgate.config.ways_in import Intake

__all__ = ["Config"]

_MAX_NODE = 32


def _tcp(value: object) -> object:
    # Worker slots share a port through SO_REUSEPORT; Unix sockets have nothing like it.
    if isinstance(value, str) and value.startswith("unix:"):
        raise ValueError("takes an IP address and a port; only `admin` may be a socket")
    return value


TcpAddress = Annotated[Address, BeforeValidator(_tcp)]


class Config(Model):
    """A fastgate gateway."""

    region: RegionName = Field(description="This gateway's own region.")
    listen: TcpAddress = Field(
        default=Address("0.0.0.0", 8080),  # noqa: S104 - the public listener
        description="Data listener.",
    )
    tls: Tls | None = Field(
        default=None,
        description="Certificate of the data listener. Unset: plain HTTP.",
    )
    admin: Address = Field(
        default=Address("127.0.0.1", 8085),
        description="Admin API; never public. An address or `unix:/path`.",
    )
    status: TcpAddress = Field(
        default=Address("0.0.0.0", 8086),  # noqa: S104 - probes come from other hosts
        description="Serves `/livez`, `/readyz` and `/metrics`.",
    )
    intake: Intake | None = Field(
        default=None,
        description="Listener for what issuers push: logouts, security events.",
    )
    workers: Annotated[Annotated[Count, Within(1, 256)] | None, OrWord("auto")] = Field(
        None, description="Worker processes; `auto`: one a core."
    )
    state_dir: FilePath = Field(
        default="/var/lib/fastgate",
        description="Journal, last good keys and audit log; one folder a gateway.",
    )
    node: RegionName | None = Field(
        default=None,
        description=(
            "Name of this gateway, unique in its region. Unset: host name and port."
        ),
    )
    admin_token: Secret | None = Field(
        default=None,
        description=(
            "Bearer token of the admin API; required unless `admin` is on loopback or "
            "a Unix socket. Use `${file:PATH}`."
        ),
    )
    regions: Regions = Field(description="The closed set of regions.")
    issuers: dict[Alias, Issuer] = Field(
        default_factory=dict,
        max_length=64,
        description="Who signs tokens; the alias is used in logs and metrics.",
    )
    services: dict[Alias, Service] = Field(
        default_factory=dict,
        max_length=1024,
        description="Name → region → upstream addresses.",
    )
    routes: tuple[Route, ...] = Field(
        default=(), max_length=4096, description="What is served; longest prefix wins."
    )
    revocation: Revocation = Field(
        default_factory=Revocation, description="Where revocations travel."
    )
    limits: Limits = Field(default_factory=Limits, description="Bounds on clients.")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="Timers.")
    log: Log = Field(default_factory=Log, description="Logs.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        max_length=1024,
        description="Networks whose forwarded headers are believed; others' never are.",
    )
    debug: Flag = Field(
        default=False, description="Debug headers on every route. Not for production."
    )

    @property
    def node_name(self) -> str:
        """Name of this gateway: `node`, else made from the host name and the port."""
        if self.node is not None:
            return self.node
        host = socket.gethostname().lower()
        kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in host)
        tail = f"-{self.listen.port}"
        name = kept.strip("-")[: _MAX_NODE - len(tail)].strip("-") or "node"
        return name + tail

    @property
    def origins(self) -> tuple[str, ...]:
        """Regions whose streams are read; with the local bus this node stands in."""
        if self.revocation.is_local:
            return (self.region,)
        return self.revocation.origins or self.regions.names

    def to_document(self) -> bytes:
        """Return the configuration as JSON, secrets included.

        It travels to the workers in private memory: never log it, never write it.
        """
        return self.model_dump_json(context=REVEAL).encode()

    @classmethod
    def from_document(cls, document: bytes) -> Self:
        """Read what `to_document` wrote.

        Raises pydantic.ValidationError where it is anything else.
        """
        return cls.model_validate_json(document)

    def digest(self) -> str:
        """Return a short name of this configuration: equal text gives an equal name."""
        return hashlib.sha256(self.to_document()).hexdigest()[:16]
