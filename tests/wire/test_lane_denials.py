"""What a client is told: challenges, the one story of every bad token, cookies.

THREATS T20, T22; PROTOCOLS sections 3 and 16.
"""

import pytest
from tests.fakes import FakeGate, decided
from tests.lane_kit import gateway, public, snapshot_of
from tests.recorder import answer, recording
from tests.wire.test_lane_headers import admitting, get, protected

from fastgate.domain.region import RegionSource
from fastgate.domain.verdict import Reason, Verdict


@pytest.mark.parametrize(
    ("reason", "status", "challenge"),
    [
        (
            Reason.MISSING_TOKEN,
            401,
            'Bearer realm="api", scope="orders", resource_metadata="https://a/.well"',
        ),
        (
            Reason.REVOKED,
            401,
            (
                'Bearer realm="api", error="invalid_token", '
                'error_description="The access token is not valid.", '
                'resource_metadata="https://a/.well"'
            ),
        ),
        (
            Reason.INVALID_REQUEST,
            400,
            (
                'Bearer realm="api", error="invalid_request", '
                'error_description="The request is ambiguous.", '
                'resource_metadata="https://a/.well"'
            ),
        ),
        (
            Reason.SCOPE,
            403,
            (
                'Bearer realm="api", error="insufficient_scope", '
                'error_description="The access token lacks a scope.", scope="orders"'
            ),
        ),
        (Reason.UNKNOWN_REGION, 403, None),
        (Reason.STALE_REVOCATION, 503, None),
        (Reason.BAD_ISSUER_RESPONSE, 502, None),
    ],
)
async def test_lane_answers_a_denial_with_its_challenge(reason, status, challenge):
    """RFC 6750 section 3: realm always, error only where credentials were sent."""
    async with recording() as up:
        route = protected(
            up.base, scope_text="orders", resource_metadata="https://a/.well"
        )
        gate = FakeGate(lambda h, s, _: decided(Verdict.DENY, s, h, reason=reason))
        async with gateway(snapshot_of(route), gate=gate) as gw:
            got = await gw.ask(get(b"Authorization: Bearer secret-token"))
            assert got.status == status
            assert got.one("www-authenticate") == challenge
            assert (got.one("retry-after") is not None) == (status >= 502)
            assert b"secret-token" not in got.raw
            assert got.one("cache-control") == "no-store"
            assert not up.requests
            (line,) = await gw.logged(1)
            assert (line["reason"], line["verdict"]) == (reason.value, "deny")


async def test_lane_says_the_same_of_every_bad_token():
    """Revoked, expired and forged tokens get one answer, but for its name (T22)."""
    answers = set()
    async with recording() as up:
        for reason in (Reason.REVOKED, Reason.EXPIRED, Reason.BAD_SIGNATURE):
            gate = FakeGate(
                lambda h, s, _, r=reason: decided(Verdict.DENY, s, h, reason=r)
            )
            async with gateway(snapshot_of(protected(up.base)), gate=gate) as gw:
                got = await gw.ask(get(b"Authorization: Bearer x"))
                name = got.one("x-request-id").encode()
                answers.add(got.raw.replace(name, b""))
        assert len(answers) == 1


async def test_lane_explains_itself_only_on_a_route_that_debugs():
    """Region, source and exact reason are in headers where the operator wants them."""
    async with recording() as up:
        open_, closed = (
            protected(up.base, debug=True),
            protected(up.base),
        )
        gate = admitting(source=RegionSource.CLAIM)
        async with gateway(snapshot_of(open_), gate=gate) as gw:
            got = await gw.ask(get())
            assert got.one("x-fastgate-region") == "eu; source=claim; gateway=eu"
        async with gateway(snapshot_of(closed), gate=gate) as gw:
            assert (await gw.ask(get())).one("x-fastgate-region") is None
        denying = FakeGate(
            lambda h, s, _: decided(Verdict.DENY, s, h, reason=Reason.EXPIRED)
        )
        async with gateway(snapshot_of(open_), gate=denying) as gw:
            assert (await gw.ask(get())).one("x-fastgate-reason") == "expired"


@pytest.mark.parametrize(
    ("source", "status", "repaired"),
    [
        (RegionSource.CLAIM, b"500 Internal Server Error", True),
        (RegionSource.FIELD, b"200 OK", True),
        (RegionSource.FIELD, b"400 Bad Request", False),
        (RegionSource.HINT, b"302 Found", True),
    ],
)
async def test_lane_repairs_a_wrong_region_cookie_once_the_region_is_certain(
    source, status, repaired
):
    """A claim is certain; a hint is once the upstream agreed (PROTOCOLS section 16)."""

    async def reply(request, talk):
        await talk.send(answer(status=status, headers=b"Set-Cookie: a=1\r\n"))
        return True

    async with (
        recording(reply) as up,
        gateway(
            snapshot_of(public(up.base)),
            gate=admitting(repair_cookie=True, source=source),
        ) as gw,
    ):
        got = await gw.ask(get(b"Cookie: region=us"))
        expected = ["a=1"]
        if repaired:
            expected.append(
                "region=eu; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000"
            )
        assert got.all("set-cookie") == expected
