"""World: the three regions, who lives where, how far apart they are, which ports.

Owns:      constants of the demo and its one port layout; no I/O but the port probe.
Called by: every other module of this room.
Source:    ECOSYSTEM.md section 10 (layout of ports, users, delays).
"""

import contextlib
import random
import socket
from dataclasses import dataclass

from fastgate.errors import StartError

__all__ = [
    "AUDIENCE",
    "CLIENTS",
    "DEFAULT_REGION",
    "DISTANCE_MS",
    "GATEWAY_CLIENT",
    "HOST",
    "ISSUER",
    "ISSUER_ALIAS",
    "OAUTH",
    "REDIRECT_URI",
    "REGIONS",
    "SCOPE",
    "USERS",
    "Client",
    "Ports",
    "distance_s",
    "free_base",
]

HOST = "127.0.0.1"
REGIONS = ("eu", "us", "ap")
DEFAULT_REGION = "eu"
# User -> home region. Every region knows this much; everything else of a user is kept
# at home.
USERS = {"alice": "eu", "bob": "us", "chie": "ap"}
# One way from each region to the transit point, so that round trips between regions
# are 90, 140 and 170 ms: about what the public internet has between such places.
DISTANCE_MS = {"eu": 15.0, "us": 30.0, "ap": 55.0}

ISSUER = "https://login.example.com/oauth/v2/oauth-anonymous"
ISSUER_ALIAS = "login"
AUDIENCE = "api"
SCOPE = "openid orders"
OAUTH = "/oauth/v2/"
REDIRECT_URI = "https://app.example.com/callback"
GATEWAY_CLIENT = "gateway"

# Reason: above most services, below the ports that the kernel gives to connections.
_LOWEST_BASE, _HIGHEST_BASE = 20_000, 32_000
_BASE_TRIES = 64
_REGION_STRIDE = 100
_TRANSIT = 300
_OFFSETS = {"gateway": 0, "issuer": 1, "api": 2, "bus": 3, "admin": 5, "status": 6}
_LINK_OFFSET = 10
_LINKED = ("issuer", "api")


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client, and the kind of access token that it is given.

    kind: "jwt", "opaque" or "wrapped" (a JWT that only names the home region).
    """

    client_id: str
    kind: str


CLIENTS = {
    client.client_id: client
    for client in (
        Client("web-app", "jwt"),
        Client("phone-app", "opaque"),
        Client("tv-app", "wrapped"),
    )
}


def distance_s(here: str, there: str, scale: float) -> float:
    """Return the one-way delay between two regions, seconds; it goes through transit.

    scale: 1 for the real thing, 0 for regions that lie side by side.
    """
    if here == there:
        return 0.0
    return (DISTANCE_MS[here] + DISTANCE_MS[there]) * scale / 1000.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, counted from one port.

    base: Port of the first region's gateway; at most 65,000.
    """

    base: int

    def of(self, region: str, name: str) -> int:
        """Return the port of `gateway`, `issuer`, `api`, `bus`, `admin` or `status`."""
        return self._first(region) + _OFFSETS[name]

    def link(self, here: str, there: str, name: str) -> int:
        """Return the port in `here` of the link to `issuer` or `api` of `there`."""
        others = [region for region in REGIONS if region != here]
        place = others.index(there) * len(_LINKED) + _LINKED.index(name)
        return self._first(here) + _LINK_OFFSET + place

    def leaf_link(self, region: str) -> int:
        """Return the port of the link from a region's bus server to transit."""
        return self._first(region) + _LINK_OFFSET - 1

    @property
    def transit(self) -> int:
        """Port of the transit server."""
        return self.base + _TRANSIT

    @property
    def transit_leaf(self) -> int:
        """Port on which the transit server takes the regions' servers."""
        return self.base + _TRANSIT + 1

    def url(self, region: str, name: str) -> str:
        """Return the base URL of one of a region's listeners."""
        return f"http://{HOST}:{self.of(region, name)}"

    def reach(self, here: str, there: str, name: str) -> str:
        """Return the URL at which `here` reaches `issuer` or `api` of `there`."""
        if here == there:
            return self.url(there, name)
        return f"http://{HOST}:{self.link(here, there, name)}"

    def all(self) -> list[int]:
        """Return every port that is used."""
        ports = [self.transit, self.transit_leaf]
        for region in REGIONS:
            ports += [self.of(region, name) for name in _OFFSETS]
            ports.append(self.leaf_link(region))
            ports += [
                self.link(region, there, name)
                for there in REGIONS
                if there != region
                for name in _LINKED
            ]
        return ports

    def taken(self) -> list[int]:
        """Return the ports that somebody else uses."""
        return [port for port in self.all() if not _is_free(port)]

    def _first(self, region: str) -> int:
        return self.base + REGIONS.index(region) * _REGION_STRIDE


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_base() -> int:
    """Return a base whose ports are all free. Raises StartError where none is found.

    They lie below the kernel's own range, so no outgoing connection takes one before
    it is bound.
    """
    bases = range(_LOWEST_BASE, _HIGHEST_BASE, 10)
    for base in random.sample(bases, _BASE_TRIES):
        if not Ports(base).taken():
            return base
    raise StartError("no free block of ports on loopback; give one with --base-port")
