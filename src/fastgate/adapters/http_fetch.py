"""HTTP fetches of the control plane: key sets, metadata, introspection; bounded in all.

Owns:      one aiohttp client session and its connections, made on first use.
Called by: control.keyring in the agent, control.introspection in a worker, as
           ports.Fetcher. Requests to upstreams go another way.
Source:    THREATS.md sections 4 and 5.4 (I3, U4), CVE-2026-26998, CVE-2026-128131.

Foreign exceptions end here: their texts can quote what the other side sent, so errors
carry a short code instead.
"""

import asyncio
import ssl
from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from fastgate.errors import BadAnswerError, ControlError
from fastgate.ports import Fetched

__all__ = ["HttpFetcher"]

# Source: PROTOCOLS.md section 2: redirects only within the same origin.
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Reason: a connection that the other side closed while it was idle tells nothing about
# the other side; more than two such in a row do.
_MAX_ATTEMPTS = 3
_MAX_URL = 4096
_MAX_HEADER_BYTES = 8190
# Reason: below the keep-alive of common servers, so that they seldom close first.
_IDLE_S = 15.0
_DNS_CACHE_S = 60
_CHUNK_BYTES = 16 * 1024


class HttpFetcher:
    """A ports.Fetcher over aiohttp.

    connections: Open connections at most; further calls wait within their time-out.
    ssl_context: For private authorities; None trusts what the system trusts.
    """

    def __init__(
        self, *, connections: int = 64, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._connections = connections
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float,
        max_bytes: int,
    ) -> Fetched:
        """Return the answer, whatever its status.

        Redirects of a GET are followed within its origin; others are returned as they
        are, since they would carry credentials along.
        timeout_s: For all of it, from name look-up to the last byte.
        max_bytes: Of the body after decompression.
        Raises ControlError where nothing usable arrived, BadAnswerError where what
        arrived breaks HTTP or a limit.
        """
        target = _checked(url)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(
                    method, target, dict(headers or {}), body, max_bytes
                )
        except TimeoutError:
            raise ControlError("timed_out") from None
        except (aiohttp.ClientResponseError, HttpProcessingError):
            raise BadAnswerError("broken_answer") from None
        except aiohttp.ClientPayloadError:
            raise ControlError("cut_off") from None
        except aiohttp.ClientSSLError:
            raise ControlError("tls_failed") from None
        except (aiohttp.ClientError, OSError):
            raise ControlError("connection_failed") from None
        except ValueError:
            # aiohttp and yarl raise it for header values and URLs that they refuse.
            raise ControlError("bad_request") from None

    async def close(self) -> None:
        """Close all connections; later calls fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _follow(
        self,
        method: str,
        url: URL,
        headers: dict[str, str],
        body: bytes | None,
        max_bytes: int,
    ) -> Fetched:
        for _ in range(_MAX_REDIRECTS + 1):
            fetched = await self._attempt(method, url, headers, body, max_bytes)
            location = fetched.headers.get("location")
            if method != "GET" or fetched.status not in _REDIRECTS or location is None:
                return fetched
            url = _redirected(url, location)
        raise BadAnswerError("too_many_redirects")

    async def _attempt(
        self,
        method: str,
        url: URL,
        headers: dict[str, str],
        body: bytes | None,
        max_bytes: int,
    ) -> Fetched:
        """Send the request, again where a kept connection turned out to be dead.

        Safe for POST too: asking about a token changes nothing (RFC 7662 section 2.1).
        """
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            seen = SimpleNamespace(reused=False)
            try:
                return await self._send(method, url, headers, body, max_bytes, seen)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if attempt == _MAX_ATTEMPTS or not seen.reused:
                    raise
        raise ControlError("connection_failed")

    async def _send(
        self,
        method: str,
        url: URL,
        headers: dict[str, str],
        body: bytes | None,
        max_bytes: int,
        seen: SimpleNamespace,
    ) -> Fetched:
        async with self._open().request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            trace_request_ctx=seen,
        ) as answer:
            return Fetched(
                answer.status, _joined(answer), await _bounded_body(answer, max_bytes)
            )

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ControlError("closed")
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    ttl_dns_cache=_DNS_CACHE_S,
                    keepalive_timeout=_IDLE_S,
                    ssl=True if self._ssl is None else self._ssl,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=True,
                # The one time-out is that of fetch(): a slow drip cannot restart it.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"user-agent": "fastgate", "accept-encoding": "gzip, deflate"},
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                trace_configs=[trace],
            )
        return self._session


async def _note_reuse(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    del session, params
    context.trace_request_ctx.reused = True


def _checked(text: str) -> URL:
    # Reason: CR, LF and blanks in a target would become another request's bytes.
    if len(text) > _MAX_URL or not all("!" <= mark <= "~" for mark in text):
        raise ControlError("bad_url")
    try:
        url = URL(text, encoded=True)
        plain = url.user is None and url.password is None and not url.raw_fragment
        port = url.port
    except ValueError:
        raise ControlError("bad_url") from None
    if url.scheme not in {"http", "https"} or not url.host or not plain or not port:
        raise ControlError("bad_url")
    return url


def _redirected(url: URL, location: str) -> URL:
    if not all("!" <= mark <= "~" for mark in location):
        raise BadAnswerError("bad_redirect")
    try:
        target = _checked(
            str(url.join(URL(location, encoded=True)).with_fragment(None))
        )
    except (ValueError, ControlError):
        raise BadAnswerError("bad_redirect") from None
    if target.origin() != url.origin():
        raise BadAnswerError("foreign_redirect")
    return target


def _joined(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Join repeated fields by commas: RFC 9110 section 5.3."""
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


async def _bounded_body(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    length = answer.content_length
    if length is not None and length > max_bytes:
        answer.close()
        raise BadAnswerError("too_large")
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(_CHUNK_BYTES):
        size += len(part)
        if size > max_bytes:
            # Reason: without this the rest would be read in the background.
            answer.close()
            raise BadAnswerError("too_large")
        parts.append(part)
    return b"".join(parts)
