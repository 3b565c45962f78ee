"""`GET /v1/revocations`: what is asked for, what a page is like, what is refused."""

import pytest
from tests.admin.serving import admin

from fastgate.domain.entry import EntryError
from fastgate.domain.revocation import Kind


async def test_page_has_ids_and_times_and_where_to_go_on(agent):
    """No identifier: the node has none. Nothing is audited, nothing changed."""
    async with admin(agent) as wire:
        answer = await wire.send("GET", "/v1/revocations")
    assert answer.status == 200
    assert answer.json["next"] == "next-page"
    assert answer.json["revocations"] == [
        {
            "id": "a" * 24,
            "origin": "eu",
            "kind": "sid",
            "expires": 1_763_679_600,
            "issued_before": None,
            "lifted": False,
        },
        {
            "id": None,
            "origin": "us",
            "kind": "sub",
            "expires": 1_763_679_700,
            "issued_before": 1_763_600_000,
            "lifted": False,
        },
    ]
    assert agent.lines == []
    assert agent.listing.asked == [
        {"limit": 100, "cursor": None, "origin": None, "kind": None, "live": True}
    ]


async def test_members_of_the_query_are_passed_on(agent):
    """Region, kind, what is over too, how many, and the page behind."""
    agent.origins = {"eu": {}, "us": {}}
    query = "origin=us&kind=jti&live=false&limit=1000&cursor=next-page"
    async with admin(agent) as wire:
        answer = await wire.send("GET", f"/v1/revocations?{query}")
    assert answer.json["next"] is None
    assert agent.listing.asked == [
        {
            "limit": 1_000,
            "cursor": "next-page",
            "origin": "us",
            "kind": Kind.JTI,
            "live": False,
        }
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("origin=mars", "origin"),
        ("kind=user", "kind"),
        ("live=yes", "live"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=" + "9" * 500, "limit"),
        ("limits=1", "limits"),
        ("kind=sid&kind=sid", "kind"),
    ],
)
async def test_wrong_member_is_refused_and_named(agent, query, field):
    """As a member of a body is."""
    agent.origins = {"eu": {}, "us": {}}
    async with admin(agent) as wire:
        answer = await wire.send("GET", f"/v1/revocations?{query}")
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == field
    assert agent.listing.asked == []


@pytest.mark.parametrize(
    "query",
    [
        "kind",
        "a=1&&b=2",
        "kind=%FF",
        "&".join(["kind=sid"] * 17),
        "cursor=" + "x" * 2_000,
    ],
    ids=["no-value", "empty", "no-utf-8", "many", "long"],
)
async def test_query_that_cannot_be_read_is_refused(agent, query):
    """One reading of a query, or none."""
    async with admin(agent) as wire:
        answer = await wire.send("GET", f"/v1/revocations?{query}")
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


async def test_cursor_of_another_run_is_refused_by_name(agent):
    """Told, so that a client begins anew."""
    agent.listing.fault = EntryError("cursor", "is of another node or run")
    async with admin(agent) as wire:
        answer = await wire.send("GET", "/v1/revocations?cursor=x")
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "cursor")


async def test_list_needs_the_token_where_one_is_set(agent):
    """Like every other route."""
    agent.admin_token = "secret"
    async with admin(agent) as wire:
        answer = await wire.send("GET", "/v1/revocations")
    assert answer.status == 401
    assert agent.listing.asked == []
