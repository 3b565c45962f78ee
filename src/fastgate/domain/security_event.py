"""Security event: what the claims of a SET must say, and what they end.

Owns:      which events end what, and how subjects are read; the signature was verified
           before.
Called by: control.intake.
Source:    RFC 8417, RFC 9493; SSF 1.0, CAEP 1.0, RISC 1.0; PROTOCOLS.md section 7.

Never wider than what the event names: a subject that is not understood as a whole is
refused, and the sender is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastgate.domain.notice import (
    Fault,
    Notice,
    NoticeError,
    audience_of,
    is_seconds,
    notice_id,
    text_of,
)
from fastgate.domain.revocation import Kind

__all__ = [
    "SET_TYPES",
    "EventRules",
    "Heard",
    "SubjectRules",
    "end_of",
    "event_name",
    "read_event",
    "said_of",
    "set_error",
    "wanted_events",
]

SET_TYPES: frozenset[str | None] = frozenset({"secevent+jwt"})

_BASE = "https://schemas.openid.net/secevent/"
_SESSION_REVOKED = f"{_BASE}caep/event-type/session-revoked"
_CREDENTIAL_CHANGE = f"{_BASE}caep/event-type/credential-change"
_CLAIMS_CHANGE = f"{_BASE}caep/event-type/token-claims-change"
_USER_EVENTS = frozenset(
    {
        _CREDENTIAL_CHANGE,
        f"{_BASE}risc/event-type/account-disabled",
        f"{_BASE}risc/event-type/account-purged",
        f"{_BASE}risc/event-type/credential-compromise",
    }
)
# A credential that is added takes nothing from whoever signed in before.
_ENDING_CHANGES = frozenset({"revoke", "update", "delete"})
_VERIFICATION = f"{_BASE}ssf/event-type/verification"
_STREAM_UPDATED = f"{_BASE}ssf/event-type/stream-updated"
# Source: CAEP 1.0 section 2.
_INITIATORS = frozenset({"admin", "user", "policy", "system"})
# Reason: a sentence for people; an audit log is no place for a document.
_MAX_REASON_CHARS = 200
_STREAM_STATES = frozenset({"enabled", "paused", "disabled"})
# What is counted by name; every other event is counted as one. Source: CAEP 1.0 section
# 3, RISC 1.0 section 2, SSF 1.0 sections 8.1.4 and 8.1.5.
_NAMED = {
    f"{_BASE}{family}/event-type/{name}": name
    for family, names in {
        "caep": (
            *("session-revoked", "token-claims-change", "credential-change"),
            *("assurance-level-change", "device-compliance-change"),
            *("session-established", "session-presented", "risk-level-change"),
        ),
        "risc": (
            *("account-credential-change-required", "account-purged"),
            *("account-disabled", "account-enabled", "identifier-changed"),
            *("identifier-recycled", "credential-compromise", "opt-in"),
            *("opt-out-initiated", "opt-out-cancelled", "opt-out-effective"),
            *("recovery-activated", "recovery-information-changed"),
        ),
        "ssf": ("verification", "stream-updated"),
    }.items()
    for name in names
}
# Members of a complex subject whose meaning is acted upon.
_UNDERSTOOD = frozenset({"format", "user", "session"})
# Source: RFC 8935 section 2.4, the registry of error codes.
_ERRORS = {
    Fault.ALGORITHM: "invalid_key",
    Fault.KEY: "invalid_key",
    Fault.SIGNATURE: "invalid_key",
    Fault.ISSUER: "invalid_issuer",
    Fault.AUDIENCE: "invalid_audience",
    Fault.CREDENTIALS: "authentication_failed",
}


@dataclass(frozen=True, slots=True)
class SubjectRules:
    """Which subjects are understood.

    alias, issuer: Of whose users, and the exact `iss` that names them.
    formats: Of `iss_sub`, `opaque` and `email`: those whose value is a token's `sub`.
    """

    alias: str
    issuer: str
    formats: frozenset[str]


@dataclass(frozen=True, slots=True)
class EventRules:
    """What is accepted of one transmitter's SETs.

    alias, issuer: Whose keys verify them, and their exact `iss`.
    audience: One of these must be in `aud`. algorithms: Accepted ones.
    leeway_s: Allowance on `iat`, seconds.
    user_events: Events about credentials and accounts end the user's tokens too.
    critical: Members of complex subjects that must not be passed over.
    """

    alias: str
    issuer: str
    audience: frozenset[str]
    algorithms: frozenset[str]
    leeway_s: int
    user_events: bool
    subjects: SubjectRules
    critical: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Heard:
    """An event that ends nothing.

    stream: What a stream says of itself: `verified`, or its new state; else "".
    stream_id: Which stream says it, "" where it does not.
    echo: `state` of whoever asked for a verification.
    changed: The user whose claims are others by now.
    """

    jti: str
    stream: str = ""
    stream_id: str = ""
    echo: str = ""
    changed: str = ""


def wanted_events(rules: EventRules) -> tuple[str, ...]:
    """Return the URIs of the events that have an effect here."""
    users = sorted(_USER_EVENTS) if rules.user_events else []
    return (_SESSION_REVOKED, _CLAIMS_CHANGE, *users)


def event_name(claims: Mapping[str, object]) -> str:
    """Return the short name of a SET's event, of a closed set; else `other`."""
    events = claims.get("events")
    name = next(iter(events), "") if isinstance(events, dict) else ""
    return _NAMED.get(name, "other")


