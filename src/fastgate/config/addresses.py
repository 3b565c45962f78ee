"""Addresses: where a gateway listens, and what it may connect to.

Owns:      the spelling of listeners, URLs, upstream origins, bus URLs and networks.
Called by: config.model and its sections, as field types.

Nothing is resolved here: a host name is text until an adapter connects to it.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from fastgate.config.values import Text, shown

__all__ = [
    "Address",
    "BusUrl",
    "Network",
    "Origin",
    "Url",
    "bus_technology",
    "is_loopback",
    "url_host",
]

_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)"
    r"(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?",
    re.ASCII | re.IGNORECASE,
)
_VISIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
# Reason: sun_path of a Unix socket holds 108 bytes, its final NUL included.
_MAX_SOCKET_PATH_BYTES = 107
_MAX_PORT = 65535
# Scheme of a bus URL, its technology and its usual port.
_BUSES = {
    "nats": ("nats", 4222),
    "tls": ("nats", 4222),
    "redis": ("redis", 6379),
    "rediss": ("redis", 6379),
    "kafka": ("kafka", 9092),
    "kafkas": ("kafka", 9092),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds: an IP address and port, or the path of a Unix socket.

    host: IP literal without brackets; empty for a Unix socket.
    port: 0 takes a free port; 0 for a Unix socket.
    path: Absolute path of a Unix socket, else None.
    """

    host: str
    port: int
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0.0.0.0:8080`, `[::1]:80` or `unix:/run/x.sock`.

        Raises ValueError with a text for the operator. Host names are refused: what
        they resolve to may change between two starts.
        """
        if text.startswith("unix:"):
            return cls._parse_unix(text.removeprefix("unix:"))
        host, colon, port = text.rpartition(":")
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII):
            raise ValueError(f'"{shown(text)}" has no port; write it like 0.0.0.0:8080')
        if int(port) > _MAX_PORT:
            raise ValueError(f"port {port} is above {_MAX_PORT}")
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            ip = ipaddress.ip_address(host[1:-1] if bracketed else host)
        except ValueError:
            hint = '; did you mean "127.0.0.1"?' if host == "localhost" else ""
            raise ValueError(f'"{shown(host)}" is no IP address{hint}') from None
        if bracketed != (ip.version == 6):  # noqa: PLR2004 - IP versions are named by number
            raise ValueError("an IPv6 address goes in brackets, like [::1]:8080")
        return cls(str(ip), int(port))

    @classmethod
    def _parse_unix(cls, path: str) -> Self:
        if not path.startswith("/") or not path.isprintable():
            raise ValueError("the path of a Unix socket must be absolute")
        if len(path.encode()) > _MAX_SOCKET_PATH_BYTES:
            raise ValueError(
                f"the path of a Unix socket has at most {_MAX_SOCKET_PATH_BYTES} bytes"
            )
        return cls("", 0, path)

    @property
    def is_private(self) -> bool:
        """True where only this host can connect."""
        return self.path is not None or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def collides(self, other: "Address") -> bool:
        """Tell whether both cannot be bound at once."""
        if self.path is not None or other.path is not None:
            return self.path == other.path
        if self.port != other.port or self.port == 0:
            return False
        # A wildcard of either family takes the port of the other on Linux.
        wild = any(ipaddress.ip_address(a.host).is_unspecified for a in (self, other))
        return wild or self.host == other.host

    @classmethod
    def _validate(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValueError("is no address; write it like 0.0.0.0:8080")  # noqa: TRY004
        return cls.parse(value)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": r"^(?:(?:[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}|unix:/.+)$",
            "examples": ["0.0.0.0:8080", "[::1]:8080", "unix:/run/fastgate/admin"],
        }


def _split(text: str, schemes: tuple[str, ...]) -> SplitResult:
    if not _VISIBLE.fullmatch(text):
        raise ValueError("a URL has visible ASCII characters only")
    parts = urlsplit(text)
    if parts.scheme not in schemes or not text.startswith(f"{parts.scheme}://"):
        known = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f'"{shown(text)}" does not begin with {known}')
    if parts.username is not None or parts.password is not None:
        # The text is not repeated: it holds a password.
        raise ValueError("credentials do not go into a URL")
    if parts.fragment or text.endswith("#"):
        raise ValueError("a URL here has no fragment")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f'"{shown(text)}" has a bad port') from None
    host = parts.hostname or ""
    if not (_HOST.fullmatch(host) or _is_ip(host)) or parts.netloc.endswith(":"):
        raise ValueError(f'"{shown(text)}" has a bad host')
    return parts


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _url(text: str) -> str:
    if "\\" in text or '"' in text:
        raise ValueError("a URL has neither backslash nor quote")
    _split(text, ("https", "http"))
    return text


def _origin(text: str) -> str:
    parts = _split(text, ("http", "https"))
    if parts.path not in {"", "/"} or parts.query or "?" in text:
        raise ValueError(
            f'"{shown(text)}" has a path; the path of the request is forwarded as it is'
        )
    return f"{parts.scheme}://{parts.netloc}"


def _bus(text: str) -> str:
    if text == "local":
        return text
    parts = _split(text, tuple(_BUSES))
    if parts.path not in {"", "/"} or parts.query or "?" in text:
        raise ValueError("the URL of a bus has a host and a port only")
    return f"{parts.scheme}://{parts.netloc}"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(
            f'"{shown(text)}" is no network; write it like 10.0.0.0/8 (host bits zero)'
        ) from None


def url_host(url: str) -> tuple[str, int]:
    """Return host and port of a URL that one of the types here accepted."""
    parts = urlsplit(url)
    known = {"https": 443, "http": 80} | {s: port for s, (_, port) in _BUSES.items()}
    return parts.hostname or "", parts.port or known[parts.scheme]


def bus_technology(url: str) -> str:
    """Return `local`, `nats`, `redis` or `kafka` for the URL of a bus."""
    return _BUSES.get(url.partition("://")[0], ("local", 0))[0]


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this host by its spelling; resolves nothing."""
    host = url_host(url)[0]
    if host == "localhost":
        return True
    return _is_ip(host) and ipaddress.ip_address(host).is_loopback


Url = Annotated[
    Text,
    AfterValidator(_url),
    WithJsonSchema({"type": "string", "pattern": "^https?://[^#@]+$"}),
]
Origin = Annotated[
    Text,
    AfterValidator(_origin),
    WithJsonSchema({"type": "string", "pattern": "^https?://[^/?#@]+/?$"}),
]
BusUrl = Annotated[
    Text,
    AfterValidator(_bus),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(?:local|(?:nats|tls|rediss?|kafkas?)://[^/?#@]+/?)$",
        }
    ),
]
Network = Annotated[
    Text,
    AfterValidator(_network),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "fd00::/8"]}),
]
