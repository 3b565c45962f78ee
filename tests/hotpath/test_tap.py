"""The tap at the answer: which ones are told, to whom, and for how long they wait."""

import asyncio
from types import SimpleNamespace

import orjson
import pytest
from tests.hotpath.gates import World, claims_answer, jwt, phantom_answer

from fastgate.adapters.agent_link import MAX_MESSAGE_BYTES
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.revocation import Kind
from fastgate.domain.route import TapRules
from fastgate.hotpath.tap import Tap
from fastgate.ports import Answer

TOKEN = jwt(jti="t-1", sid="s-1").decode()
AWAY = (b"Location", b"https://app.example.com/bye")


class Wire:
    """A tap whose agent is the test.

    notes: What was told. known: Answers about opaque tokens.
    revokes: The agent has it in force at once.
    """

    def __init__(self, *, deaf: bool = False, revokes: bool = True) -> None:
        self.world = World()
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.alarms: list[tuple[str, str, bool]] = []
        self.known: dict[bytes, IntrospectionAnswer] = {}
        self.forgotten: list[bytes] = []
        self.deaf = deaf
        self.revokes = revokes
        self.now_ns = self.world.boot_ns
        clock = SimpleNamespace(boot_ns=self._boot_ns, wall_s=lambda: self.world.wall_s)
        self.tap = Tap(
            notify=self._notify,
            revoked=self.world.reader,
            introspector=self,
            clock=clock,
            alarm=lambda *said: self.alarms.append(said),
        )
        self.rules = TapRules(self.world.profile, "/revoke", "/logout")

    # What the introspector of this worker says.

    def cached(self, issuer, token, boot_ns):
        return self.known.get(token)

    def forget(self, issuer, token):
        self.known.pop(token, None)
        self.forgotten.append(token)

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


async def test_opaque_token_ends_by_the_phantom_that_its_issuer_gave():
    """The agent verifies it like any other; as an access token, whatever the hint."""
    wire = Wire()
    wire.known[b"_opaque_"] = phantom_answer(TOKEN.encode())
    form = {"token": ["_opaque_"], "token_type_hint": ["refresh_token"]}
    waited_s = await wire.heard("/revoke", 200, form=form)
    told = {"issuer": "issuer0", "end": "token", "token": TOKEN}
    assert wire.notes == [("tap", told)]
    assert wire.forgotten == [b"_opaque_"]
    assert waited_s < 0.1


async def test_opaque_token_ends_by_the_jti_among_its_members():
    wire = Wire()
    wire.known[b"_opaque_"] = claims_answer(b'{"active":true,"jti":"t-1","sid":"s-1"}')
    waited_s = await wire.heard("/revoke", 200, form={"token": ["_opaque_"]})
    told = {"issuer": "issuer0", "end": "members", "jti": "t-1"}
    assert wire.notes == [("tap", told)]
    assert wire.forgotten == [b"_opaque_"]
    assert waited_s < 0.1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="never-asked"),
        pytest.param(IntrospectionAnswer(AnswerKind.INACTIVE), id="inactive"),
        pytest.param(claims_answer(b'{"active":true,"sub":"bob"}'), id="no-jti"),
        pytest.param(claims_answer(b'{"jti":"a","jti":"b"}'), id="ambiguous"),
        pytest.param(phantom_answer(b"no.j.wt"), id="no-phantom"),
    ],
)
async def test_opaque_token_of_which_nothing_is_known_is_only_forgotten(answer):
    wire = Wire()
    if answer is not None:
        wire.known[b"_opaque_"] = answer
    # One look at the clock, no wait.
    assert await wire.heard("/revoke", 200, form={"token": ["_opaque_"]}) < 0.02
    assert wire.notes == []
    assert wire.forgotten == [b"_opaque_"]


@pytest.mark.parametrize("status", [400, 401, 503])
async def test_opaque_token_is_kept_where_the_issuer_did_not_end_it_b10(status):
    wire = Wire()
    wire.known[b"_opaque_"] = phantom_answer(TOKEN.encode())
    await wire.heard("/revoke", status, form={"token": ["_opaque_"]})
    assert (wire.notes, wire.forgotten) == ([], [])


async def test_largest_token_that_may_be_configured_fits_a_note():
    """Sixteen KiB, with what stands around it in the packet."""
    wire = Wire()
    text = jwt(jti="t-1", sid="s-1", filler="x" * 11_900).decode()
    assert 16_000 < len(text) <= 16_384
    form = {"token": [text], "token_type_hint": ["refresh_token"]}
    await wire.heard("/revoke", 200, form=form)
    [(kind, note)] = wire.notes
    assert len(orjson.dumps({"note": kind, "data": note})) <= MAX_MESSAGE_BYTES
