"""Security events and requests about users: what each ends, and what none may."""

import time
from dataclasses import replace

import pytest
from tests.intake_kit import (
    CAEP,
    EVENTS,
    ISSUER,
    RISC,
    RULES,
    SSF,
    USER,
    intake_world,
    logout_token,
    security_event,
    set_claims,
    signed,
)

from fastgate.control.intake import Result
from fastgate.control.intake_rules import Credential
from fastgate.domain.notice import Fault, NoticeError
from fastgate.domain.revocation import EVERYTHING, Kind

NOW = int(time.time())


async def refused(coroutine) -> Fault:
    with pytest.raises(NoticeError) as caught:
        await coroutine
    return caught.value.fault


async def pushed(world, *event, **changes) -> Result:
    return await world.intake.pushed(security_event(*event, **changes), None)


async def test_session_revoked_with_a_session_ends_that_session():
    session = {"format": "opaque", "id": "s-7"}
    subject = {"format": "complex", "user": USER, "session": session}
    async with intake_world() as world:
        assert await pushed(world, sub_id=subject) is Result.REVOKED
        assert world.cutoff(Kind.SID, "s-7") == EVERYTHING
        assert world.cutoff(Kind.SUB, "bob") is None


async def test_reasons_of_an_event_go_to_the_audit_log_bounded_and_nowhere_else():
    """What people wrote: the first language, a sentence of it, and no other member."""
    body = {
        "initiating_entity": "policy",
        "reason_admin": {"en": "Landspeed: " + "x" * 1_000, "de": "zu schnell"},
        "reason_user": "Please sign in again",
        "event_timestamp": NOW,
        "secret": "of the sender",
    }
    async with intake_world() as world:
        assert await pushed(world, f"{CAEP}session-revoked", body) is Result.REVOKED
        ((_, _, line),) = world.lines
        assert line["initiating_entity"] == "policy"
        assert line["reason_admin"] == "Landspeed: " + "x" * 189
        assert line["reason_user"] == "Please sign in again"
        assert not {"secret", "event_timestamp"} & set(line)
        assert "Please" not in str(world.entered)


@pytest.mark.parametrize(
    "body",
    [
        {"initiating_entity": "root", "reason_admin": 5, "reason_user": {}},
        {"initiating_entity": ["admin"], "reason_admin": {"en": None}},
        {},
    ],
    ids=["unknown", "types", "none"],
)
async def test_event_without_usable_reasons_is_audited_all_the_same(body):
    async with intake_world() as world:
        assert await pushed(world, f"{CAEP}session-revoked", body) is Result.REVOKED
        ((_, _, line),) = world.lines
        assert not {"initiating_entity", "reason_admin", "reason_user"} & set(line)


async def test_session_revoked_with_a_user_ends_tokens_from_before_the_event():
    """The event's own time counts, not when it came."""
    then = int(time.time()) - 500
    async with intake_world() as world:
        event = (f"{CAEP}session-revoked", {"event_timestamp": then})
        assert await pushed(world, *event) is Result.REVOKED
        assert world.cutoff(Kind.SUB, "bob") == then


async def test_event_in_milliseconds_ends_nothing_that_is_yet_to_be_issued():
    event = (f"{CAEP}session-revoked", {"event_timestamp": time.time() * 1000})
    async with intake_world() as world:
        assert await pushed(world, *event) is Result.REVOKED
        assert world.cutoff(Kind.SUB, "bob") <= time.time()


async def test_event_about_a_token_ends_that_token():
    subject = {"format": "jwt_id", "iss": ISSUER, "jti": "t-1"}
    async with intake_world() as world:
        assert await pushed(world, sub_id=subject) is Result.REVOKED
        assert world.cutoff(Kind.JTI, "t-1") == EVERYTHING


