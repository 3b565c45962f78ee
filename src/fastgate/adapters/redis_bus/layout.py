"""Redis layout: a server and its streams beside what gateways need.

Owns:      one connection for as long as it looks.
Called by: `fastgate bus init`, through wiring.buses.
Source:    ECOSYSTEM.md section 9. What Redis forgets by itself, by eviction or in a
           crash, is what this looks for.
"""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import redis.exceptions
from redis.asyncio import Redis

from fastgate.adapters.redis_bus.link import RedisSettings, client_of
from fastgate.adapters.redis_bus.live import glance
from fastgate.adapters.redis_bus.scripts import MAKE
from fastgate.adapters.redis_bus.wire import Names, translated
from fastgate.domain.layout import Line, Standing, judged
from fastgate.errors import ControlError

__all__ = ["inspect"]

# Source: Redis 7.0: ids of which only the second part is counted on (`XADD 0-*`).
_LEAST = (7, 0)


async def inspect(
    settings: RedisSettings, *, origins: tuple[str, ...], make: bool
) -> list[Line]:
    """Return what is there, line by line.

    make: Make the streams that are missing; what is there is never changed.
    Raises ControlError where the server cannot be asked.
    """
    client = client_of(settings)
    try:
        with translated():
            info = await client.info()
        lines = [*_server_lines(settings, info, len(origins))]
        lines.append(await _fsync(client, settings))
        streams = [await _stream(client, settings, each, make) for each in origins]
        return lines + streams
    finally:
        with contextlib.suppress(ControlError), translated():
            await client.aclose()


def _server_lines(
    settings: RedisSettings, info: dict[str, Any], streams: int
) -> Iterator[Line]:
    place = "server"
    version = str(info.get("redis_version", ""))
    number = tuple(int(part) for part in version.split(".") if part.isdigit())
    yield judged(place, "version", version, "7.0 or later", good=number >= _LEAST)
    clustered = info.get("cluster_enabled", 0)
    yield judged(place, "cluster-enabled", clustered, "0", good=clustered == 0)
    role = info.get("role", "")
    yield judged(place, "role", role, "master", good=role == "master")
    policy = info.get("maxmemory_policy", "")
    yield judged(
        place, "maxmemory-policy", policy, "noeviction", good=policy == "noeviction"
    )
    room, needed = int(info.get("maxmemory", 0)), streams * settings.max_bytes
    # Redis refuses what goes past it, so less room is an alarm earlier, not a loss;
    # without a bound, the machine's memory is one that kills.
    wanted = f"{needed} or more"
    yield judged(place, "maxmemory", room, wanted, good=room >= needed, advice=True)
    kept = int(info.get("aof_enabled", 0))
    yield judged(place, "appendonly", "yes" if kept else "no", "yes", good=kept == 1)
    copies, replicas = settings.copies, int(info.get("connected_slaves", 0))
    yield judged(
        place, "replicas", replicas, f"{copies} or more", good=replicas >= copies
    )


async def _fsync(client: Redis, settings: RedisSettings) -> Line:
    place, name = "server", "appendfsync"
    try:
        found = await client.config_get(name)
    except redis.exceptions.ResponseError:
        # Small accounts may not ask, and managed servers do not tell.
        return Line(place, name, "not told", "always", Standing.ADVICE)
    except redis.exceptions.RedisError as exc:
        raise ControlError(type(exc).__name__) from exc
    pairs = {_text(key): _text(value) for key, value in dict(found).items()}
    has = pairs.get(name, "")
    # A replica that has it makes up for a second that this server may lose.
    copied = settings.copies > 0
    return judged(place, name, has, "always", good=has == "always", advice=copied)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def _stream(
    client: Redis, settings: RedisSettings, origin: str, make: bool
) -> Line:
    names = Names(settings.prefix)
    log = names.log(origin)
    place = f"stream {log}"
    if origin in await glance(client, names, (origin,)):
        return Line(place, "", "there", "a stream", Standing.OK)
    with translated():
        kind = _text(await client.type(log))
    if kind != "none":
        foreign = f"a {kind} that is not a gateway's alone"
        return Line(place, "", foreign, "a stream", Standing.DIFFERS)
    if not make:
        return Line(place, "", "none", "a stream", Standing.MISSING)
    keys = (log, names.account(origin), names.due(origin))
    with translated():
        await client.register_script(MAKE)(keys=keys, args=[secrets.token_hex(8)])
    return Line(place, "", "", "", Standing.MADE)
