"""Online: level 4 of `fastgate check`, whether what is configured can be reached.

Owns:      one bounded probe for each issuer, introspection endpoint, upstream and bus.
Called by: cli.check with --online.
Source:    ECOSYSTEM.md section 2; PROTOCOLS.md sections 2 and 4.
"""

import asyncio
import base64
import secrets
import ssl
import struct
from collections.abc import Awaitable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import orjson
from yarl import URL

from fastgate.config.addresses import url_host
from fastgate.config.issuers import AuthMethod, Introspection, Issuer
from fastgate.config.model import Config
from fastgate.config.problems import Path
from fastgate.config.revocation import Revocation

__all__ = ["probe"]

Unreached = tuple[Path, str]

_TIMEOUT_S = 5.0
# Source: THREATS.md section 4.
_MAX_DOCUMENT_BYTES = 256 * 1024
_CONCURRENT = 16
_CALLED = {"nats": "NATS", "redis": "Redis", "kafka": "Kafka"}
# What each kind of bus is asked, and how its answer begins. NATS speaks first. Redis
# answers or asks for a password. Kafka says the number of the question, 1, after a
# length; the question is ApiVersions.
_GREETINGS = {
    "nats": (b"", 0, (b"INFO ",)),
    "redis": (b"PING\r\n", 0, (b"+PONG", b"-NOAUTH")),
    "kafka": (struct.pack(">ihhih", 10, 18, 0, 1, -1), 4, (struct.pack(">i", 1),)),
}


class _ProbeError(Exception):
    """What is wrong at the other end, in the operator's words."""


async def probe(config: Config) -> list[Unreached]:
    """Return what cannot be reached or answers nonsense; takes seconds at most."""
    gate = asyncio.Semaphore(_CONCURRENT)
    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        trust_env=False,
    )

    async def judged(path: Path, check: Awaitable[None]) -> Unreached | None:
        async with gate:
            try:
                await check
            except _ProbeError as error:
                return path, str(error)
            except TimeoutError:
                return path, f"no answer within {_TIMEOUT_S:g} s"
            except (aiohttp.ClientError, OSError) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
                return path, f"cannot be reached: {reason}"
        return None

    async with session:
        checks = [judged(path, check) for path, check in _checks(config, session)]
        return [found for found in await asyncio.gather(*checks) if found]


def _checks(
    config: Config, session: aiohttp.ClientSession
) -> Iterator[tuple[Path, Awaitable[None]]]:
    for alias, issuer in config.issuers.items():
        path: Path = ("issuers", alias)
        name = "jwks_url" if issuer.discovery_url is None else "discovery"
        yield (*path, name), _keys(session, issuer)
        asked = issuer.introspection
        if asked is not None:
            here = (*path, "introspection", "url")
            urls = asked.url if isinstance(asked.url, dict) else {"": asked.url}
            for region, url in urls.items():
                at = (*here, region) if region else here
                yield at, _introspection(session, asked, url)
    for name, service in config.services.items():
        for region, addresses in service.items():
            for index, address in enumerate(addresses):
                at = ("services", name, region, index)
                yield at, _connect(*url_host(address))
    if not config.revocation.is_local:
        yield ("revocation", "bus"), _bus(config.revocation)


async def _document(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(URL(url, encoded=True), allow_redirects=False) as answer:
        if answer.status != HTTPStatus.OK:
            raise _ProbeError(f"{url} answers {answer.status}")
        body = b""
        async for part in answer.content.iter_chunked(64 * 1024):
            body += part
            if len(body) > _MAX_DOCUMENT_BYTES:
                raise _ProbeError(
                    f"{url} answers more than {_MAX_DOCUMENT_BYTES} bytes"
                )
    try:
        document = orjson.loads(body)
    except ValueError:
        raise _ProbeError(f"{url} answers no JSON") from None
    if not isinstance(document, dict):
        raise _ProbeError(f"{url} answers no JSON object")
    return document


async def _keys(session: aiohttp.ClientSession, issuer: Issuer) -> None:
    url = issuer.jwks_url
    if issuer.discovery_url is not None:
        metadata = await _document(session, issuer.discovery_url)
        # Source: OpenID Connect Discovery section 4.3: exact, no trailing-slash grace.
        if metadata.get("issuer") != issuer.issuer:
            raise _ProbeError(f"{issuer.discovery_url} names another issuer")
        url = metadata.get("jwks_uri")
    if not isinstance(url, str):
        raise _ProbeError(f"{issuer.discovery_url} names no jwks_uri")
    keys = (await _document(session, url)).get("keys")
    if not isinstance(keys, list) or not keys:
        raise _ProbeError(f"{url} holds no keys")


async def _introspection(
    session: aiohttp.ClientSession, asked: Introspection, url: str
) -> None:
    # Certainly bad: nobody was ever given it.
    form = {"token": f"fastgate-check-{secrets.token_urlsafe(24)}"}
    secret = asked.client_secret.reveal()
    headers = {"Accept": "application/json"}
    if asked.auth_method is AuthMethod.POST:
        form |= {"client_id": asked.client_id, "client_secret": secret}
    else:
        # Source: RFC 6749 section 2.3.1: both are form-encoded first.
        pair = f"{quote_plus(asked.client_id)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    async with session.post(
        URL(url, encoded=True), data=form, headers=headers, allow_redirects=False
    ) as answer:
        status = answer.status
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise _ProbeError("refuses this gateway's client_id and client_secret")
    if status not in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}:
        raise _ProbeError(f"answers {status} to an unknown token")


async def _connect(host: str, port: int) -> None:
    async with asyncio.timeout(_TIMEOUT_S):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()


async def _bus(rules: Revocation) -> None:
    tls = ssl.create_default_context(cafile=rules.tls.ca) if _tls_first(rules) else None
    question, at, greeting = _GREETINGS[rules.technology]
    async with asyncio.timeout(_TIMEOUT_S):
        host, port = url_host(rules.bus)
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        try:
            writer.write(question)
            answer = await reader.read(64)
        finally:
            writer.close()
            await writer.wait_closed()
    if not answer.startswith(greeting, at):
        raise _ProbeError(f"is no {_CALLED[rules.technology]} server")


def _tls_first(rules: Revocation) -> bool:
    # A NATS server greets before it encrypts.
    return rules.is_encrypted and rules.technology != "nats"