def read_event(
    claims: Mapping[str, object], rules: EventRules, now_s: float
) -> Notice | Heard:
    """Return what a SET ends, or that it ends nothing.

    claims: Of a token whose signature verified. now_s: Wall time.
    Raises NoticeError.
    """
    if claims.get("iss") != rules.issuer:
        raise NoticeError(Fault.ISSUER, "iss is not the stream's")
    audience_of(claims, rules.audience)
    issued = claims.get("iat")
    if not is_seconds(issued):
        raise NoticeError(Fault.CLAIMS, "iat must be whole seconds")
    if issued > now_s + rules.leeway_s:
        raise NoticeError(Fault.TIME, "iat is in the future")
    # Source: SSF 1.0 section 4.1: so that no SET passes for another kind of token.
    if "sub" in claims or "exp" in claims:
        raise NoticeError(Fault.CLAIMS, "a SET has neither sub nor exp")
    jti = text_of(claims, "jti")
    if jti is None:
        raise NoticeError(Fault.CLAIMS, "jti is missing")
    name, event = _only_event(claims)
    subject = claims.get("sub_id")
    if name in {_VERIFICATION, _STREAM_UPDATED}:
        return _of_the_stream(jti, name, event, subject)
    if name == _CLAIMS_CHANGE:
        return Heard(jti, changed=_changed_user(subject, rules))
    if not _ends_something(name, event, subject, rules):
        return Heard(jti)
    _check_critical(subject, rules)
    sessions = name == _SESSION_REVOKED
    kind, value = end_of(subject, rules.subjects, sessions=sessions)
    before = _cutoff(event, issued, now_s) if kind is Kind.SUB else None
    id_ = notice_id("set", rules.issuer, jti)
    return Notice(
        rules.subjects.alias, kind, value, before, id_, issued, urgent=sessions
    )


def said_of(claims: Mapping[str, object]) -> dict[str, str]:
    """Return who and what a SET says caused its event; for the audit log alone.

    Texts are cut to a bounded length; of several languages the first counts.
    """
    events = claims.get("events")
    event = next(iter(events.values()), None) if isinstance(events, dict) else None
    if not isinstance(event, dict):
        return {}
    said = {}
    by = event.get("initiating_entity")
    if isinstance(by, str) and by in _INITIATORS:
        said["initiating_entity"] = by
    for name in ("reason_admin", "reason_user"):
        text = event.get(name)
        # Source: CAEP 1.0 section 2: a text for each language.
        if isinstance(text, dict):
            text = next(iter(text.values()), None)
        if isinstance(text, str) and text:
            said[name] = text[:_MAX_REASON_CHARS]
    return said


def set_error(fault: Fault) -> str:
    """Return the registered error code for a SET that is refused."""
    return _ERRORS.get(fault, "invalid_request")


