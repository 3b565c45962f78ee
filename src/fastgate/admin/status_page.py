"""Status page: the status listener: `/livez`, `/readyz` and `/metrics`.

Owns:      what probes and scrapers are answered.
Called by: wiring, in the agent's process; every probe of an orchestrator.
Source:    ECOSYSTEM.md section 4 (health), THREATS.md M2 (scrape flood).

It is reachable from other hosts, so it changes nothing, reads no body and says nothing
that names a user.
"""

import socket

from aiohttp import hdrs, web

from fastgate.admin.facade import AgentFacade
from fastgate.admin.listener import Listener
from fastgate.admin.problems import RefusedError, json_response, plain_headers
from fastgate.admin.rates import Rates

__all__ = ["StatusListener"]

_MAX_CONNECTIONS = 256
# Reason: a page takes some milliseconds of the agent's loop; scrapers ask a few times
# a minute.
_SCRAPE_BURST = 20
_SCRAPES_PER_S = 5
_METHODS = ("GET", "HEAD")


class StatusListener:
    """Probes and metrics of one node, on one socket."""

    def __init__(self, agent: AgentFacade) -> None:
        self._agent = agent
        self._scrapes = Rates(burst=_SCRAPE_BURST, per_s=_SCRAPES_PER_S)
        self._listener = Listener(self._handle, max_connections=_MAX_CONNECTIONS)

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket."""
        await self._listener.start(sock)

    async def stop(self) -> None:
        """End connections, and stop."""
        await self._listener.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path not in {"/livez", "/readyz", "/metrics"}:
            raise RefusedError("not_found")
        if request.method not in _METHODS:
            raise RefusedError(
                "method_not_allowed", headers={hdrs.ALLOW: ", ".join(_METHODS)}
            )
        if path == "/metrics":
            return self._metrics(request)
        check = self._agent.alive if path == "/livez" else self._agent.ready
        ok, checks = check()
        return _health(request, ok, checks)

    def _metrics(self, request: web.BaseRequest) -> web.Response:
        if not self._scrapes.take(request.remote or ""):
            raise RefusedError("too_many_requests")
        page, content_type = self._agent.metrics(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=page, headers=plain_headers(content_type))


def _health(
    request: web.BaseRequest, ok: bool, checks: list[dict[str, object]]
) -> web.Response:
    status = 200 if ok else 503
    accepts_json = "application/json" in request.headers.get(hdrs.ACCEPT, "")
    if accepts_json:
        return json_response({"ok": ok, "checks": checks}, status=status)
    text = "ok\n" if ok else "failed\n"
    if "verbose" in request.query:
        text = "".join(map(_line, checks)) + text
    return web.Response(
        text=text,
        status=status,
        headers=plain_headers("text/plain; charset=utf-8"),
    )


def _line(check: dict[str, object]) -> str:
    # As the API server of Kubernetes prints it: [+] and [-] can be searched for.
    mark = "[+]" if check.get("ok") else "[-]"
    reason = check.get("reason")
    name = check.get("name")
    return f"{mark}{name}: {reason}\n" if reason else f"{mark}{name}\n"
