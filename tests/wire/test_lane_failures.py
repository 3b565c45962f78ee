"""Failed verifications over sockets: 429 in both lanes, each request charged once."""

from dataclasses import replace

import pytest
from tests.fakes import FakeClock, FakeKeyAsker
from tests.lane_kit import Gateway, gateway, issuer_profile, service, snapshot_of
from tests.recorder import recording
from tests.tokens import ISSUER, SigningKey, signing_key, token
from tests.wire.test_lane_gate import NOW, Revocations

from fastgate._ext.decisions import DecisionCache
from fastgate.domain.metric_plan import MetricPlan
from fastgate.domain.revocation import KeyHasher
from fastgate.domain.route import Route
from fastgate.domain.verdict import Reason
from fastgate.hotpath.failures import Failures
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys

BURST = 5
KNOWN, FRESH = token(now=NOW), token(now=NOW, jti="fresh")
OTHER = SigningKey("ES256", "es256-1")  # the issuer's kid, and another key
FORGED = token(OTHER, now=NOW)
NAMELESS = token(OTHER, now=NOW, header={"kid": None})


class CountingKey:
    """A key of the product that counts how often it verified."""

    def __init__(self, key: object) -> None:
        self.kid, self.thumbprint = key.kid, key.thumbprint
        self.algorithms = key.algorithms
        self._verify = key.verify
        self.asked = 0

    def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
        self.asked += 1
        return self._verify(alg, signature, signed)


def request(credential: bytes, *lines: bytes, body: bytes | None = None) -> bytes:
    """A GET, or a POST with a body."""
    first = b"GET /api/ HTTP/1.1" if body is None else b"POST /api/ HTTP/1.1"
    head = [first, b"Host: a", b"Authorization: Bearer " + credential, *lines]
    if body is not None:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*head, b"", body or b""])


@pytest.fixture
async def running():
    profile = issuer_profile(issuer=ISSUER, hasher=KeyHasher(b"", ISSUER))
    held = build_keys([signing_key().jwk()], last_fetch_ok=True)
    key = CountingKey(held.every[0])
    keys = replace(held, by_kid={"es256-1": key}, every=(key,))
    async with recording() as up:
        lives = service(up.base, us=(up.base,))
        route = Route(0, "api", "/api/", lives, issuer=profile)
        snapshot = snapshot_of(route, issuers=(profile,), keys=(keys,))
        failures = Failures(50.0, BURST)
        gate = Gate(DecisionCache(64), Revocations(), failures)
        clock = FakeClock(wall_s=NOW)
        async with gateway(
            snapshot, gate=gate, clock=clock, key_asker=FakeKeyAsker()
        ) as gw:
            yield gw, key, failures


async def reasons(gw: Gateway, data: bytes, count: int) -> list[object]:
    """Send a request so often, each on a connection of its own; the logged reasons."""
    before = len(gw.log.lines)
    for _ in range(count):
        await gw.ask(data)
    return [line["reason"] for line in (await gw.logged(before + count))[before:]]


def counted(gw: Gateway, name: str, *labels: str) -> int:
    """What stands in a column of the metrics."""
    plan = MetricPlan(
        routes=("api",), regions=("eu", "us"), issuers=("login",), own_region="eu"
    )
    return gw.meter.columns[plan.column(name, *labels)]


BAD, TOO_MANY = Reason.BAD_SIGNATURE.value, Reason.TOO_MANY_FAILURES.value