def _only_event(claims: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    events = claims.get("events")
    if not isinstance(events, dict) or len(events) != 1:
        raise NoticeError(Fault.CLAIMS, "events must have one member")
    name, event = next(iter(events.items()))
    if not isinstance(event, dict):
        raise NoticeError(Fault.CLAIMS, "the event must be an object")
    return name, event


def _of_the_stream(
    jti: str, name: str, event: Mapping[str, object], subject: object
) -> Heard:
    # Source: SSF 1.0 sections 8.1.4 and 8.1.5: the subject is the stream, by its id.
    stream_id = text_of(subject, "id") if isinstance(subject, dict) else None
    if name == _VERIFICATION:
        echo = text_of(event, "state") if "state" in event else None
        return Heard(jti, "verified", stream_id or "", echo or "")
    state = event.get("status")
    known = isinstance(state, str) and state in _STREAM_STATES
    return Heard(jti, str(state) if known else "", stream_id or "")


def _changed_user(subject: object, rules: EventRules) -> str:
    try:
        kind, value = end_of(subject, rules.subjects, sessions=False)
    except NoticeError:
        return ""  # nobody that is known here
    return value if kind is Kind.SUB else ""


def _check_critical(subject: object, rules: EventRules) -> None:
    # Source: SSF 1.0 section 7.1, `critical_subject_members`.
    if isinstance(subject, dict) and subject.get("format") == "complex":
        passed_over = set(subject) - _UNDERSTOOD
        if passed_over & rules.critical:
            raise NoticeError(Fault.SUBJECT, "a critical part is not understood")


def _ends_something(
    name: str, event: Mapping[str, object], subject: object, rules: EventRules
) -> bool:
    if name == _SESSION_REVOKED:
        return True
    if name not in _USER_EVENTS:
        return False
    token = isinstance(subject, dict) and subject.get("format") == "jwt_id"
    if not rules.user_events and not token:
        return False
    change = event.get("change_type")
    ends = isinstance(change, str) and change in _ENDING_CHANGES
    return ends or name != _CREDENTIAL_CHANGE


def _cutoff(event: Mapping[str, object], issued: int, now_s: float) -> float:
    stamp = event.get("event_timestamp", issued)
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or stamp < 0:
        raise NoticeError(Fault.CLAIMS, "event_timestamp must be seconds")
    # Tokens that are yet to be issued are nobody's past: also milliseconds, a frequent
    # mistake, end here.
    return min(float(stamp), max(now_s, float(issued)))


def end_of(subject: object, rules: SubjectRules, *, sessions: bool) -> tuple[Kind, str]:
    """Return what a subject identifier names: a token, a session or a user.

    subject: RFC 9493.
    sessions: Sessions end: the one that a complex subject names, else all of the
        user's. False: the event is about the user, wherever.
    Raises NoticeError where it names what cannot be ended as a whole and alone.
    """
    if not isinstance(subject, dict):
        raise NoticeError(Fault.SUBJECT, "sub_id is missing")
    form = subject.get("format")
    if form == "jwt_id":
        _check_issuer(subject, rules)
        return Kind.JTI, _member(subject, "jti")
    if form != "complex":
        return Kind.SUB, _user(subject, rules)
    session = subject.get("session")
    if sessions and session is not None:
        # It is exact by itself, whatever else narrows it down.
        if not isinstance(session, dict) or session.get("format") != "opaque":
            raise NoticeError(Fault.SUBJECT, "a session must be opaque")
        return Kind.SID, _member(session, "id")
    # A member that is absent is a wildcard, and one that is there narrows the sessions
    # down to fewer than would end.
    if sessions and set(subject) - {"format", "user"}:
        raise NoticeError(Fault.SUBJECT, "a part of a user cannot be ended")
    user = subject.get("user")
    if not isinstance(user, dict):
        raise NoticeError(Fault.SUBJECT, "user is missing")
    return Kind.SUB, _user(user, rules)


def _user(subject: Mapping[str, object], rules: SubjectRules) -> str:
    form = subject.get("format")
    if not isinstance(form, str) or form not in rules.formats:
        raise NoticeError(Fault.SUBJECT, "subjects of this format are not mapped")
    if form == "iss_sub":
        _check_issuer(subject, rules)
        return _member(subject, "sub")
    return _member(subject, "email" if form == "email" else "id")


def _check_issuer(subject: Mapping[str, object], rules: SubjectRules) -> None:
    if subject.get("iss") != rules.issuer:
        raise NoticeError(Fault.SUBJECT, "the subject is another issuer's")


def _member(subject: Mapping[str, object], name: str) -> str:
    value = text_of(subject, name)
    if value is None:
        raise NoticeError(Fault.SUBJECT, f"{name} is missing")
    return value
