"""Api: the admin API: one table of routes, and what is checked before any of them.

Owns:      the table; the admin listener.
Called by: wiring, in the agent's process.
Source:    DESIGN.md section 10, ECOSYSTEM.md section 5, THREATS.md M1.

GET changes nothing. Whatever changes something is a POST with a JSON body, which no
page of another site can send, and has an audit line on disk before its answer.
"""

import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import hdrs, web

from fastgate.admin import explain, feed, listing, revocations
from fastgate.admin.access import Access, is_private
from fastgate.admin.call import Call
from fastgate.admin.events import StatusEvents
from fastgate.admin.facade import AgentFacade
from fastgate.admin.listener import Listener
from fastgate.admin.members import read_members
from fastgate.admin.problems import RefusedError, json_response
from fastgate.errors import ConfigError

__all__ = ["AdminListener"]

# Reason: tools and dashboards; workers have the descriptors.
_MAX_CONNECTIONS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_REFRESH_MEMBERS = ("issuer", "wait")
_REFRESH_WAITS = ("local", "none")


@dataclass(frozen=True, slots=True)
class _Route:
    """One row: a part of the path is a name where it is `*`."""

    method: str
    path: str
    answer: Callable[[Call], Awaitable[web.StreamResponse]]


class AdminListener:
    """The admin API of one node, on one socket.

    agent: The node. token: Asked for from the start, until the configuration in force
        has another; None: none is asked for, so only this host may reach the socket.
    names: Host names and addresses it answers to, beside those of loopback.
    """

    def __init__(
        self, agent: AgentFacade, *, token: str | None, names: Iterable[str]
    ) -> None:
        self._agent = agent
        self._start_token = token
        self._access = Access(token=self._token, names=names)
        self._events = StatusEvents(agent.status)
        self._listener = Listener(self._handle, max_connections=_MAX_CONNECTIONS)
        self._routes = (
            _Route("POST", "/v1/revocations", revocations.enter),
            _Route("GET", "/v1/revocations", listing.answer),
            _Route("GET", "/v1/revocations/*", revocations.show),
            _Route("POST", "/v1/revocations/*/lift", revocations.lift),
            _Route("POST", "/v1/feed/digests", feed.digests),
            _Route("POST", "/v1/feed/adopt", feed.adopt),
            _Route("GET", "/v1/status", _status),
            _Route("GET", "/v1/events", self._follow),
            _Route("POST", "/v1/explain", explain.answer),
            _Route("POST", "/v1/reload", _reload),
            _Route("POST", "/v1/drain", _drain),
            _Route("POST", "/v1/jwks/refresh", _refresh_keys),
        )

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket.

        Raises ConfigError where others than this host reach it and no token is set.
        """
        if self._token() is None and not is_private(sock):
            raise ConfigError(
                "admin: needs admin_token off loopback; or bind 127.0.0.1 or unix:/path"
            )
        await self._listener.start(sock)

    async def stop(self) -> None:
        """End streams and connections, and stop."""
        self._events.close()
        await self._listener.stop()

    def _token(self) -> str | None:
        # A configuration that loses its token must not open a listener that has one.
        return self._agent.admin_token or self._start_token

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        caller = self._access.check(request)
        route, name = self._find(request)
        return await route.answer(Call(self._agent, request, caller, name))

    def _find(self, request: web.BaseRequest) -> tuple[_Route, str]:
        # The raw target is compared as it came: one spelling a resource, nothing is
        # decoded or folded, so no second spelling can pass a filter in front.
        path = request.raw_path.partition("?")[0]
        head, _, name = path.rpartition("/")
        called = ""
        found = [r for r in self._routes if r.path == path]
        if not found:
            above, _, middle = head.rpartition("/")
            for pattern, part in (f"{head}/*", name), (f"{above}/*/{name}", middle):
                if not found and _NAME.fullmatch(part):
                    found = [r for r in self._routes if r.path == pattern]
                    called = part
        if not found:
            raise RefusedError("not_found")
        method = "GET" if request.method == "HEAD" else request.method
        for route in found:
            if route.method == method:
                return route, called
        allowed = {r.method for r in found} | {
            "HEAD" for r in found if r.method == "GET"
        }
        raise RefusedError(
            "method_not_allowed", headers={hdrs.ALLOW: ", ".join(sorted(allowed))}
        )

    async def _follow(self, call: Call) -> web.StreamResponse:
        return await self._events.serve(call.request)


async def _status(call: Call) -> web.StreamResponse:
    return json_response(call.agent.status())


async def _reload(call: Call) -> web.StreamResponse:
    await read_members(call.request, ())

    async def act() -> dict[str, object]:
        outcome = await call.agent.reload()
        if outcome.get("result") != "success":
            raise RefusedError("bad_configuration", extra=outcome)
        return outcome

    return json_response(await call.audited("reload", {}, act))


async def _drain(call: Call) -> web.StreamResponse:
    await read_members(call.request, ())
    await call.audited("drain", {}, call.agent.drain)
    return json_response({"draining": True}, status=202)


async def _refresh_keys(call: Call) -> web.StreamResponse:
    members = await read_members(call.request, _REFRESH_MEMBERS)
    known = [profile.alias for profile in call.agent.snapshot.issuers]
    issuer = members.choice("issuer", known)
    wait = members.choice("wait", _REFRESH_WAITS) != "none"
    outcome = await call.audited(
        "refresh_keys",
        {"issuer": issuer},
        lambda: call.agent.refresh_keys(issuer, wait=wait),
    )
    return json_response(outcome, status=200 if wait else 202)
