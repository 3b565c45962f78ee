"""`/v1/feed/…`: what two nodes compare, and how a region is adopted."""

import pytest
from tests.admin.serving import admin

from fastgate.domain.entry import EntryError
from fastgate.errors import ControlError


async def test_digests_are_told_as_of_marks_that_are_given(agent):
    """Two nodes are never read at one instant, so one asks with what the other said."""
    agent.origins = {"eu": {"gw.abcdefgh": {"last": 4, "digest": "00"}}}
    body = {"wall": 17, "marks": {"eu/gw.abcdefgh": "4"}}
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/feed/digests", body)
        bare = await wire.send("POST", "/v1/feed/digests", {})
    assert answer.json["origins"] == agent.origins
    assert bare.status == 200
    assert agent.calls == [
        ("digests", (17, {"eu/gw.abcdefgh": 4})),
        ("digests", (None, None)),
    ]
    assert agent.lines == [], "nothing was changed"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"marks": {"eu/a": "x"}}, "marks"),
        ({"marks": {"eu/a": ["1", "2"]}}, "marks"),
        ({"marks": {"eu/a": "1" * 17}}, "marks"),
        ({"marks": "eu"}, "marks"),
        ({"wall": "now"}, "wall"),
        ({"mark": {}}, "mark"),
    ],
    ids=["text", "two", "long", "no-object", "wall", "unknown"],
)
async def test_digests_with_a_wrong_member_are_refused(agent, body, field):
    """Each member has one form."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/feed/digests", body)
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == field


async def test_adoption_is_audited_and_names_the_gap(agent):
    """An operator's word, before and after; never without the line."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/feed/adopt", {"region": "ap"})
    assert answer.status == 201
    assert answer.json == {"region": "ap", "by": "eu", "events": 12, "proven_s": 34.56}
    told = [
        (action, line["region"], line["outcome"]) for _, action, line in agent.lines
    ]
    assert told == [("adopt", "ap", "asked"), ("adopt", "ap", "done")]


@pytest.mark.parametrize(
    ("fault", "status"),
    [(EntryError("region", "ap is alive"), 400), (ControlError("not complete"), 503)],
    ids=["alive", "incomplete"],
)
async def test_adoption_that_must_not_be_is_refused(agent, fault, status):
    """What is refused leaves a line that says so."""
    agent.fault = fault
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/feed/adopt", {"region": "ap"})
    assert answer.status == status
    assert agent.lines[-1][2]["outcome"] != "done"


async def test_adoption_needs_a_region_and_an_audit_log(agent):
    """Nothing is adopted in the dark."""
    async with admin(agent) as wire:
        bare = await wire.send("POST", "/v1/feed/adopt", {})
        agent.audit_down = True
        dark = await wire.send("POST", "/v1/feed/adopt", {"region": "ap"})
    assert (bare.status, dark.status) == (400, 503)
    assert not any(name == "adopt" for name, _ in agent.calls)
