"""Notices: what the identity provider tells its region's gateway has been revoked.

Owns:      the HTTP client of one identity provider, and when each notice was accepted.
Called by: demo.identity and demo.front, before they answer their own caller.
Source:    DESIGN.md section 10 (`POST /v1/revocations`).
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp

from fastgate.demo.world import ISSUER_ALIAS

__all__ = ["NoticeError", "Notices"]

_TIMEOUT_S: Final = 3.0
_ACCEPTED: Final = (201, 202)


class NoticeError(Exception):
    """The gateway did not accept a revocation: the token still lives."""


class Notices:
    """Posts revocations to the admin API of the region's gateway.

    region: Home of the users concerned.
    admin_urls: Base URLs of admin APIs: one, unless no bus carries a revocation on.
    last: Answer to the newest notice, with its HTTP status as `status`.
    accepted_s: time.perf_counter() of that answer.
    """

    def __init__(self, region: str, admin_urls: Sequence[str]) -> None:
        self.last: dict[str, Any] = {}
        self.accepted_s = 0.0
        self._region = region
        self._urls = [f"{url}/v1/revocations" for url in admin_urls]
        self._session: aiohttp.ClientSession | None = None

    async def post(self, kind: str, value: str) -> None:
        """Have an identifier revoked. Raises NoticeError where it was not."""
        document = {
            "kind": kind,
            "issuer": ISSUER_ALIAS,
            "value": value,
            "home": self._region,
            "wait": "local",
        }
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        for url in self._urls:
            await self._post(self._session, url, document)

    async def _post(
        self, session: aiohttp.ClientSession, url: str, document: dict[str, Any]
    ) -> None:
        try:
            async with session.post(url, json=document) as answer:
                body = await answer.json(content_type=None)
                if answer.status not in _ACCEPTED:
                    raise NoticeError(f"the gateway answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NoticeError("the gateway did not answer") from error
        self.accepted_s = time.perf_counter()
        self.last = {**body, "status": answer.status}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
