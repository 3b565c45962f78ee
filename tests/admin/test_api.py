"""The routes of the admin API: what each does, refuses and writes down."""

import asyncio
import logging
from dataclasses import replace

import pytest
from tests.admin.fake_agent import RECEIPT
from tests.admin.serving import admin

from fastgate.domain.entry import EntryError
from fastgate.domain.revocation import Kind
from fastgate.errors import BadAnswerError, ControlError

REVOKE = {"kind": "sid", "issuer": "login", "value": "s-123", "home": "us"}


def told(agent):
    """Return the names of what happened, in order."""
    return [name for name, _ in agent.calls]


async def test_revocation_is_entered_and_answered_as_documented(agent):
    """201, the receipt, and where to ask for it again."""
    body = REVOKE | {
        "issued_before": None,
        "expires_in": 3600,
        "urgent": False,
        "wait": "regions",
    }
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations", body)
    assert answer.status == 201
    assert answer.json == {
        "id": RECEIPT.id,
        "origin": "us",
        "seq": 1044,
        "published": True,
        "complete": True,
        "receipt": RECEIPT.regions,
    }
    assert answer.all["location"] == f"/v1/revocations/{RECEIPT.id}"
    assert answer.all["content-type"] == "application/json"
    assert agent.calls[0] == (
        "enter",
        {
            **REVOKE,
            "issued_before": None,
            "expires_in": 3600,
            "urgent": False,
            "reason": "",
            "wait": "regions",
        },
    )


async def test_revocation_not_yet_published_is_202(agent):
    """Enforced here, and no more than that, has a status of its own."""
    agent.receipt = replace(RECEIPT, published=False, complete=False, seq=None)
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations", REVOKE)
    assert answer.status == 202
    assert answer.json["published"] is False
    assert agent.lines[0][2]["outcome"] == "pending"


async def test_revocation_is_audited_before_the_answer_without_its_value(agent):
    """Who, what kind, the keyed hash and the number; never the identifier."""
    async with admin(agent) as wire:
        await wire.send("POST", "/v1/revocations", REVOKE)
    assert told(agent) == ["enter", "audit"]
    [(_, action, fields)] = agent.lines
    hasher = agent.snapshot.issuers[0].hasher
    assert action == "revoke"
    assert fields["object"] == hasher.key(Kind.SID, "s-123").hex()
    assert (fields["id"], fields["origin"], fields["seq"]) == (RECEIPT.id, "us", 1044)
    assert "s-123" not in str(agent.lines)


