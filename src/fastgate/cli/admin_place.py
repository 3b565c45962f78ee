"""Admin place: where the admin API of a gateway is, and the token that it asks for.

Owns:      the order in which --admin, the environment and the configuration count.
Called by: cli.admin_client.
Source:    DESIGN.md section 10; ECOSYSTEM.md section 6.

Only two settings are read, so that a verb works for a user who may not read the other
secrets of the configuration, and beside a configuration that `check` would refuse.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastgate.config.environment import Draft, Place, expand, overlay, read_bounded
from fastgate.config.load import find
from fastgate.config.source import MapNode, SourceError, read
from fastgate.errors import ConfigError

__all__ = ["AdminPlace", "find_place"]

_DEFAULT = "127.0.0.1:8085"
_NAMES = ("admin", "admin_token")
_VARIABLES = ("FASTGATE_ADMIN", "FASTGATE_ADMIN_TOKEN", "FASTGATE_ADMIN_TOKEN_FILE")
_MAX_FILE_BYTES = 1 << 20
_HOST_PORT = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):([0-9]{1,5})", re.ASCII
)
# Where a listener binds every address, this host is one of them.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@dataclass(frozen=True, slots=True)
class AdminPlace:
    """An admin API.

    host, port: Where it listens; empty and 0 for a Unix socket. path: Of that socket.
    token: Sent with every request; None sends none.
    """

    host: str
    port: int
    path: str | None = None
    token: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def find_place(
    admin: str | None, config: str | None, environ: Mapping[str, str]
) -> AdminPlace:
    """Return where to ask.

    admin: What --admin says; it wins. config: A configuration file; None looks in the
        usual places, and is content where there is none.
    Raises ConfigError that names what is wrong and how it is mended.
    """
    try:
        settings = _settings(config, environ)
    except ConfigError:
        # Who names the address needs no configuration, unless it was named as well.
        if admin is None or config is not None:
            raise
        settings = {}
    address = admin or settings.get("admin") or _DEFAULT
    token = settings.get("admin_token")
    if not isinstance(address, str) or not isinstance(token, str | None):
        raise ConfigError("admin and admin_token must be texts")
    return _parse(address, token)


def _parse(address: str, token: str | None) -> AdminPlace:
    if address.startswith("unix:"):
        return AdminPlace("", 0, address.removeprefix("unix:"), token)
    match = _HOST_PORT.fullmatch(address.removeprefix("http://").removesuffix("/"))
    port = int(match[2]) if match else 0
    if match is None or not 0 < port < 1 << 16:
        raise ConfigError(
            f"{address!r} is no admin address; give --admin HOST:PORT or unix:/PATH"
        )
    host = match[1].removeprefix("[").removesuffix("]")
    return AdminPlace(_WILDCARDS.get(host, host), port, None, token)


def _settings(config: str | None, environ: Mapping[str, str]) -> dict[str, object]:
    file = find(config, environ)
    named = config is not None or bool(environ.get("FASTGATE_CONFIG"))
    if not named and not Path(file).is_file():
        draft = Draft(places={(): Place(file, 1, 1, 1, 1)})
    else:
        draft = _read(file)
    given = {name: environ[name] for name in _VARIABLES if name in environ}
    faults = [*overlay(draft, given)]
    draft.data = {name: draft.data[name] for name in _NAMES if name in draft.data}
    faults += expand(draft, environ, Path(file).parent)
    for fault in faults:
        where = fault.place or draft.place(fault.path)
        name = ".".join(map(str, fault.path))
        raise ConfigError(f"{where.file}: {name} {fault.message}".replace(":  ", ": "))
    return draft.data


def _read(file: str) -> Draft:
    try:
        root, _ = read(read_bounded(file, _MAX_FILE_BYTES).decode("utf-8-sig"))
    except OSError as error:
        why = error.strerror or "cannot be read"
        raise ConfigError(f"{file}: {why}; name the gateway with --admin") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is no UTF-8 text") from None
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    except SourceError as error:
        raise ConfigError(f"{file}:{error.line}:{error.col}: {error.message}") from None
    if not isinstance(root, MapNode):
        raise ConfigError(f"{file}: is no mapping")
    return Draft.of(root, file)
