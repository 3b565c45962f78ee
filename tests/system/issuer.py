"""A stand-in for the identity provider: keys, introspection, and bad days.

It speaks real HTTP on loopback, counts what it is asked, and can be down, slow or bad.
"""

import asyncio
import base64
import json
from typing import Any

from aiohttp import web
from tests import tokens

CLIENT, SECRET = "gateway", "s3cret"
_MOODS = {"good", "bad", "failing", "down", "slow"}


class Issuer:
    """Publishes `keys` and answers for `opaque` tokens.

    keys: Of the published set. opaque: Phantom JWT of each active opaque token, or the
        JSON of its members.
    fetches, questions: How often it was asked for keys and about tokens.
    mood: `good`; `bad` answers garbage, `failing` 500; `down` cuts the connection;
        `slow` answers when the mood changes.
    """

    def __init__(self) -> None:
        self.keys = [tokens.signing_key()]
        self.opaque: dict[str, bytes] = {}
        self.fetches = 0
        self.questions = 0
        self._mood = "good"
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def mood(self) -> str:
        """How it answers."""
        return self._mood

    @mood.setter
    def mood(self, mood: str) -> None:
        assert mood in _MOODS
        self._mood = mood
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def document(self, **changes: Any) -> dict[str, Any]:
        """Return its entry in `issuers`."""
        found: dict[str, Any] = {
            "issuer": tokens.ISSUER,
            "jwks_url": f"{self.base}/jwks",
            "audience": [tokens.AUDIENCE],
        }
        return found | changes

    def introspection(self, **changes: Any) -> dict[str, Any]:
        """Return the `introspection` section of that entry."""
        found: dict[str, Any] = {
            "url": f"{self.base}/introspect",
            "client_id": CLIENT,
            "client_secret": SECRET,
        }
        return found | changes

    async def start(self) -> "Issuer":
        """Listen on a free port, or again on the one it had."""
        app = web.Application()
        app.router.add_get("/{path:.*jwks}", self._jwks)
        app.router.add_post("/{path:.*introspect}", self._introspect)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Stop listening; whoever still waits is cut."""
        if self._runner is not None:
            self.mood = "down"
            await self._runner.cleanup()
            self._runner = None

    async def _mooded(self, request: web.Request) -> web.StreamResponse | None:
        while self._mood == "slow":
            await self._changed.wait()
        if self._mood == "bad":
            return web.Response(text="<html>be right back</html>")
        if self._mood == "failing":
            return web.Response(status=500)
        if self._mood == "down":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return None

    async def _jwks(self, request: web.Request) -> web.StreamResponse:
        self.fetches += 1
        answer = await self._mooded(request)
        return answer or web.json_response(tokens.jwks(*self.keys))

    async def _introspect(self, request: web.Request) -> web.StreamResponse:
        self.questions += 1
        answer = await self._mooded(request)
        if answer is not None:
            return answer
        expected = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"error": "invalid_client"}, status=401)
        phantom = self.opaque.get(str((await request.post()).get("token")))
        if phantom is None:
            return web.Response(
                text=json.dumps({"active": False}), content_type="application/json"
            )
        kind = "json" if phantom.startswith(b"{") else "jwt"
        return web.Response(body=phantom, content_type=f"application/{kind}")