@pytest.mark.parametrize(
    ("event", "body", "result"),
    [
        (f"{CAEP}credential-change", {"change_type": "revoke"}, Result.REVOKED),
        (f"{CAEP}credential-change", {"change_type": "update"}, Result.REVOKED),
        (f"{CAEP}credential-change", {"change_type": "delete"}, Result.REVOKED),
        (f"{CAEP}credential-change", {"change_type": "create"}, Result.IGNORED),
        (f"{RISC}account-disabled", {}, Result.REVOKED),
        (f"{RISC}account-purged", {}, Result.REVOKED),
        (f"{RISC}credential-compromise", {}, Result.REVOKED),
        (f"{CAEP}token-claims-change", {"claims": {}}, Result.IGNORED),
        (f"{CAEP}session-established", {}, Result.IGNORED),
        ("https://example.com/new", {}, Result.IGNORED),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else None,
)
async def test_event_about_a_user_ends_what_it_should(event, body, result):
    async with intake_world() as world:
        assert await pushed(world, event, body) is result
        assert (world.cutoff(Kind.SUB, "bob") is not None) is (result == "revoked")


async def test_events_about_users_end_nothing_unless_enabled():
    rules = replace(RULES, events={ISSUER: replace(EVENTS, user_events=False)})
    async with intake_world(rules) as world:
        assert await pushed(world, f"{RISC}account-disabled") is Result.IGNORED
        assert world.index.entries == {}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"sub": "bob"}, Fault.CLAIMS, id="sub"),
        pytest.param({"exp": NOW + 60}, Fault.CLAIMS, id="exp"),
        pytest.param({"aud": "other"}, Fault.AUDIENCE, id="aud"),
        pytest.param({"iss": "https://evil"}, Fault.ISSUER, id="iss"),
        pytest.param({"iat": None}, Fault.CLAIMS, id="iat"),
        pytest.param({"iat": NOW + 600}, Fault.TIME, id="future"),
        pytest.param({"jti": None}, Fault.CLAIMS, id="jti"),
        pytest.param({"events": {}}, Fault.CLAIMS, id="no-event"),
        pytest.param(
            {"events": {f"{CAEP}session-revoked": {}, "b": {}}},
            Fault.CLAIMS,
            id="two-events",
        ),
        pytest.param(
            {"events": {f"{CAEP}session-revoked": 1}}, Fault.CLAIMS, id="event-number"
        ),
        pytest.param(
            {"events": {f"{CAEP}session-revoked": {"event_timestamp": "now"}}},
            Fault.CLAIMS,
            id="timestamp-text",
        ),
        pytest.param({"sub_id": None}, Fault.SUBJECT, id="no-subject"),
        pytest.param({"sub_id": "bob"}, Fault.SUBJECT, id="subject-text"),
        pytest.param(
            {"sub_id": USER | {"iss": "https://other"}}, Fault.SUBJECT, id="foreign"
        ),
        pytest.param(
            {"sub_id": {"format": "jwt_id", "iss": "https://other", "jti": "t"}},
            Fault.SUBJECT,
            id="foreign-token",
        ),
        pytest.param(
            {"sub_id": {"format": "opaque", "id": "bob"}}, Fault.SUBJECT, id="unmapped"
        ),
        pytest.param(
            {"sub_id": {"format": "email", "email": "b@c"}}, Fault.SUBJECT, id="email"
        ),
        pytest.param(
            {"sub_id": {"format": "iss_sub", "iss": ISSUER}}, Fault.SUBJECT, id="nobody"
        ),
        pytest.param(
            {"sub_id": {"format": "complex", "user": USER, "device": USER}},
            Fault.SUBJECT,
            id="narrowed",
        ),
        pytest.param(
            {"sub_id": {"format": "complex", "tenant": USER}},
            Fault.SUBJECT,
            id="tenant",
        ),
        pytest.param(
            {"sub_id": {"format": "complex", "session": USER}},
            Fault.SUBJECT,
            id="session-format",
        ),
    ],
)
async def test_bad_event_changes_nothing_b10(changes, fault):
    async with intake_world() as world:
        assert await refused(pushed(world, **changes)) is fault
        assert world.index.entries == {}


@pytest.mark.parametrize("typ", ["logout+jwt", "at+jwt", "JWT", None])
async def test_event_needs_its_own_type_b10(typ):
    async with intake_world() as world:
        token = signed(set_claims(), typ)
        assert await refused(world.intake.pushed(token, None)) is Fault.TYPE