async def test_revocation_of_an_issuer_needs_no_value(agent):
    """The issuer names itself."""
    async with admin(agent) as wire:
        body = {"kind": "issuer", "issuer": "login"}
        answer = await wire.send("POST", "/v1/revocations", body)
    assert answer.status == 201


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"isuer": "login"}, "isuer", 'did you mean "issuer"?'),
        ({"kind": "sids"}, "kind", 'did you mean "sid"?'),
        ({"kind": "q"}, "kind", "known: client, grant, issuer, jti, kid, sid, sub"),
        ({"issuer": "logn"}, "issuer", 'did you mean "login"?'),
        ({"home": "mars"}, "home", "known: eu, us"),
        ({"wait": "forever"}, "wait", "known: local, regions"),
        ({"kind": None}, "kind", "is required"),
        ({"issuer": None}, "issuer", "is required"),
        ({"value": None}, "value", "is required"),
        ({"value": ""}, "value", "is required"),
        ({"value": 7}, "value", "must be a text"),
        ({"expires_in": 1.5}, "expires_in", "must be a whole number"),
        ({"expires_in": True}, "expires_in", "must be a whole number"),
        ({"issued_before": "today"}, "issued_before", "must be a number"),
        ({"issued_before": False}, "issued_before", "must be a number"),
        ({"urgent": "yes"}, "urgent", "must be true or false"),
    ],
)
async def test_revocation_with_a_wrong_member_is_refused_and_named(
    agent, body, field, says
):
    """Nothing that is not understood is ignored, and nothing happens."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations", REVOKE | body)
    assert answer.status == 400
    assert answer.all["content-type"] == "application/problem+json"
    problem = answer.json
    assert problem["type"] == "urn:fastgate:problem:invalid_request"
    [error] = problem["errors"]
    assert error["field"] == field
    assert says in error["detail"]
    assert agent.calls == []


async def test_revocation_refused_by_the_domain_names_the_member(agent):
    """What only the node can judge comes back in the same shape, and is audited."""
    agent.fault = EntryError("expires_in", "at most 7200 seconds")
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations", REVOKE)
    assert answer.status == 400
    assert answer.json["errors"] == [
        {"field": "expires_in", "detail": "at most 7200 seconds"}
    ]
    assert agent.lines[0][2]["outcome"] == "refused"


async def test_revocation_that_could_not_be_stored_is_503(agent):
    """The caller is told to come again; the audit log has the attempt."""
    agent.fault = ControlError("disk of s-123 full")
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations", REVOKE)
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert answer.all["retry-after"] == "1"
    assert "s-123" not in answer.body.decode()
    assert agent.lines[0][2]["outcome"] == "control"


async def test_revocation_without_audit_line_is_not_confirmed(agent):
    """No 201 without a line on disk."""
    agent.audit_down = True
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations", REVOKE)
    assert (answer.status, answer.json["code"]) == (503, "audit_unavailable")


async def test_receipt_is_shown_by_id(agent):
    """The receipt so far, and 404 for an id nobody knows."""
    async with admin(agent) as wire:
        known = await wire.send("GET", f"/v1/revocations/{RECEIPT.id}")
        other = await wire.send("GET", "/v1/revocations/0000")
    assert (known.status, known.json["seq"]) == (200, 1044)
    assert (other.status, other.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "action"),
    [("/v1/reload", "reload"), ("/v1/drain", "drain")],
)
async def test_act_is_written_down_before_and_after(agent, path, action):
    """The line that it was asked for is on disk before anything happens."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", path, {})
    assert answer.status < 300
    assert agent.calls == [("audit", "asked"), (action, None), ("audit", "done")]
    assert {line[1] for line in agent.lines} == {action}


@pytest.mark.parametrize("path", ["/v1/reload", "/v1/drain", "/v1/jwks/refresh"])
async def test_act_without_audit_line_is_not_done(agent, path):
    """Where the log cannot be written, nothing is changed."""
    agent.audit_down = True
    async with admin(agent) as wire:
        answer = await wire.send("POST", path, {})
    assert answer.status == 503
    assert agent.calls == []


async def test_reload_of_a_bad_file_is_422_with_its_problems(agent):
    """The old configuration stays, and the answer says why."""
    problem = {"line": 9, "path": "issuers.login.audiance", "message": "unknown key"}
    agent.reloaded = {"result": "failure", "hash": "ab12", "problems": [problem]}
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/reload", {})
    assert answer.status == 422
    assert answer.json["problems"] == [problem]
    assert answer.json["code"] == "bad_configuration"
    assert [line[2]["outcome"] for line in agent.lines] == [
        "asked",
        "bad_configuration",
    ]


async def test_keys_are_refreshed_for_one_issuer_or_all(agent):
    """By its alias; without one, all; `none` does not wait."""
    async with admin(agent) as wire:
        one = await wire.send("POST", "/v1/jwks/refresh", {"issuer": "login"})
        every = await wire.send("POST", "/v1/jwks/refresh", {"wait": "none"})
        wrong = await wire.send("POST", "/v1/jwks/refresh", {"issuer": "x"})
    assert (one.status, every.status, wrong.status) == (200, 202, 400)
    assert one.json["login"]["kids"] == ["ec-1"]
    asked = [given for name, given in agent.calls if name == "refresh_keys"]
    assert asked == [
        {"issuer": "login", "wait": True},
        {"issuer": None, "wait": False},
    ]


async def test_keys_of_an_issuer_that_lies_are_502(agent):
    """Whose fault it is shows in the status."""
    agent.fault = BadAnswerError("no keys in it")
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/jwks/refresh", {})
    assert (answer.status, answer.json["code"]) == (502, "bad_issuer_response")
    assert agent.lines[-1][2]["outcome"] == "bad_answer"


async def test_status_is_the_agents(agent):
    """One document, for people, dashboards and tests alike."""
    async with admin(agent) as wire:
        answer = await wire.send("GET", "/v1/status")
    assert answer.json == agent.status()
    assert answer.all["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/v1/reload", "/v1/drain", "/v1/explain"])