async def test_lane_answers_429_to_a_client_that_failed_too_often(running):
    """The problem body is that of any other 429; known tokens are served on."""
    gw, key, _ = running
    assert (await gw.ask(request(KNOWN))).status == 200
    found = await reasons(gw, request(FORGED), BURST + 3)
    assert found == [BAD] * BURST + [TOO_MANY] * 3
    assert key.asked == 1 + BURST
    for credential in (FORGED, FRESH):
        got = await gw.ask(request(credential))
        assert (got.status, got.code) == (429, "too_many_requests")
        assert (got.one("retry-after"), got.one("www-authenticate")) == ("1", None)
    assert (await gw.ask(request(KNOWN))).status == 200
    gw.clock.advance(1 / 50)
    assert (await gw.ask(request(FRESH))).status == 200
    checks = "fastgate_token_checks_total"
    assert counted(gw, checks, "jwt", TOO_MANY) == 5
    assert counted(gw, checks, "jwt", BAD) == BURST


@pytest.mark.parametrize("credential", [FORGED, NAMELESS], ids=["kid", "no_kid"])
@pytest.mark.parametrize("body", [None, b"x" * 100], ids=["get", "post"])
async def test_lane_charges_a_request_once_however_it_is_served(
    running, credential, body
):
    """One verification for each: also where the lanes judge the same message in turn.

    A body that nobody reads, and a question for a new key, are the general lane's.
    """
    gw, key, _ = running
    data = request(credential, body=body)
    assert await reasons(gw, data, BURST + 2) == [BAD] * BURST + [TOO_MANY] * 2
    assert key.asked == BURST


async def test_lane_holds_no_message_against_the_next_one(running):
    """Keys that refused one token are asked about the next, on the same connection."""
    gw, key, _ = running
    client = await gw.connect()
    # The compiled lane leaves an absolute target to the general one, unjudged.
    fresh = request(FRESH).replace(b"/api/", b"http://a/api/")
    for n, (data, status) in enumerate(
        [(request(FORGED), 401), (fresh, 200), (request(NAMELESS), 401), (fresh, 200)]
    ):
        await client.send(data)
        assert (await client.response()).status == status
        assert (await gw.logged(n + 1))[n]["lane"] == "general" or n == 2
    assert key.asked == 3


async def test_lane_tells_clients_of_a_trusted_proxy_apart(running):
    """By the address that the proxy wrote; nobody fails at another's expense."""
    gw, _, failures = running
    gw.cell.current = replace(gw.cell.current, trusted_peers=("127.0.0.1/32",))
    mallory = [b"X-Forwarded-For: 203.0.113.%d, 198.51.100.9" % n for n in range(7)]
    for n, line in enumerate(mallory):
        got = await gw.ask(request(FORGED, line))
        assert got.status == (401 if n < BURST else 429)
    assert (await gw.ask(request(FORGED, b"X-Forwarded-For: 192.0.2.1"))).status == 401
    assert (await gw.ask(request(FORGED))).status == 401  # the proxy itself
    now_ns = gw.clock.boot_ns()
    assert not failures.admits("198.51.100.9", now_ns)
    assert failures.admits("203.0.113.1", now_ns)


async def test_lane_believes_no_strangers_word_for_who_failed(running):
    """Without a configured proxy each new X-Forwarded-For is the same client."""
    gw, *_ = running
    found = [
        (await gw.ask(request(FORGED, b"X-Forwarded-For: 192.0.2.%d" % n))).status
        for n in range(BURST + 2)
    ]
    assert found == [401] * BURST + [429] * 2


async def test_lane_counts_a_token_that_both_lanes_looked_for_as_one_miss(running):
    """The general lane finds what the compiled one has put there; it is no hit."""
    gw, key, _ = running
    wrong_cookie = request(FRESH, b"Cookie: region=eu")  # the answer repairs it
    cache = "fastgate_decision_cache_total"
    assert (await gw.ask(wrong_cookie)).status == 200
    assert (await gw.logged(1))[0]["cache"] == "miss"
    assert (counted(gw, cache, "miss"), counted(gw, cache, "hit")) == (1, 0)
    assert (await gw.ask(wrong_cookie)).status == 200
    assert (await gw.logged(2))[1]["cache"] == "hit"
    assert (counted(gw, cache, "miss"), counted(gw, cache, "hit")) == (1, 1)
    assert key.asked == 1
