"""Tap: tells the agent of tokens and sessions that their issuer ends as we look on.

Owns:      which answers count, and the bounded wait until the end is in force.
Called by: hotpath.forward, before an answer of a route with `tap` goes to the client.
Source:    RFC 7009 section 2.2, OpenID Connect RP-Initiated Logout 1.0; PROTOCOLS.md
           section 5, THREATS.md B10.

An issuer answers 200 for unknown tokens too, so nothing here is believed: the agent
verifies the token before it acts. Of an opaque token there is only what the issuer said
of it when this worker asked: the phantom token, which the agent verifies, or the `jti`
of its members. What no answer follows, such as a refresh token that was rotated, is no
end of anything.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from fastgate.domain.introspection import AnswerKind
from fastgate.domain.revocation import Kind
from fastgate.domain.route import TapRules
from fastgate.hotpath.flow import Flow
from fastgate.hotpath.headers import Inbound
from fastgate.hotpath.native import TOKEN_OK, ClaimNames, scan_json, scan_unverified
from fastgate.ports import Answer, Clock, Introspector, RevocationReader

__all__ = ["Tap"]

# Source: PROTOCOLS.md section 5: past it the answer goes out all the same.
_WAIT_NS = 250_000_000
_LOOK_S = 0.004
# Reason: each holds an answer back; further ones are told, and not waited for.
_MAX_WAITING = 64
_MAX_FIELDS = 64
# Reason: the largest that `limits.token` may allow; a note takes it whole.
_MAX_TOKEN_BYTES = 16_384
_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REVOKED = 2
_ANY_ORIGIN = -1
_FOREVER_NS = 1 << 62

Fields = Mapping[str, Sequence[str]]


class Tap:
    """One per worker.

    notify: Sends the agent a note; False where it could not (WorkerLink.notify).
    revoked: This worker's view of the index.
    introspector: What issuers said of opaque tokens.
    alarm: Called with name, issuer alias and whether it is on.
    """

    def __init__(
        self,
        *,
        notify: Callable[[str, object], bool],
        revoked: RevocationReader,
        introspector: Introspector,
        clock: Clock,
        alarm: Callable[[str, str, bool], None],
    ) -> None:
        self._notify = notify
        self._revoked = revoked
        self._introspector = introspector
        self._clock = clock
        self._alarm = alarm
        self._names = ClaimNames(region=(), max_token_bytes=_MAX_TOKEN_BYTES)
        self._deaf: set[str] = set()
        self._waiting = 0

    async def heard(self, flow: Flow, answer: Answer) -> None:
        """Look at an answer that is about to go to the client; raises nothing."""
        inbound, _, decision = flow.admitted()
        rules = None if decision.route is None else decision.route.tap
        if rules is None:
            return
        if inbound.head.path == rules.revocation:
            await self._revocation(rules, inbound, answer)
        elif inbound.head.path == rules.end_session:
            await self._end_session(rules, inbound, answer)

    async def _revocation(
        self, rules: TapRules, inbound: Inbound, answer: Answer
    ) -> None:
        form = inbound.head.form
        if form is None or answer.status != _OK:
            return
        token = _one(form, "token")
        if token is None:
            return
        if self._key(rules, token, (Kind.JTI,)) is None:
            await self._opaque(rules, token)
            return
        refresh = _one(form, "token_type_hint") == "refresh_token"
        note = {
            "issuer": rules.issuer.alias,
            "token": token,
            "end": "token",
            "refresh": refresh,
            "session": refresh and rules.refresh_ends_session,
        }
        await self._tell(rules, token, note, (Kind.JTI,))

    async def _opaque(self, rules: TapRules, token: str) -> None:
        # Source: PROTOCOLS.md section 5: its facts, where they are known; else no more
        # than that what is cached of it is over.
        issuer, raw = rules.issuer, token.encode("utf-8", "surrogateescape")
        answer = self._introspector.cached(issuer, raw, self._clock.boot_ns())
        self._introspector.forget(issuer, raw)
        if answer is None:
            return
        note: dict[str, object] = {"issuer": issuer.alias, "end": "token"}
        if answer.kind is AnswerKind.JWT:
            phantom = answer.payload.decode("ascii")
            await self._tell(rules, phantom, note | {"token": phantom}, (Kind.JTI,))
        elif answer.kind is AnswerKind.CLAIMS:
            members = scan_json(answer.payload, self._names)
            if members.code == TOKEN_OK and members.jti is not None:
                key = issuer.hasher.key(Kind.JTI, members.jti)
                note |= {"end": "members", "jti": members.jti}
                await self._told(rules, note, key)

    async def _end_session(
        self, rules: TapRules, inbound: Inbound, answer: Answer
    ) -> None:
        if answer.status not in _REDIRECTS or not _leaves(rules, inbound, answer):
            return  # a page that asks whether to log out is no logout
        token = _one(inbound.head.form or _query(inbound.head.query), "id_token_hint")
        if token is None:
            return
        note = {"issuer": rules.issuer.alias, "token": token, "end": "session"}
        await self._tell(rules, token, note, (Kind.SID, Kind.SUB))

    async def _tell(
        self,
        rules: TapRules,
        token: str,
        note: Mapping[str, object],
        kinds: tuple[Kind, ...],
    ) -> None:
        key = self._key(rules, token, kinds)
        if key is None:
            return  # no JWT, so nothing that its issuer's keys could verify
        await self._told(rules, note, key)

    async def _told(
        self, rules: TapRules, note: Mapping[str, object], key: bytes
    ) -> None:
        told = self._notify("tap", note)
        self._show(rules.issuer.alias, told)
        if not told or self._waiting >= _MAX_WAITING:
            return
        self._waiting += 1
        try:
            await self._in_force(rules, key)
        finally:
            self._waiting -= 1

    def _show(self, alias: str, told: bool) -> None:
        if told == (alias in self._deaf):
            (self._deaf.discard if told else self._deaf.add)(alias)
            self._alarm("tap", alias, not told)

    def _key(
        self, rules: TapRules, token: str, kinds: tuple[Kind, ...]
    ) -> bytes | None:
        """Return what will be in the index, if the token is what it says."""
        if not token.isascii():
            return None
        scanned = scan_unverified(token.encode(), self._names)
        if scanned.code != TOKEN_OK:
            return None
        values = {Kind.JTI: scanned.jti, Kind.SID: scanned.sid, Kind.SUB: scanned.sub}
        for kind in kinds:
            value = values[kind]
            if value is not None:
                return rules.issuer.hasher.key(kind, value)
        return None

    async def _in_force(self, rules: TapRules, key: bytes) -> None:
        until_ns = self._clock.boot_ns() + _WAIT_NS
        while (now_ns := self._clock.boot_ns()) < until_ns:
            code = self._revoked.check(
                key,
                0,
                int(self._clock.wall_s()),
                now_ns,
                _ANY_ORIGIN,
                _FOREVER_NS,
                rules.issuer.home_origin,
                _FOREVER_NS,
            )
            if code & 0xFF == _REVOKED:
                return
            await asyncio.sleep(_LOOK_S)


def _one(fields: Fields, name: str) -> str | None:
    values = fields.get(name, ())
    return values[0] if len(values) == 1 and values[0] else None


def _query(raw: bytes) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), max_num_fields=_MAX_FIELDS)
    except ValueError:
        return fields
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _leaves(rules: TapRules, inbound: Inbound, answer: Answer) -> bool:
    """Tell whether the browser is sent away from issuer and gateway: logout done."""
    found = [value for name, value in answer.headers if name.lower() == b"location"]
    if len(found) != 1:
        return False
    try:
        target = urlsplit(found[0].decode("ascii"))
        host = (target.hostname or "").lower()
        own = (urlsplit(rules.issuer.issuer).hostname or "").lower()
        here = urlsplit("//" + inbound.host.decode("ascii")).hostname or ""
    except ValueError:
        return False
    return bool(target.scheme and host) and host not in {own, here.lower()}
