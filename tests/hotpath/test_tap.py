"""The tap at the answer: which ones are told, to whom, and for how long they wait."""

import asyncio
from types import SimpleNamespace

import pytest
from tests.hotpath.gates import World, jwt

from fastgate.domain.revocation import Kind
from fastgate.domain.route import TapRules
from fastgate.hotpath.tap import Tap
from fastgate.ports import Answer

TOKEN = jwt(jti="t-1", sid="s-1").decode()
AWAY = (b"Location", b"https://app.example.com/bye")


class Wire:
    """A tap whose agent is the test.

    notes: What was told. revokes: The agent has it in force at once.
    """

    def __init__(self, *, deaf: bool = False, revokes: bool = True) -> None:
        self.world = World()
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.alarms: list[tuple[str, str, bool]] = []
        self.deaf = deaf
        self.revokes = revokes
        self.now_ns = self.world.boot_ns
        clock = SimpleNamespace(boot_ns=self._boot_ns, wall_s=lambda: self.world.wall_s)
        self.tap = Tap(
            notify=self._notify,
            revoked=self.world.reader,
            clock=clock,
            alarm=lambda *said: self.alarms.append(said),
        )
        self.rules = TapRules(self.world.profile, "/revoke", "/logout")

    def _boot_ns(self) -> int:
        self.now_ns += 10_000_000  # ten milliseconds a look
        return self.now_ns

    def _notify(self, kind: str, data: object) -> bool:
        if self.deaf:
            return False
        self.notes.append((kind, data))
        if self.revokes:
            self.world.revoke(Kind.JTI, "t-1")
            self.world.revoke(Kind.SID, "s-1")
        return True

    async def heard(self, path, status, *headers, form=None, query=b""):
        head = SimpleNamespace(path=path, form=form, query=query)
        inbound = SimpleNamespace(head=head, host=b"gateway.test:8080")
        decision = SimpleNamespace(route=SimpleNamespace(tap=self.rules))
        flow = SimpleNamespace(admitted=lambda: (inbound, None, decision))
        began_ns = self.now_ns
        await self.tap.heard(flow, Answer(status, headers, 0))
        return (self.now_ns - began_ns) / 1e9


async def test_revocation_is_told_and_waited_for():
    wire = Wire()
    waited_s = await wire.heard("/revoke", 200, form={"token": [TOKEN]})
    [(kind, note)] = wire.notes
    assert (kind, note["issuer"], note["token"]) == ("tap", "issuer0", TOKEN)
    assert (note["end"], note["refresh"], note["session"]) == ("token", False, False)
    assert waited_s < 0.1


async def test_answer_waits_for_a_quarter_second_at_most():
    wire = Wire(revokes=False)
    waited_s = await wire.heard("/revoke", 200, form={"token": [TOKEN]})
    assert 0.25 <= waited_s < 0.3


@pytest.mark.parametrize(
    ("path", "status", "form"),
    [
        pytest.param("/revoke", 400, {"token": [TOKEN]}, id="400"),
        pytest.param("/revoke", 503, {"token": [TOKEN]}, id="503"),
        pytest.param("/revoke", 204, {"token": [TOKEN]}, id="204"),
        pytest.param("/revoke", 200, None, id="no-form"),
        pytest.param("/revoke", 200, {}, id="no-token"),
        pytest.param("/revoke", 200, {"token": [TOKEN, TOKEN]}, id="two"),
        pytest.param("/revoke", 200, {"token": ["opaque"]}, id="opaque"),
        pytest.param("/revoke", 200, {"token": ["\u00e9.a.b"]}, id="not-ascii"),
        pytest.param("/revoke/", 200, {"token": [TOKEN]}, id="another-path"),
        pytest.param("/introspect", 200, {"token": [TOKEN]}, id="introspection"),
        pytest.param("/logout", 200, {"id_token_hint": [TOKEN]}, id="page"),
        pytest.param("/logout", 302, {"id_token_hint": [TOKEN]}, id="no-location"),
    ],
)
async def test_what_is_no_end_is_not_told(path, status, form):
    wire = Wire()
    await wire.heard(path, status, form=form)
    assert wire.notes == []


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (b"https://app.example.com/bye", True),
        (b"myapp://gone", True),
        (b"/confirm", False),
        (b"confirm", False),
        (b"//app.example.com/", False),
        (b"https://login.example.com/confirm", False),
        (b"https://LOGIN.example.com/confirm", False),
        (b"http://login.example.com:8443/confirm", False),
        (b"https://gateway.test/confirm", False),
        (b"https://[", False),
        (b"\xff", False),
    ],
    ids=lambda value: value.hex()[:24] if isinstance(value, bytes) else str(value),
)
async def test_logout_is_done_when_the_browser_is_sent_away(location, told):
    wire = Wire()
    query = b"id_token_hint=" + TOKEN.encode()
    await wire.heard("/logout", 302, (b"location", location), query=query)
    assert bool(wire.notes) is told


async def test_two_locations_are_ambiguous():
    wire = Wire()
    query = b"id_token_hint=" + TOKEN.encode()
    await wire.heard("/logout", 302, AWAY, AWAY, query=query)
    assert wire.notes == []


async def test_agent_that_takes_no_note_raises_an_alarm_once():
    wire = Wire(deaf=True)
    for _ in range(3):
        waited_s = await wire.heard("/revoke", 200, form={"token": [TOKEN]})
        assert waited_s < 0.05
    assert wire.alarms == [("tap", "issuer0", True)]
    wire.deaf = False
    await wire.heard("/revoke", 200, form={"token": [TOKEN]})
    assert wire.alarms[1:] == [("tap", "issuer0", False)]


async def test_only_so_many_answers_wait_at_once():
    """Further ones are told and go out: a flood holds nothing up."""
    wire = Wire(revokes=False)
    times = await asyncio.gather(
        *(wire.heard("/revoke", 200, form={"token": [TOKEN]}) for _ in range(80))
    )
    assert len(wire.notes) == 80
    assert sum(waited_s == 0 for waited_s in times) >= 16