async def test_m1_mutation_by_get_is_405(agent, path):
    """A link or an image changes nothing."""
    async with admin(agent) as wire:
        answer = await wire.send("GET", path)
    assert answer.status == 405
    assert answer.all["allow"] == "POST"
    assert answer.json["code"] == "method_not_allowed"
    assert agent.calls == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_reading_by_another_method_is_405(agent, method):
    """A resource that is only read says so."""
    async with admin(agent) as wire:
        answer = await wire.send(method, "/v1/status", {})
    assert (answer.status, answer.all["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/status/",
        "//v1/status",
        "/v1//status",
        "/v1/./status",
        "/v1/x/../status",
        "/v1/%73tatus",
        "/V1/status",
        "/v1/status;x",
        "/v1/revocations/",
        "/v1/revocations/..",
        "/v1/revocations/a%2fb",
        "/v1/revocations/a/b",
        "/v1/config",
        "http://localhost/v1/status",
        "*",
    ],
)
async def test_m1_path_trick_finds_nothing(agent, target):
    """Each resource has one spelling."""
    async with admin(agent) as wire:
        answer = await wire.send("GET", target)
    assert answer.status in {400, 404}
    assert answer.all["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "bad_request"),
        (b"[]", "bad_request"),
        (b'"x"', "bad_request"),
        (b"\xff", "bad_request"),
        (b'{"value":"\\ud800"}', "bad_request"),
        (b"[" * 60_000, "bad_request"),
        (b'{"value":"' + b"x" * 70_000 + b'"}', "body_too_large"),
    ],
)
async def test_body_that_is_no_small_json_object_is_refused(agent, body, code):
    """Whatever is sent, an answer comes and nothing happens."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", "/v1/revocations", body)
    assert answer.json["code"] == code
    assert agent.calls == []


async def test_chunked_body_past_the_limit_is_refused(agent):
    """A body without a length is bounded as well."""
    async with admin(agent) as wire:
        head = (
            f"POST /v1/revocations HTTP/1.1\r\nHost: {wire.host}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        part = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        answer = await wire.raw(head.encode() + part * 5)
    assert answer.status == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])
async def test_coded_body_is_refused(agent, coding):
    """Nothing is unpacked, so nothing can grow."""
    async with admin(agent) as wire:
        answer = await wire.send(
            "POST", "/v1/revocations", REVOKE, {"Content-Encoding": coding}
        )
    assert answer.status == 415


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
async def test_malformed_request_gets_a_problem_that_repeats_nothing(agent, raw):
    """What the parser refuses looks like every other refusal."""
    async with admin(agent) as wire:
        reader, writer = await wire.connect()
        writer.write(raw)
        async with asyncio.timeout(10):
            answer = await reader.read()  # the connection ends with the answer
        writer.close()
    assert answer.split(b" ")[1] == b"400"
    assert b'"code":"bad_request"' in answer
    assert b"xxx" not in answer
    assert b"NONSENSE" not in answer


async def test_t20_fault_of_a_handler_is_500_and_logs_no_text(agent, caplog):
    """The log has the place of the fault, and nothing that was sent."""
    agent.fault = KeyError("eyJ.secret.token")
    async with admin(agent) as wire:
        with caplog.at_level(logging.DEBUG):
            body = {"token": "eyJ.secret.token", "path": "/orders/"}
            answer = await wire.send("POST", "/v1/explain", body)
    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert "KeyError at fake_agent.py" in caplog.text
    assert "secret" not in caplog.text + answer.body.decode()


async def test_oldest_idle_connection_makes_room(agent, monkeypatch):
    """Whoever holds idle connections keeps nobody out."""
    monkeypatch.setattr("fastgate.admin.api._MAX_CONNECTIONS", 3)
    async with admin(agent) as wire:
        idle = [await wire.connect() for _ in range(6)]
        answer = await wire.send("GET", "/v1/status")
        async with asyncio.timeout(10):
            ended = [await reader.read() for reader, _ in idle[:3]]
        for _, writer in idle:
            writer.close()
    assert answer.status == 200
    assert ended == [b"", b"", b""]
