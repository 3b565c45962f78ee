"""Intake: what issuers say has ended becomes a revocation, once.

Owns:      the order of checks on a logout token, a SET and a request about a user; what
           was counted of them.
Called by: admin.intake for what is pushed, control.set_poller for what is fetched.
Source:    PROTOCOLS.md sections 7 to 9; THREATS.md B10; REQUIREMENTS B9, B10.

A method that returns has the revocation in the journal and in force on this node. The
id of an event follows from the issuer and the `jti` of what made it, so that journal
and index, here and in every other region, know one that comes again: also after a
restart, and after the event was lifted.
"""

import asyncio
import enum
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from fastgate.control.compact_jws import Jws, JwsVerifier, read_jws
from fastgate.control.entries import Receipt
from fastgate.control.intake_rules import IntakeRules
from fastgate.control.set_streams import SetStreams
from fastgate.domain.entry import EntryError, Lifetimes, RepeatedError
from fastgate.domain.logout_token import LOGOUT_TYPES, read_logout_token
from fastgate.domain.notice import Fault, Notice, NoticeError
from fastgate.domain.security_event import (
    SET_TYPES,
    EventRules,
    end_of,
    event_name,
    read_event,
    said_of,
)
from fastgate.domain.tapped_token import (
    REVOKED_TYPES,
    read_ended_session,
    read_opaque,
    read_revoked_token,
)
from fastgate.errors import ControlError
from fastgate.ports import Clock

