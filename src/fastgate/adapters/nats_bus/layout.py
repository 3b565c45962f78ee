"""NATS layout: a server's streams and mirrors beside what gateways need.

Owns:      one connection for as long as it looks.
Called by: `fastgate bus init`, through wiring.buses.
Source:    ECOSYSTEM.md section 9. In a mesh each server has its own region's stream and
           mirrors of the others; on one server the streams stand side by side.
"""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import orjson
from nats.aio.client import Client

from fastgate.adapters.nats_bus.answers import (
    MissingError,
    answer_of,
    snapshot_name,
    stream_name,
    translated,
)
from fastgate.adapters.nats_bus.link import REQUEST_S, client_options
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.adapters.nats_bus.snapshot_stream import (
    snapshot_config,
    snapshot_lines,
)
from fastgate.adapters.nats_bus.streams import (
    lines_of,
    mirror_config,
    stream_config,
)
from fastgate.domain.layout import Line, Standing, judged
from fastgate.errors import ControlError

__all__ = ["inspect"]

# Source: ECOSYSTEM.md section 9: earlier ones lose per-message life on mirrors.
_LEAST = ((2, 11, 15), (2, 12, 6))
# Reason: a frame, its subject and its headers.
_LEAST_PAYLOAD = 300_000


async def inspect(
    settings: NatsSettings, *, region: str, origins: tuple[str, ...], make: bool
) -> list[Line]:
    """Return what is there, line by line.

    region: Whose server it is, where regions have JetStream domains.
    make: Make what is missing; what is there is never changed.
    Raises ControlError where the server cannot be asked.
    """
    async with _client(settings) as client:
        info = await _ask(client, "$JS.API.INFO")
        server = client._server_info  # noqa: SLF001  # the client has no other door
        lines = [*_server_lines(server)]
        domain = info.get("domain")
        own = settings.domains.get(region, region)
        if domain != own:
            # One server, or one cluster, for all.
            for origin in origins:
                lines += await _stream(client, settings, origin, "$JS.API", make)
                lines += await _snapshots(client, settings, origin, "$JS.API", make)
            return lines
        lines += await _stream(client, settings, region, f"$JS.{own}.API", make)
        lines += await _snapshots(client, settings, region, f"$JS.{own}.API", make)
        for origin in origins:
            if origin != region:
                lines += await _mirror(client, settings, origin, make)
        return lines


@contextlib.asynccontextmanager
async def _client(settings: NatsSettings) -> AsyncGenerator[Client, None]:
    client = Client()

    async def silent(error: Exception) -> None:
        """Say nothing: what matters is raised."""

    with translated():
        await client.connect(
            **client_options(settings, "fastgate-bus-init"),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=silent,
        )
    try:
        yield client
    finally:
        with contextlib.suppress(ControlError), translated():
            await client.close()


async def _ask(client: Client, subject: str, body: object = None) -> dict[str, Any]:
    payload = b"" if body is None else orjson.dumps(body)
    with translated():
        answer = await client.request(subject, payload, timeout=REQUEST_S)
    return answer_of(answer.data)


def _server_lines(server: dict[str, Any]) -> list[Line]:
    version = str(server.get("version", ""))
    parts = version.partition("-")[0].split(".")
    number = tuple(int(part) for part in parts if part.isdigit())
    line = (2, 11) if number[:2] == (2, 11) else (2, 12)
    good = number >= next(least for least in _LEAST if least[:2] == line)
    payload = server.get("max_payload", 0)
    return [
        judged("server", "version", version, "2.11.15, or 2.12.6 and later", good=good),
        judged(
            "server",
            "max_payload",
            payload,
            f"{_LEAST_PAYLOAD} or more",
            good=isinstance(payload, int) and payload >= _LEAST_PAYLOAD,
        ),
    ]


async def _found(client: Client, api: str, name: str) -> dict[str, Any] | None:
    try:
        info = await _ask(client, f"{api}.STREAM.INFO.{name}")
    except MissingError:
        return None
    config = info.get("config")
    if not isinstance(config, dict):
        raise ControlError("a stream's configuration cannot be read")
    return config


async def _stream(
    client: Client, settings: NatsSettings, origin: str, api: str, make: bool
) -> list[Line]:
    name = stream_name(origin)
    place = f"stream {name}"
    config = await _found(client, api, name)
    if config is None and make:
        made = stream_config(settings, origin)
        await _ask(client, f"{api}.STREAM.CREATE.{name}", made)
        return [Line(place, "", "", "", Standing.MADE)]
    if config is None:
        return [Line(place, "", "none", "a stream", Standing.MISSING)]
    if "mirror" in config:
        line = Line(place, "mirror", "a mirror", "the stream", Standing.DIFFERS)
        return [line]
    return [*lines_of(settings, origin, config)]


async def _snapshots(
    client: Client, settings: NatsSettings, region: str, api: str, make: bool
) -> list[Line]:
    # Nothing rests on it: a new gateway reads the streams instead.
    if not settings.snapshot_bytes:
        return []
    name = snapshot_name(region)
    place = f"stream {name}"
    config = await _found(client, api, name)
    if config is None and make:
        made = snapshot_config(settings, region)
        try:
            await _ask(client, f"{api}.STREAM.CREATE.{name}", made)
        except ControlError as error:
            return [Line(place, "", str(error), "a stream", Standing.ADVICE)]
        return [Line(place, "", "", "", Standing.MADE)]
    if config is None:
        return [Line(place, "", "none", "a stream", Standing.ADVICE)]
    return [*snapshot_lines(settings, region, config)]


async def _mirror(
    client: Client, settings: NatsSettings, origin: str, make: bool
) -> list[Line]:
    name = stream_name(origin)
    place = f"mirror {name}"
    domain = settings.domains.get(origin, origin)
    wanted = mirror_config(settings, origin, domain)
    config = await _found(client, "$JS.API", name)
    if config is None and make:
        await _ask(client, f"$JS.API.STREAM.CREATE.{name}", wanted)
        return [Line(place, "", "", "", Standing.MADE)]
    if config is None:
        return [Line(place, "", "none", "a mirror", Standing.MISSING)]
    mirror = config.get("mirror")
    external = mirror.get("external") if isinstance(mirror, dict) else None
    api = external.get("api") if isinstance(external, dict) else "none"
    want = wanted["mirror"]["external"]["api"]
    # A mirror cannot be edited, only made anew.
    lines = [judged(place, "mirror.external.api", api, want, good=api == want)]
    for setting in ("allow_msg_ttl", "mirror_direct"):
        has = bool(config.get(setting))
        lines.append(judged(place, setting, has, "true", good=has))
    return lines
