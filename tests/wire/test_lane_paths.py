"""Paths that one reader takes for another's: the real gate, over sockets (T7).

A public route stands beside one that wants a token. Whatever the spelling, nothing
that some upstream could read as the other's path arrives without one.
"""

import pytest
from tests.fakes import FakeClock
from tests.lane_kit import gateway, issuer_profile, service, snapshot_of
from tests.recorder import recording
from tests.wire.test_lane_gate import NOW, Revocations

from fastgate._ext.decisions import DecisionCache
from fastgate.domain.route import Route
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

# By the advisory that is of this kind: targets, each with the answer it gets.
TARGETS = {
    "cve_2025_66490_encoded_characters": {
        b"/%61dmin/secret": 401,
        b"/admin%2Fsecret": 404,
        b"/public/%2E%2E/admin/secret": 400,
        b"/public%2f..%2fadmin/secret": 400,
        b"/public/..%5Cadmin/secret": 400,
        b"/admin/secret%00": 400,
        b"/admin/%0d%0aX:y": 400,
        b"/public/%252e%252e/admin/secret": 400,
    },
    "cve_2026_40912_prefix_measured_decoded": {
        b"/public%20/admin/secret": 404,
        b"/public%2e/admin/secret": 404,
        b"/public%2e%2e/admin/secret": 404,
        b"/public/%2e/admin/secret": 400,
    },
    "cve_2026_48020_dot_segments_behind_a_prefix": {
        b"/public/../admin/secret": 400,
        b"/public/%2e%2e/admin/secret": 400,
        b"/public/.%2e/admin/secret": 400,
        b"/public/..;/admin/secret": 400,
        b"/public/x/../../admin/secret": 400,
    },
    "cve_2026_33494_traversal_past_a_rule": {
        b"/public//../admin/secret": 400,
        b"//admin/secret": 400,
        b"/./admin/secret": 400,
        b"/public/..": 400,
        b"/public/..\\admin\\secret": 400,
    },
    "cve_2026_27587_case_of_an_escaped_path": {
        b"/ADMIN/secret": 404,
        b"/%41dmin/secret": 404,
        b"/Admin/secret": 404,
        b"/admin%20/secret": 404,
        b"/PUBLIC/../admin/secret": 400,
    },
}
CASES = [
    pytest.param(target, status, id=f"{name}-{number}")
    for name, targets in TARGETS.items()
    for number, (target, status) in enumerate(targets.items())
]


@pytest.mark.parametrize(("target", "status"), CASES)
async def test_t7_no_spelling_of_a_path_passes_for_another(target, status):
    """Refused, or judged by the route that every reader would choose."""
    profile = issuer_profile()
    keys = build_keys([], last_fetch_ok=True)
    async with recording() as up:
        lives = service(up.base, us=(up.base,))
        snapshot = snapshot_of(
            Route(0, "public", "/public/", lives),
            Route(1, "admin", "/admin/", lives, issuer=profile),
            issuers=(profile,),
            keys=(keys,),
        )
        gate = Gate(DecisionCache(64), Revocations())
        async with gateway(snapshot, gate=gate, clock=FakeClock(wall_s=NOW)) as gw:
            got = await gw.ask(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert got.status == status
            assert got.problem["status"] == status
            assert not up.received
            # The public route serves what is certainly its own.
            good = await gw.ask(b"GET /public/a%20b HTTP/1.1\r\nHost: a\r\n\r\n")
            assert good.status == 200
            assert up.requests[0].target == b"/public/a%20b"