@pytest.mark.parametrize(
    ("formats", "subject"),
    [
        ("opaque", {"format": "opaque", "id": "bob"}),
        ("email", {"format": "email", "email": "bob"}),
    ],
)
async def test_mapped_subject_is_the_sub_of_tokens(formats, subject):
    subjects = replace(EVENTS.subjects, formats=frozenset({formats}))
    rules = replace(RULES, events={ISSUER: replace(EVENTS, subjects=subjects)})
    async with intake_world(rules) as world:
        assert await pushed(world, sub_id=subject) is Result.REVOKED
        assert world.cutoff(Kind.SUB, "bob") is not None


async def test_event_that_comes_again_is_taken_and_changes_nothing():
    """Duplicates by (iss, jti), durably; also by the other way of delivery."""
    token = security_event()
    async with intake_world() as world:
        assert await world.intake.pushed(token, None) is Result.REVOKED
        assert await world.intake.pushed(token, None) is Result.REPEATED
        await world.restart()
        assert await world.intake.pushed(token, None) is Result.REPEATED
        assert await world.intake.polled(token, "set-1", "login") is Result.REPEATED
        assert world.journal.last == 1


async def test_logout_token_and_event_of_one_jti_are_two_events():
    session = {"format": "opaque", "id": "s-1"}
    subject = {"format": "complex", "session": session}
    async with intake_world() as world:
        await world.intake.logout(logout_token(jti="same"))
        assert await pushed(world, jti="same", sub_id=subject) is Result.REVOKED
        assert world.journal.last == 2


async def test_event_older_than_anything_it_could_touch_is_taken_without_effect():
    """So its id may be forgotten by then."""
    life = 100 * 24 * 3600
    async with intake_world() as world:
        came = await pushed(world, iat=int(time.time()) - life)
        assert came is Result.IGNORED
        assert world.index.entries == {}


async def test_push_needs_the_credentials_of_its_stream():
    rules = replace(RULES, pushed={ISSUER: Credential("Bearer abc")})
    async with intake_world(rules) as world:
        token = security_event()
        for given in (None, "", "Bearer abd", "bearer abc", "Bearer abc "):
            fault = await refused(world.intake.pushed(token, given))
            assert fault is Fault.CREDENTIALS
        assert await world.intake.pushed(token, "Bearer abc") is Result.REVOKED


async def test_event_of_a_stream_that_is_only_polled_cannot_be_pushed():
    async with intake_world(replace(RULES, pushed={})) as world:
        assert await refused(pushed(world)) is Fault.ISSUER
        came = await world.intake.polled(security_event(), "set-1", "login")
        assert came is Result.REVOKED


async def test_polled_event_must_be_of_its_stream_and_name():
    async with intake_world() as world:
        token = security_event()
        assert await refused(world.intake.polled(token, "x", "login")) is Fault.CLAIMS
        assert await refused(world.intake.polled(token, "set-1", "y")) is Fault.ISSUER
        assert world.index.entries == {}


async def test_stream_says_how_it_is():
    stream = {"format": "opaque", "id": "stream-1"}
    async with intake_world() as world:
        updated = (f"{SSF}stream-updated", {"status": "paused"})
        assert await pushed(world, *updated, sub_id=stream) is Result.IGNORED
        assert world.alarms == {("ssf_stream", "login")}
        assert await pushed(world, f"{SSF}verification", {"state": "x"}, sub_id=stream)
        assert world.alarms == set()
        (line,) = world.intake.status()["streams"]
        assert (line["issuer"], line["state"]) == ("login", "enabled")
        assert line["events"] == {"stream-updated": 1, "verification": 1}
        assert line["heard_s"] is not None


async def test_verification_that_another_asked_for_is_no_answer_to_ours():
    stream = {"format": "opaque", "id": "stream-1"}
    verified = f"{SSF}verification"
    async with intake_world() as world:
        world.intake.streams.asked("login", "ours")
        await pushed(world, verified, {"state": "theirs"}, sub_id=stream)
        (line,) = world.intake.status()["streams"]
        assert line["verified_s"] is None
        await pushed(world, verified, {"state": "ours"}, sub_id=stream, jti="set-2")
        (line,) = world.intake.status()["streams"]
        assert line["verified_s"] is not None


