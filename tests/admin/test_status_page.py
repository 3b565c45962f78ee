"""The status listener: what probes and scrapers get, and what floods do not."""

import pytest
from tests.admin.serving import status


async def test_probes_say_yes_and_no_by_status(agent):
    """Readiness and liveness are two questions."""
    async with status(agent) as wire:
        assert (await wire.send("GET", "/readyz")).status == 200
        agent.is_ready = False
        ready = await wire.send("GET", "/readyz")
        alive = await wire.send("GET", "/livez")
    assert (ready.status, ready.body) == (503, b"failed\n")
    assert (alive.status, alive.body) == (200, b"ok\n")
    assert ready.all["cache-control"] == "no-store"


async def test_readiness_says_which_check_fails_when_asked(agent):
    """A line a check, or JSON."""
    agent.is_ready = False
    async with status(agent) as wire:
        verbose = await wire.send("GET", "/readyz?verbose")
        shown = await wire.send(
            "GET", "/readyz", headers={"Accept": "application/json"}
        )
    assert verbose.body == b"[+]worker 0\n[-]origin us: behind\nfailed\n"
    assert shown.status == 503
    assert shown.json == {
        "ok": False,
        "checks": [
            {"name": "worker 0", "ok": True},
            {"name": "origin us", "ok": False, "reason": "behind"},
        ],
    }


async def test_metrics_are_the_agents_page(agent):
    """The content type is what the scraper asked for."""
    async with status(agent) as wire:
        answer = await wire.send("GET", "/metrics", headers={"Accept": "text/plain"})
    assert answer.body == b"fastgate_build_info 1\n"
    assert answer.all["content-type"] == "text/plain; version=0.0.4"
    assert agent.calls == [("metrics", "text/plain")]


async def test_m2_scrape_flood_is_refused(agent):
    """A page costs time of the agent's loop, so it is rationed; probes are not."""
    async with status(agent) as wire:
        statuses = {(await wire.send("GET", "/metrics")).status for _ in range(60)}
        probe = await wire.send("GET", "/livez")
    assert statuses == {200, 429}
    assert probe.status == 200


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/livez", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/healthz", 404),
        ("GET", "/v1/status", 404),
        ("POST", "/v1/revocations", 404),
        ("GET", "/", 404),
        ("GET", "/livez/", 404),
    ],
)
async def test_status_listener_serves_nothing_else(agent, method, target, expected):
    """The admin API is elsewhere; whatever is refused gets a problem body."""
    async with status(agent) as wire:
        answer = await wire.send(method, target)
    assert answer.status == expected
    assert answer.all["content-type"] == "application/problem+json"
    if expected == 405:
        assert answer.all["allow"] == "GET, HEAD"
    assert agent.calls == []


async def test_head_of_a_probe_has_no_body(agent):
    """Some balancers ask that way."""
    async with status(agent) as wire:
        reader, writer = await wire.connect()
        head = f"HEAD /livez HTTP/1.1\r\nHost: {wire.host}\r\nConnection: close\r\n"
        writer.write(f"{head}\r\n".encode())
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""