__all__ = ["Intake", "Result", "Way"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

# Reason: what a retried event may be late and still find its id kept; an entry lives
# for this long after the last token that it touches.
_SLACK_S = 60
# Reason: each waits for a disk and perhaps for a key set; more are told to come back.
_MAX_UNDER_WAY = 64
_TAP_RETRIES_S = (0.5, 2.0, 10.0)


class Way(enum.StrEnum):
    """How it came."""

    LOGOUT = "logout"
    PUSH = "push"
    POLL = "poll"
    GLOBAL = "global"
    TAP = "tap"


class Result(enum.StrEnum):
    """What came of it."""

    REVOKED = "revoked"
    REPEATED = "repeated"
    IGNORED = "ignored"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class Intake:
    """The ways in of one node, behind their listener and pollers.

    rules: Of the configuration in force; `adopt` takes those of the next.
    enter: Revokes (Agent.enter), for members of an admin request and an `id`.
    audit: Writes an audit line; blocks. Raises ControlError.
    lifetimes: Returns how long events live now.
    alarms: Called with name, dependency and whether it is on, at every change.

    tell: Tells every worker of this node; set by who has a link.
    """

    def __init__(
        self,
        rules: IntakeRules,
        *,
        verifier: JwsVerifier,
        enter: Callable[[Mapping[str, Any]], Awaitable[Receipt]],
        audit: Callable[[str, str, Mapping[str, object]], None],
        lifetimes: Callable[[], Lifetimes],
        clock: Clock,
        alarms: Callable[[str, str, bool], None],
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.streams = SetStreams(clock=clock, alarms=alarms)
        self.tell: Callable[[str, Mapping[str, object]], None] = lambda _, __: None
        self._verifier = verifier
        self._enter = enter
        self._audit = audit
        self._lifetimes = lifetimes
        self._clock = clock
        self._alarms = alarms
        self._under_way = 0
        self._busy: set[str] = set()
        self._tapped: set[asyncio.Task[None]] = set()
        self.adopt(rules)

    def adopt(self, rules: IntakeRules) -> None:
        """Go by these rules from now on."""
        self.rules = rules
        self.streams.follow(rules.streams)

    async def logout(self, token: str) -> None:
        """Take a logout token.

        Raises NoticeError where it must not be acted upon, also a second time, and
        ControlError where it could not be kept: then it may be sent again.
        """

        async def take() -> Result:
            jws = read_jws(token)
            rules = self.rules.logouts.get(_issuer_of(jws))
            if rules is None:
                raise NoticeError(Fault.ISSUER, "no such issuer sends logouts here")
            _check_type(jws, LOGOUT_TYPES)
            await self._verifier.check(jws, rules.alias, rules.algorithms)
            notice = read_logout_token(jws.claims, rules, self._clock.wall_s())
            if await self._revoke(Way.LOGOUT, notice, jws.claims) is Result.REPEATED:
                raise NoticeError(Fault.REPEATED, "jti was used before")
            return Result.REVOKED

        await self._counted(Way.LOGOUT, take)

    async def pushed(self, token: str, authorization: str | None) -> Result:
        """Take a SET that was pushed; one that comes again changes nothing.

        authorization: Value of the header, None where there is none or several.
        Raises as `logout` does.
        """

        async def take() -> Result:
            jws = read_jws(token)
            issuer = _issuer_of(jws)
            rules = self.rules.events.get(issuer)
            if rules is None or issuer not in self.rules.pushed:
                raise NoticeError(Fault.ISSUER, "no such issuer pushes events here")
            credential = self.rules.pushed[issuer]
            if credential is not None and not credential.matches(authorization):
                raise NoticeError(Fault.CREDENTIALS, "the credentials are not right")
            return await self._event(Way.PUSH, jws, rules)

        return await self._counted(Way.PUSH, take)

    async def polled(self, token: str, jti: str, alias: str) -> Result:
        """Take a SET that was fetched from the stream of an issuer.

        jti: Name under which it came. Raises as `logout` does.
        """

        async def take() -> Result:
            jws = read_jws(token)
            rules = self.rules.events.get(_issuer_of(jws))
            if rules is None or rules.alias != alias:
                raise NoticeError(Fault.ISSUER, "iss is not the stream's")
            if jws.claims.get("jti") != jti:
                raise NoticeError(Fault.CLAIMS, "jti is not the one it came under")
            return await self._event(Way.POLL, jws, rules)

        return await self._counted(Way.POLL, take)

    async def end_user(self, subject: object, token: str | None) -> None:
        """End all tokens of a user that were issued before now.

        subject: RFC 9493. token: Bearer token of whoever asks.
        Raises as `logout` does.
        """

        async def take() -> Result:
            matching = [
                rules
                for credential, rules in self.rules.users
                if credential.matches(token)
            ]
            if not matching:
                raise NoticeError(Fault.CREDENTIALS, "the bearer token is not right")
            kind, value = end_of(subject, matching[0], sessions=True)
            notice = Notice(matching[0].alias, kind, value, urgent=True)
            return await self._revoke(Way.GLOBAL, notice, {})

        await self._counted(Way.GLOBAL, take)

    def noted(self, note: object) -> None:
        """Take a worker's word that an issuer ended a token or session; raises nothing.

        The worker is not believed: the token must verify. The one exception is the
        `jti` of an opaque token, of which there is nothing else: one token, no wider.
        """
        if not isinstance(note, dict) or len(self._tapped) >= _MAX_UNDER_WAY:
            self._count(Way.TAP, Result.UNAVAILABLE)
            return
        task = asyncio.create_task(self._tap(note))
        self._tapped.add(task)
        task.add_done_callback(self._tapped.discard)

    async def _tap(self, note: Mapping[str, object]) -> None:
        alias, token = note.get("issuer"), note.get("token")
        opaque = note.get("end") == "members"
        if not isinstance(alias, str) or not (opaque or isinstance(token, str)):
            self._count(Way.TAP, Result.REFUSED)
            return
        for wait_s in _TAP_RETRIES_S:
            try:
                await self._counted(Way.TAP, lambda: self._ended(alias, note))
            except NoticeError:
                return
            except ControlError:
                # Whoever asked the issuer has his answer: nobody will send it again.
                self._alarms("tap_lost", alias, True)
                await asyncio.sleep(wait_s)
            else:
                self._alarms("tap_lost", alias, False)
                return

    async def _ended(self, alias: str, note: Mapping[str, object]) -> Result:
        rules = self.rules.taps.get(alias)
        if rules is None:
            raise NoticeError(Fault.ISSUER, "no route taps this issuer's answers")
        if note.get("end") == "members":
            return await self._revoke(Way.TAP, read_opaque(note, rules), {})
        jws = read_jws(str(note.get("token")))
        _check_type(jws, REVOKED_TYPES)
        await self._verifier.check(jws, rules.alias, rules.algorithms)
        if note.get("end") == "session":
            ended = read_ended_session(jws.claims, rules)
            return await self._revoke(Way.TAP, ended, jws.claims)
        result = Result.IGNORED
        for each in read_revoked_token(
            jws.claims,
            rules,
            refresh=note.get("refresh") is True,
            session=note.get("session") is True,
            now_s=self._clock.wall_s(),
        ):
            result = await self._revoke(Way.TAP, each, jws.claims)
        return result

    def status(self) -> dict[str, Any]:
        """Return what `/v1/status` shows of the ways in."""
        ways: dict[str, dict[str, int]] = {}
        for (way, result), count in sorted(self.counts.items()):
            ways.setdefault(way, {})[result] = count
        return {"ways": ways, "streams": self.streams.status()}

    # -- what all of them share --------------------------------------------------------

    async def _counted(self, way: Way, take: Callable[[], Awaitable[Result]]) -> Result:
        if self._under_way >= _MAX_UNDER_WAY:
            self._count(way, Result.UNAVAILABLE)
            raise ControlError("too many notices under way")
        self._under_way += 1
        try:
            result = await take()
        except NoticeError as error:
            repeated = error.fault is Fault.REPEATED
            self._count(way, Result.REPEATED if repeated else Result.REFUSED)
            # Everybody may send one: no line that strangers could fill a disk with.
            _log.debug("refused by %s: %s", way.value, error)
            raise
        except ControlError:
            self._count(way, Result.UNAVAILABLE)
            raise
        finally:
            self._under_way -= 1
        self._count(way, result)
        return result

    def _count(self, way: Way, result: Result) -> None:
        # Plain texts: these become JSON names and label values.
        self.counts[way.value, result.value] += 1

    async def _event(self, way: Way, jws: Jws, rules: EventRules) -> Result:
        _check_type(jws, SET_TYPES)
        await self._verifier.check(jws, rules.alias, rules.algorithms)
        now_s = self._clock.wall_s()
        critical = rules.critical | self.streams.critical(rules.alias)
        found = read_event(jws.claims, replace(rules, critical=critical), now_s)
        self.streams.came(rules.alias, event_name(jws.claims))
        if not isinstance(found, Notice):
            self.streams.said(rules.alias, found)
            if found.changed:
                about = {"issuer": rules.subjects.alias, "subject": found.changed}
                self.tell("claims_changed", about)
            return Result.IGNORED
        lived_s = self._lifetimes().of(found.kind) - _SLACK_S
        if found.issued <= now_s - lived_s:
            # Whatever it could have touched is over, and its id may be forgotten.
            return Result.IGNORED
        return await self._revoke(way, found, jws.claims)

    async def _revoke(
        self, way: Way, notice: Notice, claims: Mapping[str, object]
    ) -> Result:
        if notice.id in self._busy:
            # Until the other is durable nobody can say that it is a repetition.
            raise ControlError("the same notice is under way")
        if notice.id:
            self._busy.add(notice.id)
        asked = {
            "kind": notice.kind.value,
            "issuer": notice.issuer,
            "value": notice.value,
            "home": self._home(claims),
            "issued_before": notice.issued_before,
            "urgent": notice.urgent,
            "reason": way.value,
            "id": notice.id,
        }
        try:
            receipt = await self._enter(asked)
        except RepeatedError:
            return Result.REPEATED
        except EntryError as error:
            raise NoticeError(Fault.CLAIMS, f"{error.field} cannot be used") from None
        finally:
            self._busy.discard(notice.id)
        await self._note(way, notice, receipt, said_of(claims))
        return Result.REVOKED

    def _home(self, claims: Mapping[str, object]) -> str | None:
        found = _first_claim(claims, self.rules.region_claims)
        return found if found in self.rules.regions else None

    async def _note(
        self, way: Way, notice: Notice, receipt: Receipt, said: Mapping[str, str]
    ) -> None:
        line: dict[str, object] = {
            "kind": notice.kind.value,
            "issuer": notice.issuer,
            "id": receipt.id,
            "origin": receipt.origin,
            "seq": receipt.seq,
            "outcome": "published" if receipt.published else "pending",
            **said,
        }
        try:
            await asyncio.to_thread(self._audit, f"intake {way.value}", "revoke", line)
        except ControlError as error:
            # It is in force and in the journal; a second request would not mend the
            # log, and would be refused as a repetition.
            _log.error("%s: a revocation by %s", error, way.value)
            self._alarms("audit", "intake", True)
        else:
            self._alarms("audit", "intake", False)


def _issuer_of(jws: Jws) -> str:
    issuer = jws.claims.get("iss")
    return issuer if isinstance(issuer, str) else ""


def _check_type(jws: Jws, types: Collection[str | None]) -> None:
    # Source: RFC 8725 section 3.11: a token of one purpose never passes for another.
    if jws.typ not in types:
        raise NoticeError(Fault.TYPE, "typ is not that of such a token")


def _first_claim(claims: Mapping[str, object], names: Collection[str]) -> str | None:
    """Return the first region claim that is there, found as compiled code finds it."""
    for name in names:
        # A dot descends, except in a name that is a URI.
        path = [name] if "://" in name else name.split(".")
        found: object = claims
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(found, str):
            return found
    return None