async def test_state_of_another_stream_of_that_transmitter_is_not_ours():
    other = {"format": "opaque", "id": "stream-2"}
    async with intake_world() as world:
        world.intake.streams.known("login", "stream-1", frozenset())
        updated = (f"{SSF}stream-updated", {"status": "disabled"})
        assert await pushed(world, *updated, sub_id=other) is Result.IGNORED
        assert world.alarms == set()


async def test_claims_that_changed_end_nothing_and_every_worker_is_told():
    """What issuers said of that user's opaque tokens is asked for again."""
    async with intake_world() as world:
        change = (f"{CAEP}token-claims-change", {"claims": {"role": "ro-admin"}})
        assert await pushed(world, *change) is Result.IGNORED
        about = {"issuer": "login", "subject": "bob"}
        assert world.told == [("claims_changed", about)]
        stranger = {"format": "email", "email": "bob@example.com"}
        await pushed(world, *change, sub_id=stranger, jti="set-2")
        assert len(world.told) == 1
        assert world.index.entries == {}


async def test_subject_with_a_critical_part_that_is_not_understood_is_refused():
    """Where the transmitter says so, or the configuration; else it narrows nothing."""
    session = {"format": "opaque", "id": "s-7"}
    tenant = {"format": "opaque", "id": "t"}
    subject = {"format": "complex", "user": USER, "session": session, "tenant": tenant}
    rules = replace(EVENTS, critical=frozenset({"tenant"}))
    async with intake_world() as world:
        world.intake.streams.known("login", "stream-1", frozenset({"tenant", "user"}))
        event = world.intake.pushed(security_event(sub_id=subject), None)
        assert await refused(event) is Fault.SUBJECT
        world.intake.streams.known("login", "stream-1", frozenset({"device"}))
        assert await pushed(world, sub_id=subject) is Result.REVOKED
    async with intake_world(replace(RULES, events={ISSUER: rules})) as world:
        event = world.intake.pushed(security_event(sub_id=subject), None)
        assert await refused(event) is Fault.SUBJECT


async def test_event_about_a_token_ends_it_where_users_events_are_not_enabled():
    """It names the one token; the switch is about all tokens of a user."""
    subject = {"format": "jwt_id", "iss": ISSUER, "jti": "t-1"}
    rules = replace(RULES, events={ISSUER: replace(EVENTS, user_events=False)})
    async with intake_world(rules) as world:
        disabled = f"{RISC}account-disabled"
        assert await pushed(world, disabled, sub_id=subject) is Result.REVOKED
        assert world.cutoff(Kind.JTI, "t-1") == EVERYTHING


async def test_events_are_counted_by_a_name_of_a_closed_set():
    """What has no effect is seen all the same, and no name of a stranger's grows it."""
    names = [
        *(
            f"{CAEP}{name}"
            for name in ("device-compliance-change", "session-presented")
        ),
        *(f"{CAEP}assurance-level-change", f"{RISC}account-enabled"),
        *(f"https://example.com/{n}" for n in range(3)),
    ]
    async with intake_world() as world:
        for n, name in enumerate(names):
            assert await pushed(world, name, jti=f"set-{n}") is Result.IGNORED
        (line,) = world.intake.status()["streams"]
        assert line["events"] == {
            "account-enabled": 1,
            "assurance-level-change": 1,
            "device-compliance-change": 1,
            "other": 3,
            "session-presented": 1,
        }


# -- requests about a user -------------------------------------------------------------


async def test_user_ends_by_request():
    async with intake_world() as world:
        await world.intake.end_user(USER, "a-token-of-the-issuer")
        cutoff = world.cutoff(Kind.SUB, "bob")
        assert cutoff is not None
        assert cutoff >= int(time.time())


@pytest.mark.parametrize("token", [None, "", "wrong", "a-token-of-the-issuer "])
async def test_request_about_a_user_needs_the_bearer_token(token):
    async with intake_world() as world:
        fault = await refused(world.intake.end_user(USER, token))
        assert fault is Fault.CREDENTIALS
        assert world.index.entries == {}
