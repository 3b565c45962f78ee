"""`POST /v1/revocations/{id}/lift`: how an undo is asked for, audited and answered."""

import pytest
from tests.admin.fake_agent import RECEIPT, FakeAgent
from tests.admin.serving import admin

from fastgate.domain.entry import EntryError


def told(agent: FakeAgent) -> list[str]:
    return [name for name, _ in agent.calls]


async def test_lift_is_audited_before_and_after_and_answered_with_its_receipt(agent):
    """Undo needs the admin and is audited; nothing is undone without the line."""
    path = f"/v1/revocations/{RECEIPT.id}/lift"
    async with admin(agent) as wire:
        answer = await wire.send("POST", path, {"reason": "mistake"})
    assert answer.status == 201
    assert answer.json["lifts"] == RECEIPT.id
    assert told(agent) == ["audit", "lift", "audit"]
    lines = [(action, fields["outcome"]) for _, action, fields in agent.lines]
    assert lines == [("lift", "asked"), ("lift", "done")]
    assert agent.lines[0][2]["lifts"] == RECEIPT.id
    assert agent.lines[0][2]["reason"] == "mistake"


async def test_lift_is_not_done_when_it_cannot_be_audited(agent):
    """A revocation is enforced all the same; an undo is not done in the dark."""
    agent.audit_down = True
    async with admin(agent) as wire:
        answer = await wire.send("POST", f"/v1/revocations/{RECEIPT.id}/lift", {})
    assert answer.status == 503
    assert "lift" not in told(agent)


async def test_lift_of_an_unknown_id_is_404(agent):
    """The path is served, the event is not known."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations/nobody/lift", {})
        wrong = await wire.send("GET", "/v1/revocations/nobody/lift")
    assert (answer.status, wrong.status) == (404, 405)
    assert agent.lines[-1][2]["outcome"] == "not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "r" * 129}, "reason"),
        ({"wait": "long"}, "wait"),
        ({"id": "x"}, "id"),
    ],
    ids=["reason", "wait", "unknown"],
)
async def test_lift_with_a_wrong_member_is_refused_and_named(agent, body, field):
    """The body of a lift has two members."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", f"/v1/revocations/{RECEIPT.id}/lift", body)
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == field


async def test_lift_refused_by_the_domain_names_the_region(agent):
    """Whose event it is says where it can be lifted."""
    agent.fault = EntryError("id", "is an event of us: it is lifted there")
    async with admin(agent) as wire:
        answer = await wire.send("POST", f"/v1/revocations/{RECEIPT.id}/lift", {})
    assert answer.status == 400
    assert answer.json["detail"] == "is an event of us: it is lifted there"
