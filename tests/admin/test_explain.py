"""`POST /v1/explain`: what it passes on, what it refuses, what it never writes."""

import logging

import pytest
from tests.admin.serving import admin

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"


async def test_explain_passes_the_question_on_and_answers_the_steps(agent):
    """The answer is the agent's, members and order kept."""
    body = {
        "token": TOKEN,
        "method": "POST",
        "path": "/oauth/v2/token",
        "cookies": "region=us",
        "form": {"grant_type": "refresh_token", "scope": ["a", "b"]},
    }
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/explain", body)
    assert answer.status == 200
    assert [step["step"] for step in answer.json["steps"]] == ["shape", "revocation"]
    form = {"grant_type": ("refresh_token",), "scope": ("a", "b")}
    assert agent.calls == [("explain", body | {"form": form})]


async def test_t20_explain_leaves_no_trace_of_the_token(agent, caplog):
    """Neither log nor audit line has any of it."""
    async with admin(agent) as wire:
        with caplog.at_level(logging.DEBUG):
            body = {"token": TOKEN, "path": "/orders/42"}
            answer = await wire.send("POST", "/v1/explain", body)
    assert answer.status == 200
    assert agent.lines == []
    for part in TOKEN.split("."):
        assert part not in caplog.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "path"),
        ({"path": "orders"}, "path"),
        ({"path": "/o", "method": "get me"}, "method"),
        ({"path": "/o", "token": 7}, "token"),
        ({"path": "/o", "cookies": {}}, "cookies"),
        ({"path": "/o", "form": "a=b"}, "form"),
        ({"path": "/o", "form": {"a": 1}}, "form"),
        ({"path": "/o", "form": {"a": [None]}}, "form"),
        ({"path": "/o", "tokn": "x"}, "tokn"),
    ],
)
async def test_explain_refuses_a_question_it_does_not_understand(agent, body, field):
    """The member at fault is named."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/explain", body)
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == field
    assert agent.calls == []
